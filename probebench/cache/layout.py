"""Lays a feature file out: HDF5 writes its structure into memory, and the rest is reserved.

HDF5 never writes to the disk, where a kill or a full disk could leave it half done; what it would have written comes
out as pages, and the file is filled by plain writes at known places.
"""

import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.cache.checksums import COLUMNS
from probebench.cache.file_io import RawFile, bytes_of
from probebench.cache.header import (
    BLOCK,
    FORMAT,
    FORMAT_VERSION,
    SETTINGS_SIZE,
    About,
    Description,
    Places,
    Settings,
    Slot,
    encode_description,
    encode_settings,
    encode_slot,
    fixed_sha256,
    slot_place,
)
from probebench.cache.key import FeatureKey
from probebench.fingerprint import canonical_json

_PAGE = 4096
# What HDF5's own structure takes at most: its pages for a key of usual length are half of it.
_STRUCTURE = 1 << 15


@dataclass(frozen=True)
class Provenance:
    """What is known before the first row: the key, whose features these are, and how they are computed.

    Attributes:
        key: Everything that can change a byte.
        model: Checkpoint id.
        dataset: Data set id.
        splits: Names of all parts of the data set.
        settings: Device, batch size and the like, kept when an interrupted run resumes.
    """

    key: FeatureKey
    model: str
    dataset: str
    splits: tuple[str, ...]
    settings: Settings


@dataclass(frozen=True)
class Samples:
    """The images of a file.

    Attributes:
        ids: (N,) UTF-8 strings of one length.
        labels: (N,) int64.
    """

    ids: npt.NDArray[np.bytes_]
    labels: Labels

    @classmethod
    def of(cls, ids: Sequence[str], labels: npt.NDArray[np.integer[Any]]) -> "Samples":
        """Encodes ids and labels as they are stored."""
        return cls(encode_ids(ids), np.ascontiguousarray(labels, "<i8"))

    def __getitem__(self, chosen: "npt.NDArray[Any] | slice[int, int, None]") -> "Samples":
        """Returns some of them; ``chosen`` is any index that numpy takes."""
        return Samples(self.ids[chosen], self.labels[chosen])

    def __len__(self) -> int:
        """Returns N."""
        return len(self.labels)


