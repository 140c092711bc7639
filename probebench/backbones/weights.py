"""Names weights by their content, and fits them to a network."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from probebench.backbones.reading import printable, refusal
from probebench.fingerprint import canonical_json

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Batches that batch normalisation has seen: files older than torch 0.4.1 lack them, and evaluation never asks.
_COUNTER = "num_batches_tracked"


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


def difference(new: Mapping[str, torch.Tensor], old: Mapping[str, torch.Tensor]) -> str:
    """Says in how many tensors weights differ, and names one."""
    if alone := sorted(new.keys() ^ old.keys()):
        return f"{len(alone)} tensors are in one of them only, such as {printable(alone[0])}"
    changed = [name for name in new if not torch.equal(new[name], old[name])]
    return f"{len(changed)} of {len(new)} tensors differ" + (f", such as {printable(changed[0])}" if changed else "")


@dataclass(frozen=True)
class Misfit:
    """Where a state dict and a network do not agree, by names of tensors."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    retyped: tuple[str, ...]

    @classmethod
    def between(cls, own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> "Misfit":
        """Compares names, shapes and kinds of number; any floating point fits any other.

        A tensor without elements (the weights of a head with no outputs) need not be there.

        Args:
            own: The network's tensors, possibly on the meta device.
            state: The file's.
        """
        both = [name for name in own if name in state]
        return cls(
            missing=tuple(
                name for name, value in own.items() if name not in state and value.numel() and not _is_counter(name)
            ),
            unexpected=tuple(name for name in state if name not in own),
            reshaped=tuple(
                f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
                for name in both
                if state[name].shape != own[name].shape
            ),
            retyped=tuple(
                f"{name} {state[name].dtype} instead of {own[name].dtype}".replace("torch.", "")
                for name in both
                if not _same_kind(state[name].dtype, own[name].dtype)
            ),
        )

    def __len__(self) -> int:
        """The number of tensors that do not fit."""
        return len(self.missing) + len(self.unexpected) + len(self.reshaped) + len(self.retyped)

    def __str__(self) -> str:
        """Names the first of each kind."""
        kinds = (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.reshaped),
            ("of another type", self.retyped),
        )
        return "; ".join(
            f"{len(names)} keys {word} ({', '.join(map(printable, names[:3]))}{', …' if names[3:] else ''})"
            for word, names in kinds
            if names
        )


def load_into(module: torch.nn.Module, state: Mapping[str, torch.Tensor], what: str, path: Path) -> None:
    """Loads a state dict strictly, and names the keys that do not fit.

    Raises:
        WeightsError: Keys are missing, unexpected, of another shape or type, or hold NaN or infinite values.
    """
    own = module.state_dict()
    misfit = Misfit.between(own, state)
    if misfit:
        raise refusal(path, f"does not fit {what}: {misfit}")
    broken = [name for name, value in state.items() if not _finite(value, own[name].dtype)]
    if broken:
        raise refusal(path, f"has NaN or infinite values in {', '.join(broken[:3])}; fetch it again")
    module.load_state_dict({**{name: value for name, value in own.items() if name not in state}, **state})


def _is_counter(name: str) -> bool:
    return name.rpartition(".")[2] == _COUNTER


def _same_kind(one: torch.dtype, other: torch.dtype) -> bool:
    return one == other or (one in _FLOATS and other in _FLOATS)


def _finite(value: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether all values are numbers once they are of the network's type, where a float64 may overflow."""
    return not value.is_floating_point() or bool(torch.isfinite(value.to(dtype)).all())
