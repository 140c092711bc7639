import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import probebench as pb
from probebench.backbones.builders import build_language_image
from probebench.backbones.preprocess import build_transform
from probebench.cache.index import read_index
from probebench.errors import CacheError, UsageError
from probebench.evaluation.zeroshot import Prompts, ZeroshotTask, class_embeddings, zeroshot
from probebench.registry import CheckpointSpec, Registry
from probebench.registry.load import read_entry
from probebench.results.store import read_predictions, result_files
from tests.arithmetic import FakeCuda, fake_cuda
from tests.conftest import Ran, make_images, write_entry

__all__ = ["fake_cuda"]

Run = Callable[..., Ran]
PROMPTS = Prompts(("class zero", "class one", "class two"), ("a photo of a {}.", "a drawing of the {}."))
FACTS = {"library": "open_clip", "name": "ViT-S-32-alt", "features": 256, "layer": "projected", "size": 224}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language-image network of random weights, images of three classes, and a home with features."""
    folder = tmp_path_factory.mktemp("made")
    write_entry(folder / "registry", **FACTS)
    images = make_images(folder / "images", each=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROBEBENCH_HOME", str(folder / "home"))
        pb.extract("tiny", images, device="cpu", registry=folder / "registry")
    return folder


@pytest.fixture
def extracted(made: Path, run: Run, home: Path, tmp_path: Path) -> CheckpointSpec:
    """A copy of what was made, in the folder and the home of the test."""
    shutil.copytree(made / "home", home, dirs_exist_ok=True)
    for part in ("registry", "images"):
        shutil.copytree(made / part, tmp_path / part)
    return read_entry(tmp_path / "registry" / "checkpoints" / "tiny.toml", CheckpointSpec)


def by_hand(spec: CheckpointSpec, files: list[Path], prompts: Prompts) -> np.ndarray[Any, Any]:
    """open_clip's own words, for a network of the same seed."""
    import open_clip

    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = open_clip.create_model(spec.architecture.name).eval()
    tokenizer = open_clip.get_tokenizer(spec.architecture.name)
    images = torch.stack([build_transform(spec.input)(Image.open(file)) for file in files])
    with torch.inference_mode():
        seen = clip.encode_image(images, normalize=True)
        classes = []
        for name in prompts.names:
            texts = clip.encode_text(tokenizer([one.format(name) for one in prompts.templates]), normalize=True)
            classes.append(torch.nn.functional.normalize(texts.mean(dim=0), dim=0))
        labels: np.ndarray[Any, Any] = (seen @ torch.stack(classes).T).argmax(dim=1).numpy()
        return labels


def test_predictions_are_those_of_open_clip_itself(extracted: CheckpointSpec, home: Path, tmp_path: Path) -> None:
    (group,) = read_index(home).groups
    result, computed = zeroshot(ZeroshotTask(group, extracted, PROMPTS, "accuracy", home), tmp_path / "results")
    (path,) = result_files(tmp_path / "results")
    predictions = read_predictions(path, result)
    expected = by_hand(extracted, [tmp_path / "images" / name for name in predictions.test_ids], PROMPTS)
    assert computed and predictions.y_pred.tolist() == [expected.tolist()]
    assert result.mean == pytest.approx((expected == predictions.y_true).mean())
    assert (result.kind, result.shots, result.labels_spent, result.selection) == ("zeroshot", 0, 0, "fixed")
    assert result.environment["prompts"]["templates"] == list(PROMPTS.templates)
    assert zeroshot(ZeroshotTask(group, extracted, PROMPTS, "accuracy", home), tmp_path / "results") == (result, False)


def test_other_words_or_another_metric_are_another_result(
    extracted: CheckpointSpec, home: Path, tmp_path: Path
) -> None:
    (group,) = read_index(home).groups
    out = tmp_path / "results"
    zeroshot(ZeroshotTask(group, extracted, PROMPTS, "accuracy", home), out)
    zeroshot(ZeroshotTask(group, extracted, Prompts(PROMPTS.names, ("{}",)), "accuracy", home), out)
    zeroshot(ZeroshotTask(group, extracted, PROMPTS, "mean-per-class", home), out)
    assert len(list(result_files(out))) == 3


