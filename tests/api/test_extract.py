import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import probebench as pb
from probebench.cache.store import stored_files
from probebench.errors import CacheError, DatasetError, FeatureError
from probebench.extraction import ExtractionOptions
from probebench.registry.load import Registry
from tests.api.making import Tiny, folder, items, transform
from tests.conftest import Ran, write_entry


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_entry(tmp_path / "own")
    monkeypatch.setenv("PROBEBENCH_REGISTRY", str(tmp_path / "own"))
    return tmp_path / "own"


def by_hand(module: torch.nn.Module, images: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]) -> torch.Tensor:
    with torch.inference_mode():
        return module(torch.stack([transform(Image.fromarray(image)) for image in images]))  # type: ignore[no-any-return]


def test_a_module_and_images_in_memory_give_features() -> None:
    held, module = items(), Tiny().train()
    features = pb.extract(module, held, transform=transform, ids=[f"image {place}" for place in range(len(held))])
    assert features.model == "tiny" and features.dataset.startswith("memory:images-")
    assert features.class_names == ("0", "1", "2") and features.val is None
    assert (len(features.train), len(features.test)) == (18, 6), "a fifth of each class is cut off, as of any data"
    for split in (features.train, features.test):
        places = [int(name.removeprefix("image ")) for name in split.ids]
        assert split.y.tolist() == [held[place][1] for place in places]
        expected = by_hand(module.eval(), [held[place][0] for place in places])
        assert split.X.dtype == np.float32 and np.allclose(split.X, expected.numpy(), atol=1e-6)
        assert split.shape == split.X.shape and np.array_equal(split.read(np.array([2, 0])), split.X[[2, 0]])
        assert split.skipped == ()
    assert "tiny on memory:images" in repr(features) and features["train"] is features.train
    assert (features.input_size, features.layer, features.dtype) == (8, "pooled", "fp32")
    with pytest.raises(pb.UsageError, match="has no val split; it has train, test"):
        features["val"]


def test_the_module_stays_as_it_is() -> None:
    module = Tiny().train()
    layout = module.convolution.weight.stride()
    pb.extract(module, items(), transform=transform)
    assert module.training and module.convolution.weight.requires_grad
    assert module.convolution.weight.stride() == layout


def test_a_second_call_computes_nothing_and_reads_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pb.extract(Tiny(), items(), transform=transform)
    stamps = [path.stat().st_ctime_ns for path in first.paths.values()]
    again = pb.extract(Tiny(), items(), transform=transform)
    assert again.paths == first.paths and [path.stat().st_ctime_ns for path in again.paths.values()] == stamps
    assert first.train.X is first.train.X
    first.paths["test"].unlink()
    assert len(again.train.X) and pytest.raises(OSError, lambda: again.test.X)


def test_triples_splits_and_class_names() -> None:
    train = [(f"a{place}", image, "cat" if label else "dog") for place, (image, label) in enumerate(items(2))]
    test = [(Image.fromarray(image), "cat" if label else "dog") for image, label in items(2, each=3, seed=1)]
    features = pb.extract(Tiny(), {"train": train, "test": test}, transform=transform, dataset_name="pets")
    assert features.class_names == ("cat", "dog") and features.dataset.startswith("memory:pets-")
    assert features.train.ids[0] == "a0" and features.test.ids[0] == "test-000000"
    assert features.train.y.tolist() == [1] * 8 + [0] * 8
    named = pb.extract(Tiny(), {"train": train, "test": test}, transform=transform, ids={"test": list("abcdef")})
    assert named.test.ids == tuple("abcdef")


def test_a_lambda_works_with_any_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []
    resolve = ExtractionOptions.resolve

    def remember(*arguments: object) -> ExtractionOptions:
        asked.append(arguments[3])  # type: ignore[arg-type]
        return resolve(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ExtractionOptions, "resolve", remember)
    with pytest.raises(Exception, match="pickle"):
        pickle.dumps(secret := lambda image: transform(image))
    features = pb.extract(Tiny(), items(), transform=secret, workers=2)
    expected = pb.extract(Tiny(), items(), transform=transform, workers=2)
    assert asked == [0, 2] and expected.paths == features.paths, "what it gives is the same, so it is the same key"


