"""Makes cells of what was asked for, and says what one will cost before it starts."""

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from probebench.backbones.builders import build_backbone
from probebench.cache.key import FeatureKey
from probebench.datasets.base import Dataset
from probebench.errors import UsageError
from probebench.finetune import train
from probebench.finetune.cell import Cell, Head, Mode, Shots
from probebench.finetune.data import ImageItems, Part
from probebench.finetune.heads import cached_features
from probebench.finetune.model import Starts, untrained
from probebench.finetune.options import Options
from probebench.finetune.predict import accelerator, predict
from probebench.finetune.progress import Silent
from probebench.finetune.select import Held, trainings_of
from probebench.registry.schema import CheckpointSpec, DatasetSpec, RecipeSpec

# A look at an image costs about a third of training on it: no gradient.
_LOOK = 1 / 3
# Steps that are timed after the first, and the most images that each has.
_STEPS, _IMAGES = 3, 32


@dataclass(frozen=True)
class Request:
    """How to train, whatever the data set.

    Attributes:
        recipe: The protocol.
        mode: What is trained, and from where.
        head: How the classifier starts; None: as the protocol says, and from the probe under ``lp-ft``.
        shots: Numbers of shots; None: the protocol's.
        draws: Draws to average over; None: the protocol's.
        alphas: As in ``Cell``.
        input_size: Side of the input in pixels; None: the checkpoint's.
        options: Device and the like.
    """

    recipe: RecipeSpec
    mode: Mode
    head: Head | None
    shots: Sequence[Shots] | None
    draws: int | None
    alphas: Sequence[float]
    input_size: int | None
    options: Options

    @property
    def start(self) -> Head:
        """How the classifier starts.

        Raises:
            UsageError: The mode has a start of its own.
        """
        if self.mode == "lp-ft":
            if self.head not in (None, "probe"):
                raise UsageError("mode lp-ft starts from the probe; leave out --head, or use --mode full")
            return "probe"
        if self.mode == "scratch" and self.head in ("probe", "text"):
            raise UsageError(f"mode scratch has no pre-trained features for a {self.head} head; leave out --head")
        return self.head or ("zero" if self.mode == "scratch" else self.recipe.head)


def cells_of(
    request: Request,
    checkpoint: CheckpointSpec,
    sets: Iterable[tuple[Dataset, DatasetSpec | None]],
    home: Path,
) -> list[Cell]:
    """Returns a cell for each data set and number of shots.

    Raises:
        WeightsError: The weights are missing, damaged or out of reach.
        CacheError: A head starts from the probe, and features are not cached; the line says which extract to run.
        UsageError: What was asked for does not fit together.
    """
    head = request.start
    spec = untrained(checkpoint, 0) if request.mode == "scratch" else checkpoint
    backbone = build_backbone(spec, home, request.input_size)
    cells = []
    for dataset, names in sets:
        key = FeatureKey(
            architecture=spec.architecture,
            weights_digest=backbone.weights_digest,
            layer=spec.output.layer,
            preprocessing=backbone.input,
            dtype=request.options.dtype,
            dataset_fingerprint=dataset.fingerprint,
            split="train",
            content=dataset.content,
        )
        cells += [
            Cell(
                checkpoint.id,
                spec,
                key,
                dataset,
                names,
                request.recipe,
                request.mode,
                head,
                shots,
                request.draws or request.recipe.draws,
                tuple(dict.fromkeys(request.alphas)),
                names.metric if names else "accuracy",
                home,
                request.options,
            )
            for shots in request.shots or request.recipe.shots
        ]
        if head == "probe":
            cached_features(cells[-1])
    return cells


@dataclass(frozen=True)
class Estimate:
    """What a cell will take.

    Attributes:
        trainings: Rates times draws or training seeds.
        epochs: Of each.
        images: That are trained on, over all of them.
        rate: Images that are trained on in a second, as measured.
        seconds: In all, looks at validation and test images included.
    """

    trainings: int
    epochs: int
    images: int
    rate: float
    seconds: float


class _Stopwatch(Silent):
    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def advance(self, count: int) -> None:
        self.seen.append((time.perf_counter(), count))

    def rate(self) -> float:
        """Images a second after the first step, which warms up."""
        (first, _), *others = [one for one in self.seen if one[1]]
        return sum(count for _, count in others) / max(others[-1][0] - first, 1e-9)


def estimate(cell: Cell) -> Estimate:
    """Times a few steps and returns what the whole cell would take; nothing that it trains is kept.

    Raises:
        ProbebenchError: Weights or images are missing or damaged, or memory runs out.
    """
    trials = cell.trials(cell.part)
    starts = Starts.of(cell)
    images, looks = cell.planned(trials)
    epochs = cell.epochs(len(trials[0][0].train))
    trainings = len(trials) * len(cell.learning_rates)
    if cell.mode == "linear":
        # Features are computed once, and the head trains in no time beside that.
        each = sum(len(draw.train) + len(draw.validation) for draw, _ in trials) + len(cell.dataset.splits["test"])
        rate = _looks_a_second(cell, starts)
        return Estimate(trainings, epochs, images, rate, each / rate)
    rate = _trained_a_second(cell, starts)
    return Estimate(trainings, epochs, images, rate, (images + _LOOK * looks) / rate)


def _trained_a_second(cell: Cell, starts: Starts) -> float:
    draw, seeds = cell.trials(cell.part)[0]
    first = trainings_of(cell, starts, draw, seeds, Held(None), None)[0]
    size = min(first.batch_size, cell.options.micro_batch or first.batch_size, len(draw.train))
    if cell.options.device == "cpu":
        size = min(size, _IMAGES)
    few = np.resize(draw.train, (_STEPS + 1) * size)
    items = ImageItems(Part.of(cell.dataset.splits["train"], few), cell.key.preprocessing, cell.recipe.augment, seeds)
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        timed = replace(
            first, train=items, validation=None, epochs=1, batch_size=size, keeps="last", path=Path(folder) / "timed.pt"
        )
        train.run(timed, cell.options, watch)
    return watch.rate()


def _looks_a_second(cell: Cell, starts: Starts) -> float:
    place = accelerator(cell.options)
    module = starts.backbone.module.to(place.device)
    few = Part.of(cell.dataset.splits["train"], np.arange(min(_IMAGES, len(cell.dataset.splits["train"]))))
    items = ImageItems(few, cell.key.preprocessing)
    predict(module, items, cell.options, place, Silent())
    began = time.perf_counter()
    predict(module, items, cell.options, place, Silent())
    return len(few) / (time.perf_counter() - began)