def test_python_gives_what_the_command_gives(extracted: CheckpointSpec, run: Run, tmp_path: Path) -> None:
    features = pb.load_features("tiny", tmp_path / "images", registry=tmp_path / "registry")
    own = {"registry": tmp_path / "registry", "out": tmp_path / "results", "templates": "a {}"}
    (first,) = found = pb.zeroshot(features, **own)  # type: ignore[arg-type]
    predictions = read_predictions(found.paths[0], first)
    files, names = [tmp_path / "images" / name for name in predictions.test_ids], ("class0", "class1", "class2")
    assert features.class_names == names
    assert predictions.y_pred[0].tolist() == by_hand(extracted, files, Prompts(names, ("a {}",))).tolist()
    (again,) = pb.zeroshot("tiny", dataset=tmp_path / "images", **own)  # type: ignore[arg-type]
    words = ("--dataset", "folder:images", "--template", "a {}")
    ran = run("--registry", "registry", "zeroshot", "--model", "tiny", *words)
    assert ran.code == 0 and again == first and len(list(result_files(tmp_path / "results"))) == 1


def test_embeddings_are_unit_vectors(home: Path, tmp_path: Path) -> None:
    spec = read_entry(write_entry(tmp_path, **FACTS), CheckpointSpec)
    clip, _ = build_language_image(spec, home)
    embeddings = class_embeddings(clip, spec.architecture.name, PROMPTS)
    assert embeddings.shape == (3, 256) and np.allclose(np.linalg.norm(embeddings, axis=1), 1)


class Tower(torch.nn.Module):
    """The mean of its tokens' embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(49408, 8)

    def encode_text(self, text: torch.Tensor, normalize: bool) -> torch.Tensor:
        means: torch.Tensor = self.tokens(text).mean(1)
        return torch.nn.functional.normalize(means, dim=-1)


def test_the_text_tower_runs_on_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, fake_cuda: FakeCuda) -> None:
    tower = Tower()
    there = class_embeddings(tower, "ViT-S-32-alt", PROMPTS)
    assert "embedding" in fake_cuda.used
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert np.allclose(there, class_embeddings(tower, "ViT-S-32-alt", PROMPTS), atol=1e-6)


def test_what_cannot_be_done_says_why(extracted: CheckpointSpec, home: Path, tmp_path: Path) -> None:
    (group,) = read_index(home).groups
    out = tmp_path / "results"
    with pytest.raises(UsageError, match="more classes than the 2 names"):
        zeroshot(ZeroshotTask(group, extracted, Prompts(PROMPTS.names[:2], PROMPTS.templates), "accuracy", home), out)
    timm = read_entry(write_entry(tmp_path / "other", id="other"), CheckpointSpec)
    with pytest.raises(UsageError, match="other has no text tower"):
        zeroshot(ZeroshotTask(group, timm, PROMPTS, "accuracy", home), out)
    seeded = extracted.model_copy(update={"weights": extracted.weights.model_copy(update={"uri": "random:7"})})
    with pytest.raises(CacheError, match="are of other weights"):
        zeroshot(ZeroshotTask(group, seeded, PROMPTS, "accuracy", home), out)
    assert not list(result_files(out)) if out.exists() else True


def test_the_command(extracted: CheckpointSpec, run: Run, shipped: Registry) -> None:
    ran = run("--registry", "registry", "zeroshot", "--model", "tiny", "--dataset", "folder:images")
    assert ran.code == 0 and "zeroshot v2" in ran.out
    more = run(
        "--registry", "registry", "zeroshot", "--model", "tiny", "--dataset", "folder:images", "--template", "{}"
    )
    assert more.code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--dataset", "digits"), 1, "no features of tiny on digits are cached"),
        (("--template", "a photo"), 2, "needs {} once"),
        (("--template", "{} and {}"), 2, "needs {} once"),
        (("--template", "{0.__class__}"), 2, "needs {} once"),
        ((), 1, "name it by where it lies (folder:PATH"),
    ],
)
def test_wrong_use(extracted: CheckpointSpec, run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    ran = run("--registry", "registry", "zeroshot", "--model", "tiny", *arguments)
    assert ran.code == code and said in ran.err
