"""What every entry of the registry has in common."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.dataclasses import dataclass

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]


def _no_other_type(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError(f"{value!r} is no number")
    return value


def _no_float(value: object) -> object:
    if isinstance(value, float):
        raise ValueError(f"{value!r} is no whole number")
    return _no_other_type(value)


# Of a number: true and "1" are none; and of a whole one, of which 1.0 is none.
Number, Whole = BeforeValidator(_no_other_type), BeforeValidator(_no_float)
PositiveInt = Annotated[int, Whole, Field(ge=1)]
NonNegativeInt = Annotated[int, Whole, Field(ge=0)]
# How a data set is scored: the share of test images that are right, or its mean over classes.
Metric = Literal["accuracy", "mean-per-class"]
# No corpus has so many, and every reader of JSON holds it exactly.
MOST = 10**15
Count = Annotated[int, Whole, Field(ge=0, le=MOST)] | Literal["unknown"]
# Labelled images of each class; 0 is zero-shot's, so a protocol that trains asks for one or more.
Shots = NonNegativeInt | Literal["full"]
TrainingShots = PositiveInt | Literal["full"]


class Entry(BaseModel):
    """Common rules: unknown keys are errors, entries do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ShortClass:
    """A class that has fewer images than a draw asks for, and how many it gives."""

    label: int
    train: int
    validation: int


class Versioned(Entry):
    """What protocols have in common: an id, and a version, which rises with every change of meaning.

    Attributes:
        older: What was otherwise in each earlier version whose results are still known. These are shown and never
            ranked; a version that is neither the present one nor among these is an error. It decides no number, so it
            is in no dump.
    """

    id: str
    version: PositiveInt
    older: Mapping[Annotated[int, Field(ge=1)], Text] = Field(default={}, exclude=True)

    @model_validator(mode="after")
    def _older_is_older(self) -> "Versioned":
        if any(version >= self.version for version in self.older):
            raise ValueError(f"older: versions below {self.version}, which is the present one")
        return self


def check_unverified(entry: Entry, keys: Iterable[str]) -> None:
    """Checks that each dotted key names something that the entry says.

    Raises:
        ValueError: An entry has no such key.
    """
    for key in keys:
        value: object = entry
        for part in key.split("."):
            if not isinstance(value, Entry) or part not in type(value).model_fields:
                raise ValueError(f"unverified: this entry has no key {key!r}")
            value = getattr(value, part)
