"""Obtains the packages of a source, draws its images once, and compares them with the entry."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from probebench.datasets.captioned.captioned import Captioned
from probebench.datasets.captioned.open import open_drawn, record_path, source_folder
from probebench.datasets.captioned.subset import distinct
from probebench.datasets.captioned.table import TABLE
from probebench.datasets.drawn.compare import check_pixels, differences, redraw
from probebench.datasets.drawn.draw import draw
from probebench.datasets.drawn.render import renderer_of
from probebench.errors import DatasetError
from probebench.files import write_whole
from probebench.registry.schema import SourceSpec


def prepare_source(spec: SourceSpec, root: Path) -> Captioned:
    """Draws a source where that was not done yet, checks it against its entry, and records what was found.

    Raises:
        UsageError: The library that draws is not installed.
        DatasetError: Packages cannot be had or are not whole; or what was drawn is not what the entry says.
    """
    folder = source_folder(spec, root)
    if not (folder / TABLE).is_file():
        draw(spec.drawn, folder, root, splits=False)
    source = open_drawn(spec, root)
    try:
        _check(spec, source, root)
    except DatasetError:
        # It is drawn again from whole packages.
        shutil.rmtree(folder)
        raise
    distinct(source, root)
    known = {"fingerprint": source.fingerprint, "images": len(source), "renderer": renderer_of(spec.drawn)}
    write_whole(record_path(spec, root), json.dumps(known, indent=1))
    return source


def _check(spec: SourceSpec, source: Captioned, root: Path) -> None:
    faults: Sequence[tuple[int, int, str]] = (
        (len(source), spec.images, "images"),
        (len(source.class_names), spec.classes, "labels"),
    )
    for found, said, what in faults:
        if found != said:
            why = differences(spec.drawn, root)
            versions = f" ({why})" if why else ""
            raise DatasetError(
                f"source {spec.id}: {found:,} {what} where the entry says {said:,}{versions}; "
                f"{redraw(spec.drawn, root)}"
            )
    pixels = source.images.content()
    check_pixels(f"source {spec.id}", spec.drawn, pixels, root)
    if pixels == spec.drawn.pixels and spec.fingerprint not in ("unknown", source.fingerprint):
        raise DatasetError(
            f"source {spec.id}: ids, captions or labels are not those of the entry; {redraw(spec.drawn, root)}"
        )
