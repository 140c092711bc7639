"""Runs a task, in an order that is the guarantee.

``_choose`` is given a task whose data set has no test split, and returns networks that are finished. Only then does
``_predict`` see the test split, and it returns predictions. A protocol that selects on test goes through
``_choose_on_test``, and its results say so.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from probebench.datasets.base import Split
from probebench.datasets.check import check_images
from probebench.datasets.draws import require_shots
from probebench.engine import Ray
from probebench.errors import ProbebenchError
from probebench.evaluation.many import results_or_errors
from probebench.evaluation.record import Measured
from probebench.evaluation.stored import keep, stored_or_compute
from probebench.finetuning.model import Starts, interpolate
from probebench.finetuning.record import trained_on, training_environment, trial_of
from probebench.finetuning.select import Selector, TrainedDraw, ValidationImages, frozen, image_items
from probebench.finetuning.task import FinetuneTask
from probebench.progress import Progress, Silent
from probebench.registry.schema import ProtocolSpec
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.store import read_result
from probebench.training.data import ImageSubset
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
    paths = [task.path(out, alpha) for alpha in task.alphas]
    results, computed = stored_or_compute(task, paths, lambda: _measure(task, probe_protocol, progress), _keep_once)
    if computed and accelerator(task.options).is_main_process:
        shutil.rmtree(task.folder, ignore_errors=True)
    return results


def _measure(task: FinetuneTask, probe_protocol: ProtocolSpec | None, progress: Progress) -> list[Measured]:
    """Trains, chooses and predicts, and returns what each alpha measured."""
    require_shots(task.dataset_id, task.train_split.labels, task.shots)
    check_images(task.dataset.splits.values())
    place = accelerator(task.options)
    starts = Starts.of(task)
    began = time.perf_counter()
    progress.start(task.label(1.0), sum(task.planned(task.trials(task.train_split))), 0)
    if task.protocol.selection == "test":
        trained = _choose_on_test(task, starts, probe_protocol, progress)
    else:
        splits = {name: split for name, split in task.dataset.splits.items() if name != "test"}
        blind = replace(task, dataset=replace(task.dataset, splits=splits))
        trained = _choose(blind, starts, probe_protocol, progress)
    chosen_in = time.perf_counter() - began
    test = task.dataset.splits["test"]
    predicted = _predict(task, starts, test, trained, progress)
    progress.finish()
    return [
        Measured(
            mode=task.label(alpha),
            width=starts.backbone.features,
            trained_on=trained_on(task, trained),
            trials=[trial_of(task, alpha, one) for one in trained],
            predictions=Predictions(test.ids, test.labels, rows),
            environment={"training": training_environment(task, trained, place.num_processes)},
            timings={"choose_s": chosen_in, "total_s": time.perf_counter() - began},
        )
        for alpha, rows in zip(task.alphas, predicted, strict=True)
    ]


def _keep_once(task: FinetuneTask, path: Path, measured: Measured) -> Result:
    """Lets one of the processes that trained together write the result; all wait for it and read it."""
    place = accelerator(task.options)
    if place.is_main_process:
        keep(task, path, measured)
    place.wait_for_everyone()
    return read_result(path)


def finetune_all(
    tasks: Sequence[FinetuneTask],
    out: Path,
    probe_protocol: ProtocolSpec | None,
    progress: Progress | None = None,
    engine: Ray | None = None,
) -> Iterator[list[Result] | ProbebenchError]:
    """Returns each task's results, or why it has none, in the order of the tasks.

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
        return results_or_errors(lambda task: finetune(task, out, probe_protocol, progress or Silent()), tasks)
    run = partial(finetune, out=out.absolute(), probe_protocol=probe_protocol, progress=Silent())
    return results_or_errors(run, tasks, engine)


def held_for(task: FinetuneTask, validation: np.ndarray[tuple[int], np.dtype[np.int64]]) -> ValidationImages:
    """Returns what chooses in a draw: the set's own validation split at full data, or what the draw holds out."""
    if task.own_validation:
        return ValidationImages(ImageSubset.of(task.dataset.splits["val"]))
    return ValidationImages(ImageSubset.of(task.dataset.splits["train"], validation) if len(validation) else None)


def _choose(
    blind: FinetuneTask, starts: Starts, probe_protocol: ProtocolSpec | None, progress: Progress
) -> list[TrainedDraw]:
    """Trains all draws and chooses their rates and epochs; the test split is out of reach here."""
    assert "test" not in blind.dataset.splits
    selector = Selector(blind, starts, probe_protocol, progress)
    return [
        selector.choose(draw, seeds, held_for(blind, draw.validation))
        for draw, seeds in blind.trials(blind.train_split)
    ]


def _choose_on_test(
    task: FinetuneTask, starts: Starts, probe_protocol: ProtocolSpec | None, progress: Progress
) -> list[TrainedDraw]:
    """Chooses on the test split, as some authors did; only for protocols that say so."""
    assert task.protocol.selection == "test"
    selector = Selector(task, starts, probe_protocol, progress)
    held = ValidationImages(ImageSubset.of(task.dataset.splits["test"]), how="test")
    return [selector.choose(draw, seeds, held) for draw, seeds in task.trials(task.train_split)]


def _predict(
    task: FinetuneTask, starts: Starts, test: Split, trained: Sequence[TrainedDraw], progress: Progress
) -> list[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Lets finished networks predict the whole test split, (trials, N) for each alpha; a failed trial predicts -1."""
    images, place = ImageSubset.of(test), accelerator(task.options)
    items = frozen(task, starts, images) if task.mode == "linear" else image_items(task, images)
    predicted = np.full((len(task.alphas), len(trained), len(test)), -1, dtype=np.int64)
    for number, one in enumerate(trained):
        if one.weights is None:
            continue
        module = starts.network(one.seeds, one.head)
        start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        module.to(place.device)
        for row, alpha in enumerate(task.alphas):
            module.load_state_dict(interpolate(start, one.weights, alpha))
            with torch.inference_mode():
                logits, _ = predict(module, items, task.options, place, progress)
            predicted[row, number] = logits.argmax(dim=1).numpy()
    return list(predicted)
