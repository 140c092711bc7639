"""Results on the test part of another data set: what verify makes of honest ones and of tampered ones."""

import io
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from probebench.arrays import Labels
from probebench.datasets.base import ArrayImages, Split
from probebench.datasets.named import loader as loaders
from probebench.datasets.named.layout import Layout, SplitsByName
from probebench.fingerprint import file_sha256
from probebench.leaderboard import reproduce
from probebench.leaderboard.rerun import rerun
from probebench.leaderboard.verify import Verified, verify
from probebench.registry import Registry
from probebench.registry.load import shipped_registry
from probebench.results.metrics import image_scores
from probebench.results.stats import dropped, interval
from probebench.results.store import pack_results
from tests.conftest import Ran, write_entry

Run = Callable[..., Ran]
CLASSES, OTHERS = ("a", "b", "c", "d"), ("c", "a")
TRAIN, TEST = 12, 30


def _split(name: str, labels: Labels, colours: Labels, noise: float, seed: int) -> Split:
    chance = np.random.default_rng(seed)
    pixels = (
        60 + 60 * np.eye(len(CLASSES))[colours][:, None, None, :3] + chance.normal(0, noise, (len(labels), 8, 8, 3))
    )
    ids = tuple(f"{name}-{number}" for number in range(len(labels)))
    return Split(ids, labels, ArrayImages(pixels.clip(0, 255).astype(np.uint8)))


def _clear(_: Layout) -> SplitsByName:
    """Noise around a colour of the class."""
    splits = {}
    for seed, (name, each) in enumerate((("train", TRAIN), ("test", TEST))):
        labels: Labels = np.repeat(np.arange(len(CLASSES)), each)
        splits[name] = _split(name, labels, labels, 60, seed)
    return splits


def _noisy(_: Layout) -> SplitsByName:
    """Two of the classes, in another order and under more noise; ids are those of the other set's test part too."""
    labels: Labels = np.repeat(np.arange(len(OTHERS)), TEST)
    colours = np.array([CLASSES.index(name) for name in OTHERS])[labels]
    return {"test": _split("test", labels, colours, 140, 5)}


@pytest.fixture
def board(tmp_path: Path, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A shot's results of a tiny network on a tiny set, tested on another one of two of its classes."""
    loaders._import_all()
    values = tomllib.loads((shipped_registry() / "datasets" / "digits.toml").read_text())
    values.pop("published")
    write_entry(tmp_path / "own")
    (tmp_path / "own" / "datasets").mkdir()
    for name, opens, classes, train in (("clear", _clear, CLASSES, TRAIN), ("noisy", _noisy, OTHERS, 0)):
        monkeypatch.setitem(loaders._LOADERS, name, loaders.Loader(opens, loaders.comes_installed))
        values |= {"id": name, "loader": name, "fingerprint": "unknown", "classes": list(classes)}
        values |= {"splits": {"rule": "ours", "train": train * len(classes), "val": 0, "test": TEST * len(classes)}}
        values |= {"class_counts": {"test": TEST, **({"train": TRAIN} if train else {})}}
        (tmp_path / "own" / "datasets" / f"{name}.toml").write_text(tomli_w.dumps(values))
    common = ("--registry", "own", "--model", "tiny")
    done = run("extract", *common, "--dataset", "clear,noisy", "--device", "cpu", "--workers", "0")
    assert done.code == 0, done.err
    done = run("eval", *common, "--dataset", "clear", "--test-dataset", "noisy", "--shots", "5")
    assert done.code == 0 and "clear -> noisy" in done.out and ", drop " in done.out, done.err
    yield tmp_path / "results"


def verified(board: Path, home: Path) -> Verified:
    return verify(board, Registry.load([board.parent / "own"], {}), home / "datasets")


def said(found: Verified) -> str:
    return "\n".join(map(str, found.findings.failures))


class Tampered:
    """One result under the hands of somebody who knows how digests are computed."""

    def __init__(self, board: Path) -> None:
        (self.json,) = board.glob("*/*/*.json")
        self.values: dict[str, Any] = json.loads(self.json.read_text())
        with np.load(self.json.with_suffix(".npz")) as arrays:
            self.arrays = dict(arrays)

    def save(self, *, score: bool = True) -> None:
        if score:
            one, own = (
                image_scores("accuracy", self.arrays[f"{side}y_true"], self.arrays[f"{side}y_pred"])
                for side in ("", "own_")
            )
            for trial, row in zip(self.values["trials"], one, strict=True):
                trial["test_score"] = float(row.mean())
            drop, ends = dropped(own, one)
            self.values |= {"mean": float(one.mean()), "ci95": interval(one)}
            self.values["shift"] |= {"own_mean": float(own.mean()), "drop": drop, "drop_ci95": ends}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self.arrays)
        npz = self.json.with_suffix(".npz")
        npz.write_bytes(buffer.getvalue())
        self.values["predictions"]["sha256"] = file_sha256(npz)
        self.json.write_text(json.dumps(self.values))