def test_a_module_whose_code_changed_is_extracted_again() -> None:
    class Other(Tiny):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * 2

    Other.__name__ = "Tiny"
    first = pb.extract(Tiny(), items(), transform=transform)
    with pytest.warns(UserWarning, match="tiny is not the module .* extracted afresh"):
        second = pb.extract(Other(), items(), transform=transform)
    assert second.model == first.model and second.key.weights_digest != first.key.weights_digest
    assert np.allclose(second.train.X, 2 * first.train.X)
    with pytest.warns(UserWarning, match="older features"):
        assert np.array_equal(pb.load_features("tiny", second.dataset).train.X, second.train.X)


@pytest.mark.parametrize(
    "changed",
    [lambda image: transform(image) + 0.5, lambda image: transform(image.transpose(Image.Transpose.ROTATE_90))],
)
def test_another_transform_is_another_key(changed: Callable[[Image.Image], torch.Tensor]) -> None:
    first = pb.extract(Tiny(), items(), transform=transform)
    with pytest.warns(UserWarning, match="its transform"):
        second = pb.extract(Tiny(), items(), transform=changed)
    assert not np.allclose(second.train.X, first.train.X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = pb.extract(Tiny(), items(), transform=transform)
    assert back.paths == first.paths


def test_other_weights_are_another_key() -> None:
    first = pb.extract(Tiny(), items(), transform=transform)
    with pytest.warns(UserWarning, match="its weights"):
        assert pb.extract(Tiny(seed=1), items(), transform=transform).key.group != first.key.group


def test_an_id_and_a_folder_are_those_of_the_command_line(own: Path, run: Callable[..., Ran], tmp_path: Path) -> None:
    place = folder(tmp_path / "images")
    for name in (place, str(place), f"folder:{place}"):
        features = pb.extract("tiny", name)
    files = stored_files(features.paths["train"].parents[3])
    ran = run("extract", "--model", "tiny", "--dataset", f"folder:{place}")
    assert "all cached already" in ran.out and sorted(files) == sorted(features.paths.values())
    assert features.class_names == ("class0", "class1", "class2")
    loaded = pb.load_features("tiny", place)
    assert np.array_equal(loaded.test.X, features.test.X) and loaded.class_names == features.class_names
    assert pb.load_features("tiny", features.dataset).class_names is None
    few = pb.extract("tiny", place, limit=6)
    assert few.dataset == f"{features.dataset}@6" and (len(few.train), len(few.test)) == (6, 6)
    with pytest.raises(pb.UsageError, match="limit= takes a whole number of images from 2 on, not 1"):
        pb.extract("tiny", place, limit=1)


def test_several_sizes_must_be_told_apart(own: Path, tmp_path: Path) -> None:
    place = folder(tmp_path / "images")
    pb.extract("tiny", place)
    pb.extract("tiny", place, input_size=48)
    with pytest.raises(pb.UsageError, match="several extractions fit: tiny on .* at 32 px.*at 48 px"):
        pb.load_features("tiny", place)
    assert pb.load_features("tiny", place, input_size=48).input_size == 48


def test_features_that_are_not_there_name_the_call(own: Path, tmp_path: Path) -> None:
    place = folder(tmp_path / "images")
    with pytest.raises(CacheError, match=r"run: probebench.extract\('tiny', 'digits'\)"):
        pb.load_features("tiny", "digits")
    features = pb.extract("tiny", place)
    with pytest.raises(CacheError, match=r"probebench.extract\('tiny', '.*images', input_size=48, dtype='bf16'\)"):
        pb.load_features("tiny", place, input_size=48, dtype="bf16")
    features.paths["test"].unlink()
    with pytest.raises(CacheError, match="the test split is missing"):
        pb.load_features("tiny", str(place))


@pytest.mark.parametrize("name", ["tny", "timy"])
def test_an_unknown_id_has_near_names(own: Path, name: str) -> None:
    with pytest.raises(pb.UsageError, match=f"unknown model '{name}'; did you mean tiny"):
        pb.extract(name, "digits")
    with pytest.raises(pb.UsageError, match="unknown data set 'digitz'; did you mean digits"):
        pb.extract("tiny", "digitz")


def test_options_that_do_not_fit_are_refused(own: Path) -> None:
    for options, line in (
        ({}, "is a module and needs its transform"),
        ({"transform": transform, "input_size": 8}, "input_size= are for entries"),
        ({"transform": transform, "layer": "pooled"}, "layer= and input_size="),
        ({"transform": transform, "arch": "resnet18"}, "arch= is for a weights file"),
        ({"transform": transform, "nonsense": 1}, "nonsense= is no fact"),
        ({"transform": transform, "name": "tiny"}, "the registry has an entry tiny"),
        ({"transform": transform, "name": "No Id"}, "id: String should match"),
        ({"transform": transform, "method": "magic"}, "method: Input should be"),
        ({"transform": transform, "ids": ["a"], "dataset": "digits"}, "are for images in memory"),
    ):
        module = torch.nn.Flatten() if "name" not in options else Tiny()
        asked = {"dataset": items(), **options}
        with pytest.raises(pb.UsageError, match=line):
            pb.extract(module, **asked)  # type: ignore[arg-type]
    with pytest.raises(pb.UsageError, match="transform= is for a module"):
        pb.extract("tiny", items(), transform=transform)
    with pytest.raises(pb.UsageError, match="tiny has an entry, which says all: leave out method="):
        pb.extract("tiny", items(), method="supervised")
    with pytest.raises(pb.UsageError, match="a model is an id.*not int"):
        pb.extract(7, items())  # type: ignore[arg-type]


def test_what_cannot_be_used_is_one_line() -> None:
    cases: list[tuple[torch.nn.Module, object, type[Exception], str]] = [
        (Tiny(), items(1), DatasetError, "at least two classes"),
        (Tiny(), [(np.zeros((4, 4)), 0)], pb.UsageError, "float64"),
        (torch.nn.Identity(), items(), FeatureError, r"Identity gave \(3, 3, 8, 8\) for a batch of 3"),
    ]
    for module, held, error, line in cases:
        with pytest.raises(error, match=line) as caught:
            pb.extract(module, held, transform=transform)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_that_fails_on_some_image_is_one_line(workers: int) -> None:
    with pytest.raises(DatasetError, match="the transform failed on an image: too wide") as caught:
        pb.extract(Tiny(), items(), transform=refuses_narrow, workers=workers, on_error="skip")
    assert "\n" not in str(caught.value)


def refuses_narrow(image: Image.Image) -> torch.Tensor:
    if image.width == 12:
        raise ValueError("too wide")
    return transform(image)


def test_the_command_line_evaluates_a_module_and_cannot_extract_it(
    run: Callable[..., Ran], home: Path, tmp_path: Path
) -> None:
    pb.extract(Tiny(), items(each=10), transform=transform, method="supervised", source="CIFAR-10", samples=50000)
    spec = Registry.load([home / "registry"]).checkpoint("tiny")
    assert (spec.architecture.library, spec.architecture.name, spec.input.resize) == ("module", "Tiny", "own")
    assert "Python session" in run("models", "list", "--source", "CIFAR-10").out
    assert run("models", "validate").code == 0
    assert run("eval", "--model", "tiny", "--shots", "1", "--draws", "2").code == 0
    assert "is a module of a Python session" in run("extract", "--model", "tiny", "--dataset", "digits").error
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"")
    refused = run("extract", "--model", "tiny", "--dataset", "digits", "--weights", weights)
    assert "takes no weights file" in refused.error
    pb.extract(Tiny(), items(each=12), transform=transform)
    assert Registry.load([home / "registry"]).checkpoint("tiny") == spec, "facts are kept where none are given"


def test_folders_of_entries_are_named_in_a_call(tmp_path: Path, home: Path) -> None:
    write_entry(tmp_path / "own", id="mine")
    place = folder(tmp_path / "images")
    features = pb.extract("mine", place, registry=tmp_path / "own")
    assert pb.load_features("mine", place, registry=[tmp_path / "own"]).paths == features.paths
    (found,) = pb.evaluate("mine", shots=1, draws=1, registry=str(tmp_path / "own"), out=tmp_path / "results")
    assert found.model == "mine"
    with pytest.raises(pb.UsageError, match="unknown model 'mine'"):
        pb.extract("mine", place)
    with pytest.raises(pb.UsageError, match="registry folder .*none does not exist"):
        pb.extract("mine", place, registry=tmp_path / "none")
    pb.extract(Tiny(), items(), transform=transform, name="session", registry=tmp_path / "own")
    assert (tmp_path / "own" / "checkpoints" / "session.toml").is_file() and not (home / "registry").exists()
