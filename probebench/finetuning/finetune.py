"""Runs a task, in an order that is the guarantee.

``_choose`` is given a task whose data set has no test part, and returns networks that are finished. Only then does
``_predict`` see the test part, and it returns predictions. A protocol that selects on test goes through
``_choose_on_test``, and its results say so.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from probebench.datasets.base import Split
from probebench.datasets.check import check_images
from probebench.engine import Ray
from probebench.errors import ProbebenchError
from probebench.finetuning.model import Starts, interpolate
from probebench.finetuning.record import Made, make_result
from probebench.finetuning.select import Selector, Trial, ValidationImages, frozen
from probebench.finetuning.task import FinetuneTask
from probebench.progress import Progress, Silent
from probebench.registry.schema import ProtocolSpec
from probebench.results.schema import Result
from probebench.results.store import Predictions, read_predictions, read_result, write_predictions, write_result
from probebench.training.data import ImageItems, Part
from probebench.training.predict import accelerator, predict


def finetune(task: FinetuneTask, out: Path, probe_protocol: ProtocolSpec | None, progress: Progress) -> list[Result]:
    """Returns a task's results, one an alpha; trains and writes them unless they are there already.

    Args:
        task: What to train.
        out: The results folder.
        probe_protocol: Of the probe that a head starts from; None where none does.
        progress: Hears how far it is.

    Raises:
        ProbebenchError: Weights, features or images are missing or damaged, or memory runs out.
        OSError: The results or the home folder is full or cannot be written.
    """
    paths = {alpha: task.path(out, alpha) for alpha in task.alphas}
    if all(path.exists() for path in paths.values()):
        return [_stored(path) for path in paths.values()]
    check_images(task.dataset.splits.values())
    place = accelerator(task.options)
    starts = Starts.of(task)
    began = time.perf_counter()
    progress.start(task.label(1.0), sum(task.planned(task.trials(task.part))), 0)
    if task.protocol.selection == "test":
        trials = _choose_on_test(task, starts, probe_protocol, progress)
    else:
        splits = {name: split for name, split in task.dataset.splits.items() if name != "test"}
        blind = replace(task, dataset=replace(task.dataset, splits=splits))
        trials = _choose(blind, starts, probe_protocol, progress)
    chosen_in = time.perf_counter() - began
    test = task.dataset.splits["test"]
    predicted = _predict(task, starts, test, trials, progress)
    progress.finish()
    results = []
    for (alpha, path), rows in zip(paths.items(), predicted, strict=True):
        timings = {"choose_s": chosen_in, "total_s": time.perf_counter() - began}
        predictions = Predictions(test.ids, test.labels, rows)
        if place.is_main_process:
            made = Made(write_predictions(path, predictions), timings, place.num_processes, starts.backbone.features)
            write_result(path, make_result(task, alpha, trials, predictions, made))
        place.wait_for_everyone()
        results.append(read_result(path))
    if place.is_main_process:
        shutil.rmtree(task.folder, ignore_errors=True)
    return results


def finetune_all(
    tasks: Sequence[FinetuneTask],
    out: Path,
    probe_protocol: ProtocolSpec | None,
    progress: Progress | None = None,
    engine: Ray | None = None,
) -> Iterator[list[Result] | ProbebenchError]:
    """Yields each task's results, or why it has none, in the order of the tasks.

    Args:
        tasks: What to train.
        out: The results folder; workers on other machines must see it, and the home folder, at the same path.
        probe_protocol: Of the probe that heads start from.
        progress: Hears how far it is.
        engine: Spreads tasks as jobs; None trains here.

    Raises:
        OSError: A folder is full or cannot be written.
        EngineError: A task lost its worker again and again.
    """
    if engine is None:
        for task in tasks:
            yield _results_or_error((task, out, probe_protocol), progress or Silent())
        return
    jobs = [(task, out.absolute(), probe_protocol) for task in tasks]
    yield from engine.map(_results_or_error, jobs, gpu=bool(engine.gpus))


def _results_or_error(
    job: tuple[FinetuneTask, Path, ProtocolSpec | None], progress: Progress | None = None
) -> list[Result] | ProbebenchError:
    try:
        return finetune(*job, progress or Silent())
    except ProbebenchError as error:
        return error


def _stored(path: Path) -> Result:
    result = read_result(path)
    read_predictions(path, result)
    return result


def held_for(task: FinetuneTask, validation: np.ndarray[tuple[int], np.dtype[np.int64]]) -> ValidationImages:
    """Returns what chooses in a draw: the set's own validation part at full data, or what the draw holds out."""
    if task.own_validation:
        return ValidationImages(Part.of(task.dataset.splits["val"]))
    return ValidationImages(Part.of(task.dataset.splits["train"], validation) if len(validation) else None)


def _choose(
    blind: FinetuneTask, starts: Starts, probe_protocol: ProtocolSpec | None, progress: Progress
) -> list[Trial]:
    """Trains all draws and chooses their rates and epochs; the test part is out of reach here."""
    assert "test" not in blind.dataset.splits
    selector = Selector(blind, starts, probe_protocol, progress)
    return [selector.choose(draw, seeds, held_for(blind, draw.validation)) for draw, seeds in blind.trials(blind.part)]


def _choose_on_test(
    task: FinetuneTask, starts: Starts, probe_protocol: ProtocolSpec | None, progress: Progress
) -> list[Trial]:
    """Chooses on the test part, as some authors did; only for protocols that say so."""
    assert task.protocol.selection == "test"
    selector = Selector(task, starts, probe_protocol, progress)
    held = ValidationImages(Part.of(task.dataset.splits["test"]), how="test")
    return [selector.choose(draw, seeds, held) for draw, seeds in task.trials(task.part)]


def _predict(
    task: FinetuneTask, starts: Starts, test: Split, trials: Sequence[Trial], progress: Progress
) -> list[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Lets finished networks predict the whole test part, (trials, N) for each alpha; a failed trial predicts -1."""
    part, place = Part.of(test), accelerator(task.options)
    images = ImageItems(part, task.key.preprocessing)
    items = frozen(task, starts, part) if task.mode == "linear" else images
    predicted = np.full((len(task.alphas), len(trials), len(test)), -1, dtype=np.int64)
    for number, trial in enumerate(trials):
        if trial.weights is None:
            continue
        module = starts.network(trial.seeds, trial.head)
        start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        module.to(place.device)
        for row, alpha in enumerate(task.alphas):
            module.load_state_dict(interpolate(start, trial.weights, alpha))
            with torch.inference_mode():
                logits, _ = predict(module, items, task.options, place, progress)
            predicted[row, number] = logits.argmax(dim=1).numpy()
    return list(predicted)
