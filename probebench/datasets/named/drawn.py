"""Sets that have a name and are drawn from packages: clip art, emoji, icons, letters."""

import numpy as np

from probebench.datasets.base import Split
from probebench.datasets.captioned.folder import pixels_of, table_images
from probebench.datasets.captioned.table import read_table
from probebench.datasets.drawn.compare import check_pixels
from probebench.datasets.drawn.draw import draw
from probebench.datasets.named.layout import Layout, SplitsByName
from probebench.datasets.named.loader import loader
from probebench.errors import RegistryError
from probebench.registry.drawn import Drawn


def _drawn(layout: Layout) -> Drawn:
    if layout.spec.drawn is None:
        raise RegistryError(f"data set {layout.spec.id}: its entry lacks [drawn]; the loader needs it")
    return layout.spec.drawn


def _draw(layout: Layout) -> None:
    draw(_drawn(layout), layout.place, layout.place.parent, splits=True)


@loader("drawn", fetch=_draw, packaged=True)
def drawn(layout: Layout) -> SplitsByName:
    """Opens a set that was drawn; all drawings of a series are in one split."""
    rows = read_table(layout.place)
    layout.check_classes(sorted({row.label or "" for row in rows}))
    images = table_images(layout.place, rows, layout.place.parent, pixels_of)
    check_pixels(f"data set {layout.spec.id}", _drawn(layout), images.content(), layout.place.parent)
    numbers = {name: number for number, name in enumerate(layout.spec.classes)}
    labels = np.array([numbers[row.label or ""] for row in rows], dtype=np.int64)
    splits = {}
    for name in ("train", "test"):
        chosen = np.flatnonzero([row.split == name for row in rows])
        ids = tuple(rows[position].id for position in chosen)
        splits[name] = Split(ids, labels[chosen], images.take(chosen))
    return splits
