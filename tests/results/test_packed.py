"""Packs: what goes in comes out, for every reader, and nothing in a strange one is believed."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from probebench.api.report import read_results
from probebench.errors import ProbebenchWarning, ResultError
from probebench.results.calibration import calibration
from probebench.results.packed import read_pack, write_pack
from probebench.results.predictions import MEASURES, PROBABILITIES, SCALED, Predictions
from probebench.results.store import (
    beside_file,
    pack_results,
    read_predictions,
    read_result,
    result_files,
    result_path,
    write_predictions,
    write_result,
)
from tests.results.make import result, trial

Y_TRUE = np.array([2, 0, 1, 0])
IDS = ("d", "a", "ü,\n\"'", "b")


def _runs(out: Path, ids: tuple[str, ...] = IDS, dataset: str = "digits") -> list[Path]:
    """Two runs of one draw and of two."""
    paths = []
    for shots, y_pred in ((1, [[2, 0, 0, 300]]), ("full", [[0, 0, 1, 1], [-1, -1, -1, -1]])):
        path = result_path(out, "net", dataset, "probe", "default", shots, "abcdef0123")  # type: ignore[arg-type]
        said = write_predictions(path, Predictions(ids, Y_TRUE, np.array(y_pred)))
        trials = [trial(seed) for seed in range(len(y_pred))]
        write_result(path, result(predictions=said, shots=shots, trials=trials, n_test=4, dataset=dataset))
        paths.append(path)
    return sorted(paths)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    _runs(tmp_path)
    assert list(pack_results(tmp_path)) == [(tmp_path / "net" / "digits", None)]
    return tmp_path / "net" / "digits.zip"


def test_a_pack_reads_as_the_folder_that_it_was(tmp_path: Path) -> None:
    paths = _runs(tmp_path)
    before = [(read_result(path), read_predictions(path, read_result(path))) for path in paths]
    assert [*pack_results(tmp_path)] and not paths[0].parent.exists()

    packed = list(result_files(tmp_path))
    assert [path.name for path in packed] == [path.name for path in paths]
    for path, (was, predictions) in zip(packed, before, strict=True):
        now = read_result(path)
        assert now.model_copy(update={"predictions": was.predictions}) == was
        again = read_predictions(path, now)
        assert again.test_ids == predictions.test_ids
        assert np.array_equal(again.y_true, predictions.y_true) and np.array_equal(again.y_pred, predictions.y_pred)
        assert beside_file(tmp_path, now) == path
    assert len(read_results(tmp_path)) == 2


def test_probabilities_may_be_left_out_with_what_is_computed_from_them(tmp_path: Path) -> None:
    path = result_path(tmp_path, "net", "digits", "probe", "default", 1, "abcdef0123")
    random = np.random.default_rng(0)
    measures = {name: random.random((1, 4), dtype=np.float32) for name in MEASURES}
    predictions = Predictions(IDS, Y_TRUE, np.array([[2, 0, 0, 300]]), measures)
    said = write_predictions(path, predictions)
    facts = {
        name: calibration(predictions, names)
        for name, names in (("calibration", PROBABILITIES), ("scaled_calibration", SCALED))
    }
    write_result(path, result(predictions=said, shots=1, trials=[trial(0)], n_test=4).model_copy(update=facts))
    assert read_result(path).calibration is not None
    assert list(pack_results(tmp_path, probabilities=False)) == [(path.parent, None)]

    (packed,) = result_files(tmp_path)
    now = read_result(packed)
    assert now.calibration is None and now.scaled_calibration is None
    held = read_predictions(packed, now)
    assert np.array_equal(held.y_pred, predictions.y_pred) and held.test_ids == IDS
    # Ranks of retrieval stay: they are no probabilities.
    assert set(held.measures) == set(MEASURES) - {*PROBABILITIES, *SCALED}


def test_what_comes_later_is_taken_in_and_the_bytes_are_the_same(pack: Path, tmp_path: Path) -> None:
    content = pack.read_bytes()
    first, second = _runs(tmp_path / "other")
    for path in (first, first.with_suffix(".npz")):
        (pack.parent / "digits").mkdir(exist_ok=True)
        path.rename(pack.parent / "digits" / path.name)
    assert [why for _, why in pack_results(tmp_path) if why is None] == [None]
    assert pack.read_bytes() == content
    assert second.exists()


def test_runs_of_other_test_images_stay_in_their_folder(tmp_path: Path) -> None:
    first, _ = _runs(tmp_path)
    said = write_predictions(first, Predictions(("d", "a", "c", "e"), Y_TRUE, np.array([[2, 0, 0, 3]])))
    write_result(first, read_result(first).model_copy(update={"predictions": said}))
    ((folder, why),) = pack_results(tmp_path)
    assert why is not None and "is of other test images" in why
    assert len(list(folder.iterdir())) == 4 and not folder.with_suffix(".zip").exists()


@given(st.data(), st.integers(1, 12), st.sampled_from([1, 2, 200, 70_000]))
def test_any_predictions_come_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, images: int, classes: int
) -> None:
    ids = tuple(data.draw(st.lists(st.text(max_size=5), min_size=images, max_size=images, unique=True)))
    y_true = data.draw(arrays(np.int64, images, elements=st.integers(0, classes - 1)))
    runs = []
    for number in range(data.draw(st.integers(1, 3))):
        shape = (data.draw(st.integers(1, 4)), images)
        y_pred = data.draw(arrays(np.int64, shape, elements=st.integers(-1, classes - 1)))
        names = data.draw(st.sets(st.sampled_from(MEASURES)))
        drawn = st.floats(0, 1, width=32) | st.just(float("nan"))
        measures = {name: data.draw(arrays(np.float32, shape, elements=drawn)) for name in names}
        runs.append((f"run-{number}.json", {"trials": [0] * len(y_pred)}, Predictions(ids, y_true, y_pred, measures)))
    path = tmp_path_factory.mktemp("pack") / "digits.zip"
    write_pack(path, runs)
    read = read_pack(path)
    for name, values, predictions in runs:
        again = read.predictions(name, predictions.digest)
        assert again.digest == predictions.digest and again.test_ids == ids
        assert np.array_equal(again.y_true, y_true) and np.array_equal(again.y_pred, predictions.y_pred)
        assert {key: values.tobytes() for key, values in again.measures.items()} == {
            key: values.tobytes() for key, values in predictions.measures.items()
        }
        assert json.loads(read.texts[name])["trials"] == values["trials"]


def _changed(change: Callable[[dict[str, bytes]], object]) -> Callable[[Path], None]:
    """Returns what writes a pack again with other members."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return write


