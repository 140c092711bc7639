"""Opens data sets: by registry id, through the library that carries them, or a source of the user's."""

import json
import os
import warnings
from pathlib import Path

from probebench.datasets.base import Dataset, check_dataset
from probebench.datasets.named.layout import Layout, check_counts
from probebench.datasets.named.loader import loader_of
from probebench.datasets.opened import Opened, recall, remember, shared_images
from probebench.datasets.sources.folder import open_folder
from probebench.errors import DatasetError, ProbebenchWarning
from probebench.registry.load import Registry
from probebench.registry.names import FOLDER, HF, WDS, folder_of, is_source
from probebench.registry.schema import DatasetSpec


def open_dataset(name: str, registry: Registry, root: Path) -> Dataset:
    """Opens a data set by its registry id, or a source of the user's by ``folder:``, ``wds:`` or ``hf:``.

    Args:
        name: The id, or the prefix and what it takes (``folder:PATH``), or the id of a source that was opened before.
        registry: Where ids are looked up.
        root: The folder that holds data sets (the home's ``datasets``).

    Raises:
        UsageError: The id is unknown (the line gives the nearest), or the source does not exist.
        DatasetError: The data are missing, incomplete, or not those that were prepared.
    """
    if is_source(name):
        return _open_source(name, root)
    spec = registry.dataset(name)
    dataset = open_named(spec, root)
    _compare_with_record(dataset, root)
    return dataset


def _open_source(name: str, root: Path) -> Dataset:
    """Opens a source of the user's by where it lies, or by the id that it had when it was opened before."""
    known = recall(name, root)
    if known is None or known.source is None or (name.startswith(FOLDER) and folder_of(name)[0].is_dir()):
        return remembered(_open_place(name, root), _lasting(name), root)
    dataset = remembered(_open_place(known.source, root), known.source, root)
    if dataset.id != name:
        raise DatasetError(f"{name} lay at {known.source}, where there are other images now ({dataset.id})")
    return dataset


def _open_place(name: str, root: Path) -> Dataset:
    if name.startswith(FOLDER):
        path, layout = folder_of(name)
        return open_folder(path, root, layout)
    if name.startswith(WDS):
        from probebench.datasets.sources.webdataset.open import open_wds

        return open_wds(name.removeprefix(WDS), root)
    from probebench.datasets.sources.huggingface.open import open_hf

    return open_hf(name.removeprefix(HF), root)


def _lasting(name: str) -> str:
    """Returns the name of a source with its path, where it is one, as it is seen from any folder."""
    prefix = next(one for one in (FOLDER, WDS, HF) if name.startswith(one))
    place, mark, query = name.removeprefix(prefix).partition("?")
    path = Path(place).expanduser()
    # A long list of shards is no name that a path can have, which pathlib would raise.
    there = os.path.exists(path)  # noqa: PTH110
    return f"{prefix}{path.absolute()}{mark}{query}" if there else name


def remembered(dataset: Dataset, source: str | None, root: Path) -> Dataset:
    """Returns a data set of the user's; remembers it, and warns where test images are in train too.

    Args:
        dataset: The data set.
        source: What opens it again; None of images in memory.
        root: The folder that holds data sets.
    """
    shared, which = shared_images(dataset)
    remember(Opened(id=dataset.id, source=source, shared_with_train=shared), root)
    if shared:
        warnings.warn(
            f"{dataset.id}: {shared} of {len(dataset.splits['test'])} test images are in train too, byte for byte "
            f"({which}); results say so (shared_with_train)",
            ProbebenchWarning,
            stacklevel=2,
        )
    return dataset


def open_named(spec: DatasetSpec, root: Path) -> Dataset:
    """Opens a data set of the registry and compares it with its entry.

    Raises:
        RegistryError: The entry names a loader that does not exist.
        NotHereError: Nothing of it is on this machine.
        DatasetError: Files are missing, or differ from the entry.
    """
    layout, loader = Layout(spec, root), loader_of(spec)
    layout.require()
    splits = loader.open(layout)
    check_counts(layout, splits)
    dataset = check_dataset(Dataset(spec.id, spec.classes, splits))
    if spec.fingerprint not in ("unknown", dataset.fingerprint):
        raise layout.half(f"its ids or labels are not those of the entry (fingerprint {dataset.fingerprint[:16]})")
    return dataset


def record_path(spec_id: str, root: Path) -> Path:
    """Returns the file that says what was prepared."""
    return root / spec_id / "prepared.json"


def record(dataset: Dataset) -> dict[str, object]:
    """Returns what tells a prepared set from a changed one."""
    return {
        "fingerprint": dataset.fingerprint,
        "counts": {name: len(split) for name, split in dataset.splits.items()},
        "content": dataset.content,
    }


def _compare_with_record(dataset: Dataset, root: Path) -> None:
    path = record_path(dataset.id, root)
    try:
        known = json.loads(path.read_text())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read; remove it and run probebench datasets prepare {dataset.id}"
        ) from error
    now = record(dataset)
    changed = [name for name in now if known.get(name) != now[name]]
    if changed:
        raise DatasetError(
            f"data set {dataset.id} has changed since it was prepared ({', '.join(changed)}); restore its files, "
            f"or accept them: probebench datasets prepare {dataset.id}"
        )


def default_suite(registry: Registry, root: Path) -> str:
    """Returns the suite that ``extract`` runs by default: study once all its sets are prepared, else offline."""
    study = registry.suites.get("study")
    prepared = study is not None and all(record_path(name, root).is_file() for name in study.datasets)
    return "study" if prepared else "offline"
