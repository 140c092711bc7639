"""Where the samples of a shard lie: read from the tar file once, then remembered."""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from probebench.datasets.base import decode, looks_whole
from probebench.datasets.digest_cache import Arrays, read_arrays, write_arrays
from probebench.datasets.formats import is_image
from probebench.datasets.sources.webdataset.store import Shard, ShardStore, local_path, read_in_place
from probebench.errors import DatasetError, one_line
from probebench.files import stamp

# What is remembered of each sample. Keys and digests are bytes; ``whole`` says that the image can be decoded.
_KINDS = {"keys": "S", "labels": "i", "offsets": "i", "sizes": "i", "digests": "S", "whole": "b", "stamp": "S"}
# Where captions lie, in shards of captioned images.
_TEXTS = {"text_offsets": "i", "text_sizes": "i"}
_USUAL = ("jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp")
# No label and no caption needs more bytes than this.
_LABEL = 1 << 20
# What each sample must have beside its image; where that is a caption, it may have a label too.
Beside = Literal["label", "caption", "nothing"]
# The label of a sample that has none.
UNLABELLED = -1
# Names that webdataset keeps for itself, as its own readers skip them.
_META = re.compile(r"__[^/]*__($|/)")


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one shard."""

    shard: Shard
    samples: Arrays


def index_shard(url: str, store: ShardStore, index_folder: Path, *, beside: Beside = "label") -> ShardIndex:
    """Returns the samples of a shard, reading it only where it is not known.

    A local shard is known by its path, size, times and inode; a streamed one by its address, and its bytes are
    compared whenever they are streamed again.

    Args:
        url: The shard.
        store: Reads shards.
        index_folder: Where what is learnt is kept.
        beside: What each sample must have: a caption is its .txt.

    Raises:
        DatasetError: The shard is missing, out of reach or damaged, or a sample in it is.
    """
    kinds = {**_KINDS, **_TEXTS} if beside == "caption" else _KINDS
    ending = {"label": ".npz", "caption": ".captions.npz", "nothing": ".images.npz"}[beside]
    digest_cache = index_folder / f"{hashlib.sha256(os.fsencode(url)).hexdigest()[:32]}{ending}"
    known = read_arrays(digest_cache, kinds)
    now = _stamp(url) if read_in_place(url) else ""
    if known is not None:
        before = known.pop("stamp")[0].decode()
        if not now or before == now:
            return ShardIndex(Shard(url, "" if now else before), known)
    with store.whole(url) as (stream, digest):
        samples = _read(url, stream, beside)
    write_arrays(digest_cache, {**samples, "stamp": np.array([os.fsencode(now or digest)])})
    return ShardIndex(Shard(url, digest), samples)


def _stamp(url: str) -> str:
    try:
        status = local_path(url).stat()
    except OSError as error:
        raise DatasetError(f"shard {url} cannot be read: {error.strerror}") from error
    return " ".join(map(str, stamp(status)))


def _read(url: str, stream: IO[bytes], beside: Beside) -> Arrays:
    """Reads a shard from end to end; webdataset says which files make a sample."""
    from webdataset.tariterators import group_by_keys

    rows: list[tuple[bytes, int, int, int, bytes, bool]] = []
    texts: list[tuple[int, int]] = []
    try:
        for sample in group_by_keys(_members(url, stream)):
            rows.append(_row(url, stream, sample, beside))
            if beside == "caption":
                texts.append(_text(url, sample))
    except tarfile.TarError as error:
        raise DatasetError(f"shard {url} is damaged ({one_line(error, 80)}); fetch or write it again") from error
    except ValueError as error:
        # It adds what it was reading to the arguments of the error.
        reason = str(error.args[0]).split(" dict_keys", 1)[0]
        raise DatasetError(f"shard {url} has a sample twice ({reason}); write it again") from error
    if not rows:
        raise DatasetError(f"shard {url} holds no samples")
    kinds: tuple[Any, ...] = (np.bytes_, np.int64, np.int64, np.int64, np.bytes_, np.bool_)
    columns = zip(_KINDS, zip(*rows, strict=True), kinds, strict=False)
    samples: Arrays = {name: np.array(column, dtype=kind) for name, column, kind in columns}
    if texts:
        samples |= {name: np.array(column) for name, column in zip(_TEXTS, zip(*texts, strict=True), strict=True)}
    return samples


def _text(url: str, sample: dict[str, Any]) -> tuple[int, int]:
    """Returns where the caption of a sample begins in the shard, and its bytes."""
    member = sample.get("txt")
    where = f"shard {url}: sample {sample['__key__']}"
    if not isinstance(member, tarfile.TarInfo):
        raise DatasetError(f"{where} has no caption: give it a .txt beside its image")
    if member.size > _LABEL:
        raise DatasetError(f"{where}: its .txt has {member.size} bytes; a caption is a line or a few")
    return member.offset_data, member.size


def _members(url: str, stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yields the files of a tar in the form that webdataset groups, with where they lie in place of what they hold."""
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            # Else Python keeps them all.
            tar.members.clear()  # type: ignore[attr-defined]
            if member.isreg() and not _META.match(member.name):
                _check_name(url, member)
                yield {"fname": member.name, "data": member, "__url__": url}
        stream.seek(tar.offset)
        # tarfile takes whatever it cannot read for the end; the true end is a block of zeros.
        if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"cut off or damaged at byte {tar.offset}")


