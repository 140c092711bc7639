"""Runs a task, in an order that is the guarantee.

``_choose`` sees a train split and nothing else, and returns probes that are finished. Only then does ``_predict``
open the test file, and it returns predictions, not probes.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from probebench.cache.store import FeatureFile
from probebench.datasets.draws import Draw, TrainingSplit, require_shots
from probebench.engine import Ray
from probebench.errors import ProbebenchError, UsageError, one_line
from probebench.evaluation.draw_outcome import DrawOutcome
from probebench.evaluation.features import require_splits, rows_of
from probebench.evaluation.many import results_or_errors
from probebench.evaluation.probe_task import ProbeTask
from probebench.evaluation.record import Measured, TrainedOn
from probebench.evaluation.saved_probe import ProbeFacts, write_probe
from probebench.evaluation.selection_data import draw_for, selection_data_for
from probebench.evaluation.stored import stored_or_compute
from probebench.evaluation.text_start import start_vectors
from probebench.probes.backends import fitters
from probebench.probes.base import blocks
from probebench.probes.select import Fitters, Selected, SelectionData, select
from probebench.results.environment import environment
from probebench.results.metrics import image_scores, mean_score
from probebench.results.predictions import Measure, Predictions
from probebench.results.schema import Result

# What a solver may raise on one draw's features; anything else is a bug and not a failed trial.
_FAILURES = (ValueError, FloatingPointError, np.linalg.LinAlgError, RuntimeError, MemoryError)


def evaluate(task: ProbeTask, out: Path, on_progress: Callable[[int], None] = lambda fits: None) -> tuple[Result, bool]:
    """Returns a task's result, computed and written unless it is there already; its probes too, where it keeps them.

    Args:
        task: What to evaluate.
        out: The results folder.
        on_progress: Called with the number of fits that were just finished; over a task they add up to its draws times
            ``fits_a_draw``.

    Returns:
        The result, and whether this call computed it.

    Raises:
        CacheError: A split is missing from the cache, or a feature file is damaged.
        ResultError: The result is there, but damaged.
        UsageError: The protocol cannot choose at this number of shots, or the backend cannot run here.
        OSError: The results folder is full or cannot be written.
    """
    planned = len(task.seeds) * task.fits_a_draw
    budget = _Budget(planned, on_progress)
    (result,), computed = stored_or_compute(task, [task.path(out)], lambda: [_measure(task, budget)])
    if not computed and not all(path.exists() for path in task.probe_paths):
        # A result does not hold its probes, so they are fitted again; the result stays as it is.
        _measure(task, budget)
    elif not computed:
        on_progress(planned)
    return result, computed


def _measure(task: ProbeTask, budget: "_Budget") -> Measured:
    if refusal := task.protocol.refuses(task.shots):
        raise UsageError(refusal)
    require_splits(task.group, *task.group.missing)
    started = time.perf_counter()
    words = task.prompts
    start = start_vectors(task.checkpoint, task.key, words) if words else None
    fit = fitters(task.protocol, task.backend, start)
    with contextlib.ExitStack() as stack:
        train = stack.enter_context(FeatureFile(task.group.paths["train"]))
        held = stack.enter_context(FeatureFile(task.group.paths["val"])) if "val" in task.group.paths else None
        own = held if task.selection.method == "own-split-or-holdout" else None
        split, width = _train_split(train), train.width
        require_shots(task.dataset_id, split.labels, task.shots)
        outcomes = _choose(task, train, split, own, fit, budget)
        digests, settings, skipped = {"train": train.key.digest}, dict(train.settings), list(train.skipped.ids)
        chosen_in = time.perf_counter() - started
        # Neighbours that do not fit into memory are read again as they vote, so the training file is still open.
        test = stack.enter_context(FeatureFile(task.group.paths["test"]))
        predictions = _predict(test, [one.selected for one in outcomes])
        digests["test"] = test.key.digest
        skipped += test.skipped.ids
        if held is not None:
            digests["val"] = held.key.digest
            skipped += held.skipped.ids
    _save(task, outcomes, predictions)
    budget.finish()
    return Measured(
        mode=task.mode,
        width=width,
        trained_on=TrainedOn(split, outcomes[0].draw, outcomes[0].own_labels),
        trials=[one.record for one in outcomes],
        predictions=predictions,
        feature_key=digests,
        skipped=skipped,
        environment={
            "extraction": settings,
            **({"prompts": {"names": list(words.names), "templates": list(words.templates)}} if words else {}),
        },
        timings={"choose_s": chosen_in, "total_s": time.perf_counter() - started},
    )


def _train_split(train: FeatureFile) -> TrainingSplit:
    """Returns what can be drawn; images that were left out still count in the order of the others."""
    skipped = train.skipped
    if not len(skipped):
        return TrainingSplit(train.ids, train.labels)
    ids, labels = list(train.ids), train.labels.tolist()
    for position, name, label in zip(skipped.positions.tolist(), skipped.ids, skipped.labels.tolist(), strict=True):
        ids.insert(position, name)
        labels.insert(position, label)
    return TrainingSplit(train.ids, train.labels, (ids, np.array(labels, dtype=np.int64)))


def evaluate_all(
    tasks: Sequence[ProbeTask],
    out: Path,
    on_progress: Callable[[int], None] = lambda fits: None,
    engine: Ray | None = None,
) -> Iterator[Result | ProbebenchError]:
    """Yields each task's result, or why it has none, in the order of the tasks.

    Args:
        tasks: What to evaluate.
        out: The results folder; workers of an engine on other machines must see it, and the cache, at the same path.
        on_progress: As in ``evaluate``.
        engine: Spreads tasks as jobs; None evaluates them here.

    Raises:
        OSError: The results folder is full or cannot be written.
        EngineError: A task lost its worker again and again.
    """
    if engine is None:
        yield from results_or_errors(lambda task: evaluate(task, out, on_progress)[0], tasks)
        return
    results = results_or_errors(partial(_result, out=out.absolute()), tasks, engine)
    for task, result in zip(tasks, results, strict=True):
        on_progress(len(task.seeds) * task.fits_a_draw)
        yield result


def _result(task: ProbeTask, out: Path) -> Result:
    return evaluate(task, out)[0]


class _Budget:
    """Turns fits into progress that adds up to what was planned, however many a widened grid or a retry took."""

    def __init__(self, planned: int, on_progress: Callable[[int], None]) -> None:
        self._left, self._on_progress = planned, on_progress

    def __call__(self, fits: int) -> None:
        told = min(fits, max(self._left - 1, 0))
        self._left -= told
        if told:
            self._on_progress(told)

    def finish(self) -> None:
        self._on_progress(self._left)


def _choose(
    task: ProbeTask, train: FeatureFile, split: TrainingSplit, own: FeatureFile | None, fit: Fitters, budget: _Budget
) -> list[DrawOutcome]:
    """Fits all draws and chooses their strengths; the test split is out of reach here."""
    own_labels = None if own is None else frozenset(own.labels.tolist())
    draws = [draw_for(task, split, seed, own is not None) for seed in task.seeds]
    selection_data = [selection_data_for(task, train, split, draw, own) for draw in draws]

    def outcome(draw: Draw, selected: Selected | None, error: str | None) -> DrawOutcome:
        validation = len(draw.validation) if own is None else own.rows
        return DrawOutcome(draw, validation, own_labels, selected, error)

    try:
        return [
            outcome(draw, selected, None)
            for draw, selected in zip(
                draws, select(selection_data, task.protocol, fit, budget, metric=task.metric), strict=True
            )
        ]
    except _FAILURES:
        # One draw must not take the others down with it: each again, on its own.
        return [
            outcome(draw, *_alone(task, data, fit, budget)) for draw, data in zip(draws, selection_data, strict=True)
        ]


def _alone(task: ProbeTask, data: SelectionData, fit: Fitters, budget: _Budget) -> tuple[Selected | None, str | None]:
    try:
        return select([data], task.protocol, fit, budget, metric=task.metric)[0], None
    except _FAILURES as failure:
        return None, one_line(failure)


def _predict(test: FeatureFile, probes: Sequence[Selected | None]) -> Predictions:
    """Lets finished probes predict the whole test split; a failed trial predicts -1 and measures NaN everywhere."""
    predicted = np.full((len(probes), test.rows), -1, dtype=np.int64)
    measures: dict[str, Measure] = {}
    for rows, block in blocks(rows_of(test).features):
        for number, selected in enumerate(probes):
            if selected is not None:
                prepared = selected.preparation(block)
                predicted[number, rows], found = selected.probe.measured(prepared, test.labels[rows])
                for name, values in found.items():
                    empty = np.full(predicted.shape, np.nan, dtype=np.float32)
                    measures.setdefault(name, empty)[number, rows] = values
    return Predictions(test.ids, test.labels, predicted, measures)


def _save(task: ProbeTask, outcomes: Sequence[DrawOutcome], predictions: Predictions) -> None:
    """Writes the finished probes, where the task keeps them, with what came of them on the test split."""
    if task.saving is None:
        return
    names, key, made = task.saving.class_names, task.key, environment()
    scores = image_scores(task.metric, predictions.y_true, predictions.y_pred)
    for path, outcome, scored in zip(task.probe_paths, outcomes, scores, strict=True):
        if (selected := outcome.selected) is None:
            continue
        facts = ProbeFacts(
            model=task.model,
            weights_digest=key.weights_digest,
            layer=key.layer,
            preprocessing=key.preprocessing,
            dtype=key.dtype,
            dataset=task.dataset_id,
            dataset_fingerprint=key.dataset_fingerprint,
            class_names=None if names is None else list(names),
            kind="ridge" if task.kind == "ridge" else "probe",
            protocol=task.protocol.id,
            protocol_version=task.protocol.version,
            backend=task.backend,
            shots=task.shots,
            draw_seed=outcome.draw.seed,
            draw_digest=outcome.draw.digest,
            chosen=selected.chosen,
            l2=selected.preparation.l2,
            divisor=selected.preparation.divisor,
            metric=task.metric,
            validation_score=selected.score,
            test_score=mean_score(scored),
            result=task.digest,
            environment=made,
        )
        write_probe(path, selected, facts)
