"""Writes a checkpoint's entry."""

from pathlib import Path

from probebench.errors import UsageError
from probebench.registry.checkpoint import CheckpointSpec


def entry_text(spec: CheckpointSpec) -> str:
    """Returns the TOML text of an entry; reading it gives the same entry."""
    import tomli_w

    values = spec.model_dump(mode="json")
    if not spec.unverified:
        del values["unverified"]
    if not spec.architecture.kwargs:
        del values["architecture"]["kwargs"]
    return tomli_w.dumps(values)


def write_entry(spec: CheckpointSpec, folder: Path) -> Path:
    """Writes an entry into a registry folder and returns its file.

    Raises:
        UsageError: The file is there already.
    """
    path = folder / "checkpoints" / f"{spec.id}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(entry_text(spec))
    except FileExistsError as error:
        raise UsageError(f"{path} exists already; give another --id, or remove it first") from error
    return path
