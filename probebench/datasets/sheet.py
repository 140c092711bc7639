"""Contact sheets: some images of each class on one picture, to be looked at before anything is measured."""

import warnings
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from probebench.arrays import Labels
from probebench.datasets.base import Images
from probebench.datasets.splits import hash_order
from probebench.errors import DatasetError, ProbebenchWarning, UsageError
from probebench.files import write_whole

_ROWS, _COLUMNS, _TILE, _GAP, _NAME = 16, 12, 48, 4, 190
_PLAIN, _FRAME, _LOST = (255, 255, 255), (225, 225, 225), (200, 40, 40)
_COLOURS = 128
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def write_sheet(
    file: Path, images: Images, ids: Sequence[str], labels: Labels | None, class_names: Sequence[str]
) -> int:
    """Writes a contact sheet and returns how many images are on it.

    A row is a class, of many classes every so-manieth; the images of a row are the first by a hash of their ids.

    Args:
        file: The picture; its ending says the format.
        images: N images.
        ids: (N,) their ids.
        labels: (N,) classes; None: rows have no names.
        class_names: One name a class.

    Raises:
        UsageError: The ending is of no format that pictures have.
    """
    kind = _FORMATS.get(file.suffix.lower())
    if kind is None:
        raise UsageError(f"--sheet {file}: end its name in {', '.join(_FORMATS)}")
    rows = list(_rows(ids, labels, class_names))
    font = ImageFont.load_default(size=13)
    left = _NAME if labels is not None else _GAP
    step = _TILE + _GAP
    sheet = Image.new("RGB", (left + _COLUMNS * step, len(rows) * step + _GAP), _PLAIN)
    pen, lost = ImageDraw.Draw(sheet), list[str]()
    for row, (name, positions) in enumerate(rows):
        top = _GAP + row * step
        pen.text((_GAP, top + _TILE // 2), _fitting(name, font), fill=(0, 0, 0), font=font, anchor="lm")
        for column, position in enumerate(positions):
            place = (left + column * step, top)
            pen.rectangle((place[0] - 1, place[1] - 1, place[0] + _TILE, place[1] + _TILE), outline=_FRAME)
            try:
                sheet.paste(_tile(images.load(position)), place)
            except DatasetError as error:
                lost.append(str(error))
                pen.line((*place, place[0] + _TILE, place[1] + _TILE), fill=_LOST, width=2)
    content = BytesIO()
    (sheet.quantize(_COLOURS) if kind == "PNG" else sheet).save(content, kind, optimize=True)
    write_whole(file, content.getvalue())
    if lost:
        more = f" (and {len(lost) - 1} more, crossed out)" if lost[1:] else " (crossed out)"
        warnings.warn(f"{lost[0]}{more}", ProbebenchWarning, stacklevel=2)
    return sum(len(positions) for _, positions in rows)


def _rows(ids: Sequence[str], labels: Labels | None, class_names: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    order = np.array(hash_order(ids, "contact sheet"), dtype=np.int64)
    if labels is None:
        for start in range(0, min(len(order), _ROWS * _COLUMNS), _COLUMNS):
            yield "", order[start : start + _COLUMNS].tolist()
        return
    present = np.unique(labels)
    chosen = present[np.unique(np.linspace(0, len(present) - 1, min(_ROWS, len(present))).round().astype(int))]
    for label in chosen:
        yield class_names[label], order[labels[order] == label][:_COLUMNS].tolist()


def _tile(image: Image.Image) -> Image.Image:
    """Returns an image in the middle of a white tile; small ones are enlarged, so that their pixels can be seen."""
    flat = Image.new("RGBA", image.size, (*_PLAIN, 255))
    flat.alpha_composite(image.convert("RGBA"))
    scale = _TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    resample = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    tile = Image.new("RGB", (_TILE, _TILE), _PLAIN)
    tile.paste(flat.convert("RGB").resize(size, resample), ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return tile


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Returns a name that fits beside its row."""
    if font.getlength(text) <= _NAME - 2 * _GAP:
        return text
    while font.getlength(f"{text}…") > _NAME - 2 * _GAP:
        text = text[:-1]
    return f"{text}…"
