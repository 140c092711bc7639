from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probebench.cache.index import read_index
from probebench.errors import CacheError, DatasetError, UsageError
from probebench.evaluation import ProbeTask, evaluate
from probebench.extraction import ExtractionOptions, extract
from probebench.finetuning import finetune as module
from probebench.finetuning.finetune import finetune
from probebench.finetuning.select import image_items
from probebench.finetuning.task import FinetuneTask
from probebench.progress import Silent
from probebench.results.schema import Result
from probebench.results.store import read_predictions, read_result
from probebench.training.data import ImageSubset, load
from tests.finetuning.making import CPU, SHIPPED, make_task, protocol, with_test_labels

DEFAULT = SHIPPED.protocol("default")


def trained(task: FinetuneTask, out: Path) -> Result:
    (result,) = finetune(task, out, DEFAULT, Silent())
    return result


def predictions(task: FinetuneTask, out: Path, alpha: float = 1.0) -> Any:
    path = task.path(out, alpha)
    return read_predictions(path, read_result(path)).y_pred


def probe(task: FinetuneTask, out: Path, shots: Any) -> tuple[Result, Any]:
    """The default probe of the same network, on the same images."""
    from probebench.backbones.builders import build_backbone

    backbone = build_backbone(task.checkpoint, task.home, task.key.preprocessing.size)
    extract(backbone, task.dataset, task.home, ExtractionOptions(device="cpu", dtype="fp32", compile="off"))
    (group,) = read_index(task.home).groups
    one = ProbeTask(
        group=group,
        checkpoint=task.checkpoint,
        protocol=DEFAULT,
        shots=shots,
        draws=task.draws,
        backend="torch",
    )
    result, _ = evaluate(one, out)
    return result, read_predictions(one.path(out), result).y_pred


@pytest.mark.parametrize("shots", [1, 2, "full"])
def test_draws_are_those_of_the_probes(home: Path, tmp_path: Path, shots: Any) -> None:
    task = make_task(tmp_path, home, shots=[shots])
    probed, _ = probe(task, tmp_path / "out", shots)
    result = trained(task, tmp_path / "out")
    assert [trial.draw_digest for trial in result.trials] == [trial.draw_digest for trial in probed.trials]
    assert result.train_fingerprint == probed.train_fingerprint and result.labels_spent == probed.labels_spent
    assert result.dataset_fingerprint == probed.dataset_fingerprint and result.n_test == probed.n_test


def test_a_result_says_all_that_produced_it_and_is_not_made_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(tmp_path, home)
    seen: list[set[str]] = []
    selector = module.__dict__["Selector"]

    def watched(task: FinetuneTask, *others: Any) -> Any:
        seen.append(set(task.dataset.splits))
        return selector(task, *others)

    monkeypatch.setattr(module, "Selector", watched)
    result = trained(task, tmp_path / "out")
    assert seen == [{"train"}], "whoever chooses is given no test split"
    assert (result.kind, result.mode, result.protocol, result.selection) == ("finetune", "full", "quick", "validation")
    assert set(result.trials[0].chosen) == {"learning_rate", "epoch", "training_seed"}
    assert result.trials[0].chosen["learning_rate"] in task.learning_rates and result.trials[0].chosen["epoch"] == 2
    assert result.environment["training"]["micro_batch"] == 8 and result.environment["training"]["device"] == "cpu"
    scores = (predictions(task, tmp_path / "out") == task.dataset.splits["test"].labels).mean(axis=1)
    assert scores == pytest.approx([trial.test_score for trial in result.trials])
    assert result.mean == pytest.approx(scores.mean()) and result.ci95_covers == "draws and test images"
    assert not task.folder.exists(), "checkpoints stay although the result is written"
    monkeypatch.setattr(module, "Selector", None)
    assert trained(task, tmp_path / "out") == result


@pytest.mark.parametrize("shots", [2, "full"])
def test_the_trap_shuffled_test_labels_change_no_choice(home: Path, tmp_path: Path, shots: Any) -> None:
    task = make_task(tmp_path, home, shots=[shots], draws=1)
    honest = trained(task, tmp_path / "honest")
    shuffled = np.random.default_rng(0).permutation(task.dataset.splits["test"].labels)
    trapped = trained(with_test_labels(task, shuffled), tmp_path / "trapped")
    for one, other in zip(honest.trials, trapped.trials, strict=True):
        assert (one.chosen, one.validation_loss) == (other.chosen, other.validation_loss)
    assert (predictions(task, tmp_path / "honest") == predictions(task, tmp_path / "trapped")).all()


