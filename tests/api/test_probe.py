"""A probe to take away: kept by eval, read again, and used on images in every form."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression

import probebench as pb
from probebench.errors import DatasetError, ResultError, WeightsError
from probebench.results.store import read_predictions
from tests.api.making import Tiny, folder, items, transform
from tests.conftest import Ran, make_images, write_entry
from tests.datasets.shards import write_files

Run = Callable[..., Ran]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_entry(tmp_path / "own")
    monkeypatch.setenv("PROBEBENCH_REGISTRY", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "images")
    return tmp_path / "own"


@pytest.fixture
def features(own: Path, tmp_path: Path) -> pb.Features:
    return pb.extract("tiny", tmp_path / "images")


@pytest.fixture
def kept(features: pb.Features) -> Path:
    pb.evaluate(features, shots="full", save_probes="probes")
    (path,) = Path("probes").rglob("*.safetensors")
    return path


def test_kept_probes_give_the_stored_predictions(features: pb.Features) -> None:
    asked: dict[str, Any] = {"shots": [5, "full"], "draws": 2, "protocol": ["default", "ridge", "elevater"]}
    found = pb.evaluate(features, **asked, save_probes="probes")
    seen = 0
    for path, result in zip(found.paths, found, strict=True):
        predictions = read_predictions(path, result)
        marks = [""] if result.shots == "full" else [f"-seed{trial.draw_seed}" for trial in result.trials]
        for mark, predicted, trial in zip(marks, predictions.y_pred, result.trials, strict=True):
            probe = pb.Probe.load(
                Path("probes") / path.relative_to("results").with_name(f"{path.stem}{mark}.safetensors")
            )
            assert probe.class_names == ("class0", "class1", "class2")
            assert probe.scores(features.test.X).argmax(axis=1).tolist() == predicted.tolist()
            said = probe.facts
            assert (said.test_score, said.validation_score) == (trial.test_score, trial.validation_score)
            assert (said.weights_digest, said.draw_digest) == (result.weights_digest, trial.draw_digest)
            assert path.stem.endswith(said.result[:8]) and "tiny on" in repr(probe)
            seen += 1
    assert seen == 9 == len([*Path("probes").rglob("*.safetensors")])
    # Of results that are there, probes are fitted again, to the same numbers; what is there whole is left alone.
    first = next(Path("probes").rglob("*-full-*.safetensors"))
    before, stamps = first.read_bytes(), [path.stat().st_mtime_ns for path in found.paths]
    first.unlink()
    others = {path: path.stat().st_mtime_ns for path in Path("probes").rglob("*seed*")}
    again = pb.evaluate(features, **asked, save_probes="probes")
    assert first.read_bytes() == before and [path.stat().st_mtime_ns for path in again.paths] == stamps
    assert others == {path: path.stat().st_mtime_ns for path in others}


def test_probabilities_are_those_of_scikit_learn(features: pb.Features, kept: Path) -> None:
    tensors, probe = load_file(kept), pb.Probe.load(kept)
    reference = LogisticRegression()
    reference.coef_, reference.intercept_ = tensors["coef"], tensors["intercept"]
    reference.classes_ = tensors["classes"]
    rows = features.test.X.astype(np.float64)
    expected = reference.predict_proba(rows / probe.facts.divisor)
    assert probe.scores(features.test.X) == pytest.approx(expected, abs=1e-12)


def test_images_in_every_form_get_what_their_cached_features_get(
    features: pb.Features, kept: Path, tmp_path: Path
) -> None:
    probe, place = pb.Probe.load(kept), tmp_path / "images" / "test"
    expected = dict(zip(features.test.ids, probe.scores(features.test.X), strict=True))
    whole = probe.predict(place, top=3)
    assert len(whole) == 18 and whole.measure == "probability"
    names = list(probe.class_names)
    for one in whole:
        scores = expected[Path(one.image).relative_to(tmp_path / "images").as_posix()]
        order = np.argsort(-scores, kind="stable")
        assert one.classes == tuple(names[place] for place in order)
        assert one.scores == pytest.approx(scores[order], abs=1e-5)
    files: list[str | Path] = [str(place / "class1" / "003.png"), place / "class2" / "000.png"]
    memory: list[Any] = [Image.open(files[0]), np.array(Image.open(files[1]))]
    write_files(tmp_path / "some.tar", {f"{number}.png": Path(path).read_bytes() for number, path in enumerate(files)})
    by_path = {one.image: one for one in whole}
    for given, ids in (
        (files, [str(path) for path in files]),
        (memory, ["0", "1"]),
        (tmp_path / "some.tar", ["0", "1"]),
        ([f"wds:{tmp_path}/some.tar"], ["0", "1"]),
    ):
        found = probe.predict(given, top=7, workers=0)
        assert [one.image for one in found] == ids
        for one, path in zip(found, files, strict=True):
            same = by_path[str(path)]
            assert one.classes == same.classes and one.scores == pytest.approx(same.scores, abs=1e-5)
    assert probe.predict(files[0])[0].classes == by_path[str(files[0])].classes
    frame = whole[:2].to_frame()
    assert list(frame.columns) == ["image", *(f"{n}{m}" for m in ("", "_2", "_3") for n in ("class", "probability"))]


def test_classes_that_a_draw_lacks_are_never_predicted(features: pb.Features, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    made = [(generator.integers(0, 255, (9, 9, 3)).astype(np.uint8), label) for label in range(3) for _ in range(9)]
    held = pb.extract("tiny", {"train": [one for one in made if one[1] != 1], "test": made}, dataset_name="gap")
    pb.evaluate(held, shots="full", protocol="ridge", save_probes="gap")
    (path,) = Path("gap").rglob("*.safetensors")
    probe = pb.Probe.load(path)
    assert probe.class_names == ("0", "2") and probe.facts.kind == "ridge"
    found = probe.predict([image for image, _ in made])
    assert found.measure == "score" and {one.classes[0] for one in found} <= {"0", "2"}


def test_other_weights_are_refused(own: Path, kept: Path, tmp_path: Path) -> None:
    write_entry(own, uri="random:1")
    with pytest.raises(WeightsError, match=r"other weights of tiny .*eval --save-probes"):
        pb.Probe.load(kept).predict(tmp_path / "images")
    (own / "checkpoints" / "tiny.toml").unlink()
    with pytest.raises(pb.UsageError, match="tiny"):
        pb.Probe.load(kept).predict(tmp_path / "images")


def test_an_entry_that_was_edited_since_leaves_the_preprocessing(own: Path, kept: Path, tmp_path: Path) -> None:
    before = pb.Probe.load(kept).predict(tmp_path / "images" / "test")
    write_entry(own, size=48)
    after = pb.Probe.load(kept).predict(tmp_path / "images" / "test")
    assert [one.scores for one in after] == [one.scores for one in before]


def test_a_module_of_a_session_gives_its_own_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    held = pb.extract(Tiny(), items(each=12), transform=transform)
    pb.evaluate(held, shots="full", save_probes="probes")
    probe = pb.Probe.load(next(Path("probes").rglob("*.safetensors")))
    with pytest.raises(pb.UsageError, match=r"module of a Python session; .*Probe.scores"):
        probe.predict([image for image, _ in items()])
    assert probe.scores(held.test.X).shape == (len(held.test), 3)
    with pytest.raises(pb.UsageError, match=r"takes features \(N, 12\), and these have shape \(3, 5\)"):
        probe.scores(np.zeros((3, 5)))


def test_what_cannot_be_kept_is_said_before_anything_is_fitted(features: pb.Features, tmp_path: Path) -> None:
    with pytest.raises(pb.UsageError, match="training images"):
        pb.evaluate(features, shots=1, protocol=["default", "knn"], save_probes="probes")
    with pytest.raises(pb.UsageError, match="dry run"):
        pb.evaluate(features, shots=1, dry_run=True, save_probes="probes")
    assert not (tmp_path / "results").exists() and not (tmp_path / "probes").exists()


def changed(path: Path, **tensors: Any) -> Path:
    with safe_open(path, framework="numpy") as file:
        said = file.metadata()
    whole = {**load_file(path), **tensors}
    save_file({name: value for name, value in whole.items() if value is not None}, path, metadata=said)
    return path


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"coef": None}, "it holds classes, intercept"),
        ({"more": np.zeros(3)}, "it holds classes, coef, intercept, more"),
        ({"coef": np.zeros((3, 96), dtype=np.float32)}, "its coef is float32"),
        ({"coef": np.full((3, 96), np.nan)}, "not finite"),
        ({"intercept": np.zeros(4)}, "its intercept is float64 \\(4,\\)"),
        ({"classes": np.array([0, 2, 1])}, "no ascending labels"),
        ({"classes": np.array([0, 1, 7])}, "no ascending labels"),
        ({"mean": np.zeros(96), "deviation": np.zeros(96)}, "deviation is not positive"),
    ],
)
def test_damaged_arrays_are_one_line(kept: Path, tensors: dict[str, Any], told: str) -> None:
    with pytest.raises(ResultError, match=told):
        pb.Probe.load(changed(kept, **tensors))


def test_files_that_are_no_probes_are_one_line(kept: Path, tmp_path: Path) -> None:
    whole = kept.read_bytes()
    for content, told in ((b"", "damaged"), (whole[:-9], "damaged"), (b"PK" + whole, "damaged")):
        (tmp_path / "broken.safetensors").write_bytes(content)
        with pytest.raises(ResultError, match=told):
            pb.Probe.load(tmp_path / "broken.safetensors")
    save_file({"coef": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ResultError, match="holds tensors and no probe"):
        pb.Probe.load(tmp_path / "other.safetensors")
    for said, told in (("{", "damaged"), ("[]", "another version"), ('{"format": 2}', r"another version \(format")):
        save_file(load_file(kept), tmp_path / "said.safetensors", metadata={"probebench": said})
        with pytest.raises(ResultError, match=told):
            pb.Probe.load(tmp_path / "said.safetensors")
    with safe_open(kept, framework="numpy") as file:
        facts = json.loads(file.metadata()["probebench"])
    for key, other in (("l2", "no"), ("draw_seed", "0"), ("protocol_version", True), ("format", True)):
        said = json.dumps(facts | {key: other})
        save_file(load_file(kept), tmp_path / "lax.safetensors", metadata={"probebench": said})
        with pytest.raises(ResultError, match=rf"another version \({key}: "):
            pb.Probe.load(tmp_path / "lax.safetensors")
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(pb.UsageError, match="name a file that eval --save-probes wrote"):
            pb.Probe.load(path)


def test_predict_as_typed(own: Path, run: Run, tmp_path: Path) -> None:
    images = f"folder:{tmp_path / 'images'}"
    assert run("extract", "--model", "tiny", "--dataset", images).code == 0
    assert run("eval", "--shots", "5", "--draws", "1", "--save-probes", "probes").code == 0
    (path,) = (tmp_path / "probes").rglob("*.safetensors")
    assert path.name.startswith("probe-default-5-") and path.name.endswith("-seed0.safetensors")
    test = tmp_path / "images" / "test"
    shown = run("predict", "--probe", path, test / "class0" / "000.png", test / "class2")
    assert shown.code == 0 and "probability" in shown.out and len(shown.out.splitlines()) >= 8
    done = run("predict", "--probe", path, test, "--top", "2", "--out", "predictions.csv")
    assert "18 images: predictions are in predictions.csv" in done.out
    with (tmp_path / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["image", "class", "probability", "class_2", "probability_2"] and len(table) == 18
    said = json.loads(run("predict", "--probe", path, test, "--top", "2", "--json").out)
    assert [one["classes"][0] for one in said] == [row["class"] for row in table]
    assert [one["scores"][1] for one in said] == [float(row["probability_2"]) for row in table]


def test_images_that_cannot_be_read(own: Path, kept: Path, run: Run, tmp_path: Path) -> None:
    made = make_images(tmp_path / "new", classes=2, each=3)
    (made / "class0" / "001.png").write_bytes(b"no image")
    stopped = run("predict", "--probe", kept, made)
    assert stopped.code == 1 and "001.png" in stopped.error and "--on-error skip" in stopped.error
    left = run("predict", "--probe", kept, made, "--on-error", "skip", "--out", "some.csv")
    assert left.code == 0 and "001.png is left out" in left.err
    assert len((tmp_path / "some.csv").read_text().splitlines()) == 6
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    for place, told in (
        (tmp_path / "empty", "holds no images (1 .txt files)"),
        (tmp_path / "gone.png", "does not exist"),
    ):
        ran = run("predict", "--probe", kept, place)
        assert ran.code == 1 and told in ran.error
    with pytest.raises(DatasetError, match="no image to predict"):
        pb.Probe.load(kept).predict([])
    with pytest.raises(pb.UsageError, match="image 1 has an image of type"):
        pb.Probe.load(kept).predict([made / "class1" / "001.png", 7])
    with pytest.raises(pb.UsageError, match="top= takes"):
        pb.Probe.load(kept).predict(made, top=0)
