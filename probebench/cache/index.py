"""Which extractions the cache holds whole: the splits of one checkpoint on one data set, found together."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from probebench.cache.key import FeatureKey
from probebench.cache.store import FeatureFile, stored_files
from probebench.errors import CacheError


@dataclass(frozen=True, kw_only=True)
class FeatureGroup:
    """The files of one extraction, by split.

    Attributes:
        model: Checkpoint id.
        dataset: Data set id.
        key: The key of its training part.
        paths: File of each split.
        missing: Splits that are not complete.
        modified: When its newest file was completed, in seconds since 1970.
    """

    model: str
    dataset: str
    key: FeatureKey
    paths: Mapping[str, Path]
    missing: tuple[str, ...]
    modified: float

    @property
    def setting(self) -> tuple[str, str, int, str, str]:
        """What tells apart extractions that a user asked for: model, data set, input size, dtype, layer."""
        return self.model, self.dataset, self.key.preprocessing.size, self.key.dtype, self.key.layer


@dataclass(frozen=True)
class Index:
    """What the cache holds.

    Attributes:
        groups: The newest extraction for each setting.
        older: Extractions that newer weights or changed images replaced.
        problems: One line per file that cannot be read.
    """

    groups: tuple[FeatureGroup, ...]
    older: tuple[FeatureGroup, ...]
    problems: Mapping[Path, str]


def read_index(home: Path) -> Index:
    """Looks through the feature files of a home folder; damaged ones are listed, not raised."""
    found: dict[tuple[str, str, str], dict[str, FeatureFile]] = defaultdict(dict)
    problems: dict[Path, str] = {}
    for path in stored_files(home):
        try:
            with FeatureFile(path) as file:
                found[file.model, file.dataset, file.key.group][file.key.split] = file
        except (CacheError, OSError) as error:
            problems[path] = str(error)
    groups = [_group(model, dataset, files) for (model, dataset, _), files in found.items()]
    newest: dict[tuple[str, str, int, str, str], FeatureGroup] = {}
    for group in sorted(groups, key=lambda group: group.modified):
        newest[group.setting] = group
    chosen = sorted(newest.values(), key=lambda group: group.setting)
    return Index(tuple(chosen), tuple(group for group in groups if group not in chosen), problems)


def _group(model: str, dataset: str, files: Mapping[str, FeatureFile]) -> FeatureGroup:
    some = files.get("train") or next(iter(files.values()))
    return FeatureGroup(
        model=model,
        dataset=dataset,
        key=some.key,
        paths={split: file.path for split, file in files.items()},
        missing=tuple(split for split in some.splits if split not in files),
        modified=max(file.path.stat().st_mtime for file in files.values()),
    )
