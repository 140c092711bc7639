"""Runs a cell, in an order that is the guarantee.

``_choose`` sees a training part and nothing else, and returns probes that are finished. Only then does ``_predict``
open the test file, and it returns predictions, not probes.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from probebench.cache.store import FeatureFile
from probebench.datasets.draws import Draw, TrainingPart
from probebench.engine import Ray
from probebench.errors import CacheError, ProbebenchError, UsageError, one_line
from probebench.evaluate.cell import Cell
from probebench.evaluate.material import draw_for, material_for, rows_of
from probebench.evaluate.record import Chosen, Made, make_result
from probebench.probes.backends import fitters
from probebench.probes.base import blocks
from probebench.probes.select import Fitters, Material, Selected, select
from probebench.results.schema import Result
from probebench.results.store import Predictions, read_predictions, read_result, write_predictions, write_result

# What a solver may raise on one draw's features; anything else is a bug and not a failed trial.
_FAILURES = (ValueError, FloatingPointError, np.linalg.LinAlgError, RuntimeError, MemoryError)


def evaluate(cell: Cell, out: Path, tick: Callable[[int], None] = lambda fits: None) -> tuple[Result, bool]:
    """Returns a cell's result, computed and written unless it is there already.

    Args:
        cell: What to evaluate.
        out: The results folder.
        tick: Called with the number of fits that were just finished; over a cell they add up to its draws times
            ``fits_a_draw``.

    Returns:
        The result, and whether this call computed it.

    Raises:
        CacheError: A split is missing from the cache, or a feature file is damaged.
        ResultError: The result is there, but damaged.
        UsageError: The protocol cannot choose at this number of shots, or the backend cannot run here.
        OSError: The results folder is full or cannot be written.
    """
    planned = len(cell.seeds) * cell.fits_a_draw
    path = cell.path(out)
    if path.exists():
        result = read_result(path)
        read_predictions(path, result)
        tick(planned)
        return result, False
    if refusal := cell.protocol.refuses(cell.shots):
        raise UsageError(refusal)
    if cell.group.missing:
        raise CacheError(
            f"features of {cell.group.model} on {cell.group.dataset} lack the {', '.join(cell.group.missing)} part; "
            "run the same probebench extract again to finish it"
        )
    fit = fitters(cell.protocol, cell.backend)
    budget = _Budget(planned, tick)
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        train = stack.enter_context(FeatureFile(cell.group.paths["train"]))
        own = None
        if "val" in cell.group.paths and cell.selection.method == "own-split-or-holdout":
            own = stack.enter_context(FeatureFile(cell.group.paths["val"]))
        part, width = _training_part(train), train.width
        chosen = _choose(cell, train, part, own, fit, budget)
        digests, settings, skipped = {"train": train.key.digest}, dict(train.settings), list(train.skipped.ids)
        chosen_in = time.perf_counter() - started
        # Neighbours that do not fit into memory are read again as they vote, so the training file is still open.
        test = stack.enter_context(FeatureFile(cell.group.paths["test"]))
        predictions = _predict(test, [one.selected for one in chosen])
        digests["test"] = test.key.digest
        skipped += test.skipped.ids
    if "val" in cell.group.paths:
        with FeatureFile(cell.group.paths["val"]) as held:
            digests["val"] = held.key.digest
            skipped += held.skipped.ids
    budget.finish()
    timings = {"choose_s": chosen_in, "total_s": time.perf_counter() - started}
    made = Made(part, width, digests, settings, write_predictions(path, predictions), timings, skipped)
    result = make_result(cell, chosen, predictions, made)
    write_result(path, result)
    return result, True


def _training_part(train: FeatureFile) -> TrainingPart:
    """Returns what can be drawn; images that were left out still count in the order of the others."""
    skipped = train.skipped
    if not len(skipped):
        return TrainingPart(train.ids, train.labels)
    ids, labels = list(train.ids), train.labels.tolist()
    for position, name, label in zip(skipped.positions.tolist(), skipped.ids, skipped.labels.tolist(), strict=True):
        ids.insert(position, name)
        labels.insert(position, label)
    return TrainingPart(train.ids, train.labels, (ids, np.array(labels, dtype=np.int64)))


def evaluate_all(
    cells: Sequence[Cell], out: Path, tick: Callable[[int], None] = lambda fits: None, engine: Ray | None = None
) -> Iterator[Result | ProbebenchError]:
    """Yields each cell's result, or why it has none, in the order of the cells.

    Args:
        cells: What to evaluate.
        out: The results folder; workers of an engine on other machines must see it, and the cache, at the same path.
        tick: As in ``evaluate``.
        engine: Spreads cells as tasks; None evaluates them here.

    Raises:
        OSError: The results folder is full or cannot be written.
        EngineError: A cell lost its worker again and again.
    """
    if engine is None:
        for cell in cells:
            yield _result_or_error((out, cell), tick)
        return
    results = engine.map(_result_or_error, [(out.absolute(), cell) for cell in cells], gpu=bool(engine.gpus))
    for cell, result in zip(cells, results, strict=True):
        tick(len(cell.seeds) * cell.fits_a_draw)
        yield result


def _result_or_error(
    task: tuple[Path, Cell], tick: Callable[[int], None] = lambda fits: None
) -> Result | ProbebenchError:
    out, cell = task
    try:
        return evaluate(cell, out, tick)[0]
    except ProbebenchError as error:
        return error


class _Budget:
    """Turns fits into progress that adds up to what was planned, however many a widened grid or a retry took."""

    def __init__(self, planned: int, tick: Callable[[int], None]) -> None:
        self._left, self._tick = planned, tick

    def __call__(self, fits: int) -> None:
        told = min(fits, max(self._left - 1, 0))
        self._left -= told
        if told:
            self._tick(told)

    def finish(self) -> None:
        self._tick(self._left)


def _choose(
    cell: Cell, train: FeatureFile, part: TrainingPart, own: FeatureFile | None, fit: Fitters, budget: _Budget
) -> list[Chosen]:
    """Fits all draws and chooses their strengths; the test part is out of reach here."""
    own_labels = None if own is None else frozenset(own.labels.tolist())
    draws = [draw_for(cell, part, seed, own is not None) for seed in cell.seeds]
    materials = [material_for(cell, train, part, draw, own) for draw in draws]

    def chosen(draw: Draw, selected: Selected | None, error: str | None) -> Chosen:
        validation = len(draw.validation) if own is None else own.rows
        return Chosen(draw, validation, own_labels, selected, error)

    try:
        return [
            chosen(draw, selected, None)
            for draw, selected in zip(draws, select(materials, cell.protocol, fit, budget), strict=True)
        ]
    except _FAILURES:
        # One draw must not take the others down with it: each again, on its own.
        return [
            chosen(draw, *_alone(cell, material, fit, budget)) for draw, material in zip(draws, materials, strict=True)
        ]


def _alone(cell: Cell, material: Material, fit: Fitters, budget: _Budget) -> tuple[Selected | None, str | None]:
    try:
        return select([material], cell.protocol, fit, budget)[0], None
    except _FAILURES as failure:
        return None, one_line(failure)


def _predict(test: FeatureFile, probes: Sequence[Selected | None]) -> Predictions:
    """Lets finished probes predict the whole test part; a failed trial predicts -1 everywhere."""
    predicted = np.full((len(probes), test.rows), -1, dtype=np.int64)
    for rows, block in blocks(rows_of(test).features):
        for number, selected in enumerate(probes):
            if selected is not None:
                predicted[number, rows] = selected.probe.predict(selected.preparation(block))
    return Predictions(test.ids, test.labels, predicted)