def _npy(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "no .zip file"),
        (lambda path: path.write_bytes(b""), "no .zip file"),
        (_changed(lambda members: members.pop("y_true.npy")), "must hold results.jsonl, test_ids.json"),
        (_changed(lambda members: members.update(more=b"x")), "'more' does not belong there"),
        (_changed(lambda members: members.update({"results.jsonl": b"no json\n"})), "JSONDecodeError"),
        (_changed(lambda members: members.update({"results.jsonl": b"[1]\n"})), "TypeError"),
        (_changed(lambda members: members.update({"results.jsonl": b"," * 60_000})), "more values than any has"),
        (_changed(lambda members: members.update({"results.jsonl": members["results.jsonl"] * 2})), "are called"),
        (_changed(lambda members: members.update({"test_ids.json": b'["a"]'})), "names 1 images, and has 4"),
        (_changed(lambda members: members.update({"test_ids.json": b"[1, 2, 3, 4]"})), "no list of ids"),
        (_changed(lambda members: members.update({"y_pred.npy": _npy(np.zeros((4, 2), int))})), "holds 2 trials"),
        (_changed(lambda members: members.update({"y_pred.npy": _npy(np.zeros((3, 3), int))})), "holds 4 labels"),
        (_changed(lambda members: members.update({"y_pred.npy": _npy(np.zeros((4, 3)))})), "has dtype float64"),
    ],
)  # fmt: skip
def test_a_pack_that_is_wrong_is_told_in_one_line(pack: Path, change: Callable[[Path], None], said: str) -> None:
    change(pack)
    with pytest.raises(ResultError, match=said):
        read_pack(pack)
    (listed,) = result_files(pack.parent.parent)
    with pytest.raises(ResultError, match=f"pack .*digits.zip .*{said}") as caught:
        read_result(listed)
    assert "\n" not in str(caught.value)
    with pytest.warns(ProbebenchWarning, match=said):
        assert len(read_results(pack.parent.parent)) == 0


def test_predictions_that_were_changed_in_a_pack_are_refused(pack: Path) -> None:
    def one_more_right(members: dict[str, bytes]) -> None:
        values = np.load(io.BytesIO(members["y_pred.npy"]))
        values[0, 0] = 1 - values[0, 0]
        members["y_pred.npy"] = _npy(values)

    _changed(one_more_right)(pack)
    first, second = result_files(pack.parent.parent)
    with pytest.raises(ResultError, match="other predictions of probe-default-1-abcdef01.json"):
        read_predictions(first, read_result(first))
    read_predictions(second, read_result(second))


def test_a_run_that_a_pack_has_not(pack: Path) -> None:
    with pytest.raises(ResultError, match=r"holds no probe-x\.json"):
        read_result(pack / "probe-x.json")


def test_a_pack_names_its_runs_by_their_predictions(pack: Path) -> None:
    for name, text in read_pack(pack).texts.items():
        assert json.loads(text)["predictions"]["file"] == Path(name).with_suffix(".npz").name
