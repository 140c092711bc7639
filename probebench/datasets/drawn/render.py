"""Draws SVG, pictures and characters as RGB images on white."""

import importlib.util
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps, features

from probebench.datasets.base import decode
from probebench.errors import UsageError
from probebench.registry.drawn import Drawn

_RESVG = "resvg-py"
# Of the side: the size of a font, and what a character may take at most.
_FONT, _ROOM = 0.7, 0.9


def renderer_of(drawn: Drawn) -> str:
    """Returns the library that draws an entry's images here, and its version.

    Raises:
        UsageError: It is not installed.
    """
    import PIL

    if not drawn.renderer.startswith(_RESVG):
        freetype = f", FreeType {features.version_module('freetype2')}" if "FreeType" in drawn.renderer else ""
        return f"Pillow {PIL.__version__}{freetype}"
    if importlib.util.find_spec("resvg_py") is None:
        raise UsageError("drawing SVG needs resvg-py: pip install 'probebench[pretrain]'")
    import resvg_py

    return f"{_RESVG} {resvg_py.__version__}"


def draw_svg(text: str, side: int) -> Image.Image:
    """Draws an SVG of any shape into a square."""
    import resvg_py

    png = bytes(
        resvg_py.svg_to_bytes(svg_string=text, background="white", width=side, height=side, skip_system_fonts=True)
    )
    return Image.open(BytesIO(png)).convert("RGB")


def draw_picture(path: Path, side: int) -> Image.Image:
    """Scales a picture, less its transparent border, into the middle of a white square.

    Raises:
        DatasetError: It cannot be read.
    """
    picture = decode(path, str(path)).convert("RGBA")
    # Many a page is empty but for a corner.
    picture = picture.crop(picture.getbbox(alpha_only=True))
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Pillow weighs colours by their opacity: the colour of what is transparent means nothing.
    small = picture.resize(size, Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    square.alpha_composite(small, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square.convert("RGB")


@lru_cache(maxsize=8)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def draw_character(path: Path, character: str, side: int) -> Image.Image:
    """Draws a character of a font in black, its ink in the middle; smaller where it would not fit."""
    ink = _ink(path, character, round(_FONT * side))
    if (large := max(ink.size)) > _ROOM * side:
        ink = _ink(path, character, max(1, int(_FONT * side * _ROOM * side / large)))
    image = Image.new("L", (side, side), 0)
    image.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    return ImageOps.invert(image).convert("RGB")


def _ink(path: Path, character: str, size: int) -> Image.Image:
    """Returns a character in white on black, cut to its ink."""
    # Some characters reach far out of their box.
    canvas = Image.new("L", (8 * size, 8 * size), 0)
    ImageDraw.Draw(canvas).text((3 * size, 3 * size), character, fill=255, font=_font(path, size))
    return canvas.crop(canvas.getbbox() or (0, 0, 1, 1))
