"""An experiment with its names looked up: which checkpoints on which data sets, and what is asked of each pair."""

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.api.data import place_of
from probebench.api.made import made_by, with_made
from probebench.api.models import with_entries
from probebench.api.session import Folders, Path_, open_registry
from probebench.errors import UsageError, did_you_mean
from probebench.files import home
from probebench.registry.checkpoint import MODULE
from probebench.registry.experiment import ExperimentSpec, Training, means
from probebench.registry.names import expand_datasets, expand_models, is_source
from probebench.registry.recipe_uri import RecipeUri

if TYPE_CHECKING:
    from probebench.cache.index import FeatureGroup
    from probebench.datasets.base import Dataset
    from probebench.registry import CheckpointSpec, FinetuneProtocol, ProtocolSpec, Registry


@dataclass(frozen=True, kw_only=True)
class Declared:
    """An experiment, or a part of it, whose names are all there.

    Attributes:
        spec: What its file says.
        registry: Where names are looked up.
        pairs: Checkpoints, each with the name of a data set.
        protocols: What probes are fitted by.
        trainings: Ways to fine-tune, with their protocols.
        made: Checkpoints among the pairs that are made first.
    """

    spec: ExperimentSpec
    registry: "Registry"
    pairs: "tuple[tuple[CheckpointSpec, str], ...]"
    protocols: "tuple[ProtocolSpec, ...]"
    trainings: "tuple[tuple[Training, FinetuneProtocol], ...]"
    made: tuple[RecipeUri, ...] = ()

    def without(self, models: Collection[str]) -> "Declared":
        """Returns the same without some checkpoints."""
        return replace(self, pairs=tuple(pair for pair in self.pairs if pair[0].id not in models))

    def of(self, model: str) -> "Declared":
        """Returns what it says of one checkpoint."""
        return replace(
            self,
            pairs=tuple(pair for pair in self.pairs if pair[0].id == model),
            made=tuple(one for one in self.made if one.checkpoint == model),
        )

    def trained(self, asked: Training, checkpoint: "CheckpointSpec") -> list[str]:
        """Returns the names of the data sets on which a checkpoint is trained whole."""
        return [name for one, name in self.pairs if one.id == checkpoint.id and asked.asks(one.id, name)]

    @property
    def models(self) -> list[str]:
        """Ids of the checkpoints."""
        return list(dict.fromkeys(checkpoint.id for checkpoint, _ in self.pairs))

    @property
    def sources(self) -> list[str]:
        """Data sets that are named by where they lie."""
        return [name for name in dict.fromkeys(name for _, name in self.pairs) if is_source(name)]

    def size(self, checkpoint: "CheckpointSpec") -> int:
        """Returns the side of a checkpoint's input in pixels."""
        return self.spec.input_size or checkpoint.input.size

    def widths(self, checkpoint: "CheckpointSpec") -> Mapping[str, int]:
        """Returns the layers that a checkpoint offers; where the shipped table lacks it, all only if others are asked.

        Only these take torch.
        """
        from probebench.registry.layers import known_layers

        known = known_layers(checkpoint.architecture)
        if known is None and self.spec.layers and checkpoint.architecture.library != MODULE:
            from probebench.backbones.layers import layers_of

            known = layers_of(checkpoint)
        return {checkpoint.output.layer: checkpoint.output.features, **(known or {})}

    def layers(self, checkpoint: "CheckpointSpec", protocol: "ProtocolSpec | None" = None) -> tuple[str, ...]:
        """Returns the layers of a checkpoint that a protocol is evaluated on; of no protocol, all that are needed.

        Raises:
            UsageError: It does not offer what the experiment names.
        """
        from probebench.registry.layers import choose, layer_order

        if protocol is not None and not self.spec.layers:
            return (protocol.layer_of(checkpoint),)
        if self.spec.layers:
            asked = choose(self.spec.layers, self.widths(checkpoint), checkpoint.id)
            if protocol is not None:
                return asked
        else:
            asked = (checkpoint.output.layer, *(one.layer_of(checkpoint) for one in self.protocols))
        text = ("projected",) if self.spec.zeroshot and checkpoint.has_text_tower else ()
        started = any(starts_from_probe(*one) for one in self.trainings if self.trained(one[0], checkpoint))
        head = (checkpoint.output.layer,) if started else ()
        return tuple(sorted({*asked, *text, *head}, key=layer_order))


