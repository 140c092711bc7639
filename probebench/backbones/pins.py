"""The local lock file: what a checkpoint's weights were when they first came, for entries that give no sha256."""

import json
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from probebench.errors import WeightsError
from probebench.files import write_whole
from probebench.registry.checkpoint import CheckpointSpec


def check_pin(spec: CheckpointSpec, home: Path, what: str, digest: str) -> None:
    """Remembers a digest of a checkpoint's weights at first, and compares with it ever after.

    An entry whose uri was changed is pinned anew.

    Args:
        spec: The entry.
        home: The home folder; the lock file is its ``weights/lock.json``.
        what: What the digest is of: "file", or "tensors at 224 px".
        digest: The sha256.

    Raises:
        WeightsError: The weights are not those of the first time, or the lock file is damaged.
    """
    path = home / "weights" / "lock.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        pins = _read(path)
        known = pins.get(spec.id)
        if known is None or known.get("uri") != spec.weights.uri:
            known = {"uri": spec.weights.uri}
        if what in known:
            if known[what] != digest:
                raise WeightsError(
                    f"weights of {spec.id} ({spec.weights.uri}) changed since {known.get('since', 'then')}: "
                    f"sha256 of the {what} is {digest[:16]}… where {path} says {known[what][:16]}…; if the change is "
                    f'meant, remove "{spec.id}" from that file'
                )
            return
        pins[spec.id] = {"since": f"{datetime.now(UTC):%Y-%m-%d}", **known, what: digest}
        write_whole(path, json.dumps(pins, indent=1, sort_keys=True))


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        pins = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        pins = None
    if not isinstance(pins, dict) or not all(isinstance(pin, dict) for pin in pins.values()):
        raise WeightsError(f"the lock file of downloaded weights {path} is damaged; remove it to pin them anew")
    return pins
