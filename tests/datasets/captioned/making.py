"""Sources made of a few pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from probebench.datasets.captioned.table import TABLE, Row, write_table


def pattern(seed: int, size: int = 24) -> Image.Image:
    """A picture of a few large patches, which look like no other's."""
    patches = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((size, size), Image.Resampling.BILINEAR)


def captioned_folder(folder: Path, pictures: Sequence[Image.Image], labels: Sequence[str] | None = None) -> Path:
    """A folder of a user's own: pictures, and a table of captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:03d}.png")
        label = labels[number] if labels else None
        rows.append(Row(file=f"{number:03d}.png", caption=f"picture {number}", label=label))
    write_table(folder / TABLE, rows)
    return folder
