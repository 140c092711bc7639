"""Images alone, without labels: files, folders at any depth, shards, and images in memory."""

import bisect
import importlib.util
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from probebench.datasets.base import FileImages, Images, check_utf8
from probebench.datasets.sources.memory import HeldImages, held_image
from probebench.datasets.sources.walk import LeftOut, class_images
from probebench.errors import DatasetError, UsageError
from probebench.fingerprint import fingerprint
from probebench.outside import kind_fault
from probebench.registry.names import FOLDER, WDS

SHARD = ".tar"
WHAT = "an image file, a folder, a shard (.tar, or wds:PATTERN), or an image in memory"


@dataclass(frozen=True)
class Unlabelled:
    """Images of several places, one after the other.

    Attributes:
        ids: What each is called: its path, its key in a shard, or its position where it lies in memory.
        parts: The images of each place.
        ends: How many images there are up to the end of each.
    """

    ids: tuple[str, ...]
    parts: tuple[Images, ...]
    ends: tuple[int, ...]

    def _place(self, position: int) -> tuple[Images, int]:
        part = bisect.bisect_right(self.ends, position)
        return self.parts[part], position - (self.ends[part - 1] if part else 0)

    def load(self, position: int) -> Image.Image:
        """Decodes one image."""
        images, own = self._place(position)
        return images.load(own)

    def check(self, position: int) -> None:
        """Looks at one image."""
        images, own = self._place(position)
        images.check(own)

    def content(self) -> str:
        """Returns a sha256 that changes when an image does."""
        return fingerprint([part.content() for part in self.parts])

    def __len__(self) -> int:
        """How many there are."""
        return len(self.ids)


def open_images(places: Iterable[Any], root: Path) -> Unlabelled:
    """Finds images, in the order of the places and by path within each.

    Args:
        places: Each is an image file, a folder, a shard (``.tar``, or ``wds:PATTERN``), or an image in memory: PIL, or
            uint8 (height, width) or (height, width, 3).
        root: The folder that holds data sets; what is learnt of shards is kept below.

    Raises:
        UsageError: A place is something else.
        DatasetError: A place is missing or cannot be read, or there is no image in any.
    """
    found = [_images(place, number, root) for number, place in enumerate(places)]
    ids = tuple(itertools.chain.from_iterable(own for own, _ in found))
    if not ids:
        raise DatasetError(f"there is no image to predict: name {WHAT}")
    check_utf8("of images without labels", ids)
    ends = itertools.accumulate(len(own) for own, _ in found)
    return Unlabelled(ids, tuple(images for _, images in found), tuple(ends))


def _images(place: Any, number: int, root: Path) -> tuple[Sequence[str], Images]:
    if not isinstance(place, str | os.PathLike):
        return [str(number)], HeldImages((held_image(place, f"image {number}"),))
    text = os.fspath(place)
    if text.startswith(WDS) or text.endswith(SHARD):
        return _shards(text.removeprefix(WDS), root)
    path = Path(text.removeprefix(FOLDER)).expanduser()
    if path.is_dir():
        return _folder(path)
    if (fault := kind_fault(path)) is not None:
        raise DatasetError(f"image {path} {fault}; name {WHAT}")
    return [str(path)], _files([path])


def _folder(path: Path) -> tuple[Sequence[str], Images]:
    left = LeftOut()
    paths = [Path(one.folder, one.name) for one in class_images(str(path), (), left)]
    if not paths:
        raise DatasetError(f"folder {path} holds no images" + (f" ({left})" if str(left) else ""))
    return [str(one) for one in paths], _files(paths)


def _files(paths: Sequence[Path]) -> Images:
    # Nothing of them is cached, so nobody asks for digests of their bytes.
    return FileImages.below(Path(), [str(path) for path in paths], [])


def _shards(text: str, root: Path) -> tuple[Sequence[str], Images]:
    if importlib.util.find_spec("webdataset") is None:
        raise UsageError(f"{WDS}{text} needs webdataset: pip install 'probebench[datasets]'")
    from probebench.datasets.sources.webdataset.open import ShardImages, index_shards
    from probebench.datasets.sources.webdataset.shards import named_shards
    from probebench.datasets.sources.webdataset.store import ShardStore

    _, urls = named_shards(text)
    store = ShardStore(root / "wds" / "shards")
    indices = index_shards(urls, store, root / "wds" / "index", beside="nothing")
    images = ShardImages.of(list(itertools.chain.from_iterable(indices.values())), store)
    return [key.decode() for key in images.keys], images
