"""Runs a cell, in an order that is the guarantee.

``_choose`` is given a cell whose data set has no test part, and returns networks that are finished. Only then does
``_predict`` see the test part, and it returns predictions. A protocol that selects on test goes through
``_choose_on_test``, and its results say so.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from probebench.datasets.base import Split
from probebench.engine import Ray
from probebench.errors import DatasetError, ProbebenchError
from probebench.finetune.cell import Cell
from probebench.finetune.data import ImageItems, Part
from probebench.finetune.model import Starts, interpolate
from probebench.finetune.predict import accelerator, predict
from probebench.finetune.progress import Progress, Silent
from probebench.finetune.record import Made, make_result
from probebench.finetune.select import Held, Selector, Trial, frozen
from probebench.registry.schema import ProtocolSpec
from probebench.results.schema import Result
from probebench.results.store import Predictions, read_predictions, read_result, write_predictions, write_result


def finetune(cell: Cell, out: Path, protocol: ProtocolSpec | None, progress: Progress) -> list[Result]:
    """Returns a cell's results, one an alpha; trains and writes them unless they are there already.

    Args:
        cell: What to train.
        out: The results folder.
        protocol: Of the probe that a head starts from; None where none does.
        progress: Hears how far it is.

    Raises:
        ProbebenchError: Weights, features or images are missing or damaged, or memory runs out.
        OSError: The results or the home folder is full or cannot be written.
    """
    paths = {alpha: cell.path(out, alpha) for alpha in cell.alphas}
    if all(path.exists() for path in paths.values()):
        return [_stored(path) for path in paths.values()]
    _check_images(cell)
    place = accelerator(cell.options)
    starts = Starts.of(cell)
    began = time.perf_counter()
    progress.start(cell.label(1.0), sum(cell.planned(cell.trials(cell.part))), 0)
    if cell.recipe.selection == "test":
        trials = _choose_on_test(cell, starts, protocol, progress)
    else:
        splits = {name: split for name, split in cell.dataset.splits.items() if name != "test"}
        blind = replace(cell, dataset=replace(cell.dataset, splits=splits))
        trials = _choose(blind, starts, protocol, progress)
    chosen_in = time.perf_counter() - began
    test = cell.dataset.splits["test"]
    predicted = _predict(cell, starts, test, trials, progress)
    progress.finish()
    results = []
    for (alpha, path), rows in zip(paths.items(), predicted, strict=True):
        timings = {"choose_s": chosen_in, "total_s": time.perf_counter() - began}
        predictions = Predictions(test.ids, test.labels, rows)
        if place.is_main_process:
            made = Made(write_predictions(path, predictions), timings, place.num_processes, starts.backbone.features)
            write_result(path, make_result(cell, alpha, trials, predictions, made))
        place.wait_for_everyone()
        results.append(read_result(path))
    if place.is_main_process:
        shutil.rmtree(cell.folder, ignore_errors=True)
    return results


def finetune_all(
    cells: Sequence[Cell],
    out: Path,
    protocol: ProtocolSpec | None,
    progress: Progress | None = None,
    engine: Ray | None = None,
) -> Iterator[list[Result] | ProbebenchError]:
    """Yields each cell's results, or why it has none, in the order of the cells.

    Args:
        cells: What to train.
        out: The results folder; workers on other machines must see it, and the home folder, at the same path.
        protocol: Of the probe that heads start from.
        progress: Hears how far it is.
        engine: Spreads cells as tasks; None trains here.

    Raises:
        OSError: A folder is full or cannot be written.
        EngineError: A cell lost its worker again and again.
    """
    if engine is None:
        for cell in cells:
            yield _results_or_error((cell, out, protocol), progress or Silent())
        return
    tasks = [(cell, out.absolute(), protocol) for cell in cells]
    yield from engine.map(_results_or_error, tasks, gpu=bool(engine.gpus))


def _results_or_error(
    task: tuple[Cell, Path, ProtocolSpec | None], progress: Progress | None = None
) -> list[Result] | ProbebenchError:
    try:
        return finetune(*task, progress or Silent())
    except ProbebenchError as error:
        return error


def _stored(path: Path) -> Result:
    result = read_result(path)
    read_predictions(path, result)
    return result


def _check_images(cell: Cell) -> None:
    """Looks at every image's file before hours are spent.

    Raises:
        DatasetError: Some cannot be read; the line names the first.
    """
    faults = []
    for split in cell.dataset.splits.values():
        for position in range(len(split)):
            with contextlib.suppress(DatasetError):
                split.images.check(position)
                continue
            faults.append((split, position))
    if faults:
        split, position = faults[0]
        try:
            split.images.check(position)
        except DatasetError as error:
            more = f"; {len(faults) - 1} more cannot be read" if len(faults) > 1 else ""
            raise DatasetError(f"{error}{more}") from error


def held_for(cell: Cell, validation: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Held:
    """Returns what chooses in a draw: the set's own validation part at full data, or what the draw holds out."""
    if cell.own_validation:
        return Held(Part.of(cell.dataset.splits["val"]))
    return Held(Part.of(cell.dataset.splits["train"], validation) if len(validation) else None)


def _choose(blind: Cell, starts: Starts, protocol: ProtocolSpec | None, progress: Progress) -> list[Trial]:
    """Trains all draws and chooses their rates and epochs; the test part is out of reach here."""
    assert "test" not in blind.dataset.splits
    selector = Selector(blind, starts, protocol, progress)
    return [selector.choose(draw, seeds, held_for(blind, draw.validation)) for draw, seeds in blind.trials(blind.part)]


def _choose_on_test(cell: Cell, starts: Starts, protocol: ProtocolSpec | None, progress: Progress) -> list[Trial]:
    """Chooses on the test part, as some authors did; only for protocols that say so."""
    assert cell.recipe.selection == "test"
    selector = Selector(cell, starts, protocol, progress)
    held = Held(Part.of(cell.dataset.splits["test"]), how="test")
    return [selector.choose(draw, seeds, held) for draw, seeds in cell.trials(cell.part)]


def _predict(
    cell: Cell, starts: Starts, test: Split, trials: Sequence[Trial], progress: Progress
) -> list[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Lets finished networks predict the whole test part, (trials, N) for each alpha; a failed trial predicts -1."""
    part, place = Part.of(test), accelerator(cell.options)
    images = ImageItems(part, cell.key.preprocessing)
    items = frozen(cell, starts, part) if cell.mode == "linear" else images
    predicted = np.full((len(cell.alphas), len(trials), len(test)), -1, dtype=np.int64)
    for number, trial in enumerate(trials):
        if trial.weights is None:
            continue
        module = starts.network(trial.seeds, trial.head)
        start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        module.to(place.device)
        for row, alpha in enumerate(cell.alphas):
            module.load_state_dict(interpolate(start, trial.weights, alpha))
            with torch.inference_mode():
                logits, _ = predict(module, items, cell.options, place, progress)
            predicted[row, number] = logits.argmax(dim=1).numpy()
    return list(predicted)
