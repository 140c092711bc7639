"""Zero-shot and fine-tunes that are run again; test_submit runs a probe again, in its confined process."""

import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from probebench.arrays import Labels
from probebench.backbones.user_weights import UserWeights
from probebench.datasets.base import ArrayImages, Split
from probebench.datasets.named import loader as loaders
from probebench.datasets.named.layout import Layout, SplitsByName
from probebench.leaderboard import reproduce
from probebench.leaderboard.rerun import rerun
from probebench.leaderboard.verify import Verified, verify
from probebench.registry import Registry
from probebench.registry.load import shipped_registry
from probebench.results.store import read_predictions, read_result, write_predictions, write_result
from tests.cli.test_finetune import RECIPE
from tests.conftest import Ran, write_entry
from tests.pretraining.making import two_sources

Run = Callable[..., Ran]
CLASSES, TRAIN, TEST = 3, 5, 20
TOWERS = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def _few(_: Layout) -> SplitsByName:
    """Noise around a colour of the class."""
    chance, splits = np.random.default_rng(0), {}
    for name, each in (("train", TRAIN), ("test", TEST)):
        labels: Labels = np.repeat(np.arange(CLASSES), each)
        colours = 60 + 60 * np.eye(CLASSES)[labels][:, None, None, :] + chance.normal(0, 60, (len(labels), 8, 8, 3))
        ids = tuple(f"{name}-{number}" for number in range(len(labels)))
        splits[name] = Split(ids, labels, ArrayImages(colours.clip(0, 255).astype(np.uint8)))
    return splits


