"""How users name things: ids, globs and comma lists of them, suites, and sources by where they lie."""

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from probebench.registry.load import Registry

# Prefixes of data sets that are named by where they lie, and have no entry.
FOLDER, WDS, HF = "folder:", "wds:", "hf:"


def is_source(text: str) -> bool:
    """Says whether a data set is named by where it lies, not by an id of the registry."""
    return text.startswith((FOLDER, WDS, HF))


def split_list(texts: Iterable[str]) -> list[str]:
    """Splits comma lists; a source whose own name holds a comma stays whole."""
    parts: list[str] = []
    for text in texts:
        folder = text.startswith(FOLDER) and Path(text.removeprefix(FOLDER)).expanduser().is_dir()
        whole = folder or text.startswith((WDS, HF))
        parts += [text] if whole else [part.strip() for part in text.split(",") if part.strip()]
    return parts


def expand(kind: str, patterns: Iterable[str], known: Iterable[str], listing: str) -> list[str]:
    """Expands comma lists and globs into known ids, in the order asked for, each once.

    Args:
        kind: What the ids name, for the error line ("model", "data set").
        patterns: Ids, globs, or comma lists of them.
        known: The ids that exist.
        listing: The command that lists them, for the error line.

    Raises:
        UsageError: A pattern matches nothing; the line gives the nearest names.
    """
    names = list(known)
    chosen: dict[str, None] = {}
    for pattern in (part.strip() for text in patterns for part in text.split(",")):
        if not pattern:
            continue
        matches = [pattern] if pattern in names else fnmatch.filter(names, pattern)
        if not matches:
            raise UsageError(f"unknown {kind} {pattern!r}{did_you_mean(pattern, names)} ({listing})")
        chosen.update(dict.fromkeys(matches))
    return list(chosen)


def expand_models(registry: "Registry", patterns: Sequence[str]) -> list[str]:
    """Returns the checkpoints that --model names.

    Raises:
        UsageError: A pattern matches nothing; the line gives the nearest names.
    """
    return expand("model", patterns, registry.checkpoints, "probebench models list")


def expand_datasets(registry: "Registry", patterns: Sequence[str], *, sources: bool = True) -> list[str]:
    """Returns the data sets that --dataset names: suites become their data sets, sources stay as they are.

    Args:
        registry: Entries.
        patterns: Ids, suites, globs, comma lists of them, and sources.
        sources: Whether sources may be named.

    Raises:
        UsageError: A pattern matches nothing; the line gives the nearest names.
    """
    chosen: dict[str, None] = {}
    for pattern in split_list(patterns):
        if sources and is_source(pattern):
            chosen[pattern] = None
            continue
        for name in expand("data set", [pattern], [*registry.datasets, *registry.suites], "probebench datasets list"):
            suite = registry.suites.get(name)
            chosen.update(dict.fromkeys(suite.datasets if suite else [name]))
    return list(chosen)
