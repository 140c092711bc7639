"""Draws the images of an entry into a folder, once: PNG files and a table of them, there whole or not at all."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from probebench.datasets.captioned.table import TABLE, Row, write_table
from probebench.datasets.drawn.drawing import Drawing, hash_share, read_drawings
from probebench.datasets.drawn.package import obtain
from probebench.datasets.drawn.render import renderer_of
from probebench.errors import DatasetError, one_line
from probebench.files import replacing_folder
from probebench.progress import heard
from probebench.registry.drawn import Drawn

_IMAGES = "images"
# Share of the series that test, where a set is cut.
_TEST = 0.5


def split_of(series: str) -> str:
    """Returns the split that all drawings of a series are in."""
    return "test" if hash_share("probebench test part", series) < _TEST else "train"


def draw(drawn: Drawn, place: Path, root: Path, *, splits: bool) -> None:
    """Draws all images of an entry, and writes the table of them.

    Args:
        drawn: What the entry says.
        place: The folder to make; it takes the place of what is there, once it is whole.
        root: The folder that holds data sets; packages are unpacked below.
        splits: Whether each image is in a split, as a downstream set's is.

    Raises:
        PackageError: A package cannot be had, or is not whole.
        DatasetError: A drawing cannot be drawn; the line names it.
        UsageError: The library that draws is not installed.
    """
    renderer_of(drawn)
    read = read_drawings(drawn, [obtain(package, root) for package in drawn.packages])
    drawings = [one for one in read if one.name not in drawn.without]
    with replacing_folder(place) as folder:
        write_table(folder / TABLE, [_drawn(one, folder, drawn.side, splits) for one in _told(drawings)])


def _told(drawings: Sequence[Drawing]) -> Iterator[Drawing]:
    progress = heard()
    progress.start("drawing", len(drawings), 0)
    for drawing in drawings:
        yield drawing
        progress.advance(1)
    progress.finish()


def _drawn(drawing: Drawing, folder: Path, side: int, splits: bool) -> Row:
    file = f"{_IMAGES}/{drawing.name}.png"
    try:
        image = drawing.draw(side)
    except (ValueError, OSError) as error:
        raise DatasetError(
            f"{drawing.name} cannot be drawn ({one_line(error, 120)}); remove its package and run the same command "
            "again"
        ) from error
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    image.save(folder / file)
    return Row(
        file=file,
        caption=drawing.caption,
        label=drawing.label,
        concepts=drawing.concepts,
        split=split_of(drawing.series) if splits else None,
    )
