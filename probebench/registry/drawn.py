"""What an entry says of images that are drawn from a package of drawings or fonts."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from probebench.registry.entry import Entry, Id, PositiveInt, Text

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Package(Entry):
    """A package that carries drawings or fonts.

    Attributes:
        manager: Who delivers it: npm, or Debian's apt.
        name: Its name there.
        version: The version that the entry was made from.
        sha256: Of the archive of that version.
    """

    manager: Literal["npm", "apt"]
    name: Annotated[str, StringConstraints(pattern=r"^@?[a-z0-9][a-z0-9.+_/-]*$", max_length=100)]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+~:-]+$", max_length=100)]
    sha256: Sha256


class Drawn(Entry):
    """How images are drawn from packages, and what came out where the entry was made.

    Attributes:
        reader: What reads the packages: a name that a reader of probebench.datasets.drawn has.
        side: Height and width of each image in pixels; it stands on white.
        renderer: The library that drew, and its version: another may move pixels.
        pixels: The sha256 over all images' pixels.
        packages: What carries the drawings.
        without: Names of drawings that are left out, each for a reason that the entry's quirks give; left out of dumps
            where there are none.
    """

    reader: Id
    side: PositiveInt
    renderer: Text
    pixels: Sha256 | Literal["unknown"] = "unknown"
    packages: Annotated[tuple[Package, ...], Field(min_length=1)]
    without: tuple[Text, ...] = Field(default=(), exclude_if=lambda names: not names)
