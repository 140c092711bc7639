"""Reads weights without running anything, names them by their content, and fits them to a network."""

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from probebench.errors import WeightsError, describe_os_error, one_line
from probebench.fingerprint import canonical_json

StateDict = dict[str, torch.Tensor]

# The names under which trainers nest the tensors in a training checkpoint.
_NESTS = ("state_dict", "model", "model_state_dict")


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
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
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
