"""Sources of pre-training: captioned images by id, or a user's own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from probebench.api.session import Folders, listed, open_registry
from probebench.errors import DatasetError, UnfinishedError
from probebench.files import home

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


def show_source(source: str, *, registry: Folders = ()) -> dict[str, Any]:
    """Returns what is known of a source: its entry, and what was found where it is on this machine.

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
        return facts | {"not_on_this_machine": error.mend}
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