def _check_name(url: str, member: tarfile.TarInfo) -> None:
    name = member.name
    if name.startswith("/") or ".." in name.split("/") or not name.isprintable() or member.issparse():
        raise DatasetError(f"shard {url}: file {ascii(name)} has a name or form that is refused; write it again")


def _row(
    url: str, stream: IO[bytes], sample: dict[str, Any], beside: Beside
) -> tuple[bytes, int, int, int, bytes, bool]:
    key = sample["__key__"]
    files = {suffix: member for suffix, member in sample.items() if isinstance(member, tarfile.TarInfo)}
    where = f"shard {url}: sample {key}"
    image = _image(where, files)
    labelled = beside == "label" or (beside == "caption" and "cls" in files)
    label = _label(where, stream, files) if labelled else UNLABELLED
    content = _content(stream, image) if image else b""
    return (
        key.encode(),
        label,
        image.offset_data if image else 0,
        image.size if image else 0,
        hashlib.sha256(content).hexdigest().encode(),
        _whole(content),
    )


def _image(where: str, files: dict[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """Returns the image of a sample; None where it has none, which then is an image that cannot be read."""
    found = [suffix for suffix in files if is_image(f"image.{suffix}")]
    # Where several are, one of the usual formats is the image.
    found = [suffix for suffix in found if suffix.rsplit(".", 1)[-1].lower() in _USUAL] or found
    # 7.jpg is the image where 7.mask.png lies beside it.
    found = [suffix for suffix in found if "." not in suffix] or found
    if len(found) > 1:
        raise DatasetError(f"{where} has several images among its files ({', '.join(files)}); it must have one")
    return files[found[0]] if found else None


def _label(where: str, stream: IO[bytes], files: dict[str, tarfile.TarInfo]) -> int:
    said: object
    if "cls" in files:
        said = _short(where, stream, files["cls"]).decode(errors="replace").strip()
        label = int(said) if said.isdecimal() and len(said) < 20 else -1
    elif "json" in files:
        try:
            value = json.loads(_short(where, stream, files["json"]))
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{where}: its json cannot be read ({one_line(error, 80)}); write it again") from error
        said = value.get("label") if isinstance(value, dict) else None
        label = said if isinstance(said, int) and not isinstance(said, bool) else -1
    else:
        raise DatasetError(f"{where} has no label: give it a .cls with a class number, or a .json with a label")
    if not 0 <= label < 2**31:
        raise DatasetError(f"{where}: its label {ascii(said)[:40]} is not a class number (0, 1, 2 and so on)")
    return label


def _short(where: str, stream: IO[bytes], member: tarfile.TarInfo) -> bytes:
    if member.size > _LABEL:
        raise DatasetError(f"{where}: its label file has {member.size} bytes; a label is a number")
    return _content(stream, member)


def _content(stream: IO[bytes], member: tarfile.TarInfo) -> bytes:
    stream.seek(member.offset_data)
    return stream.read(member.size)


def _whole(content: bytes) -> bool:
    if looks_whole(content, content):
        return True
    try:
        decode(io.BytesIO(content), "")
    except DatasetError:
        return False
    return True
