"""What a data set is to the rest of probebench."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from probebench.arrays import Labels, Positions
from probebench.datasets.formats import readable_formats
from probebench.errors import DatasetError, one_line
from probebench.files import MAX_PIXELS
from probebench.fingerprint import canonical_json, fingerprint

# Evaluation reads them in this order; a data set has train and test, and may have val.
SPLITS = ("train", "val", "test")

# Pillow warns above its constant, and refuses above twice that.
_PILLOWS_LIMIT = 2 * 89_478_485
# Modes of PIL with more than 8 bits a value; RGB is converted to 8 bits when a file is read.
_DEEP = ("I", "F")

# Ids that are hashed in one go.
_TOGETHER = 512
_Values = TypeVar("_Values", Sequence[str], Labels, npt.NDArray[np.bytes_])

_PNG, _TAIL = b"\x89PNG\r\n\x1a\n", 1024
# How files of the two most common formats begin, and what their last bytes hold unless they were cut off.
_WHOLE = ((b"\xff\xd8\xff", b"\xff\xd9"), (_PNG, b"IEND"))


class Images(Protocol):
    """The images of one split, by position."""

    def load(self, position: int) -> Image.Image:
        """Decodes one image.

        Raises:
            DatasetError: The image cannot be read; the line names its file.
        """

    def check(self, position: int) -> None:
        """Looks at one image without decoding it, if it can: is it there, does it begin and end as an image does?

        Raises:
            DatasetError: It cannot be read; the line names its file.
        """

    def content(self) -> str:
        """Returns a sha256 that changes when the content of any image changes."""


def unreadable(file: Path | bytes, error: OSError) -> DatasetError:
    """Returns the error for an image file that the system cannot read."""
    return DatasetError(f"image {os.fsdecode(file)} cannot be read ({error.strerror}); repair or remove it")


def decode(source: Path | IO[bytes], name: str) -> Image.Image:
    """Decodes one image.

    Raises:
        DatasetError: It cannot be read; the line names it by ``name``.
    """
    limit = _pixel_limit()
    try:
        with Image.open(source, formats=readable_formats()) as image:
            if limit and image.width * image.height > limit:
                raise Image.DecompressionBombError(f"({image.width * image.height} pixels)")
            image.load()
            return image
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        raise DatasetError(
            f"image {name} has {int(found[1]) if found else 'many':,} pixels, and files of more than "
            f"{limit or _PILLOWS_LIMIT:,} are taken for an attack on memory; where it is one of yours, say "
            f"--max-pixels {found[1] if found else 'N'}"
        ) from error
    # Damaged bytes make decoders raise whatever they stumble over.
    except Exception as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else one_line(error, 120)
        raise DatasetError(f"image {name} cannot be read ({reason}); repair or remove it") from error


def _pixel_limit() -> int:
    """Returns the limit that the user set, which then takes the place of Pillow's; 0 where there is none."""
    limit = int(os.environ.get(MAX_PIXELS, "0"))
    if limit:
        Image.MAX_IMAGE_PIXELS = limit
    return limit


def is_deep(image: Image.Image) -> bool:
    """Says whether an image has more than 8 bits a value: converting it to RGB cuts these off."""
    return image.mode.split(";")[0] in _DEEP


def looks_whole(head: bytes, tail: bytes) -> bool:
    """Says whether a JPEG or PNG begins and ends as it must; no for other formats, which must be decoded to tell."""
    return any(head.startswith(first) and last in tail[-_TAIL:] for first, last in _WHOLE)


def file_looks_whole(path: Path) -> bool:
    """Says whether a file that can be read looks like a whole JPEG or PNG, by its first and last bytes."""
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_PNG))
            stream.seek(-min(_TAIL, os.fstat(stream.fileno()).st_size), os.SEEK_END)
            return looks_whole(head, stream.read())
    except OSError:
        return False


