"""Which shards a text names, and the class names that lie beside them."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import numpy as np

from probebench.datasets.digest_cache import read_arrays, write_arrays
from probebench.datasets.sources.assemble import ANY_SPLIT_NAME, find_splits
from probebench.datasets.sources.walk import inode, is_system
from probebench.datasets.sources.webdataset.store import MissingError, blocks, is_local, local_path
from probebench.errors import DatasetError, UsageError, one_line

_TARS = (".tar", ".tar.gz", ".tgz")
_CLASSES = ("classnames.txt", "classes.txt")
_NAMED = re.compile(rf"({'|'.join(sorted(ANY_SPLIT_NAME))})=(.*)", re.IGNORECASE | re.DOTALL)


def named_shards(text: str) -> tuple[str, dict[str, list[str]]]:
    """Returns a name for the whole, and the shards of each split; those of ``all`` where they are to be cut.

    Raises:
        UsageError: The text cannot be understood.
        DatasetError: There are no shards, or no splits that can be evaluated.
    """
    folder, where = Path(text).expanduser(), f"data set wds:{text}"
    if folder.is_dir():
        inside = _in_folder(folder)
        _refuse_shared_shards(inside, where)
        return folder.resolve().name, inside
    pieces = text.split(";") if _NAMED.fullmatch(text) else [f"all={text}"]
    patterns = {}
    for piece in pieces:
        split, found, pattern = piece.partition("=")
        if not found or (split != "all" and split.lower() not in ANY_SPLIT_NAME):
            raise UsageError(f"{where}: {piece!r} is not SPLIT=PATTERN, with train, val or test as the split")
        patterns[split] = pattern
    shards = {split: _expand(pattern, where) for split, pattern in patterns.items()}
    if "all" not in shards:
        shards = find_splits(shards, where)
        if not shards:
            raise UsageError(f"{where} has no train split: name one as train=PATTERN")
    _refuse_shared_shards(shards, where)
    first = next(iter(shards.values()))[0]
    return _place_name(first), shards


def _refuse_shared_shards(shards: dict[str, list[str]], where: str) -> None:
    """Refuses a shard that is named twice, in one split or in two, whatever links lead to it."""
    seen: dict[object, tuple[str, str]] = {}
    for split, urls in shards.items():
        for url in urls:
            path = local_path(url) if is_local(url) else None
            shard: object = inode(str(path)) if path and path.exists() else url
            if shard in seen:
                other, before = seen[shard]
                what = f"in {before} and in {split}" if before != split else f"twice in {split}"
                raise DatasetError(f"{where}: {other} and {url} are one shard, which would be {what}; remove one")
            seen[shard] = url, split


def _expand(pattern: str, where: str) -> list[str]:
    from webdataset.gopen import gopen_schemes
    from webdataset.shardlists import expand_urls

    try:
        urls = expand_urls(pattern)
    except (ValueError, AssertionError) as error:
        raise UsageError(f"{where}: {pattern} is not a pattern of shards ({one_line(error, 80)})") from error
    shards: list[str] = []
    for url in urls:
        scheme = urlparse(url).scheme
        if is_local(url):
            path = local_path(url).expanduser().absolute()
            inside = str(path.relative_to(path.anchor))
            found = Path(path.anchor).glob(inside) if any(mark in inside for mark in "*?[") else [path]
            shards += sorted(map(str, found))
        elif scheme in gopen_schemes and scheme not in ("__default__", "pipe"):
            shards.append(url)
        else:
            # pipe: would run whatever stands behind it.
            known = ", ".join(sorted(set(gopen_schemes) - {"__default__", "pipe"}))
            raise UsageError(f"{where}: shards come from this machine or by {known}, not by {scheme}:")
    if not shards:
        raise DatasetError(f"{where}: {pattern} names no shards")
    return shards


def _in_folder(folder: Path) -> dict[str, list[str]]:
    """Finds SPLIT/*.tar, else tar files named after their splits, else takes all tar files together."""
    where = f"data set folder {folder}"
    below = {child.name: tars for child in sorted(folder.iterdir()) if child.is_dir() and (tars := _tars(child))}
    if splits := find_splits(below, where):
        return splits
    here = _tars(folder)
    if not here:
        raise DatasetError(f"{where} holds no shards (.tar) and no train and test folders of them")
    groups: dict[str, list[str]] = {}
    for shard in here:
        groups.setdefault(_split_of(Path(shard)), []).append(shard)
    splits = find_splits(groups, where)
    if splits and "" in groups:
        raise DatasetError(f"{groups[''][0]} has no split in its name, as the shards beside it do; rename it")
    return splits or {"all": here}


def _tars(folder: Path) -> list[str]:
    return sorted(
        str(path.absolute())
        for path in folder.iterdir()
        if path.name.endswith(_TARS) and not is_system(path.name) and path.is_file()
    )


def _split_of(shard: Path) -> str:
    words = re.findall("[a-z]+", shard.name.lower().split(".")[0])
    return words[-1] if words and words[-1] in ANY_SPLIT_NAME else ""


def _place_name(url: str) -> str:
    """Returns the name of the folder that a shard lies in, or the one above where that is named after a split."""
    folder = Path(urlparse(url).path if not is_local(url) else url).parent
    return (folder.parent if folder.name.lower() in ANY_SPLIT_NAME else folder).name


def class_names(url: str, index_folder: Path) -> list[str]:
    """Returns the lines of classnames.txt or classes.txt beside a shard, or above its split's folder; none without.

    What lies elsewhere is asked for once and then remembered.

    Raises:
        DatasetError: A list cannot be read.
    """
    if is_local(url):
        found = next((path for path in map(Path, _beside(url)) if path.is_file()), None)
        return _lines(found.read_bytes(), str(found)) if found else []
    digest_cache = index_folder / f"{hashlib.sha256(os.fsencode(url)).hexdigest()[:32]}.names.npz"
    known = read_arrays(digest_cache, {"names": "S"})
    if known is not None:
        return [name.decode() for name in known["names"]]
    names = next(filter(None, map(_fetched, _beside(url))), [])
    write_arrays(digest_cache, {"names": np.array([name.encode() for name in names], dtype=np.bytes_)})
    return names


def _beside(url: str) -> Iterator[str]:
    parts = urlparse(url)
    folder = Path(parts.path)
    for above in (folder.parent, folder.parent.parent):
        for name in _CLASSES:
            yield parts._replace(path=str(above / name)).geturl()
        if above.name.lower() not in ANY_SPLIT_NAME:
            return


def _fetched(url: str) -> list[str]:
    try:
        return _lines(b"".join(blocks(url)), url)
    except MissingError:
        return []


def _lines(content: bytes, where: str) -> list[str]:
    try:
        names = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where} is not UTF-8; write it again") from error
    while names and not names[-1]:
        names.pop()
    return names