def test_a_protocol_that_selects_on_test_says_so(home: Path, tmp_path: Path) -> None:
    from probebench.leaderboard.board import board_rows
    from probebench.results.cells import gather

    ours = protocol(
        id="quick@test-selected", selection="test", criterion="accuracy",
        few_shot={"epoch": "best", "most": None}, full={"epoch": "best", "share": None},
    )  # fmt: skip
    task = make_task(tmp_path, home, protocol=ours, draws=1)
    result = trained(task, tmp_path / "out")
    assert result.selection == "test" and result.trials[0].selection == "test"
    assert result.trials[0].validation == result.n_test == 18
    assert result.trials[0].validation_score == pytest.approx(result.trials[0].test_score)
    (row,) = board_rows(gather([result]))
    assert not row.ranked


def test_full_data_has_a_trial_for_each_training_seed(home: Path, tmp_path: Path) -> None:
    task = make_task(tmp_path, home, shots=["full"], protocol=protocol(seeds=2, epochs=1))
    result = trained(task, tmp_path / "out")
    assert [trial.chosen["training_seed"] for trial in result.trials] == [0, 1]
    assert len({trial.draw_digest for trial in result.trials}) == 1
    assert result.trials[0].validation_loss != result.trials[1].validation_loss
    assert result.ci95_covers == "training seeds and test images"


def test_lp_ft_starts_as_the_probe_predicts_and_alpha_interpolates(home: Path, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="run: probebench extract --model tiny .*--input-size 32"):
        make_task(tmp_path, home, mode="lp-ft", shots=[3])
    _, expected = probe(make_task(tmp_path, home), tmp_path / "out", 3)
    task = make_task(tmp_path, home, mode="lp-ft", shots=[3], alphas=[0.0, 0.5, 1.0])
    results = finetune(task, tmp_path / "out", DEFAULT, Silent())
    assert [result.mode for result in results] == ["lp-ft, alpha 0", "lp-ft, alpha 0.5", "lp-ft"]
    assert results[1].trials[0].chosen["alpha"] == 0.5 and len({task.path(Path(), a) for a in task.alphas}) == 3
    assert (predictions(task, tmp_path / "out", 0.0) == expected).all()
    alone = replace(task, alphas=(1.0,))
    trained(alone, tmp_path / "alone")
    assert (predictions(task, tmp_path / "out", 1.0) == predictions(alone, tmp_path / "alone", 1.0)).all()


def test_a_head_from_the_probe_at_full_data(home: Path, tmp_path: Path) -> None:
    _, expected = probe(make_task(tmp_path, home), tmp_path / "out", "full")
    task = make_task(tmp_path, home, head="probe", shots=["full"], alphas=[0.0])
    (result,) = finetune(task, tmp_path / "out", DEFAULT, Silent())
    assert result.mode == "full, probe head, alpha 0"
    assert (predictions(task, tmp_path / "out", 0.0) == expected).all()


def test_lp_ft_on_unit_features_starts_from_the_probe_of_unit_features(home: Path, tmp_path: Path) -> None:
    probe(make_task(tmp_path, home), tmp_path / "out", 3)
    (group,) = read_index(home).groups
    of_unit = DEFAULT.model_copy(update={"normalize": "l2"})
    task = make_task(tmp_path, home, mode="lp-ft", shots=[3], alphas=[0.0], protocol=protocol(unit_features=True))
    one = ProbeTask(
        group=group, checkpoint=task.checkpoint, protocol=of_unit, shots=3, draws=task.draws, backend="torch"
    )
    expected, _ = evaluate(one, tmp_path / "unit")
    finetune(task, tmp_path / "out", DEFAULT, Silent())
    assert (
        predictions(task, tmp_path / "out", 0.0) == read_predictions(one.path(tmp_path / "unit"), expected).y_pred
    ).all()


