"""What an entry says of a downstream data set, and of a suite of them."""

from typing import Annotated, Literal

from pydantic import Field

from probebench.registry.entry import Entry, Id, Text


class Splits(Entry):
    """Images in each part, and the rule that made the parts."""

    rule: Text
    train: Annotated[int, Field(ge=1)]
    val: Annotated[int, Field(ge=0)]
    test: Annotated[int, Field(ge=1)]


class DatasetSpec(Entry):
    """One downstream data set that has a name of its own."""

    id: Id
    title: Text
    paper: Text
    url: Text
    license: Text
    loader: Literal["digits", "fashion_mnist", "cifar100"]
    metric: Literal["accuracy"]
    splits: Splits
    classes: tuple[Text, ...]


class SuiteSpec(Entry):
    """A named list of data sets that one ``extract`` runs through."""

    id: Id
    title: Text
    datasets: tuple[Id, ...]
