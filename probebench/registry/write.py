"""Writes a checkpoint's entry, an experiment, and into entries of data sets and sources what their data say."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from probebench.errors import UsageError
from probebench.files import write_whole
from probebench.registry.checkpoint import CheckpointSpec
from probebench.registry.dataset import Published
from probebench.registry.experiment import ExperimentSpec
from probebench.registry.source import Shared


def entry_text(spec: CheckpointSpec) -> str:
    """Returns the TOML text of an entry; reading it gives the same entry."""
    import tomli_w

    values = spec.model_dump(mode="json")
    if not spec.unverified:
        del values["unverified"]
    if not spec.architecture.kwargs:
        del values["architecture"]["kwargs"]
    return tomli_w.dumps(values)


def experiment_text(spec: ExperimentSpec) -> str:
    """Returns the TOML text of an experiment; reading it gives the same experiment."""
    import tomli_w

    return tomli_w.dumps(spec.model_dump(mode="json", exclude_defaults=True))


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


# Tables that an entry has already, to where the next begins.
_PUBLISHED, _SHARED = (
    re.compile(rf"^\[{name}[\].][\s\S]*?(?=^\[(?!{name}[\].])|\Z)", re.MULTILINE) for name in ("published", "shared")
)


def write_published(path: Path, fingerprint: str, published: Published) -> None:
    """Writes a data set's fingerprint and its published digests into its entry, and leaves all else as it stands.

    Args:
        path: The entry.
        fingerprint: Of the whole set.
        published: Digests of parts and draws.
    """
    import tomli_w

    text = _PUBLISHED.sub("", path.read_text(encoding="utf-8"))
    line = f'fingerprint = "{fingerprint}"'
    text, found = re.subn(r"^fingerprint *=.*$", line, text, count=1, flags=re.MULTILINE)
    if not found:
        # Before the first table, where keys of the entry itself end.
        top = re.search(r"^\[", text, re.MULTILINE)
        text = f"{text[: top.start()]}{line}\n\n{text[top.start() :]}" if top else f"{text}{line}\n"
    table = tomli_w.dumps({"published": published.model_dump(mode="json", exclude_none=True)})
    write_whole(path, f"{text.rstrip()}\n\n{table}")


def write_shared(path: Path, shared: Mapping[str, Shared]) -> None:
    """Writes into a source's entry what it shares with some data sets; what it says of others stays.

    Args:
        path: The entry.
        shared: By data set.
    """
    import tomli_w

    before = tomllib.loads(path.read_text(encoding="utf-8")).get("shared", {})
    table = {**before, **{name: one.model_dump() for name, one in shared.items()}}
    text = _SHARED.sub("", path.read_text(encoding="utf-8"))
    write_whole(path, f"{text.rstrip()}\n\n{tomli_w.dumps({'shared': dict(sorted(table.items()))})}")
