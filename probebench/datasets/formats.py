"""Which files are images: what Pillow reads by itself, by its own registry, the plugins that a user registered too."""

import functools

from PIL import Image, ImageFile

# Pillow knows how they begin and decodes nothing of them: for PostScript it would start another program on the file.
_NOT_DECODED = ("EPS", "MPEG")


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Returns the formats that Pillow reads itself."""
    Image.init()
    return tuple(
        name
        for name, (factory, _) in Image.OPEN.items()
        if name not in _NOT_DECODED
        # A stub leaves the reading to a handler that nobody registered.
        and not (isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile))
    )


@functools.cache
def image_endings() -> frozenset[str]:
    """Returns the endings of files in such formats, in lower case with their dot."""
    readable = set(readable_formats())
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in readable)


def ending_of(name: str) -> str:
    """Returns the ending of a file's name in lower case with its dot, or "" where it has none."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""


def is_image(name: str) -> bool:
    """Says whether a file is an image by its name."""
    return ending_of(name) in image_endings()
