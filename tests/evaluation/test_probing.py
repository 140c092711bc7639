import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probebench.arrays import Features, Labels
from probebench.cache.index import FeatureGroup, read_index
from probebench.cache.store import FeatureFile
from probebench.cache.writer import FeatureWriter, Provenance
from probebench.datasets.draws import TrainingSplit
from probebench.errors import CacheError, ResultError, TooFewImagesError, UsageError
from probebench.evaluation import ProbeTask, evaluate
from probebench.evaluation import probing as module
from probebench.probes.backends import backend_name
from probebench.probes.select import Selected, SelectionData
from probebench.registry import Registry
from probebench.registry.entry import Shots
from probebench.results.store import read_predictions, read_result
from tests.evaluation.conftest import Make, store

# The protocol of each kind of probe.
PROBES = ["default", "ridge", "knn"]


def set_test_labels(group: FeatureGroup, change: Callable[[Labels], Labels]) -> None:
    """Writes the test file again with other labels; an edit in place would be refused as damage."""
    path = group.paths["test"]
    with FeatureFile(path) as file:
        provenance = Provenance(file.key, file.model, file.dataset, file.splits, file.settings)
        rows, ids, labels = file.read(), file.ids, file.labels
    path.unlink()
    with FeatureWriter(path, provenance, ids, change(labels), rows.shape[1]) as writer:
        writer.append(rows)
        writer.finish()


