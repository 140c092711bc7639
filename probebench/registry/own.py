"""A user's own entries: found, and told from those that ship."""

from pathlib import Path

from probebench.errors import UsageError
from probebench.fingerprint import file_sha256
from probebench.registry.load import Registry, shipped_registry


def own_entry(registry: Registry, model: str) -> Path:
    """Returns the file of an entry of the user's own.

    Raises:
        UsageError: There is no such entry, or it ships with probebench.
    """
    registry.checkpoint(model)
    for folder in registry.folders:
        path = folder / "checkpoints" / f"{model}.toml"
        if path.is_file() and folder.resolve() != shipped_registry().resolve():
            return path
    raise UsageError(f"{model} ships with probebench and stays as it is; add yours under an id of its own (--id)")


def known_files(registry: Registry, weights: Path) -> list[str]:
    """Returns the ids of entries whose weights are this very file; the file is read only where an entry names any."""
    named = {spec.id: spec.weights.sha256 for spec in registry.checkpoints.values()}
    if not any(len(sha256) == 64 for sha256 in named.values()):
        return []
    found = file_sha256(weights)
    return [name for name, sha256 in named.items() if sha256 == found]