def encode_ids(ids: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Returns ids as UTF-8 of one length: no heap that grows, and the same bytes for the same ids."""
    encoded = [name.encode() for name in ids]
    return np.array(encoded, f"S{max(map(len, encoded), default=0) or 1}")


def decode_ids(ids: npt.NDArray[np.bytes_]) -> tuple[str, ...]:
    """Returns ids as text."""
    return tuple(name.decode() for name in ids.tolist())


def storage_dtype(dtype: str) -> np.dtype[Any]:
    """Returns how features of a key's dtype are stored: fp32 as float32, others as float16."""
    return np.dtype("<f4" if dtype == "fp32" else "<f2")


def bytes_needed(ids: Sequence[str], width: int, dtype: str) -> int:
    """Returns how many bytes a file takes at most.

    Args:
        ids: The N sample ids.
        width: The feature width D.
        dtype: The key's: "fp32", "fp16" or "bf16".
    """
    ids_size = max((len(name.encode()) for name in ids), default=0) or 1
    return _bytes_needed(len(ids), ids_size, width * storage_dtype(dtype).itemsize)


def room_for(samples: Samples, width: int, dtype: str) -> int:
    """Returns ``bytes_needed`` of samples that are encoded already."""
    return _bytes_needed(len(samples), samples.ids.itemsize, width * storage_dtype(dtype).itemsize)


def _bytes_needed(rows: int, ids_size: int, row_bytes: int) -> int:
    return BLOCK + _STRUCTURE + rows * (row_bytes + 8 * COLUMNS + 8 + ids_size)


def lay_out(
    path: Path, provenance: Provenance, samples: Samples, width: int, skipped: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Writes a file in which all is said and no row is there.

    Args:
        path: Where; what is there is written over.
        provenance: Key and settings.
        samples: Its N images.
        width: The feature width D.
        skipped: What the file says of images left out: name of a data set and its (S,) values.
    """
    memory, places = _structure(provenance, samples, width, skipped)
    with RawFile(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
        file.extend(memory.length)
        for offset, content in memory.written():
            file.write(offset, content)
        file.write(places.labels, bytes_of(samples.labels))
        file.write(places.ids, bytes_of(samples.ids))
        file.write(places.settings, encode_settings(provenance.settings))
        key = provenance.key
        description = Description(
            rows=len(samples),
            width=width,
            dtype=storage_dtype(key.dtype).name,
            ids_size=samples.ids.itemsize,
            length=memory.length,
            places=places,
            key=key.digest,
            about=About(
                model=provenance.model,
                dataset=provenance.dataset,
                split=key.split,
                input_size=key.preprocessing.size,
                dtype=key.dtype,
                layer=key.layer,
            ),
            sha256="",
        )
        description = replace(description, sha256=fixed_sha256(file, description))
        file.write(0, encode_description(description))
        file.write(slot_place(0), encode_slot(Slot(0, 0, provenance.settings)))
        # On the disk before it has a name that a later run trusts.
        file.sync()


class _Memory:
    """What HDF5 takes for a file: pages in memory, only those that were written to."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._place = 0
        self.length = 0

    def written(self) -> list[tuple[int, bytes]]:
        """Returns offset and content of each page, none beyond the end."""
        return [
            (number * _PAGE, bytes(page[: self.length - number * _PAGE]))
            for number, page in sorted(self._pages.items())
            if number * _PAGE < self.length
        ]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.length}[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, content: memoryview) -> int:
        for number, start, part in self._parts(content):
            self._pages.setdefault(number, bytearray(_PAGE))[start : start + len(part)] = part
        self.length = max(self.length, self._place)
        return len(content)

    def readinto(self, buffer: memoryview) -> int:
        for number, start, part in self._parts(buffer):
            part[:] = self._pages.get(number, bytes(_PAGE))[start : start + len(part)]
        return len(buffer)

    def truncate(self, length: int | None = None) -> int:
        self.length = self._place if length is None else length
        return self.length

    def flush(self) -> None:
        """Nothing is held back."""

    def _parts(self, content: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        """Cuts what lies at the current place into pages (number, offset in it, part), and moves the place on."""
        while content:
            number, start = divmod(self._place, _PAGE)
            part, content = content[: _PAGE - start], content[_PAGE - start :]
            self._place += len(part)
            yield number, start, part


def _structure(
    provenance: Provenance, samples: Samples, width: int, skipped: Mapping[str, npt.NDArray[Any]]
) -> tuple[_Memory, Places]:
    """Has HDF5 lay a file out, with room for labels, ids, checksums and features."""
    memory = _Memory()
    text = h5py.string_dtype("utf-8", samples.ids.itemsize)
    rows = len(samples)
    # Rows begin at a page, so that reading one of 4 KB touches no more than one.
    with h5py.File(
        "memory",
        "w",
        driver="fileobj",
        fileobj=memory,
        libver="earliest",
        userblock_size=BLOCK,
        alignment_threshold=_PAGE,
        alignment_interval=_PAGE,
    ) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = np.int64(FORMAT_VERSION)
        file.attrs["committed"] = np.int64(0)
        file.attrs["complete"] = np.bool_(False)
        # A fixed length, so that it can be written over in place.
        file.attrs.create("settings", b"", dtype=h5py.string_dtype("utf-8", SETTINGS_SIZE))
        file.attrs["key"] = canonical_json(provenance.key.model_dump(mode="json"))
        file.attrs["key_digest"] = provenance.key.digest
        file.attrs["model"] = provenance.model
        file.attrs["dataset"] = provenance.dataset
        file.attrs["splits"] = canonical_json(list(provenance.splits))
        for name, values in skipped.items():
            kind = h5py.string_dtype("utf-8", values.itemsize) if values.dtype.kind == "S" else values.dtype
            data = _reserve(file, name, values.shape, np.dtype(kind))
            data.write(h5py.h5s.ALL, h5py.h5s.ALL, values, data.get_type())
        offsets = {
            name: _reserve(file, name, shape, np.dtype(kind)).get_offset()
            for name, shape, kind in (
                ("labels", (rows,), "<i8"),
                ("ids", (rows,), text),
                ("checksums", (rows, COLUMNS), "<u8"),
                ("features", (rows, width), storage_dtype(provenance.key.dtype)),
            )
        }
    head = bytearray(_STRUCTURE)
    memory.seek(BLOCK)
    memory.readinto(memoryview(head))
    changing = {name: BLOCK + _value_offset(head, name) for name in ("committed", "complete", "settings")}
    return memory, Places(**offsets, **changing)


def _reserve(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> h5py.h5d.DatasetID:
    """Creates a contiguous data set at its final place in the file, so that filling it changes no structure."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # A time stamp would make the same features two different files.
    creation.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    return h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, creation)


def _value_offset(head: bytearray, name: str) -> int:
    """Finds where the value of an attribute lies in the first bytes that HDF5 wrote.

    An attribute is a message of version 1 (HDF5 File Format Specification, IV.A.2.m): version, zero, the sizes of name,
    type and space as 16-bit numbers, then these three, each padded to 8 bytes, then the value.
    """
    label = name.encode() + b"\0"
    (found,) = re.finditer(rb"\x01\0" + re.escape(struct.pack("<H", len(label))) + rb"(..)(..)" + label, head, re.S)
    sizes = (len(label), *struct.unpack("<HH", found[1] + found[2]))
    offset: int = found.start() + 8 + sum(-(-size // 8) * 8 for size in sizes)
    return offset
