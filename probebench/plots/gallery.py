"""The surest errors of a result as one page of pictures, which needs no network."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from probebench.plots.page import header, look
from probebench.results.mistakes import WrongImage

# Pictures are made no larger than this, and enlarged pixel by pixel where they are smaller than the second.
_SIDE, _SMALL = 256, 64


def draw_gallery(
    errors: Sequence[WrongImage],
    class_names: Sequence[str],
    *,
    title: str,
    sentence: str,
    load: Callable[[int], Image.Image | None] | None,
    why: str = "",
    draws: int = 1,
) -> str:
    """Returns the page as HTML.

    Args:
        errors: What is shown, in this order.
        class_names: By label.
        title: What it is of.
        sentence: What the order means.
        load: Reads the picture of a test image by its position, None where it cannot; None where the images are not at
            hand.
        why: What kept pictures away.
        draws: Of the result.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("probebench.plots"), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    tiles = [_tile(one, class_names, load, draws) for one in errors]
    text: str = environment.get_template("gallery.html").render(
        title=title, sentence=sentence, why=why, tiles=tiles, look=look(), header=header("Errors", {})
    )
    return text


def _tile(
    one: WrongImage, class_names: Sequence[str], load: Callable[[int], Image.Image | None] | None, draws: int
) -> dict[str, Any]:
    image = load(one.position) if load else None
    wrong = round(one.wrong * draws)
    return {
        "picture": _address(image) if image else None,
        "small": image is not None and max(image.size) < _SMALL,
        "predicted": class_names[one.predicted],
        "true": class_names[one.true],
        "p_predicted": None if one.p_predicted is None else f"{one.p_predicted:.2f}",
        "p_true": None if one.p_true is None else f"{one.p_true:.2f}",
        "id": one.id,
        "draws": f"wrong in {wrong} of {draws} draws" if draws > 1 else "",
    }


def _address(image: Image.Image) -> str:
    """Returns a picture as an address that holds it, on white where it is transparent."""
    flat = Image.new("RGBA", image.size, (255, 255, 255, 255))
    flat.alpha_composite(image.convert("RGBA"))
    picture = flat.convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    # Few pixels compress better, and stay sharp, as PNG.
    form = "PNG" if max(picture.size) < _SMALL else "JPEG"
    picture.save(stream, form, quality=85)
    return f"data:image/{form.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