def starts_from_probe(training: Training, protocol: "FinetuneProtocol") -> bool:
    """Says whether a head is taken from the probe, which takes cached features."""
    return training.mode == "lp-ft" or (training.mode != "scratch" and protocol.head == "probe")


def read_experiment(experiment: Path_, registry: "Registry") -> ExperimentSpec:
    """Returns an experiment by its id, or of a file.

    Raises:
        UsageError: There is none of that name.
        RegistryError: The file is no experiment; the line says where.
    """
    from probebench.registry.load import read_file

    text = os.fspath(experiment)
    if isinstance(experiment, str) and text in registry.experiments:
        return registry.experiments[text]
    if not text.endswith(".toml"):
        return registry.experiment(text)
    if not Path(text).exists():
        raise UsageError(
            f"experiment {text} does not exist; name a .toml file, or one of the registry's: "
            f"{', '.join(registry.experiments)}"
        )
    return read_file(Path(text), ExperimentSpec)


def declare(
    experiment: Path_, *, quick: bool = False, shard: str | None = None, registry: Folders = (), write: bool = True
) -> Declared:
    """Looks up all names of an experiment.

    Args:
        experiment: Its id or file.
        quick: Its small version.
        shard: "I/N", one part of it.
        registry: Folders of the user's own entries.
        write: Whether checkpoints that are named as their libraries name them get an entry; else they must have one.

    Raises:
        UsageError: There is no such experiment, checkpoint, data set or protocol, or it has no small version.
    """
    part = parse_shard(shard) if shard is not None else None
    entries = open_registry(registry)
    whole = spec = read_experiment(experiment, entries)
    if quick:
        if (quicker := whole.quicker) is None:
            raise UsageError(f"experiment {os.fspath(experiment)} has no [quick] table; leave out --quick, or add one")
        spec = quicker

    def models_of(one: ExperimentSpec) -> tuple[list[str], dict[str, RecipeUri]]:
        nonlocal entries
        if write:
            entries, names = with_entries(registry, one.models) if one.models else (entries, [])
        else:
            names = expand_models(entries, one.models) if one.models else []
        asked = {each.checkpoint: each for each in made_by(one, entries)}
        entries = with_made(entries, asked.values())
        return list(dict.fromkeys([*names, *asked])), asked

    models, made = models_of(spec)
    datasets = expand_datasets(entries, [place_of(entries, one) for one in spec.datasets])
    wider, every = datasets, models
    if quick:
        wider = expand_datasets(entries, [place_of(entries, one) for one in whole.datasets])
        every = models_of(whole)[0]
        _within("quick.pretrain", list(made), every, "what pretrain makes")
        _within("quick.models", models, every, "models")
        _within("quick.datasets", datasets, wider, "datasets")
    for one in (whole, spec):
        _meant(one, every, wider)
    protocols = entries.expand_protocols(spec.all_protocols) if spec.all_protocols else []
    _within("shots_of", [*spec.shots_of], protocols, "the protocols that are asked")
    pairs = [(model, name) for model in models for name in datasets if not spec.leaves_out(model, name)]
    if not pairs:
        raise UsageError(f"experiment {os.fspath(experiment)} leaves out every pair that it names")
    shared = _share(pairs, part, entries, made, spec.finetune)
    declared = Declared(
        spec=spec,
        registry=entries,
        pairs=tuple((entries.checkpoint(model), name) for model, name in shared),
        protocols=tuple(entries.protocol(name) for name in protocols),
        trainings=tuple((one, entries.finetune_protocol(one.protocol)) for one in spec.finetune),
        made=tuple(made[model] for model in dict.fromkeys(model for model, _ in shared) if model in made),
    )
    for checkpoint in {one.id: one for one, _ in declared.pairs}.values():
        # What a checkpoint does not offer is told before an hour is spent.
        declared.layers(checkpoint)
    return declared


def _within(key: str, names: Sequence[str], whole: Sequence[str], what: str) -> None:
    if beyond := [name for name in names if name not in whole]:
        raise UsageError(f"{key}: {beyond[0]} is not among {what}")


