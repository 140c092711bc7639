"""How users name things: ids, globs and comma lists of them, suites, and sources by where they lie."""

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from probebench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from probebench.registry.load import Registry

# Prefixes of data sets that are named by where they lie, and have no entry.
FOLDER, WDS, HF = "folder:", "wds:", "hf:"
# Between a data set and the number of images of a trial run on some of it; no other id has it.
TRIAL = "@"
# What the folders in a data set folder are, where a user says so: ``folder:PATH?layout=classes``.
Layout = Literal["classes", "splits"]
_LAYOUT = "?layout="


def is_source(text: str) -> bool:
    """Says whether a data set is named by where it lies, not by an id of the registry."""
    return text.startswith((FOLDER, WDS, HF))


def folder_of(text: str) -> tuple[Path, Layout | None]:
    """Reads ``folder:PATH``, with ``?layout=classes`` or ``?layout=splits`` behind it.

    Raises:
        UsageError: The layout is neither.
    """
    text = text.removeprefix(FOLDER)
    whole = Path(text).expanduser()
    place, said, layout = text.rpartition(_LAYOUT)
    if not said or whole.is_dir():
        return whole, None
    if layout not in get_args(Layout):
        raise UsageError(f"data set {FOLDER}{text}: its layout is classes or splits, not {layout!r}")
    return Path(place).expanduser(), cast(Layout, layout)


def laid_out(names: Sequence[str], layout: Layout | None) -> list[str]:
    """Returns names of data sets, those that are folders with the layout that was asked for.

    Raises:
        UsageError: A layout was asked for and no folder was named.
    """
    if layout is None:
        return list(names)
    parts = split_list(names)
    folders = [one for one in parts if one.startswith(FOLDER) or Path(one).expanduser().is_dir()]
    if not folders:
        raise UsageError("--layout is for folders of images, and no folder was named")
    return [f"{FOLDER}{one.removeprefix(FOLDER)}{_LAYOUT}{layout}" if one in folders else one for one in parts]


def split_list(texts: Iterable[str], kind: str | None = None) -> list[str]:
    """Splits comma lists; a source whose own name holds a comma stays whole.

    Args:
        texts: Names, or comma lists of them.
        kind: What they name, for the error line.

    Raises:
        UsageError: Something stands there, and it names nothing.
    """
    parts: list[str] = []
    texts = list(texts)
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{text!r} is no name")
        folder = text.startswith(FOLDER) and folder_of(text)[0].is_dir()
        whole = folder or text.startswith((WDS, HF))
        parts += [text] if whole else [part.strip() for part in text.split(",") if part.strip()]
    if texts and not parts:
        raise UsageError(
            f"{','.join(texts)!r} names {f'no {kind}' if kind else 'nothing'}; name one, or leave the option out"
        )
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
    for pattern in split_list(patterns, kind):
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


def expand_sources(registry: "Registry", patterns: Sequence[str]) -> list[str]:
    """Returns the sources that patterns name; those of the user's own stay as they are.

    Raises:
        UsageError: A pattern matches nothing; the line gives the nearest names.
    """
    chosen: dict[str, None] = {}
    for pattern in split_list(patterns):
        own = is_source(pattern) or (pattern not in registry.sources and Path(pattern).expanduser().is_dir())
        names = [pattern] if own else expand("source", [pattern], registry.sources, "probebench sources list")
        chosen.update(dict.fromkeys(names))
    return list(chosen)


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