def test_a_result_says_all_that_produced_it(make: Make, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    group = make()
    result, computed = evaluate(task(group), tmp_path)
    assert computed and result.shots == 5 and result.labels_spent == 4 * (5 + 4)
    assert result.selection == "validation" and result.metric == "accuracy" and result.n_test == 160
    assert [trial.draw_seed for trial in result.trials] == [0, 1, 2]
    assert len({trial.draw_digest for trial in result.trials}) == 3
    assert result.checkpoint.method == "supervised" and result.checkpoint.sources[0].name == "ImageNet-1k"
    assert result.feature_key and set(result.feature_key) == {"train", "test"}
    assert result.environment["extraction"]["device"] == "cpu" and "scikit-learn" in result.environment["versions"]
    assert result.ci95 and result.mean and result.ci95[0] < result.mean < result.ci95[1]
    assert 0.5 < result.mean < 1 and result.ci95_covers == "draws and test images"


def test_every_score_can_be_recomputed_without_the_model(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path
) -> None:
    from sklearn.metrics import accuracy_score

    one = task(make())
    evaluate(one, tmp_path)
    result = read_result(one.path(tmp_path))
    stored = read_predictions(one.path(tmp_path), result)
    assert stored.test_ids == tuple(f"test-{number}" for number in range(160))
    scores = [accuracy_score(stored.y_true, row) for row in stored.y_pred]
    assert scores == pytest.approx([trial.test_score for trial in result.trials])
    assert np.mean(scores) == pytest.approx(result.mean)


def test_trials_are_scikit_learns_own(make: Make, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    """The whole trial again, by hand: the draw, the scale, a fit at the chosen strength, the test split."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    group = make()
    result, _ = evaluate(task(group, draws=2), tmp_path)
    with FeatureFile(group.paths["train"]) as train, FeatureFile(group.paths["test"]) as test:
        split = TrainingSplit(train.ids, train.labels)
        for trial in result.trials:
            assert trial.draw_seed is not None
            draw = split.few_shot(5, 4, trial.draw_seed)
            assert draw.digest == trial.draw_digest
            rows = train.read(draw.train).astype(np.float64)
            divisor = np.sqrt(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean())
            # Newton-CG: at weak regularisation L-BFGS stops short.
            probe = LogisticRegression(C=trial.chosen["C"], tol=1e-10, max_iter=10_000, solver="newton-cg")
            probe.fit(rows / divisor, train.labels[draw.train])
            held = train.read(draw.validation) / divisor
            loss = log_loss(train.labels[draw.validation], probe.predict_proba(held))
            assert loss == pytest.approx(trial.validation_loss, rel=1e-3)
            assert probe.score(test.read() / divisor, test.labels) == pytest.approx(trial.test_score, abs=1.5 / 160)


@pytest.mark.parametrize("protocol", PROBES)
@pytest.mark.parametrize("shots", [1, 5, "full"])
def test_the_trap_shuffled_test_labels_change_no_choice(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, shots: Shots, protocol: str
) -> None:
    group = make()
    honest, _ = evaluate(task(group, shots, protocol=protocol), tmp_path / "honest")
    set_test_labels(group, lambda labels: np.random.default_rng(0).permutation(labels))
    trapped, _ = evaluate(task(group, shots, protocol=protocol), tmp_path / "trapped")
    for one, other in zip(honest.trials, trapped.trials, strict=True):
        assert (one.chosen, one.draw_digest, one.validation_loss, one.validation_score) == (
            other.chosen,
            other.draw_digest,
            other.validation_loss,
            other.validation_score,
        )
    assert honest.mean and trapped.mean and trapped.mean < honest.mean - 0.2


@pytest.mark.parametrize("protocol", PROBES)
@pytest.mark.parametrize("shots", [1, 5, "full"])
def test_the_test_file_stays_shut_until_every_choice_is_made(
    make: Make,
    task: Callable[..., ProbeTask],
    tmp_path: Path,
    shots: Shots,
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By construction: no test file is open, nor was, while a strength is being chosen."""
    opened: list[str] = []

    class Watched(FeatureFile):
        def __init__(self, path: Path) -> None:
            opened.append(path.name.split("-")[0])
            super().__init__(path)

    choices: list[list[str]] = []
    select = module.__dict__["select"]

    def watched(*arguments: Any, **named: Any) -> Any:
        choices.append(list(opened))
        return select(*arguments, **named)

    monkeypatch.setattr(module, "FeatureFile", Watched)
    monkeypatch.setattr(module, "select", watched)
    evaluate(task(make(val=5), shots, protocol=protocol), tmp_path)
    assert choices and all("test" not in seen for seen in choices)
    assert "test" in opened


def test_full_data_uses_the_data_sets_own_validation_split(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path
) -> None:
    result, _ = evaluate(task(make(val=5), "full"), tmp_path)
    (trial,) = result.trials
    assert (trial.train, trial.validation, trial.draw_seed) == (120, 20, None)
    assert result.feature_key and set(result.feature_key) == {"train", "val", "test"}
    assert result.ci95_covers == "test images only"
    few, _ = evaluate(task(make(val=5), 1), tmp_path)
    assert (few.trials[0].train, few.trials[0].validation) == (4, 4)


def test_classes_without_validation_or_training_images_are_recorded(
    home: Path, task: Callable[..., ProbeTask], tmp_path: Path
) -> None:
    splits = ("train", "val", "test")
    store(home, "train", np.tile([0, 1, 2], 10), splits, seed=0)
    store(home, "val", np.tile([0, 2], 3), splits, seed=1)
    store(home, "test", np.tile([0, 1, 2, 3], 5), splits, seed=2)
    (group,) = read_index(home).groups
    result, _ = evaluate(task(group, "full"), tmp_path)
    assert [(one.label, one.train, one.validation) for one in result.short_classes] == [(1, 10, 0), (3, 0, 0)]
    few, _ = evaluate(task(group, 1), tmp_path)
    assert [(one.label, one.train, one.validation) for one in few.short_classes] == [(3, 0, 0)]


def test_folds_choose_where_a_sets_own_validation_part_has_too_few_classes(
    home: Path, task: Callable[..., ProbeTask], tmp_path: Path
) -> None:
    splits = ("train", "val", "test")
    store(home, "train", np.tile([0, 1, 2], 10), splits, seed=0)
    store(home, "val", np.zeros(3, np.int64), splits, seed=1)
    store(home, "test", np.tile([0, 1, 2], 5), splits, seed=2)
    (group,) = read_index(home).groups
    result, _ = evaluate(task(group, "full"), tmp_path)
    assert result.trials[0].folds == 5


def test_full_data_without_one_holds_out_a_fifth(make: Make, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    result, _ = evaluate(task(make(), "full"), tmp_path)
    assert (result.trials[0].train, result.trials[0].validation, result.labels_spent) == (96, 24, 120)


@pytest.mark.parametrize("val", [0, 5])
def test_the_last_fit_at_full_data_takes_the_validation_images_too(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, val: int
) -> None:
    """By hand: the choice on what is held out, the last fit with it, at few shots without."""
    from sklearn.linear_model import LogisticRegression

    group = make(val=val)
    one = task(group, "full")
    result, _ = evaluate(one, tmp_path)
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(FeatureFile(path)) for name, path in group.paths.items()}
        rows = np.concatenate([files[name].read() for name in ("train", "val") if name in files]).astype(np.float64)
        labels = np.concatenate([files[name].labels for name in ("train", "val") if name in files])
        divisor = np.sqrt(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean())
        C = result.trials[0].chosen["C"]
        probe = LogisticRegression(C=C, tol=1e-10, max_iter=10_000, solver="newton-cg").fit(rows / divisor, labels)
        predicted = probe.predict(files["test"].read() / divisor)
    stored = read_predictions(one.path(tmp_path), result)
    assert (stored.y_pred[0] != predicted).sum() <= 1


def test_too_few_samples_give_what_there_is(make: Make, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    group = make(train=6)
    result, _ = evaluate(task(group, 5), tmp_path)
    assert {(short.train, short.validation) for short in result.short_classes} == {(5, 1)}
    assert result.selection == "validation" and result.labels_spent == 24
    bare, _ = evaluate(task(group, 6), tmp_path)
    assert bare.selection == "validation" and {trial.folds for trial in bare.trials} == {5}
    assert bare.labels_spent == 24 and {trial.validation for trial in bare.trials} == {0}
    assert all(trial.validation_loss is not None for trial in bare.trials) and bare.mean


def test_more_shots_than_any_class_has_are_refused(make: Make, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    with pytest.raises(TooFewImagesError, match="no class has 7 training images, and the largest has 6"):
        evaluate(task(make(train=6), 7), tmp_path)


def stored_by_count(home: Path, counts: Sequence[int], splits: tuple[str, ...] = ("train", "test")) -> FeatureGroup:
    """Features with so many training images of each class."""
    store(home, "train", np.repeat(np.arange(len(counts)), counts), splits, seed=0)
    if "val" in splits:
        store(home, "val", np.tile(np.arange(len(counts)), 9), splits, seed=1)
    store(home, "test", np.tile(np.arange(len(counts)), 10), splits, seed=2)
    (group,) = read_index(home).groups
    return group


@pytest.mark.parametrize(
    ("counts", "shots", "folds", "selection"),
    [
        ((10, 10, 10, 10), 10, 5, "validation"),
        # One class in four has an image to validate on; half of them have.
        ((11, 10, 10, 10), 10, 5, "validation"),
        ((12, 11, 10, 10), 10, None, "validation"),
        # Fewer images than folds; classes of one image; one class alone that could be folded; none.
        ((3, 3, 3, 3), 3, 3, "validation"),
        ((4, 2, 1, 1), 4, 4, "validation"),
        ((4, 1, 1, 1), 4, None, "fixed"),
        ((1, 1, 1, 1), 1, None, "fixed"),
        ((2, 2, 1, 1), "full", 2, "validation"),
    ],
)
@pytest.mark.parametrize("protocol", ["default", "default_1se"])
def test_folds_choose_where_validation_images_are_few(
    home: Path,
    task: Callable[..., ProbeTask],
    tmp_path: Path,
    counts: tuple[int, ...],
    shots: Shots,
    folds: int | None,
    selection: str,
    protocol: str,
) -> None:
    one = task(stored_by_count(home, counts), shots, 2, protocol)
    result, _ = evaluate(one, tmp_path)
    assert result.selection == selection and {trial.folds for trial in result.trials} == {folds}
    for trial in result.trials:
        assert trial.error is None and trial.converged
        assert (trial.validation_loss is None) == (selection == "fixed")
        if selection == "fixed":
            assert trial.chosen == {"C": one.protocol.fallback}


def test_folds_read_no_image_outside_the_draw(home: Path, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    """Neither the set's own validation part at few shots nor the test split: other features there change no choice."""
    group = stored_by_count(home, (10, 10, 10), ("train", "val", "test"))
    honest, _ = evaluate(task(group, 10, 2), tmp_path / "honest")
    set_test_labels(group, lambda labels: np.random.default_rng(0).permutation(labels))
    group.paths["val"].unlink()
    store(home, "val", np.tile(np.arange(3), 9), ("train", "val", "test"), seed=7)
    trapped, _ = evaluate(task(group, 10, 2), tmp_path / "trapped")
    assert [one.chosen for one in honest.trials] == [one.chosen for one in trapped.trials]
    assert [one.validation_loss for one in honest.trials] == [one.validation_loss for one in trapped.trials]
    assert honest.trials[0].folds == 5 and honest.labels_spent == 30


def test_a_second_call_reads_what_is_there(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = make()
    first, _ = evaluate(task(group), tmp_path)
    monkeypatch.setattr(module, "select", lambda *_: pytest.fail("computed again"))
    again, computed = evaluate(task(group), tmp_path)
    assert not computed and again == first


def test_more_draws_or_shots_are_another_result(make: Make, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    group = make()
    paths = {task(group, shots, draws).path(tmp_path) for shots in (1, 5, "full") for draws in (3, 5)}
    assert len(paths) == 5


def test_draws_do_not_depend_on_the_number_of_them(make: Make, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    group = make()
    few, many = (evaluate(task(group, 5, draws), tmp_path)[0] for draws in (2, 4))
    assert [trial.draw_digest for trial in many.trials[:2]] == [trial.draw_digest for trial in few.trials]


def test_damaged_results_and_missing_splits_are_errors(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path
) -> None:
    group = make()
    evaluate(task(group), tmp_path)
    task(group).path(tmp_path).with_suffix(".npz").unlink()
    with pytest.raises(ResultError, match="run eval again"):
        evaluate(task(group), tmp_path)
    group.paths["test"].unlink()
    (group,) = read_index(group.paths["train"].parents[3]).groups
    with pytest.raises(CacheError, match="lack the test split"):
        evaluate(task(group), tmp_path / "other")


def test_a_failed_trial_is_a_failure_and_never_a_score(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One draw on which the solver breaks down takes none of the others with it."""
    select = module.__dict__["select"]
    group = make()
    with FeatureFile(group.paths["train"]) as train:
        broken = TrainingSplit(train.ids, train.labels).few_shot(5, 4, 1)
        rows = train.read(np.sort(broken.train))

    def fails(selection_data: Sequence[SelectionData], *rest: Any, **named: Any) -> list[Selected]:
        if any(np.array_equal(one.train.matrix, rows) for one in selection_data):
            raise np.linalg.LinAlgError("the solver broke down")
        chosen: list[Selected] = select(selection_data, *rest, **named)
        return chosen

    monkeypatch.setattr(module, "select", fails)
    told: list[int] = []
    result, _ = evaluate(task(group), tmp_path, told.append)
    assert [trial.error for trial in result.trials] == [None, "the solver broke down", None]
    assert result.trials[1].test_score is None and result.mean is None and result.ci95 is None
    stored = read_predictions(task(group).path(tmp_path), result)
    assert (stored.y_pred[1] == -1).all() and (stored.y_pred[[0, 2]] >= 0).all()
    assert sum(told) == 3 * 17


def test_few_shot_reads_only_the_rows_of_the_draw(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = make()
    read: list[int] = []

    whole = FeatureFile.read

    def counted(self: FeatureFile, positions: Any = None) -> Features:
        rows = whole(self, positions)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(FeatureFile, "read", counted)
    evaluate(task(group, 1, 2), tmp_path)
    assert sorted(read) == [4, 4, 4, 4, 160]


@pytest.mark.parametrize("shots", [1, 5, "full"])
def test_backends_agree_on_predictions(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, shots: Shots
) -> None:
    """Where both reach the optimum: at weaker regularisation than this the reference stops short."""
    base = task(make(), shots)
    assert base.protocol.grid
    grid = base.protocol.grid.model_copy(update={"stop": 2.0, "num": 13, "widen": 0.0})
    protocol = base.protocol.model_copy(update={"grid": grid})
    ours, theirs = (
        evaluate(replace(base, protocol=protocol, backend=name), tmp_path)[0] for name in ("torch", "sklearn")
    )
    assert [trial.chosen for trial in ours.trials] == [trial.chosen for trial in theirs.trials]
    for one, other in zip(ours.trials, theirs.trials, strict=True):
        assert one.test_score == pytest.approx(other.test_score, abs=1.5 / 160)
        assert one.gap is not None and 0 <= one.gap <= 1e-6 and other.gap is not None and 0 <= other.gap <= 1e-6
    assert (ours.backend, theirs.backend) == ("torch", "sklearn")


@pytest.mark.parametrize(
    ("protocol", "backend", "shots", "spent", "selection", "name"),
    [
        ("dinov2_logreg", "torch", 5, (20, 0), "validation", "C"),
        ("dinov2_logreg", "torch", "full", (108, 12), "validation", "C"),
        ("clip_lbfgs", "scipy-lbfgs", 2, (8, 0), "validation", "C"),
        ("clip_lbfgs", "scipy-lbfgs", "full", (96, 24), "validation", "C"),
        ("mieb", "sklearn-lbfgs", 16, (64, 0), "fixed", "C"),
        ("clip_benchmark", "torch-adamw", 5, (20, 0), "validation", "weight_decay"),
        ("default_1se", "torch", 5, (20, 16), "validation", "C"),
        ("ridge", "numpy", 1, (4, 4), "validation", "alpha"),
        ("ridge", "numpy", "full", (96, 24), "validation", "alpha"),
        ("big_vision_lsr", "numpy", 25, (100, 0), "fixed", "alpha"),
        ("knn", "numpy", 5, (20, 16), "validation", "k"),
        ("knn", "numpy", "full", (96, 24), "validation", "k"),
    ],
)
def test_every_protocol_runs_and_spends_the_labels_it_says(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, protocol: str, backend: str, shots: Shots,
    spent: tuple[int, int], selection: str, name: str,
) -> None:  # fmt: skip
    told: list[int] = []
    one = task(make(), shots, 2, protocol, backend)
    result, _ = evaluate(one, tmp_path, told.append)
    assert result.mean is not None and result.mean > 0.5
    for trial in result.trials:
        assert (trial.train, trial.validation) == spent and trial.selection == selection and name in trial.chosen
    assert result.labels_spent == sum(spent) and result.backend == backend == backend_name(one.protocol, "auto")
    assert sum(told) == len(one.seeds) * one.fits_a_draw


def test_elevater_holds_a_fifth_out_inside_the_draw(
    make: Make, shipped: Registry, task: Callable[..., ProbeTask], tmp_path: Path
) -> None:
    base = task(make(), 5, 1, "elevater", "torch-sgd")
    solver = base.protocol.solver.model_copy(update={"learning_rates": (1e-2,), "final_epochs": 50})
    one = replace(base, protocol=base.protocol.model_copy(update={"solver": solver}))
    result, _ = evaluate(one, tmp_path)
    (trial,) = result.trials
    assert (trial.train, trial.validation, result.labels_spent) == (16, 4, 20)
    assert set(trial.chosen) == {"weight_decay", "learning_rate"} and result.mean and result.mean > 0.5


def test_choosing_inside_one_shot_is_refused(make: Make, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs 2 shots or more"):
        evaluate(task(make(), 1, 1, "dinov2_logreg"), tmp_path)


@pytest.mark.parametrize("protocol", PROBES)
def test_splits_that_do_not_fit_into_memory_are_read_in_blocks(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same result as from memory, and never all rows at once."""
    group = make(train=300, val=20)
    held, _ = evaluate(task(group, "full", protocol=protocol), tmp_path / "held")
    monkeypatch.setattr("probebench.evaluation.features.IN_MEMORY", 0)
    monkeypatch.setattr("probebench.probes.base.BLOCK_ROWS", 256)
    monkeypatch.setattr("probebench.probes.sizes.SMALL", 0)
    # What is solved whole is small, and read whole.
    monkeypatch.setattr("probebench.probes.sizes.MOST", 0)
    for name in ("rows.BLOCK", "stream.BLOCK"):
        monkeypatch.setattr(f"probebench.probes.{name}", 12 * 256)
    monkeypatch.setattr("probebench.probes.stream.BLOCK_ROWS", 256)
    most = 0

    whole = FeatureFile.read

    def counted(self: FeatureFile, positions: Any = None) -> Features:
        rows = whole(self, positions)
        nonlocal most
        most = max(most, len(rows))
        return rows

    monkeypatch.setattr(FeatureFile, "read", counted)
    read, _ = evaluate(task(group, "full", protocol=protocol), tmp_path / "read")
    assert most <= 256 < 1200
    assert read.trials[0].chosen == held.trials[0].chosen
    if protocol == "default":
        assert read.trials[0].validation_loss == pytest.approx(held.trials[0].validation_loss, rel=1e-4)
    assert read.trials[0].validation_score == pytest.approx(held.trials[0].validation_score, abs=1 / 80)
    assert read.mean == pytest.approx(held.mean, abs=2 / 160)


def test_finished_tasks_stay_when_a_later_one_is_interrupted(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = make()
    first, _ = evaluate(task(group, 1), tmp_path)

    def interrupted(fits: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(task(group, 5), tmp_path, interrupted)
    assert [path.name.split("-")[2] for path in tmp_path.rglob("*.json")] == ["1"]
    again, computed = evaluate(task(group, 1), tmp_path)
    assert again == first and not computed