@pytest.fixture(autouse=True)
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A registry with a tiny set, and tiny networks of random weights; cells are run again in this process."""
    loaders._import_all()
    monkeypatch.setitem(loaders._LOADERS, "few", loaders.Loader(_few, loaders.comes_installed))
    values = tomllib.loads((shipped_registry() / "datasets" / "digits.toml").read_text())
    values |= {"id": "few", "loader": "few", "fingerprint": "unknown", "classes": ["a", "b", "c"]}
    values |= {"splits": {"rule": "ours", "train": CLASSES * TRAIN, "val": 0, "test": CLASSES * TEST}}
    values |= {"class_counts": {"train": TRAIN, "test": TEST}}
    values.pop("published")
    write_entry(tmp_path / "own")
    import open_clip

    (tmp_path / "tiny-towers.json").write_text(json.dumps(TOWERS))
    open_clip.add_model_config(tmp_path / "tiny-towers.json")
    write_entry(tmp_path / "own", id="clip", library="open_clip", name="tiny-towers", features=16, layer="projected")
    for folder, name, text in (
        ("datasets", "few", tomli_w.dumps(values)),
        ("protocols", "brief", RECIPE.format(id="brief").replace("draws = 1", "draws = 2")),
    ):
        (tmp_path / "own" / folder).mkdir()
        (tmp_path / "own" / folder / f"{name}.toml").write_text(text)

    def in_this_process(_: str, request: dict[str, Any], __: Path) -> dict[str, Any]:
        return dict(json.loads(json.dumps(rerun(json.loads(json.dumps(request))))))

    monkeypatch.setattr(reproduce, "run_confined", in_this_process)
    yield


def verified(home: Path) -> Verified:
    found = verify(Path("results"), Registry.load([Path("own")], {}), home / "datasets")
    assert len(found.entered) == 1 and found.entered[0].sketch, found.findings.failures
    return found


def run_again(home: Path) -> reproduce.Rerun:
    (found,) = reproduce.reproduce(verified(home), 1, "a headline", home)
    return found


def forge(right: int) -> None:
    """Makes so many more images of each trial right, with every number that follows."""
    (path,) = Path("results").glob("*/*/*.json")
    result = read_result(path)
    held = read_predictions(path, result)
    better = held.y_pred.copy()
    for row in better:
        wrong = np.flatnonzero(row != held.y_true)[:right]
        row[wrong] = held.y_true[wrong]
    scores = (better == held.y_true).mean(axis=1)
    trials = [one.model_copy(update={"test_score": float(s)}) for one, s in zip(result.trials, scores, strict=True)]
    told = write_predictions(path, replace(held, y_pred=better))
    changes = {"predictions": told, "trials": trials, "mean": float(scores.mean())}
    write_result(path, result.model_copy(update=changes))


def test_zero_shot_is_run_again(run: Run, home: Path) -> None:
    for command in ("extract", "zeroshot"):
        device = ("--device", "cpu", "--workers", "0") if command == "extract" else ()
        done = run(command, "--registry", "own", "--model", "clip", "--dataset", "few", *device)
        assert done.code == 0, done.err
    found = run_again(home)
    assert found.fault is None and found.why_not is None
    assert found.cell is not None and found.cell.trial is None and found.cell.fresh == []
    assert (found.cell.moved, found.cell.differs, found.cell.found) == (0, [], found.cell.recorded)
    forge(1)
    assert "1 predictions are other ones when run again in the same setting" in str(run_again(home).fault)


@pytest.mark.parametrize("shots", ["2", "full"])
def test_of_a_fine_tune_one_trial_is_trained_again(
    shots: str, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--registry", "own", "--model", "tiny", "--dataset", "few", "--protocol", "brief", "--shots", shots)
    done = run("finetune", *asked, "--device", "cpu", "--workers", "0")
    assert done.code == 0, done.err
    from probebench.finetuning import finetune as module

    trained: list[int] = []
    choose = module._choose

    def chosen(*given: Any) -> Any:
        trained.append(len(found := choose(*given)))
        return found

    monkeypatch.setattr(module, "_choose", chosen)
    found = run_again(home)
    assert found.fault is None and found.why_not is None
    result = found.entered.result
    assert found.cell is not None and found.cell.trial is not None and trained == [1]
    assert found.cell.recorded == result.trials[found.cell.trial].test_score
    assert (found.cell.moved, found.cell.found) == (0, found.cell.recorded)
    # Training may move its score by three points, here two images; not by more.
    forge(2)
    again = run_again(home)
    assert again.fault is None and again.cell is not None and again.cell.moved == 2
    forge(3)
    assert "further apart than 0.0333" in str(run_again(home).fault)


def test_weights_of_a_recipe_are_made_again_and_shipped_ones_are_found(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_sources(run, home)
    done = run("pretrain", "--recipe", "few_simclr", "--source", "drawn", "--samples", "4", "--run", "5")
    assert done.code == 0, done.err
    registry = Registry.load([home / "registry"], {})
    entry = registry.checkpoint("few_simclr-drawn-4-run5")
    before = UserWeights.find(home, entry.id)
    assert before is not None
    shipped = tmp_path / "shipped" / "weights" / entry.id
    shutil.copytree(before.path.parent, shipped)
    shutil.rmtree(before.path.parent)
    assert UserWeights.find(home, entry.id) is None
    reproduce._make(entry, registry, home)
    again = UserWeights.find(home, entry.id)
    assert again is not None and again.digest == before.digest and again.path == before.path
    shutil.rmtree(before.path.parent)
    monkeypatch.setattr("probebench.backbones.user_weights.shipped_registry", lambda: tmp_path / "shipped")
    found = UserWeights.find(home, entry.id)
    assert found is not None and found.digest == before.digest and found.path.parent == shipped


def test_cells_of_each_named_checkpoint_are_run_again(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_entry(Path("own"), id="other")
    for model in ("tiny", "other"):
        for command, more in (("extract", ("--device", "cpu", "--workers", "0")), ("eval", ("--shots", "1,2"))):
            done = run(command, "--registry", "own", "--model", model, "--dataset", "few", *more)
            assert done.code == 0, done.err
    asked = ("leaderboard", "verify", "results", "--registry", "own", "--seed", "a headline", "--json")
    ran = json.loads(run(*asked, "--reproduce", "1", "--model", "t*", "--model", "other").out)
    assert sorted(one["file"].split("/")[0] for one in ran["reruns"]) == ["other", "tiny"]
    assert "--model takes --reproduce" in run(*asked, "--model", "tiny").error
    assert "unknown model" in run(*asked, "--reproduce", "1", "--model", "tinny").error
