"""Fetches data sets where that can be done without an account, checks them, and records what was found."""

import json
from pathlib import Path
from typing import Any

from probebench.datasets.base import Dataset
from probebench.datasets.named import arrays as named_memory
from probebench.datasets.named.files import PUBLISHED
from probebench.datasets.named.layout import Layout
from probebench.datasets.open import open_named, record, record_path
from probebench.errors import DatasetError, one_line
from probebench.registry.schema import DatasetSpec

# What to ask of torchvision for loaders that are not one of its published splits: a class, and keywords for each call.
_FETCHED: dict[str, tuple[str, tuple[dict[str, Any], ...]]] = {
    "fashion_mnist": ("FashionMNIST", ({},)),
    "cifar100": ("CIFAR100", ({},)),
    "stl10": ("STL10", ({},)),
    "svhn": ("SVHN", ({"split": "train"}, {"split": "test"})),
    "pcam": ("PCAM", ({"split": "train"}, {"split": "val"}, {"split": "test"})),
    "caltech101": ("Caltech101", ({},)),
    "eurosat": ("EuroSAT", ({},)),
    "sun397": ("SUN397", ({},)),
}


def prepare(spec: DatasetSpec, root: Path) -> Dataset:
    """Fetches a data set where it is not there yet, opens it, and records its fingerprint, counts and content.

    Raises:
        DatasetError: It cannot be fetched (the line says how to get it by hand), or is not whole.
    """
    layout = Layout(spec, root)
    fetch(layout)
    dataset = open_named(spec, root)
    path = record_path(spec.id, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record(dataset), indent=1))
    partial.replace(path)
    return dataset


def fetch(layout: Layout) -> None:
    """Downloads what is missing of a data set into its folder.

    Raises:
        NotHereError: It cannot be downloaded, only placed by hand.
        DatasetError: A download failed; the line says what to place where by hand.
    """
    spec = layout.spec
    missing = layout.missing()
    if spec.loader == "digits" or (spec.files and not missing):
        return
    if spec.loader == "fashion_mnist" and named_memory.DEBIAN_FASHION_MNIST.is_dir():
        return
    try:
        _download(layout)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise DatasetError(
            f"data set {spec.id} could not be downloaded ({one_line(error, 120)}); {layout.by_hand()}"
        ) from error


def _download(layout: Layout) -> None:
    from torchvision import datasets

    spec, place = layout.spec, layout.place
    name, calls = _FETCHED.get(spec.loader, ("", ()))
    if spec.loader in PUBLISHED:
        published = PUBLISHED[spec.loader]
        name, calls = published.name, tuple({"split": split} for split in published.splits.values())
    if not calls and not spec.archives:
        # What is partly there is for the opener to name.
        if len(layout.missing()) == len(spec.files):
            raise layout.not_here()
        return
    place.mkdir(parents=True, exist_ok=True)
    for keywords in calls:
        getattr(datasets, name)(str(place), download=True, **keywords)
    for archive in spec.archives:
        _fetch_file(archive.url, None if archive.md5 == "unknown" else archive.md5, place)


def _fetch_file(url: str, md5: str | None, place: Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive, download_url

    if url.endswith((".zip", ".tar", ".tar.gz", ".tgz")):
        download_and_extract_archive(url, str(place), md5=md5, remove_finished=True)
    else:
        download_url(url, str(place), md5=md5)


def placement(spec: DatasetSpec, root: Path) -> str:
    """Returns the tree of what must lie where, one path a line."""
    layout = Layout(spec, root)
    missing = set(layout.missing())
    lines = [f"  {name}{'  (missing)' if name in missing else ''}" for name in spec.files]
    return "\n".join([f"{layout.place}/", *lines])
