"""Sources of pre-training: captioned images by id, or a user's own."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.api.session import Folders, Path_, listed, open_registry
from probebench.errors import DatasetError, UnfinishedError
from probebench.files import home
from probebench.progress import Progress, Silent

if TYPE_CHECKING:
    from probebench.datasets.captioned.captioned import Captioned


def load_source(source: str, samples: int | None = None, *, registry: Folders = ()) -> "Captioned":
    """Opens a source: its ids, captions, labels and images, and a fingerprint over all of them.

    Args:
        source: An id (``probebench sources list``), a folder with captions.csv, ``wds:SHARDS`` or ``hf:NAME``.
        samples: How many images; a smaller number's are among a larger one's, and images that look alike count once.
            None: all of them.
        registry: Folders of your own entries.

    Raises:
        UsageError: There is no such source, or it has not so many images.
        DatasetError: It is not prepared, or is wrong.
    """
    from probebench.datasets.captioned.open import open_source
    from probebench.datasets.captioned.subset import subset

    root = home() / "datasets"
    opened = open_source(source, open_registry(registry), root)
    return opened if samples is None else subset(opened, samples, root)


def list_sources(*, registry: Folders = ()) -> list[dict[str, Any]]:
    """Returns what the registry says of each source, and whether it is prepared here."""
    from probebench.datasets.captioned.open import record_path

    root = home() / "datasets"
    return [
        {**spec.model_dump(mode="json"), "prepared": record_path(spec, root).is_file()}
        for spec in open_registry(registry).sources.values()
    ]


def show_source(source: str, *, registry: Folders = (), sheet: Path_ | None = None) -> dict[str, Any]:
    """Returns what is known of a source: its entry, and what was found where it is on this machine.

    Args:
        source: As ``load_source`` takes it.
        registry: Folders of your own entries.
        sheet: A picture to write, of some images of each label.

    Raises:
        UsageError: There is no such source.
        DatasetError: It is wrong; one of the registry that is not on this machine is no error.
    """
    from probebench.datasets.captioned.open import NotPreparedError, open_source

    opened_registry = open_registry(registry)
    spec = opened_registry.sources.get(source)
    facts: dict[str, Any] = spec.model_dump(mode="json") if spec else {}
    try:
        found = open_source(source, opened_registry, home() / "datasets")
    except NotPreparedError as error:
        if sheet is not None:
            raise
        return facts | {"not_on_this_machine": error.mend}
    if sheet is not None:
        from probebench.datasets.sheet import write_sheet

        shown = write_sheet(Path(sheet), found.images, found.ids, found.labels, found.class_names)
        facts["sheet"] = f"{os.fspath(sheet)} ({shown} images)"
    return facts | {
        "id": found.id,
        "images": len(found),
        "classes": len(found.class_names),
        "class_names": list(found.class_names),
        "examples": list(found.captions[: len(found) : max(1, len(found) // 5)][:5]),
        "fingerprint": found.fingerprint,
    }


def prepare_sources(sources: str | Sequence[str], *, registry: Folders = ()) -> list[dict[str, Any]]:
    """Obtains packages of sources, draws their images once, and compares them with the entries.

    Args:
        sources: Ids, globs, or comma lists of them.
        registry: Folders of your own entries.

    Returns:
        Id, number of images and fingerprint of each.

    Raises:
        UsageError: There is no such source.
        DatasetError: It cannot be prepared; of several, an UnfinishedError with those that are.
    """
    from probebench.datasets.captioned.prepare import prepare_source
    from probebench.registry.names import expand

    opened = open_registry(registry)
    names = expand("source", listed(sources), opened.sources, "probebench sources list")
    done, problems = list[dict[str, Any]](), list[DatasetError]()
    for name in names:
        try:
            found = prepare_source(opened.source(name), home() / "datasets")
        except DatasetError as error:
            problems.append(error)
            continue
        done.append({"id": name, "images": len(found), "fingerprint": found.fingerprint})
    if problems and len(names) == 1:
        raise problems[0]
    if problems:
        raise UnfinishedError(done, problems)
    return done


def compare_sources(
    sources: str | Sequence[str],
    datasets: str | Sequence[str],
    *,
    registry: Folders = (),
    commit: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Counts test images of data sets that are in sources: the same pixels, alike, or of the same thing.

    Args:
        sources: Ids, globs, comma lists, and sources of your own.
        datasets: Ids, suites, globs and comma lists.
        registry: Folders of your own entries.
        commit: Whether to write what was found into the sources' entries.
        progress: Hears how far it is; None: nobody.

    Returns:
        A line for each pair: source, dataset, exact, near, concepts, and how many test images there are.

    Raises:
        UsageError: There is no such source or data set; or a source without an entry was to be committed.
        DatasetError: One is not on this machine, or is wrong.
    """
    from probebench.datasets.captioned.open import open_source
    from probebench.datasets.captioned.overlap import concepts_of, shared_with
    from probebench.datasets.named.layout import Layout
    from probebench.datasets.open import open_dataset
    from probebench.registry.names import expand_datasets, expand_sources
    from probebench.registry.write import write_shared

    opened, root = open_registry(registry), home() / "datasets"
    names = expand_sources(opened, listed(sources))
    if commit:
        for name in names:
            opened.source(name)
    wanted = expand_datasets(opened, listed(datasets), sources=False)
    compared = {
        name: (open_dataset(name, opened, root), concepts_of(Layout(opened.dataset(name), root))) for name in wanted
    }
    found = []
    for name in names:
        source = open_source(name, opened, root)
        shared = {}
        for dataset, (images, concepts) in compared.items():
            shared[dataset] = shared_with(source, images, concepts, progress or Silent())
            found.append({"source": source.id, "dataset": dataset, **shared[dataset].model_dump()})
        if commit:
            write_shared(opened.entry_file("sources", name), shared)
    return found
