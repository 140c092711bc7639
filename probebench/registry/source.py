"""What an entry says of a collection of captioned images to pre-train on."""

from collections.abc import Mapping
from typing import Literal

from pydantic import model_validator

from probebench.registry.drawn import Drawn, Sha256
from probebench.registry.entry import Entry, Id, NonNegativeInt, PositiveInt, Text, check_unverified


class Shared(Entry):
    """What a source shares with the images of a downstream set.

    Attributes:
        exact: Test images that are in the source pixel by pixel.
        near: Further test images that look like one of the source.
        concepts: Test images of something that the source shows too, in whatever style, by code point or name.
        test: Test images that were searched.
    """

    exact: NonNegativeInt
    near: NonNegativeInt
    concepts: NonNegativeInt
    test: PositiveInt


class SourceSpec(Entry):
    """One collection of captioned images that has a name of its own.

    Attributes:
        license: Of the artwork, which may be another than the package's.
        unverified: Keys whose values could not be checked.
        captions: How the captions were made.
        labels: How the labels were made, or "none".
        curation: Who or what chose the images, in the words of checkpoints' entries.
        images: How many there are; variants of one thing in skin tone or gender are one.
        distinct: How many of them no other looks like: the most that a size can be.
        classes: How many labels there are; 0 without any.
        quirks: What to know before trusting a number, a line each.
        fingerprint: The sha256 over ids, captions, labels and pixels.
        drawn: The packages, and how they are drawn.
        shared: What it shares with downstream sets, by their ids.
    """

    id: Id
    title: Text
    url: Text
    license: Text
    unverified: tuple[Text, ...] = ()
    captions: Text
    labels: Text
    curation: Text = "unknown"
    images: PositiveInt
    distinct: PositiveInt | Literal["unknown"] = "unknown"
    classes: NonNegativeInt
    quirks: tuple[Text, ...] = ()
    fingerprint: Sha256 | Literal["unknown"] = "unknown"
    drawn: Drawn
    shared: Mapping[Id, Shared] = {}

    @model_validator(mode="after")
    def _numbers_agree(self) -> "SourceSpec":
        if self.distinct != "unknown" and self.distinct > self.images:
            raise ValueError(f"distinct: {self.distinct} of {self.images} images")
        if (self.labels == "none") != (self.classes == 0):
            raise ValueError(f"classes: {self.classes}, where labels are {self.labels!r}")
        return self

    @model_validator(mode="after")
    def _unverified_names_keys(self) -> "SourceSpec":
        check_unverified(self, self.unverified)
        return self