def lower_the_drop(one: Tampered) -> None:
    one.values["shift"] |= {"drop": 0.0, "own_mean": one.values["mean"]}
    one.save(score=False)


def narrow_the_interval(one: Tampered) -> None:
    low, high = one.values["shift"]["drop_ci95"]
    one.values["shift"]["drop_ci95"] = [low + 0.01, high - 0.01]
    one.save(score=False)


def leave_out_hard_images(one: Tampered) -> None:
    kept = (one.arrays["own_y_pred"] == one.arrays["own_y_true"]).mean(axis=0) < 1
    for name in ("own_test_ids", "own_y_true", "own_y_pred"):
        one.arrays[name] = one.arrays[name][..., kept]
    one.values["shift"]["n_own"] = int(kept.sum())
    one.save()


def relabel(one: Tampered) -> None:
    one.arrays["y_true"][:3] = 2 - one.arrays["y_true"][:3]
    one.save()


def predict_other_classes(one: Tampered) -> None:
    one.arrays["own_y_pred"][:, :5] = 1
    one.save()


def drop_the_own_side(one: Tampered) -> None:
    one.arrays = {name: values for name, values in one.arrays.items() if not name.startswith("own_")}
    one.save(score=False)


def say_all_classes(one: Tampered) -> None:
    one.values["shift"].pop("labels")
    one.save()


def hide_the_shift(one: Tampered) -> None:
    for name in ("shift", "test_dataset"):
        one.values.pop(name)
    one.save(score=False)


def name_another_set(one: Tampered) -> None:
    one.values["test_dataset"] = "digits"
    one.save()


def take_other_features(one: Tampered) -> None:
    one.values["feature_key"]["own"] = "0" * 64
    one.save()


def say_another_fingerprint(one: Tampered) -> None:
    one.values["shift"]["fingerprint"] = "0" * 64
    one.save()


TAMPERED: list[tuple[Callable[[Tampered], None], str]] = [
    (lower_the_drop, "drop is 0.000000, and the predictions give"),
    (narrow_the_interval, "the drop's low end is"),
    (leave_out_hard_images, "images of its own test part and 0 skipped, of 60"),
    (relabel, "3 test labels are not those of noisy"),
    (predict_other_classes, "predictions on its own test part are of class 1, which the two sets do not share"),
    (drop_the_own_side, "its file holds no predictions on its own test part"),
    (say_all_classes, "its labels are not the 2 classes that clear and noisy share"),
    (hide_the_shift, "its file holds predictions on its own test part"),
    (name_another_set, "digits has classes that clear has not"),
    (take_other_features, "its own features are not those of the entry tiny"),
    (say_another_fingerprint, "its test data set's fingerprint is not that of the noisy on this machine"),
]


def test_an_honest_result_passes_and_tampered_ones_do_not(board: Path, home: Path) -> None:
    honest = verified(board, home)
    assert honest.ok and honest.scored == 1 and not honest.findings.unchecked, said(honest)
    (path,) = board.glob("*/*/*.json")
    files = {one: one.read_bytes() for one in (path, path.with_suffix(".npz"))}
    assert json.loads(files[path])["shift"]["labels"] == [0, 2]
    for tamper, line in TAMPERED:
        tamper(Tampered(board))
        assert line in said(verified(board, home)), tamper.__name__
        for one, content in files.items():
            one.write_bytes(content)
    assert verified(board, home).ok


def test_an_unknown_test_set_is_refused(board: Path, home: Path) -> None:
    (board.parent / "own" / "datasets" / "noisy.toml").unlink()
    assert "test data set 'noisy' is not in the registry, so nobody else can check it" in said(verified(board, home))


def test_it_lies_beside_ordinary_results_and_stays_out_of_packs(board: Path, home: Path, run: Run) -> None:
    common = ("--registry", "own", "--model", "tiny", "--dataset", "clear")
    assert list(pack_results(board)) == [] and len(list(board.glob("tiny/clear/*.json"))) == 1
    assert run("eval", *common, "--shots", "5").code == 0
    found = verified(board, home)
    assert found.ok and found.scored == 2, said(found)
    assert [why for _, why in pack_results(board)] == [None]
    assert len(list(board.glob("tiny/clear/*.json"))) == 1 and (board / "tiny" / "clear.zip").is_file()
    assert [why for _, why in pack_results(board)] == [None] and verified(board, home).scored == 2
    assert verified(board, home).ok


def test_it_is_run_again(board: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_this_process(_: str, request: dict[str, Any], __: Path) -> dict[str, Any]:
        return dict(json.loads(json.dumps(rerun(json.loads(json.dumps(request))))))

    monkeypatch.setattr(reproduce, "run_confined", in_this_process)
    (found,) = reproduce.reproduce(verified(board, home), 1, "a headline", home)
    assert found.fault is None and found.why_not is None and found.cell is not None
    assert found.cell.moved == 0 and found.cell.found == found.cell.recorded and len(found.cell.fresh) == 2