@dataclass(frozen=True)
class ArrayImages:
    """Images that lie in memory, (N, H, W) grey or (N, H, W, 3) RGB, uint8."""

    pixels: npt.NDArray[np.uint8]

    def load(self, position: int) -> Image.Image:
        """Returns one image."""
        return Image.fromarray(self.pixels[position])

    def check(self, position: int) -> None:
        """Finds nothing wrong: what lies in memory can be read."""

    def content(self) -> str:
        """Returns the sha256 of the pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels).data).hexdigest()


@dataclass(frozen=True)
class FileImages:
    """Images that lie in files.

    Attributes:
        root: The folder that the names start from.
        names: Paths below it, as bytes in one array: a million take little room, and decoding processes share it.
        digests: The sha256 of the files' bytes in hexadecimal, as bytes too, in the same order.
    """

    root: Path
    names: npt.NDArray[np.bytes_]
    digests: npt.NDArray[np.bytes_]

    @classmethod
    def below(cls, root: Path, names: Sequence[str], digests: Sequence[str]) -> "FileImages":
        """Takes the names and digests as text."""
        return cls(root, np.array([os.fsencode(name) for name in names]), np.array(digests, dtype=np.bytes_))

    def path(self, position: int) -> Path:
        """Returns the file of one image."""
        return self.root / os.fsdecode(self.names[position])

    def load(self, position: int) -> Image.Image:
        """Decodes one file."""
        path = self.path(position)
        return decode(path, str(path))

    def check(self, position: int) -> None:
        """Reads a file's first and last bytes, which takes microseconds; decodes it only if they look wrong."""
        if not file_looks_whole(self.path(position)):
            self.load(position)

    def content(self) -> str:
        """Returns the sha256 over the files' digests."""
        return digests_fingerprint(self.digests)

    def take(self, positions: Positions) -> "FileImages":
        """Returns some of the images."""
        return FileImages(self.root, self.names[positions], self.digests[positions])


@dataclass(frozen=True)
class Split:
    """One split of a data set: N ids, N labels (class indices) and N images, in one fixed order."""

    ids: tuple[str, ...]
    labels: Labels
    images: Images

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.ids)


@dataclass(frozen=True)
class Dataset:
    """A data set with its splits by name: train, test, and val where it has one; test alone where it only tests."""

    id: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Split]

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 over ids and labels of every split; preprocessing and pixels are not in it."""
        return dataset_fingerprint({name: (split.ids, split.labels) for name, split in self.splits.items()})

    @cached_property
    def content(self) -> str:
        """The sha256 over the images themselves, of every split."""
        return fingerprint({name: split.images.content() for name, split in self.splits.items()})


def dataset_fingerprint(splits: Mapping[str, tuple[Sequence[str], Labels]]) -> str:
    """Returns the sha256 over every split's ids and labels, under the split's name.

    It is the fingerprint of {split: {"ids": [...], "labels": [...]}}, hashed piece by piece: as one text, a million
    images would take more memory than they do themselves.
    """

    def pieces() -> Iterator[str]:
        yield "{"
        for number, (name, (ids, labels)) in enumerate(sorted(splits.items())):
            yield f'{"," * (number > 0)}{canonical_json(name)}:{{"ids":'
            yield from _list_pieces(ids, list)
            yield ',"labels":'
            yield from _list_pieces(labels, np.ndarray.tolist)
            yield "}"
        yield "}"

    return _sha256(pieces())


def digests_fingerprint(digests: npt.NDArray[np.bytes_]) -> str:
    """Returns the fingerprint of a list of digests, hashed piece by piece."""
    return _sha256(_list_pieces(digests, lambda block: [digest.decode() for digest in block]))


def _sha256(pieces: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.encode())
    return digest.hexdigest()


def _list_pieces(values: _Values, listed: Callable[[_Values], list[Any]]) -> Iterator[str]:
    """Yields the canonical JSON of a list, some thousand values at a time."""
    yield "["
    for start in range(0, len(values), _TOGETHER):
        yield "," * (start > 0) + canonical_json(listed(values[start : start + _TOGETHER]))[1:-1]
    yield "]"


def check_dataset(dataset: Dataset) -> Dataset:
    """Returns the data set if it can be evaluated on.

    Raises:
        DatasetError: A split is empty, ids repeat or cannot be written as UTF-8, or there are fewer than two classes.
    """
    for name, split in dataset.splits.items():
        if not len(split):
            raise DatasetError(f"data set {dataset.id}: its {name} split has no images")
    ids = [name for split in dataset.splits.values() for name in split.ids]
    if len(set(ids)) != len(ids):
        raise DatasetError(f"data set {dataset.id}: sample ids repeat; each image needs its own")
    check_utf8(dataset.id, ids)
    # A set without training images is one to test on.
    fitted = "train" in dataset.splits
    if len(np.unique(dataset.splits["train" if fitted else "test"].labels)) < 2:
        what = "a probe needs" if fitted else "a test takes"
        raise DatasetError(
            f"data set {dataset.id}: {what} at least two classes with {'training' if fitted else 'test'} images"
        )
    return dataset


def check_utf8(where: str, ids: Sequence[str]) -> None:
    """Refuses ids that cannot be written as UTF-8.

    Raises:
        DatasetError: A file name is not UTF-8.
    """
    for name in ids:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DatasetError(
                f"data set {where.encode(errors='replace').decode()}: file name {name!r} is not UTF-8; rename it"
            ) from error