def test_a_probe_on_features_that_a_head_does_not_see_is_refused(home: Path, tmp_path: Path) -> None:
    probe(make_task(tmp_path, home), tmp_path / "out", 2)
    task = make_task(tmp_path, home, head="probe")
    for change in ({"standardize": True}, {"normalize": "l2"}):
        prepared = DEFAULT.model_copy(update={"id": "prepared", **change})
        with pytest.raises(UsageError, match='protocol prepared, .*normalize = "none" and standardize = false'):
            finetune(task, tmp_path / "out", prepared, Silent())
    assert not task.path(tmp_path / "out", 1.0).exists()


def test_linear_comes_near_the_probe(home: Path, tmp_path: Path) -> None:
    ours = protocol(linear={"epochs": 150, "learning_rates": [0.001, 0.01, 0.1], "batch_size": 16})
    task = make_task(tmp_path, home, mode="linear", shots=["full"], protocol=ours)
    probed, _ = probe(task, tmp_path / "out", "full")
    result = trained(task, tmp_path / "out")
    assert result.mean and probed.mean and abs(result.mean - probed.mean) <= 2 / 18


def test_scratch_starts_from_other_weights_and_says_so(home: Path, tmp_path: Path) -> None:
    from probebench.backbones.builders import build_backbone
    from probebench.finetuning.model import Starts
    from probebench.registry.checkpoint import untrained

    task = make_task(tmp_path, home, entry={"uri": "random:5"}, mode="scratch")
    result = trained(task, tmp_path / "out")
    assert result.model == "tiny" and result.mode == "scratch" and result.checkpoint.method == "none"
    twin = build_backbone(untrained(task.checkpoint, 0), home)
    assert (
        result.weights_digest
        == twin.weights_digest
        != build_backbone(make_task(tmp_path, home, entry={"uri": "random:5"}).checkpoint, home).weights_digest
    )
    starts = Starts.of(task)
    one, other = (starts.trunk(seeds).state_dict() for _, seeds in task.trials(task.train_split))
    assert (one["conv1.0.weight"] == twin.module.state_dict()["conv1.0.weight"]).all()
    assert (one["conv1.0.weight"] != other["conv1.0.weight"]).any()


def test_divergence_is_recorded_and_never_a_score(home: Path, tmp_path: Path) -> None:
    rates = {"learning_rates": [1e-3, 1e30], "clip_norm": None}
    one = trained(make_task(tmp_path, home, protocol=protocol(optimizer=rates), draws=1), tmp_path / "out")
    assert one.trials[0].unconverged == [1e30] and one.trials[0].chosen["learning_rate"] == 1e-3 and one.mean
    task = make_task(
        tmp_path, home, protocol=protocol(optimizer={"learning_rates": [1e30], "clip_norm": None}), draws=1
    )
    failed = trained(task, tmp_path / "out")
    (trial,) = failed.trials
    assert trial.error and trial.error.startswith("diverged") and "rate 1e+30" in trial.error
    assert trial.test_score is None and failed.mean is None and failed.ci95 is None
    assert (predictions(task, tmp_path / "out") == -1).all()


def test_with_no_validation_image_the_smallest_rate_is_taken(home: Path, tmp_path: Path) -> None:
    task = make_task(tmp_path, home, shots=[12], draws=1)
    result = trained(task, tmp_path / "out")
    assert result.selection == "fixed" and result.trials[0].chosen["learning_rate"] == task.learning_rates[0]
    assert result.trials[0].validation == 0 and len(result.short_classes) == 3


def test_a_damaged_image_is_told_before_anything_is_trained(home: Path, tmp_path: Path) -> None:
    task = make_task(tmp_path, home)
    broken = tmp_path / "images" / "train" / "class0" / "003.png"
    broken.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"003.png cannot be read"):
        finetune(task, tmp_path / "out", DEFAULT, Silent())
    items = image_items(task, ImageSubset.of(task.dataset.splits["train"]))
    with pytest.raises(DatasetError, match=r"003.png cannot be read"):
        list(load(items, [[(None, place) for place in range(8)]], workers=1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "lp-ft", "head": "zero"}, "leave out --head"),
        ({"mode": "scratch", "head": "text"}, "leave out --head"),
    ],
)
def test_what_does_not_fit_together(home: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_task(tmp_path, home, **changes)


def test_options_are_no_part_of_a_name(home: Path, tmp_path: Path) -> None:
    task = make_task(tmp_path, home)
    other = replace(task, options=replace(CPU, workers=2, micro_batch=1))
    assert other.path(tmp_path, 1.0) == task.path(tmp_path, 1.0)
