"""Images in a column of a table, encoded as they came, or in files that the column names."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from probebench.arrays import Positions
from probebench.datasets.base import decode, digests_fingerprint, file_looks_whole, looks_whole
from probebench.datasets.digest_cache import files_stamp, read_arrays, write_arrays
from probebench.datasets.sources.huggingface.load import HubSource
from probebench.errors import DatasetError
from probebench.fingerprint import file_sha256

# Rows that are read in one go.
_TOGETHER = 256
# Where huggingface_hub keeps the files of a commit.
_SNAPSHOT = re.compile(r".*/snapshots/[0-9a-f]{40}/")


@dataclass(frozen=True)
class TableImages:
    """Images of one split.

    Attributes:
        rows: A ``datasets.Dataset`` whose only column holds {"bytes", "path"}; its tables stay on the disk.
        where: What errors call the data set.
        names: (N,) the ids, as bytes.
        digests: (N,) the sha256 of their bytes in hexadecimal.
    """

    rows: Any
    where: str
    names: npt.NDArray[np.bytes_]
    digests: npt.NDArray[np.bytes_]

    def _encoded(self, position: int) -> tuple[bytes | None, Path]:
        (cell,) = self.rows[int(position)].values()
        cell = cell or {"bytes": None, "path": None}
        return cell["bytes"], Path(cell["path"] or "")

    def load(self, position: int) -> Image.Image:
        """Decodes one image."""
        content, path = self._encoded(position)
        if content is None and path == Path():
            raise DatasetError(f"{self.names[position].decode()} of {self.where} has no image; remove it")
        if content is None:
            return decode(path, str(path))
        return decode(BytesIO(content), f"{self.names[position].decode()} of {self.where}")

    def check(self, position: int) -> None:
        """Looks at an image's first and last bytes; decodes it only if they look wrong."""
        content, path = self._encoded(position)
        if not (looks_whole(content, content) if content is not None else file_looks_whole(path)):
            self.load(position)

    def content(self) -> str:
        """Returns the sha256 over the images' digests."""
        return digests_fingerprint(self.digests)

    def take(self, positions: Positions) -> "TableImages":
        """Returns some of the images."""
        return replace(
            self, rows=self.rows.select(positions), names=self.names[positions], digests=self.digests[positions]
        )


def table_images(
    rows: Any, column: str, split: str, source: HubSource, digest_cache: Path
) -> tuple[tuple[str, ...], TableImages]:
    """Returns the ids and images of a table.

    An id is the path that an image came with, inside the folder or repository, where all of them have one of their
    own; else the number of the row.

    Args:
        rows: A ``datasets.Dataset``.
        column: The column of images.
        split: The name of the split, or ``all``.
        source: Where the table comes from.
        digest_cache: The file that remembers the images' digests.

    Raises:
        DatasetError: A row names a file that cannot be read.
    """
    import datasets

    rows = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    paths: list[str | None] = []
    outside: list[npt.NDArray[np.bool_]] = []
    for contents, places in _cells(rows, column):
        paths += places.to_pylist()
        outside.append(contents.is_null().to_numpy(zero_copy_only=False))
    in_files = np.concatenate(outside) if outside else np.zeros(0, dtype=bool)
    ids = _ids(paths, split, f"{source.place}/" if source.local else "")
    files = [path for path, alone in zip(paths, in_files, strict=True) if alone and path]
    stamp = files_stamp([*(file["filename"] for file in rows.cache_files), *files])
    digests = _digests(rows, column, stamp, digest_cache)
    return ids, TableImages(rows, str(source), np.array([name.encode() for name in ids], dtype=np.bytes_), digests)


def _cells(rows: Any, column: str) -> Iterator[tuple[Any, Any]]:
    """Yields the bytes and paths of the column as Arrow arrays, some rows at a time."""
    for table in rows.with_format("arrow").iter(_TOGETHER):
        for chunk in table.column(column).chunks:
            fields = dict(zip((field.name for field in chunk.type), chunk.flatten(), strict=True))
            yield fields["bytes"], fields["path"]


def _ids(paths: Sequence[str | None], split: str, top: str) -> tuple[str, ...]:
    before = "" if split == "all" else f"{split}/"
    names, fit = [], len(paths) > 0
    for path in paths:
        inside = _SNAPSHOT.sub("", (path or "").removeprefix(top))
        fit = fit and _is_plain(inside)
        # A path within the data set says its split itself; the bare name that came with some bytes does not.
        names.append(inside if inside != path else f"{before}{inside}")
    if fit and len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{'image' if split == 'all' else split}-{number:06d}" for number in range(len(paths)))


def _is_plain(path: str) -> bool:
    """Says whether a path means the same on any machine, and can be written in a line."""
    inside = not path.startswith("/") and ".." not in path.split("/") and "://" not in path
    return path != "" and inside and path.isprintable()


def _digests(rows: Any, column: str, stamp: str, digest_cache: Path) -> npt.NDArray[np.bytes_]:
    known = read_arrays(digest_cache, {"digests": "S", "stamp": "S"})
    if known is not None and known["stamp"].tolist() == [stamp.encode()] and len(known["digests"]) == len(rows):
        return known["digests"]
    digests = np.zeros(len(rows), dtype="S64")
    cells = (cell for contents, paths in _cells(rows, column) for cell in zip(contents, paths, strict=True))
    for number, (content, path) in enumerate(cells):
        inside = content.as_buffer()
        where = path.as_py()
        if inside is None and where:
            digests[number] = file_sha256(Path(where))
        else:
            digests[number] = hashlib.sha256(inside or b"").hexdigest()
    write_arrays(digest_cache, {"digests": digests, "stamp": np.array([stamp.encode()])})
    return digests
