"""Compares what was drawn with its entry: the same pixels, or pixels that another version of a library moved."""

import warnings
from pathlib import Path

from probebench.datasets.drawn.package import other_version, where_packages_are
from probebench.datasets.drawn.render import renderer_of
from probebench.errors import DatasetError, ProbebenchWarning
from probebench.registry.drawn import Drawn


def differences(drawn: Drawn, root: Path) -> str:
    """Says which versions differ from those of the entry, or ""."""
    here = renderer_of(drawn)
    said = [f"{here} draws here where the entry has {drawn.renderer}"] if here != drawn.renderer else []
    for package in drawn.packages:
        if version := other_version(package, root):
            said.append(f"{package.name} is {version} here where the entry has {package.version}")
    return "; ".join(said)


def check_pixels(name: str, drawn: Drawn, pixels: str, root: Path) -> None:
    """Compares the pixels that were drawn with the entry's.

    Args:
        name: What is said to have been drawn, such as "source emoji_noto".
        drawn: What the entry says.
        pixels: The sha256 over all pixels.
        root: The folder that holds data sets.

    Raises:
        DatasetError: They differ where the same versions drew.
    """
    if drawn.pixels in ("unknown", pixels):
        return
    if not (why := differences(drawn, root)):
        raise DatasetError(f"{name}: its pixels are not those of the entry; {redraw(drawn, root)}")
    warnings.warn(
        f"{name}: its pixels are not those of the entry ({why}): numbers of it may differ from published ones",
        ProbebenchWarning,
        stacklevel=2,
    )


def redraw(drawn: Drawn, root: Path) -> str:
    """Says how to begin again from whole packages."""
    packages = where_packages_are(drawn, root)
    return f"remove {packages}, which may be half unpacked or changed, and run the same command again"
