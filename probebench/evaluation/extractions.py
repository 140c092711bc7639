"""Which cached extractions a user means."""

import fnmatch
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from probebench.cache.index import FeatureGroup, Index, read_index
from probebench.datasets.open import open_dataset
from probebench.registry.layers import check_patterns, fits, is_layer
from probebench.registry.load import Registry
from probebench.registry.names import FOLDER, expand, folder_of, is_source, split_list
from probebench.registry.schema import CheckpointSpec, ProtocolSpec


@dataclass(frozen=True)
class Extractions:
    """Cached extractions that were asked for.

    Attributes:
        groups: Those that are there.
        absent: A line for each thing that was asked for and is not there.
        problems: A line for each that is there and cannot be read.
        warnings: What was passed over, and why.
    """

    groups: tuple[FeatureGroup, ...]
    absent: tuple[str, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Narrowed:
    """What else extractions are asked for by.

    Attributes:
        input_size: Side of the input in pixels; None: any.
        layers: Names and globs of layers; none: any.
    """

    input_size: int | None
    layers: Sequence[str]

    def takes(self, group: FeatureGroup) -> bool:
        return self.input_size in (None, group.key.preprocessing.size) and (
            not self.layers or any(fits(group.key.layer, pattern) for pattern in self.layers)
        )


def choose_extractions(
    registry: Registry,
    home: Path,
    models: Sequence[str],
    datasets: Sequence[str],
    input_size: int | None,
    layers: Sequence[str] = (),
) -> Extractions:
    """Finds the cached extractions of some checkpoints on some data sets.

    Args:
        registry: Entries.
        home: The home folder.
        models: Ids, globs or comma lists; none: everything cached.
        datasets: Likewise, and suites and sources.
        input_size: Only extractions at this size.
        layers: Only those of these layers: names, globs or comma lists.

    Raises:
        UsageError: A pattern matches nothing; the line gives the nearest names.
    """
    index, narrowed = read_index(home), _Narrowed(input_size, check_patterns(layers))
    names = split_list(models)
    known = {*registry.checkpoints, *(group.model for group in index.groups)}
    wanted = expand("model", names, known, "probebench models list") if names else None
    places = _places(registry, home, datasets, {group.dataset for group in index.groups}) if datasets else None
    asked = [
        group
        for group in index.groups
        if (wanted is None or group.model in wanted)
        and (places is None or group.dataset in places)
        and narrowed.takes(group)
    ]
    problems = [
        text
        for path, text in index.problems.items()
        if (wanted is None or path.parent.parent.name in wanted)
        and (places is None or path.parent.name in {place.replace(":", "-") for place in places})
    ]
    outright = [name for name in names if name in known]
    absent = _absent(asked, bool(problems), outright, places or {}, narrowed, home)
    # One that was named and is not whole is told of as a failure; where a file is damaged, its own line says all.
    damaged = {(path.parent.parent.name, path.parent.name) for path in index.problems}
    lacking = [
        group for group in asked if group.missing and (group.model, group.dataset.replace(":", "-")) not in damaged
    ]
    passed_over = [group for group in lacking if group.dataset not in (places or {})]
    groups = [group for group in asked if not group.missing or (group in lacking and group not in passed_over)]
    return Extractions(tuple(groups), tuple(absent), tuple(problems), tuple(_passed_over(index, passed_over, groups)))


def _absent(
    asked: Sequence[FeatureGroup],
    damaged: bool,
    models: Sequence[str],
    places: Mapping[str, str | None],
    narrowed: _Narrowed,
    home: Path,
) -> list[str]:
    """Returns a line for each checkpoint, data set and layer, named outright and not by a glob, without features."""
    lines: list[str] = []
    size = narrowed.input_size
    # None stands for "whatever is cached".
    typed_places: list[tuple[str | None, str | None]] = [pair for pair in places.items() if pair[1]]
    named = [name for name in narrowed.layers if is_layer(name)]
    for model, (place, typed), layer in itertools.product(
        (*models,) or (None,), typed_places or [(None, None)], (*named,) or (None,)
    ):
        if any(
            model in (None, group.model) and place in (None, group.dataset) and layer in (None, group.key.layer)
            for group in asked
        ):
            continue
        if model or place or layer or not (asked or damaged or lines):
            told = layer or ",".join(narrowed.layers)
            what = (f" of {model}" if model else "") + (f" on {typed}" if typed else "")
            what += (f" at {size} px" if size else "") + (f", layer {told}," if told else "")
            flags = (f" --dataset {typed}" if typed else "") + (f" --input-size {size}" if size else "")
            flags += f" --layer {told}" if told else ""
            lines.append(
                f"no features{what} are cached in {home / 'features'}; "
                f"run: probebench extract --model {model or 'ID'}{flags}"
            )
    return lines


def _passed_over(index: Index, lacking: Sequence[FeatureGroup], groups: Sequence[FeatureGroup]) -> list[str]:
    lines = [
        f"{group.model} on {group.dataset} lacks the {', '.join(group.missing)} split and is passed over; "
        f"extract it again to finish it, or: probebench cache remove --model {group.model} --dataset {group.dataset}"
        for group in lacking
    ]
    replaced = {group.setting for group in index.older} & {group.setting for group in groups}
    lines += [
        f"{model} on {dataset}: older features (other weights or images) are passed over; "
        "probebench cache remove clears them"
        for model, dataset, *_ in sorted(replaced)
    ]
    return lines


def _places(registry: Registry, home: Path, patterns: Sequence[str], cached: set[str]) -> dict[str, str | None]:
    """Returns the ids of the data sets asked for, each with how it was named; None where a glob found it."""
    names: dict[str, str | None] = {}
    for pattern in split_list(patterns):
        if _must_be_opened(pattern, cached):
            names[open_dataset(pattern, registry, home / "datasets").id] = pattern
            continue
        known = {*registry.datasets, *registry.suites, *cached}
        for name in expand("data set", [pattern], known, "probebench datasets list"):
            suite = registry.suites.get(name)
            names.update({one: one if name == pattern else None for one in (suite.datasets if suite else [name])})
    return names


def _must_be_opened(pattern: str, cached: set[str]) -> bool:
    """Whether a name says where a data set lies, and is no id or glob of what is cached."""
    if pattern.startswith(FOLDER):
        return folder_of(pattern)[0].is_dir()
    return is_source(pattern) and not fnmatch.filter(cached, pattern)


def projected_only(groups: Sequence[FeatureGroup]) -> list[FeatureGroup]:
    """Leaves out other layers of what has projected features too: text is compared with these alone."""
    have = {_less_layer(group) for group in groups if group.key.layer == "projected"}
    return [group for group in groups if group.key.layer == "projected" or _less_layer(group) not in have]


def _less_layer(group: FeatureGroup) -> tuple[object, ...]:
    return group.setting[:-1]


def of_protocol(
    groups: Sequence[FeatureGroup], protocol: ProtocolSpec, checkpoints: Mapping[str, CheckpointSpec]
) -> tuple[list[FeatureGroup], list[str]]:
    """Returns the extractions of the layer that a protocol asks for, and a line for each that is not cached.

    Args:
        groups: Cached extractions of any layers, none of which a user named.
        protocol: What is to be evaluated; one that asks for no layer takes them all.
        checkpoints: Entries by id.
    """
    if protocol.layer is None:
        return list(groups), []
    chosen, problems, seen = [], [], set[tuple[object, ...]]()
    cached: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for group in groups:
        cached[_less_layer(group)].add(group.key.layer)
    for group in groups:
        spec, place = checkpoints.get(group.model), _less_layer(group)
        if spec is None:
            chosen.append(group)
            continue
        wanted = protocol.layer_of(spec)
        if protocol.layer in cached[place]:
            # Of a network that the table does not hold, too.
            wanted = protocol.layer
        if group.key.layer == wanted:
            chosen.append(group)
        elif wanted not in cached[place] and place not in seen:
            size = group.key.preprocessing.size
            problems.append(
                f"protocol {protocol.id} takes {wanted} features of {group.model}, which are not cached on "
                f"{group.dataset} at {size} px; run: probebench extract --model {group.model} --dataset "
                f"{group.dataset} --input-size {size} --layer {wanted}, or name another layer by --layer"
            )
        seen.add(place)
    return chosen, problems
