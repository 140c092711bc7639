"""Opens sources of pre-training: those of the registry by id, a user's own by where they lie."""

import json
from pathlib import Path

from probebench.datasets.captioned.captioned import Captioned
from probebench.datasets.captioned.folder import open_captions, pixels_of
from probebench.datasets.captioned.table import TABLE
from probebench.errors import DatasetError
from probebench.registry.load import Registry
from probebench.registry.names import FOLDER, HF, WDS
from probebench.registry.schema import SourceSpec


class NotPreparedError(DatasetError):
    """Nothing of a source is on this machine.

    Attributes:
        mend: How to get it.
    """

    def __init__(self, name: str) -> None:
        """Takes the source's id."""
        self.mend = f"run probebench sources prepare {name}"
        super().__init__(f"source {name} is not on this machine: {self.mend}")


def source_folder(spec: SourceSpec, root: Path) -> Path:
    """Returns the folder that a source of the registry is drawn into."""
    return root / "sources" / spec.id


def record_path(spec: SourceSpec, root: Path) -> Path:
    """Returns the file that says what was prepared."""
    return source_folder(spec, root) / "prepared.json"


def open_source(name: str, registry: Registry, root: Path) -> Captioned:
    """Opens a source by its registry id, or a user's own.

    Args:
        name: The id, a folder's path or ``folder:PATH`` with a table captions.csv in it, ``wds:SHARDS`` with .txt (and
            .cls) beside the images, or ``hf:NAME`` with a caption column.
        registry: Where ids are looked up.
        root: The folder that holds data sets (the home's ``datasets``).

    Raises:
        UsageError: The id is unknown (the line gives the nearest), or the place does not exist.
        DatasetError: The source is not prepared, has changed since, or is wrong.
    """
    if name.startswith(WDS):
        from probebench.datasets.captioned.webdataset import open_wds_captions

        return _named(open_wds_captions(name.removeprefix(WDS), root))
    if name.startswith(HF):
        from probebench.datasets.captioned.huggingface import open_hf_captions

        return _named(open_hf_captions(name.removeprefix(HF), root))
    path = Path(name.removeprefix(FOLDER)).expanduser()
    if name.startswith(FOLDER) or (name not in registry.sources and path.is_dir()):
        return _named(open_captions(path, root, f"{FOLDER}{path.resolve().name}"))
    return _open_prepared(registry.source(name), root)


def _named(source: Captioned) -> Captioned:
    """Returns a user's source under an id for ever, which holds its fingerprint."""
    kind, _, title = source.id.partition(":")
    title = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in title)
    return source.under(f"{kind}:{title}-{source.fingerprint[:8]}")


def _open_prepared(spec: SourceSpec, root: Path) -> Captioned:
    path = record_path(spec, root)
    again = f"run probebench sources prepare {spec.id}"
    try:
        known = json.loads(path.read_bytes())["fingerprint"]
    except FileNotFoundError as error:
        raise NotPreparedError(spec.id) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read; {again}") from error
    source = open_drawn(spec, root)
    if source.fingerprint != known:
        raise DatasetError(f"source {spec.id} has changed since it was prepared; restore its files, or {again}")
    return source


def open_drawn(spec: SourceSpec, root: Path) -> Captioned:
    """Opens what was drawn of a source, whatever its entry says."""
    folder = source_folder(spec, root)
    if not (folder / TABLE).is_file():
        raise DatasetError(f"source {spec.id} lacks {folder / TABLE}; run probebench sources prepare {spec.id}")
    return open_captions(folder, root, spec.id, pixels_of)
