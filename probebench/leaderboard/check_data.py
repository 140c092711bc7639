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
from probebench.registry.classes import matched
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

        if "train" not in dataset.splits:
            return TrainingSplit((), np.zeros(0, dtype=np.int64))
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
    """Yields where a result's images, labels and train fingerprint are not the data set's, whatever its kind.

    Of one on the test part of another data set, ``result`` and ``predictions`` are those of its own side.
    """
    if result.dataset_fingerprint != dataset.fingerprint:
        yield f"its data set's fingerprint is not that of the {dataset.id} on this machine"
    train, test = dataset.splits.get("train"), dataset.splits["test"]
    skipped = set(result.skipped_ids)
    if shared := set(train.ids if train else ()) & set(predictions.test_ids):
        yield f"test id {min(shared)} is of the training part"
    kept = np.array([name not in skipped for name in test.ids], dtype=bool)
    if result.shift is not None and result.shift.labels:
        kept &= np.isin(test.labels, result.shift.labels)
    if predictions.test_ids != tuple(test.ids[place] for place in np.flatnonzero(kept)):
        yield "test ids are not those of the data set's whole test part"
    elif not np.array_equal(predictions.y_true, test.labels[kept]):
        yield f"{int((predictions.y_true != test.labels[kept]).sum())} test labels are not the data set's"
    if result.train_fingerprint is not None and result.train_fingerprint != part.fingerprint:
        yield f"its train fingerprint is not that of the {dataset.id} on this machine"
    yield from check_short_classes(result, np.bincount(part.labels, minlength=len(dataset.class_names)).tolist())
    yield from _check_skipped(skipped, dataset)


def check_other_part(
    result: Result, predictions: Predictions, other: "Dataset", own_classes: tuple[str, ...]
) -> Iterator[str]:
    """Yields where images and labels are not those of the other data set, which is on this machine."""
    shift = result.shift
    assert shift is not None
    if shift.fingerprint != other.fingerprint:
        yield f"its test data set's fingerprint is not that of the {other.id} on this machine"
    test, skipped = other.splits["test"], set(result.skipped_ids)
    kept = np.array([name not in skipped for name in test.ids], dtype=bool)
    if predictions.test_ids != tuple(name for name in test.ids if name not in skipped):
        yield f"test ids are not those of the whole test part of {other.id}"
        return
    labels = np.array(matched(own_classes, other.class_names, (result.dataset, other.id)), dtype=np.int64)
    if wrong := int((predictions.y_true != labels[test.labels[kept]]).sum()):
        yield f"{wrong} test labels are not those of {other.id}"
    yield from _check_skipped(skipped, other)


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
    other: "Dataset | str | None" = None,
) -> Iterator[str]:
    """Yields where a probe's draws are not the registry's, or its features or evaluation not those of its entry.

    The key of the features and the name of the file follow from all that decides the numbers, so both are computed
    again: other preprocessing, pixels, an older extractor, protocol or evaluator show here. Where the result is on the
    test part of another data set, what depends on that is compared where it is here (``other``, else why it is not).
    """
    cell = cell_of_result(result, entry, protocol, dataset, named, None if isinstance(other, str) else other)
    own = "val" in dataset.splits and takes_own_validation(protocol, result.shots)
    yield from _check_draws(result, DrawRule.of(protocol, result.shots, own), own, dataset, part)
    for name, told in sorted((result.feature_key or {}).items()):
        key = cell.group.key
        if result.shift is not None and name == "test":
            if cell.shift is None:
                continue
            key = cell.shift.group.key
        if key.model_copy(update={"split": "test" if name == "own" else name}).digest != told:
            yield f"its {name} features are not those of the entry {entry.id} on these images: extract and eval again"
    if result.shift is not None and cell.shift is None:
        return
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
    result: Result,
    entry: CheckpointSpec,
    protocol: ProtocolSpec,
    dataset: "Dataset",
    named: DatasetSpec | None,
    other: "Dataset | None" = None,
) -> "ProbeTask":
    """Returns the cell that a probe's result says it is of, with the key of its features and without their files.

    It is scored on the test part of the ``other`` data set, where there is one.
    """
    from probebench.cache.index import FeatureGroup
    from probebench.cache.key import FeatureKey
    from probebench.evaluation.probe_task import ProbeTask
    from probebench.evaluation.shifted import Shifted
    from probebench.evaluation.text_start import start_prompts

    def features_of(one: "Dataset") -> FeatureGroup:
        key = FeatureKey.of(
            entry,
            weights_digest=result.weights_digest or "unknown",
            preprocessing=entry.input.at_size(result.input_size),
            dtype=result.dtype or "unknown",
            dataset_fingerprint=one.fingerprint,
            content=one.content,
            split="train",
            layer=result.checkpoint.layer,
        )
        return FeatureGroup(model=result.model, dataset=one.id, key=key, paths={}, missing=(), modified=0.0)

    group, shift = features_of(dataset), None
    if other is not None:
        labels = matched(dataset.class_names, other.class_names, (dataset.id, other.id))
        shift = Shifted.of(features_of(other), labels, len(dataset.class_names))
    return ProbeTask(
        group=group,
        checkpoint=entry,
        protocol=protocol,
        shots=result.shots,
        draws=len(result.trials),
        backend=result.backend or "unknown",
        metric=result.metric,
        prompts=start_prompts(protocol, entry, group.key.layer, named),
        shift=shift,
    )
