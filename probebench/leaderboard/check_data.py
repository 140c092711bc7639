"""What a result must satisfy against the data themselves, where they are on this machine.

Data sets, draws and keys are imported where they are used: what needs none of them starts at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from probebench.errors import DatasetError
from probebench.leaderboard.check_published import check_short_classes
from probebench.registry.draws import DrawRule, takes_own_validation
from probebench.registry.load import Registry
from probebench.registry.schema import CheckpointSpec, DatasetSpec, FinetuneProtocol, ProtocolSpec
from probebench.results.predictions import Predictions
from probebench.results.schema import Result

if TYPE_CHECKING:
    from probebench.datasets.base import Dataset
    from probebench.datasets.draws import Draw, TrainingSplit
    from probebench.evaluation.probe_task import ProbeTask


@dataclass
class DataHere:
    """Opens the data sets of this machine, each once.

    Attributes:
        registry: Entries.
        root: The folder that holds data sets (the home's ``datasets``).
    """

    registry: Registry
    root: Path
    _opened: "dict[str, Dataset | str]" = field(default_factory=dict)
    _parts: "dict[str, TrainingSplit]" = field(default_factory=dict)

    def open(self, name: str) -> "Dataset | str":
        """Returns a data set of the registry, or why it cannot be read here."""
        if name not in self._opened:
            from probebench.datasets.open import open_named

            try:
                self._opened[name] = open_named(self.registry.dataset(name), self.root)
            except (DatasetError, OSError) as error:
                self._opened[name] = str(error)
        return self._opened[name]

    def part(self, result: Result, dataset: "Dataset") -> "TrainingSplit":
        """Returns what could be drawn for a result: one object for all that skipped no image, since draws take time."""
        from probebench.datasets.draws import TrainingSplit

        train, skipped = dataset.splits["train"], set(result.skipped_ids)
        if skipped.isdisjoint(train.ids):
            return self._parts.setdefault(dataset.id, TrainingSplit(train.ids, train.labels))
        kept = np.array([name not in skipped for name in train.ids], dtype=bool)
        ids = [name for name in train.ids if name not in skipped]
        return TrainingSplit(ids, train.labels[kept], (train.ids, train.labels))


def evaluator_version() -> int:
    """Returns the evaluator's version now."""
    from probebench.evaluation.probe_task import EVALUATOR_VERSION

    return EVALUATOR_VERSION


def check_against_data(
    result: Result, predictions: Predictions, dataset: "Dataset", part: "TrainingSplit"
) -> Iterator[str]:
    """Yields where a result's images, labels and train fingerprint are not the data set's, whatever its kind."""
    if result.dataset_fingerprint != dataset.fingerprint:
        yield f"its data set's fingerprint is not that of the {dataset.id} on this machine"
    train, test = dataset.splits["train"], dataset.splits["test"]
    skipped = set(result.skipped_ids)
    if shared := set(train.ids) & set(predictions.test_ids):
        yield f"test id {min(shared)} is of the training part"
    kept = np.array([name not in skipped for name in test.ids], dtype=bool)
    if predictions.test_ids != tuple(name for name in test.ids if name not in skipped):
        yield "test ids are not those of the data set's whole test part"
    elif not np.array_equal(predictions.y_true, test.labels[kept]):
        yield f"{int((predictions.y_true != test.labels[kept]).sum())} test labels are not the data set's"
    if result.train_fingerprint is not None and result.train_fingerprint != part.fingerprint:
        yield f"its train fingerprint is not that of the {dataset.id} on this machine"
    yield from check_short_classes(result, np.bincount(part.labels, minlength=len(dataset.class_names)).tolist())
    yield from _check_skipped(skipped, dataset)


def _check_skipped(skipped: set[str], dataset: "Dataset") -> Iterator[str]:
    """Yields images that were left out of a result and can be read here."""
    if not skipped:
        return
    places = {name: (part, at) for part in dataset.splits.values() for at, name in enumerate(part.ids)}
    for name in sorted(skipped):
        if name not in places:
            yield f"skipped id {name} is not in the data set"
            continue
        split, position = places[name]
        try:
            split.images.load(position)
        except DatasetError:
            continue
        yield f"{name} was left out, and can be read here"


def check_probe(
    path: Path,
    result: Result,
    entry: CheckpointSpec,
    protocol: ProtocolSpec,
    dataset: "Dataset",
    part: "TrainingSplit",
    named: DatasetSpec | None,
) -> Iterator[str]:
    """Yields where a probe's draws are not the registry's, or its features or evaluation not those of its entry.

    The key of the features and the name of the file follow from all that decides the numbers, so both are computed
    again: other preprocessing, pixels, an older extractor, protocol or evaluator show here.
    """
    cell = cell_of_result(result, entry, protocol, dataset, named)
    own = "val" in dataset.splits and takes_own_validation(protocol, result.shots)
    yield from _check_draws(result, DrawRule.of(protocol, result.shots, own), own, dataset, part)
    for name, told in sorted((result.feature_key or {}).items()):
        if cell.group.key.model_copy(update={"split": name}).digest != told:
            yield f"its {name} features are not those of the entry {entry.id} on these images: extract and eval again"
    if not path.stem.endswith(cell.digest[:8]):
        yield "its name's digest is not that of this cell: made by an older evaluator or otherwise; eval again"


def check_finetune(
    result: Result, protocol: FinetuneProtocol, dataset: "Dataset", part: "TrainingSplit"
) -> Iterator[str]:
    """Yields where a fine-tune's draws are not the registry's: they are those of the default probes."""
    own = "val" in dataset.splits and takes_own_validation(protocol, result.shots)
    rule = DrawRule.of(protocol, result.shots, own)
    yield from _check_draws(result, rule, own or protocol.selection == "test", dataset, part)


def _check_draws(
    result: Result, rule: DrawRule, elsewhere: bool, dataset: "Dataset", part: "TrainingSplit"
) -> Iterator[str]:
    """Compares each trial's draw with its rule's; validation images may be ``elsewhere`` than in the training part."""
    test = set(dataset.splits["test"].ids)
    for trial in result.trials:
        if (trial.draw_seed is None) != (result.shots == "full"):
            continue
        draw = part.draw(rule, trial.draw_seed)
        name = "the one draw" if trial.draw_seed is None else f"draw {trial.draw_seed}"
        if trial.draw_digest != draw.digest:
            yield f"{name} is not the registry's: its digest is {trial.draw_digest[:8]}, not {draw.digest[:8]}"
        if trial.train != len(draw.train) or (not elsewhere and trial.validation != len(draw.validation)):
            held = len(draw.validation)
            yield f"{name} has {len(draw.train)} + {held} images, not {trial.train} + {trial.validation}"
        if touched := test & set(_ids(part, draw)):
            yield f"{name} touches the test image {min(touched)}"


def _ids(part: "TrainingSplit", draw: "Draw") -> list[str]:
    return [part.ids[position] for position in np.concatenate([draw.train, draw.validation]).tolist()]


def cell_of_result(
    result: Result, entry: CheckpointSpec, protocol: ProtocolSpec, dataset: "Dataset", named: DatasetSpec | None
) -> "ProbeTask":
    """Returns the cell that a probe's result says it is of, with the key of its features and without their files."""
    from probebench.cache.index import FeatureGroup
    from probebench.cache.key import FeatureKey
    from probebench.evaluation.probe_task import ProbeTask
    from probebench.evaluation.text_start import start_prompts

    key = FeatureKey.of(
        entry,
        weights_digest=result.weights_digest or "unknown",
        preprocessing=entry.input.at_size(result.input_size),
        dtype=result.dtype or "unknown",
        dataset_fingerprint=dataset.fingerprint,
        content=dataset.content,
        split="train",
        layer=result.checkpoint.layer,
    )
    group = FeatureGroup(model=result.model, dataset=result.dataset, key=key, paths={}, missing=(), modified=0.0)
    return ProbeTask(
        group=group,
        checkpoint=entry,
        protocol=protocol,
        shots=result.shots,
        draws=len(result.trials),
        backend=result.backend or "unknown",
        metric=result.metric,
        prompts=start_prompts(protocol, entry, key.layer, named),
    )
