"""What a reader of packages gives: drawings, each with what is known of it and how it becomes an image."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from probebench.datasets.drawn.package import PackageError
from probebench.errors import RegistryError, did_you_mean
from probebench.registry.drawn import Drawn

# Draws at a side in pixels: an RGB image on white.
Draw = Callable[[int], Image.Image]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One drawing.

    Attributes:
        name: Its name in the package, fit for a file and without an ending.
        caption: It in words.
        label: Its class in words.
        series: Drawings of one series never lie in two splits.
        concepts: What it shows, as code points (``u1f600``) and names; equal ones show the same in any style.
        draw: Draws it.
    """

    name: str
    caption: str
    label: str
    series: str
    concepts: tuple[str, ...]
    draw: Draw


Reader = Callable[[Sequence[Path]], list[Drawing]]
_Read = TypeVar("_Read", bound=Reader)
_READERS: dict[str, Reader] = {}


def reader(name: str) -> Callable[[_Read], _Read]:
    """Registers what it decorates as the reader that entries call ``name``."""

    def register(reads: _Read) -> _Read:
        _READERS[name] = reads
        return reads

    return register


def read_drawings(drawn: Drawn, folders: Sequence[Path]) -> list[Drawing]:
    """Returns the drawings of packages, in the order of their names.

    Args:
        drawn: What the entry says of them.
        folders: Where each package lies.

    Raises:
        RegistryError: No reader has the name that the entry says.
        PackageError: A package is not whole.
    """
    # Each registers itself.
    from probebench.datasets.drawn import arrays, fonts, iconify, pictures  # noqa: F401

    if drawn.reader not in _READERS:
        raise RegistryError(f"drawn.reader: unknown {drawn.reader!r}{did_you_mean(drawn.reader, _READERS)}")
    drawings = sorted(_READERS[drawn.reader](folders), key=lambda one: one.name)
    if not drawings:
        raise PackageError(
            f"{', '.join(map(str, folders))} holds no drawings; remove it and run the same command again"
        )
    return drawings


def hash_share(salt: str, series: str) -> float:
    """Returns a number in [0, 1) that a name has by its hash, for cuts that never move."""
    return int.from_bytes(hashlib.sha256(f"{salt}\n{series}".encode()).digest()[:8], "big") / 2**64
