"""What an experiment would take, told by entries alone: it needs neither the images nor torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.api.declared import CachedFeatures, Declared, declare
from probebench.api.made import missing
from probebench.api.report import read_results
from probebench.api.session import Folders, Path_
from probebench.errors import ProbebenchError
from probebench.files import home
from probebench.registry.entry import Shots
from probebench.registry.recipe_uri import RecipeUri

if TYPE_CHECKING:
    from probebench.api.tables import Results
    from probebench.datasets.base import Dataset
    from probebench.registry import CheckpointSpec, FinetuneProtocol
    from probebench.results.schema import Result

# What of a fine-tuned result tells whether an experiment asks for it: checkpoint, data set, input size, protocol and
# version, mode, shots and trials.
TrainedCell = tuple[str, str, int | None, str, int, str, Shots, int]
# Bytes of a feature in fp32; on a GPU that has bf16 it takes half.
_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class PlannedPair:
    """What a checkpoint on a data set would still take.

    Attributes:
        model: Checkpoint id.
        dataset: The data set as it was named.
        input_size: Side of the input in pixels.
        images: Images of each split.
        layers: Feature width D of each layer.
        cached: Whether the features are there.
        bytes: Of the features that are not, in fp32.
        fits: Fits of probes.
        trainings: Whole networks that are trained.
    """

    model: str
    dataset: str
    input_size: int
    images: dict[str, int]
    layers: dict[str, int]
    cached: bool
    bytes: int
    fits: int
    trainings: int


@dataclass(frozen=True)
class Plan:
    """What an experiment would still take.

    Attributes:
        made: Checkpoints that are to be made first.
        pairs: What each pair takes.
        problems: What is wrong with data sets that have no entry.
    """

    made: tuple[RecipeUri, ...]
    pairs: list[PlannedPair]
    problems: list[ProbebenchError]


def plan_experiment(
    experiment: Path_,
    *,
    quick: bool = False,
    shard: str | None = None,
    registry: Folders = (),
    out: Path_ = "results",
) -> Plan:
    """Plans an experiment; the arguments are as in ``run_experiment``.

    Sizes of data sets with an entry are the entry's, whether or not they are on this machine.

    Raises:
        UsageError: There is no such experiment, or it names what does not exist.
    """
    from probebench.datasets.open import open_dataset

    declared = declare(experiment, quick=quick, shard=shard, registry=registry, write=False)
    opened: dict[str, Dataset] = {}
    problems: list[ProbebenchError] = []
    for name in declared.sources:
        try:
            opened[name] = open_dataset(name, declared.registry, home() / "datasets")
        except ProbebenchError as error:
            problems.append(error)
    folder = Path(out)
    trained = trained_cells(read_results(folder)) if folder.is_dir() else set()
    features = CachedFeatures.find(declared, opened)
    sizes = {name: _images(declared, name, opened) for _, name in declared.pairs}
    pairs = []
    for checkpoint, name in declared.pairs:
        if (images := sizes[name]) is None:
            continue
        widths, layers = declared.widths(checkpoint), declared.layers(checkpoint)
        lacking = [layer for layer in layers if features.group(checkpoint, name, layer) is None]
        pairs.append(
            PlannedPair(
                model=checkpoint.id,
                dataset=name,
                input_size=declared.size(checkpoint),
                images=images,
                layers={layer: widths[layer] for layer in layers},
                cached=not lacking,
                bytes=_BYTES * sum(images.values()) * sum(widths[layer] for layer in lacking),
                fits=_fits(declared, features, checkpoint, name, folder),
                trainings=_trainings(declared, checkpoint, name, features.ids.get(name, name), trained),
            )
        )
    return Plan(tuple(missing(declared.made)), pairs, problems)


def _images(declared: Declared, name: str, opened: "Mapping[str, Dataset]") -> dict[str, int] | None:
    known = declared.registry.datasets.get(name)
    if known is not None:
        counts = {split: getattr(known.splits, split) for split in ("train", "val", "test")}
        return {split: count for split, count in counts.items() if count}
    return {split: len(one) for split, one in opened[name].splits.items()} if name in opened else None


def _fits(declared: Declared, features: CachedFeatures, checkpoint: "CheckpointSpec", name: str, out: Path) -> int:
    """Counts the fits whose results are not there yet."""
    from probebench.evaluation.plan import plan_probes
    from probebench.evaluation.probe_task import fits_a_draw

    total = 0
    for protocol in declared.protocols:
        asked = declared.spec.shots_under(protocol.id)
        shots = [one for one in (protocol.shots if asked is None else asked) if not protocol.refuses(one)]
        draws = declared.spec.draws or protocol.draws
        for layer in declared.layers(checkpoint, protocol):
            group = features.group(checkpoint, name, layer)
            if group is None:
                total += sum(fits_a_draw(protocol, one) * (1 if one == "full" else draws) for one in shots)
            elif shots:
                tasks = plan_probes(
                    declared.registry, [group], [protocol.id], shots=shots, draws=draws, any_layer=True
                ).tasks
                total += sum(len(one.seeds) * one.fits_a_draw for one in tasks if not one.path(out).exists())
    return total


def _trainings(
    declared: Declared, checkpoint: "CheckpointSpec", name: str, dataset: str, trained: set[TrainedCell]
) -> int:
    """Counts trainings of whole networks, one for each rate and draw, whose results are not there yet."""
    total = 0
    for asked, protocol in declared.trainings:
        if not asked.asks(checkpoint.id, name):
            continue
        rates = (protocol.linear if asked.mode == "linear" else protocol.optimizer).learning_rates
        for shots in asked.shots or protocol.shots:
            draws = protocol.seeds if shots == "full" else asked.draws or protocol.draws
            place, mode = (checkpoint.id, dataset, declared.size(checkpoint)), mode_label(asked.mode, protocol)
            cell = (*place, protocol.id, protocol.version, mode, shots, draws)
            total += 0 if cell in trained else len(rates) * draws
    return total


def mode_label(mode: str, protocol: "FinetuneProtocol") -> str:
    """Returns a mode as results name it."""
    return mode if mode in ("lp-ft", "scratch") or protocol.head == "zero" else f"{mode}, {protocol.head} head"


def trained_cells(results: "Results | list[Result]") -> set[TrainedCell]:
    """Returns what of the fine-tuned results tells which are asked for."""
    return {
        (one.model, one.dataset, one.input_size, one.protocol, one.protocol_version, one.mode, one.shots, trials)
        for one in results
        if one.kind == "finetune" and one.provenance == "measured" and (trials := len(one.trials))
    }
