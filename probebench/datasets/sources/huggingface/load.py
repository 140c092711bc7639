"""Loads tables through Hugging Face datasets, which runs no code of a data set; without a network, from its cache."""

import contextlib
import errno
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from probebench.datasets.formats import ending_of, image_endings
from probebench.datasets.sources.walk import is_folder, is_system, listing
from probebench.errors import DatasetError, UsageError
from probebench.network import hub_offline, quiet_libraries, reachable
from probebench.registry.names import FOLDER

_HUB = re.compile(r"(?P<place>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[^:@]+))?(:(?P<config>[^:]+))?")
# What save_to_disk writes.
_SAVED = ("dataset_dict.json", "state.json")


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """What a text after ``hf:`` names.

    Attributes:
        text: The text.
        place: A repository of the Hub, or a folder.
        local: Whether it is a folder.
        revision: Branch, tag or commit; empty for the newest.
        config: Configuration; empty for the only one, or the default.
        image: Column of images that the user named, or empty.
        label: Column of labels that the user named, or empty.
        caption: Column of captions that the user named, or empty.
    """

    text: str
    place: str
    local: bool
    revision: str = ""
    config: str = ""
    image: str = ""
    label: str = ""
    caption: str = ""

    @classmethod
    def parse(cls, text: str) -> "HubSource":
        """Reads ``owner/name[@revision][:config]`` or ``FOLDER[:config]``, and columns: ``?image=..&caption=..``.

        Raises:
            UsageError: It is none of these.
        """
        where, _, query = text.partition("?")
        columns = dict(parse_qsl(query, keep_blank_values=True))
        if unknown := set(columns) - {"image", "label", "caption"}:
            raise UsageError(f"data set hf:{text}: {sorted(unknown)[0]} is neither image nor label nor caption")
        before, _, config = where.rpartition(":")
        for place, name in ((where, ""), (before, config)):
            if place and (folder := Path(place).expanduser()).is_dir():
                return cls(text=text, place=str(folder.resolve()), local=True, config=name, **columns)
        found = _HUB.fullmatch(where)
        if where.startswith((".", "/", "~")) or found is None:
            raise UsageError(
                f"data set hf:{text} is neither a folder nor owner/name of the Hub, with @revision and :config behind"
            )
        named = {name: value or "" for name, value in found.groupdict().items()}
        return cls(text=text, local=False, **named, **columns)

    def __str__(self) -> str:
        """Returns what errors call it."""
        return f"data set hf:{self.text}"


def load(source: HubSource) -> tuple[dict[str, Any], str]:
    """Returns the tables of a source by the names of their splits, and the commit that they come from, if any.

    A set saved without splits comes as ``all``.

    Raises:
        DatasetError: It cannot be loaded: it does not exist, is damaged, or the network is out of reach.
    """
    with _library(source):
        import datasets

        if source.local and any((Path(source.place) / name).is_file() for name in _SAVED):
            loaded, commit = datasets.load_from_disk(source.place), ""
        else:
            options = {"revision": source.revision} if source.revision else {}
            builder = datasets.load_dataset_builder(source.place, source.config or None, **options)
            commit = "" if source.local else str(builder.hash)
            _check_revision(source, commit)
            if source.local:
                _refuse_lost_files(source, builder.config.data_files or {})
            builder.download_and_prepare()
            loaded = builder.as_dataset()
    return dict(loaded) if isinstance(loaded, dict) else {"all": loaded}, commit


def _refuse_lost_files(source: HubSource, taken: Mapping[str, Sequence[str]]) -> None:
    """Refuses a folder of which the library leaves files out: it takes splits from names such as train-3.png."""
    files = {Path(file) for split in taken.values() for file in split}
    # Its tables are what they are; images that none of them takes are lost.
    kinds = {ending_of(file.name) for file in files}
    kinds |= image_endings() if kinds & image_endings() else set()
    lost = [path for path in _files(Path(source.place)) if ending_of(path.name) in kinds and path not in files]
    if lost:
        splits = ", ".join(f"{len(found)} in {split}" for split, found in taken.items())
        raise DatasetError(
            f"{source}: {len(lost)} files are in no split, such as {lost[0]} ({splits}): datasets takes splits from "
            f"the names of files and folders; put each file under a folder train or test, or say {FOLDER}{source.place}"
        )


def _files(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder, hidden and system ones left out."""
    for entry in listing(str(folder)):
        if is_system(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name)
        elif not is_folder(entry):
            yield folder / entry.name


def _check_revision(source: HubSource, commit: str) -> None:
    """Refuses another revision than the one asked for: without a network, the library takes the newest in its cache."""
    if not source.revision or (len(source.revision) >= 7 and commit.startswith(source.revision)):
        return
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=source.place, repo_type="dataset")
    reference = folder / "refs" / source.revision
    if not reference.is_file() or reference.read_text().strip() != commit:
        raise DatasetError(
            f"{source}: no revision {source.revision} is known here; check its name, or run once with a network"
        )


@contextlib.contextmanager
def _library(source: HubSource) -> Iterator[None]:
    """Lets the library work quietly; out of reach of the Hub, from its cache only, else it would try for minutes."""
    import datasets

    offline = not source.local and not reachable(datasets.config.HF_ENDPOINT)
    try:
        with hub_offline(offline), _quiet():
            yield
    except DatasetError:
        raise
    # Readers of formats raise what they like.
    except Exception as error:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
                raise cause from None
        if offline:
            raise DatasetError(
                f"{source} is not on this machine and the network cannot be reached; run once with a network"
            ) from error
        # This error says only that something failed.
        said = causes[1] if isinstance(error, datasets.exceptions.DatasetGenerationError) and causes[1:] else error
        raise DatasetError(f"{source} cannot be loaded: {' '.join(str(said).split())[:200]}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the library's log lines off the terminal, and its bars where there is none."""
    import datasets

    bars = datasets.are_progress_bars_disabled()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        with quiet_libraries():
            yield
    finally:
        if not bars:
            datasets.enable_progress_bars()
