"""Hashes of images, in few bytes each: an exact key, a perceptual hash, and a grey thumbnail for a second look."""

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash
from PIL import Image

from probebench.arrays import Positions
from probebench.datasets.base import Images, Split
from probebench.errors import DatasetError

SIDE = 32
# Images that a thread decodes in one go.
_TOGETHER = 128
# Thumbnails that are hashed or standardised in one go.
_BLOCK = 4096
# Grey levels: what varies less than this has nothing to recognise it by.
_FLAT = 4.0

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ImageHashes:
    """N images.

    Attributes:
        keys: (N, 2) uint64, the xxh3 of size and RGB pixels: equal for equal images.
        hashes: (N,) uint64, perceptual hashes.
        thumbnails: (N, 32, 32) uint8, grey; they lie in a file, not in memory.
        spread: (N,) standard deviation of each thumbnail, in grey levels.
        readable: (N,) whether the image could be decoded; the rest means nothing where it could not.
        errors: Why the others could not.
    """

    keys: npt.NDArray[np.uint64]
    hashes: npt.NDArray[np.uint64]
    thumbnails: npt.NDArray[np.uint8]
    spread: Floats
    readable: npt.NDArray[np.bool_]
    errors: tuple[str, ...]

    @property
    def distinct(self) -> npt.NDArray[np.bool_]:
        """Whether there is something to recognise each image by, (N,)."""
        return self.readable & (self.spread >= _FLAT)

    def standard(self, positions: Positions) -> Floats:
        """Returns thumbnails with mean 0 and standard deviation 1, so that brightness and contrast do not count."""
        grey = self.thumbnails[positions].astype(np.float32)
        grey -= grey.mean(axis=(1, 2), keepdims=True)
        return grey / self.spread[positions, None, None]


def hash_images(splits: Sequence[Split], on_progress: Callable[[int], None]) -> ImageHashes:
    """Decodes and hashes all images of some splits, one split after another.

    Args:
        splits: The splits.
        on_progress: Called with how many more images are done.
    """
    total = sum(map(len, splits))
    keys, readable = np.zeros((total, 2), np.uint64), np.zeros(total, bool)
    # The file goes when nobody has it open any more; a million thumbnails would take a gigabyte of memory.
    with tempfile.TemporaryFile() as file:
        shape = (max(1, total), SIDE, SIDE)
        thumbnails = np.asarray(np.memmap(file, np.uint8, "w+", shape=shape))[:total]
    errors: list[str] = []
    tasks = (
        (split.images, range(start, min(start + _TOGETHER, len(split))))
        for split in splits
        for start in range(0, len(split), _TOGETHER)
    )
    begin = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for found in pool.map(_hashed, tasks):
            for position, one in enumerate(found, begin):
                if isinstance(one, str):
                    errors.append(one)
                else:
                    keys[position], thumbnails[position] = one
                    readable[position] = True
            begin += len(found)
            on_progress(len(found))
    blocks = [thumbnails[start : start + _BLOCK] for start in range(0, total, _BLOCK)]
    hashes = np.concatenate([_perceptual(block) for block in blocks]) if blocks else np.zeros(0, np.uint64)
    spread = np.concatenate([block.std(axis=(1, 2), dtype=np.float32) for block in blocks] or [np.zeros(0, np.float32)])
    return ImageHashes(
        keys=keys, hashes=hashes, thumbnails=thumbnails, spread=spread, readable=readable, errors=tuple(errors)
    )


def _hashed(task: tuple[Images, range]) -> list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]] | str]:
    images, positions = task
    found: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]] | str] = []
    for position in positions:
        try:
            image = images.load(position).convert("RGB")
        except DatasetError as error:
            found.append(str(error))
            continue
        content = xxhash.xxh3_128(f"{image.width}x{image.height}".encode())
        content.update(image.tobytes())
        small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        found.append((np.frombuffer(content.digest(), np.uint64), np.asarray(small)))
    return found


def _perceptual(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Returns whether each of the 64 lowest frequencies is above their median (the phash of Zauner, 2010)."""
    from scipy.fft import dctn

    low = dctn(thumbnails.astype(np.float32), axes=(1, 2), norm="ortho")[:, :8, :8].reshape(-1, 64)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]
