"""Which cached extractions a user means."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from probebench.cache.index import FeatureGroup, Index, read_index
from probebench.datasets.open import open_dataset
from probebench.registry.load import Registry
from probebench.registry.names import FOLDER, expand, is_source, split_list


@dataclass(frozen=True)
class Extractions:
    """Cached extractions that were asked for.

    Attributes:
        groups: Those that are there.
        problems: A line for each thing that was asked for and is not there, or cannot be read.
        warnings: What was passed over, and why.
    """

    groups: tuple[FeatureGroup, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def choose_extractions(
    registry: Registry, home: Path, models: Sequence[str], datasets: Sequence[str], input_size: int | None
) -> Extractions:
    """Finds the cached extractions of some checkpoints on some data sets.

    Args:
        registry: Entries.
        home: The home folder.
        models: Ids, globs or comma lists; none: everything cached.
        datasets: Likewise, and suites and sources.
        input_size: Only extractions at this size.

    Raises:
        UsageError: A pattern matches nothing; the line gives the nearest names.
    """
    index = read_index(home)
    names = split_list(models)
    known = {*registry.checkpoints, *(group.model for group in index.groups)}
    wanted = expand("model", names, known, "probebench models list") if names else None
    places = _places(registry, home, datasets, {group.dataset for group in index.groups}) if datasets else None
    asked = [
        group
        for group in index.groups
        if (wanted is None or group.model in wanted)
        and (places is None or group.dataset in places)
        and (input_size is None or group.key.preprocessing.size == input_size)
    ]
    problems = [
        text
        for path, text in index.problems.items()
        if (wanted is None or path.parent.parent.name in wanted)
        and (places is None or path.parent.name in {place.replace(":", "-") for place in places})
    ]
    outright = [name for name in names if name in known]
    problems += _absent(asked, bool(problems), outright, places or {}, input_size, home)
    # One that was named and is not whole is told of as a failure; where a file is damaged, its own line says all.
    damaged = {(path.parent.parent.name, path.parent.name) for path in index.problems}
    lacking = [
        group for group in asked if group.missing and (group.model, group.dataset.replace(":", "-")) not in damaged
    ]
    passed_over = [group for group in lacking if group.dataset not in (places or {})]
    groups = [group for group in asked if not group.missing or (group in lacking and group not in passed_over)]
    return Extractions(tuple(groups), tuple(problems), tuple(_passed_over(index, passed_over, groups)))


def _absent(
    asked: Sequence[FeatureGroup],
    damaged: bool,
    models: Sequence[str],
    places: Mapping[str, str | None],
    input_size: int | None,
    home: Path,
) -> list[str]:
    """Returns a line for each checkpoint and data set, named outright and not by a glob, that has no features."""
    lines: list[str] = []
    at, size = (f" at {input_size} px", f" --input-size {input_size}") if input_size else ("", "")
    # None stands for "whatever is cached".
    typed_places: list[tuple[str | None, str | None]] = [pair for pair in places.items() if pair[1]]
    for model in (*models,) or (None,):
        for place, typed in typed_places or [(None, None)]:
            if any(model in (None, group.model) and place in (None, group.dataset) for group in asked):
                continue
            if model or place or not (asked or damaged or lines):
                what = (f" of {model}" if model else "") + (f" on {typed}" if typed else "") + at
                flags = f" --dataset {typed}" if typed else ""
                lines.append(
                    f"no features{what} are cached in {home / 'features'}; "
                    f"run: probebench extract --model {model or 'ID'}{flags}{size}"
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
        return Path(pattern.removeprefix(FOLDER)).expanduser().is_dir()
    return is_source(pattern) and not fnmatch.filter(cached, pattern)
