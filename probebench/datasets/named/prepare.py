"""Fetches data sets where that can be done without an account, checks them, and records what was found."""

import json
from pathlib import Path

from probebench.datasets.base import Dataset
from probebench.datasets.named.layout import Layout
from probebench.datasets.named.loader import loader_of
from probebench.datasets.open import open_named, record, record_path
from probebench.errors import DatasetError, one_line
from probebench.files import write_whole
from probebench.registry.schema import DatasetSpec


def prepare(spec: DatasetSpec, root: Path) -> Dataset:
    """Fetches a data set where it is not there yet, opens it, and records its fingerprint, counts and content.

    Raises:
        DatasetError: It cannot be fetched (the line says how to get it by hand), or is not whole.
    """
    layout = Layout(spec, root)
    fetch(layout)
    dataset = open_named(spec, root)
    write_whole(record_path(spec.id, root), json.dumps(record(dataset), indent=1))
    return dataset


def fetch(layout: Layout) -> None:
    """Downloads what is missing of a data set into its folder.

    Raises:
        NotHereError: It cannot be downloaded, only placed by hand.
        DatasetError: A download failed; the line says what to place where by hand.
    """
    spec = layout.spec
    if spec.files and not layout.missing():
        return
    try:
        _download(layout)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise DatasetError(
            f"data set {spec.id} could not be downloaded ({one_line(error, 120)}); {layout.by_hand()}"
        ) from error


def _download(layout: Layout) -> None:
    spec, place, fetch_set = layout.spec, layout.place, loader_of(layout.spec).fetch
    if fetch_set is None and not spec.archives:
        # What is partly there is for the opener to name.
        if len(layout.missing()) == len(spec.files):
            raise layout.not_here()
        return
    if fetch_set is not None:
        fetch_set(layout)
    for archive in spec.archives:
        place.mkdir(parents=True, exist_ok=True)
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