def _meant(spec: ExperimentSpec, models: Sequence[str], datasets: Sequence[str]) -> None:
    """Checks that names of checkpoints and data sets in the tables of some pairs mean one."""
    for key, patterns, names, what in (
        *(("finetune.models", one.models or (), models, "models") for one in spec.finetune),
        *(("finetune.datasets", one.datasets or (), datasets, "datasets") for one in spec.finetune),
        ("left_out.model", [one.model for one in spec.left_out], models, "models"),
        ("left_out.dataset", [one.dataset for one in spec.left_out], datasets, "datasets"),
    ):
        if unknown := [one for one in patterns if not any(means(one, name) for name in names)]:
            raise UsageError(f"{key}: {unknown[0]} is not among {what}{did_you_mean(unknown[0], names)}")


def parse_shard(text: str) -> tuple[int, int]:
    """Reads "I/N".

    Raises:
        UsageError: It is something else, or there is no such part.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if found is None:
        raise UsageError(f"--shard takes I/N, such as 1/50 for the first of 50 parts; not {text!r}")
    part, parts = int(found[1]), int(found[2])
    if not 1 <= part <= parts:
        raise UsageError(
            f"--shard {text}: parts are counted from 1 to N"
            + (f", 1/{parts} to {parts}/{parts}; of a Slurm array: --array=1-{parts}" if parts else "")
        )
    return part, parts


def _share(
    pairs: Sequence[tuple[str, str]],
    part: tuple[int, int] | None,
    registry: "Registry",
    made: Collection[str],
    trainings: Sequence[Training],
) -> Sequence[tuple[str, str]]:
    """Returns one part of the pairs, the most work dealt out first; what is on this machine has no say.

    A checkpoint that is made first has all its pairs in one part, so that no two make it.
    """
    if part is None:
        return pairs

    def images(name: str) -> int:
        known = registry.datasets.get(name)
        return known.splits.train + known.splits.val + known.splits.test if known else 0

    trained = Counter(model for model, name in pairs if model in made for one in trainings if one.asks(model, name))
    models = sorted(
        (model for model in dict.fromkeys(model for model, _ in pairs) if model in made),
        key=lambda model: -trained[model],
    )
    alone = [pair for pair in pairs if pair[0] not in made]
    whole = {*models[part[0] - 1 :: part[1]]}
    dealt = {*sorted(alone, key=lambda pair: (-images(pair[1]), pair[1], pair[0]))[part[0] - 1 :: part[1]]}
    return [pair for pair in pairs if pair in dealt or pair[0] in whole]


@dataclass(frozen=True)
class CachedFeatures:
    """The extractions of an experiment that are cached whole, by checkpoint, data set and layer.

    Attributes:
        groups: They.
        declared: The experiment.
        ids: Id of each data set that is named by where it lies.
    """

    groups: "Mapping[tuple[str, str, str], FeatureGroup]"
    declared: Declared
    ids: Mapping[str, str]

    @classmethod
    def find(cls, declared: Declared, opened: "Mapping[str, Dataset]") -> "CachedFeatures":
        """Looks through the cache; of several arithmetics fp32 comes first, then the newest.

        Features of weights or images that were replaced since are none.
        """
        from probebench.backbones.user_weights import UserWeights
        from probebench.cache.index import read_index

        checkpoints = {checkpoint.id: checkpoint for checkpoint, _ in declared.pairs}
        registered = {name: UserWeights.find(home(), name) for name in checkpoints}
        images = {one.id: (one.fingerprint, one.content) for one in opened.values()}
        found: dict[tuple[str, str, str], FeatureGroup] = {}
        for group in sorted(read_index(home()).groups, key=lambda one: (one.key.dtype == "fp32", one.modified)):
            if group.model not in checkpoints or group.missing:
                continue
            key, weights = group.key, registered[group.model]
            if (
                key.preprocessing == checkpoints[group.model].input.at_size(declared.spec.input_size)
                and (weights is None or weights.digest == key.weights_digest)
                and images.get(group.dataset) in (None, (key.dataset_fingerprint, key.content))
            ):
                found[group.model, group.dataset, key.layer] = group
        return cls(found, declared, {name: one.id for name, one in opened.items()})

    def group(self, checkpoint: "CheckpointSpec", dataset: str, layer: str) -> "FeatureGroup | None":
        """Returns an extraction, by the name of the data set."""
        return self.groups.get((checkpoint.id, self.ids.get(dataset, dataset), layer))

    def whole(self, checkpoint: "CheckpointSpec", dataset: str) -> bool:
        """Says whether every layer that a pair needs is there."""
        return all(self.group(checkpoint, dataset, layer) for layer in self.declared.layers(checkpoint))
