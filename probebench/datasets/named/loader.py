"""Loaders of data sets that have a name: each registers itself where it is written, with how it is fetched."""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from probebench.datasets.named.layout import Layout, SplitsByName
from probebench.errors import RegistryError, did_you_mean
from probebench.registry.schema import DatasetSpec

Open = TypeVar("Open", bound=Callable[[Layout], SplitsByName])
# Fetches what is published of a set into its folder.
Fetch = Callable[[Layout], None]


@dataclass(frozen=True)
class Loader:
    """How a data set is opened, and how it is fetched.

    Attributes:
        open: Opens the splits in the set's folder.
        fetch: Downloads the set; None where that is left to the entry's archives, or to the user's own hands.
        packaged: Whether it comes from packages of npm or Debian, which an experiment fetches by itself.
    """

    open: Callable[[Layout], SplitsByName]
    fetch: Fetch | None
    packaged: bool = False


_LOADERS: dict[str, Loader] = {}


def loader(name: str, fetch: Fetch | None = None, *, packaged: bool = False) -> Callable[[Open], Open]:
    """Registers what it decorates as the loader that entries call ``name``.

    Args:
        name: What the entries say as ``loader``.
        fetch: Downloads the set without an account, beside the archives that the entry names.
        packaged: Whether it comes from packages of npm or Debian.

    Raises:
        RegistryError: Another loader has this name.
    """

    def register(opens: Open) -> Open:
        if name in _LOADERS:
            raise RegistryError(f"two loaders of data sets are called {name!r}; rename one")
        _LOADERS[name] = Loader(opens, fetch, packaged)
        return opens

    return register


def loader_of(spec: DatasetSpec) -> Loader:
    """Returns the loader that an entry names.

    Raises:
        RegistryError: There is none of that name.
    """
    _import_all()
    if spec.loader not in _LOADERS:
        near = did_you_mean(spec.loader, _LOADERS)
        raise RegistryError(f"data set {spec.id}: its entry names an unknown loader {spec.loader!r}{near}")
    return _LOADERS[spec.loader]


@functools.cache
def _import_all() -> None:
    """Imports every module of this package, so that all loaders are registered."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


def from_torchvision(name: str, *splits: str) -> Fetch:
    """Returns what has a class of torchvision download its files.

    Args:
        name: The class in torchvision.datasets.
        splits: What it calls each split, where it downloads them one by one.
    """

    def fetch(layout: Layout) -> None:
        from torchvision import datasets

        place = layout.place
        place.mkdir(parents=True, exist_ok=True)
        for keywords in [{"split": split} for split in splits] or [{}]:
            getattr(datasets, name)(str(place), download=True, **keywords)

    return fetch


def comes_installed(_: Layout) -> None:
    """Fetches nothing: a library that is always there carries the set."""
