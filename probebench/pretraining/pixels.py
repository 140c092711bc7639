"""Images of a source, decoded and resized once: a file that the machine keeps in memory where it fits."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from probebench.datasets.captioned.captioned import Captioned
from probebench.errors import DatasetError
from probebench.files import bytes_text, free_space, replacing
from probebench.progress import heard


def stored_pixels(source: Captioned, side: int, root: Path) -> npt.NDArray[np.uint8]:
    """Returns (N, 3, side, side) RGB values: the shorter side is resized, and the middle taken.

    Args:
        source: The images.
        side: In pixels.
        root: The folder that holds data sets; the file lies below, named by the source's fingerprint.

    Raises:
        DatasetError: An image cannot be read, or the disk has no room.
    """
    path = root / "content" / f"{source.fingerprint[:32]}-{side}.npy"
    shape = (len(source), 3, side, side)
    try:
        return _opened(path, shape)
    except (OSError, ValueError):
        pass
    size, free = int(np.prod(shape)), free_space(root)
    if size > free:
        raise DatasetError(
            f"source {source.id}: {len(source):,} images of {side} pixels take {bytes_text(size)}, and {root} has "
            f"{bytes_text(free)} left; make room, or ask for fewer --samples"
        )
    progress = heard()
    progress.start("decoding", len(source), 0)
    with replacing(path) as partial:
        rows = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for position in range(len(source)):
            image = source.images.load(position).convert("RGB")
            fitted = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
            rows[position] = np.asarray(fitted).transpose(2, 0, 1)
            progress.advance(1)
        rows.flush()
        del rows
    progress.finish()
    return _opened(path, shape)


def _opened(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    rows: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    if rows.shape != shape or rows.dtype != np.uint8:
        raise ValueError(path)
    return rows
