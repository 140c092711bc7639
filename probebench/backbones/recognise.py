"""Finds out which trainer's format a weights file is of, and how its network must be built for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from probebench.backbones.adapters import ADAPTERS, StateDict, adapt, of_network
from probebench.backbones.construct import ImageTower, construct
from probebench.backbones.reading import read_checkpoint, refusal
from probebench.backbones.weights import Misfit
from probebench.errors import WeightsError
from probebench.registry.checkpoint import Architecture, Keys

# Tried in this order: a format that says more about the file comes before one that takes anything.
_ORDER = ("slip", "moco", "lightly", "solo-learn", "dino", "vissl", "mae", "trunk", "prefixed")


@dataclass(frozen=True)
class Recognised:
    """A file that fits.

    Attributes:
        architecture: The network, with the arguments that the file asks for: without a classifier where the file has
            none, or with one of its size.
        keys: The adapter.
        state: The tensors under the architecture's own names.
    """

    architecture: Architecture
    keys: Keys
    state: StateDict


def recognise(path: Path, architecture: Architecture, keys: Keys | None = None) -> Recognised:
    """Fits a file to an architecture by every known format, or by one.

    Raises:
        WeightsError: The file cannot be read, or fits in no format; the line names the nearest and the keys at fault.
        RegistryError: The library does not know the architecture.
    """
    content = read_checkpoint(path)
    plain = _network(architecture)
    halves = {"open-clip-visual": ImageTower(plain)} if architecture.library == "open_clip" else {}
    nearest: tuple[int, str, Misfit] | None = None
    refused: WeightsError | None = None
    for one in ("plain", *halves, *_ORDER) if keys is None else (keys,):
        try:
            state = of_network(adapt(content, cast(Keys, one), path), cast(Keys, one), plain, path)
        except WeightsError as error:
            refused = refused or error
            continue
        for kwargs in _arguments(architecture, plain.state_dict(), state):
            changed = architecture.model_copy(update={"kwargs": {**architecture.kwargs, **kwargs}})
            network = _network(changed) if kwargs else halves.get(one, plain)
            misfit = Misfit.between(network.state_dict(), state)
            if not misfit:
                return Recognised(changed, cast(Keys, one), state)
            if nearest is None or len(misfit) < nearest[0]:
                nearest = (len(misfit), one, misfit)
    if nearest is None:
        assert refused is not None
        raise refused
    tried = f"in the format {keys}" if keys else f"in any known format ({', '.join(ADAPTERS)})"
    raise refusal(
        path, f"does not fit {architecture.library} {architecture.name} {tried}; nearest is {nearest[1]}: {nearest[2]}"
    )


def _network(architecture: Architecture) -> torch.nn.Module:
    with torch.device("meta"):
        return construct(architecture)


def _arguments(architecture: Architecture, own: Mapping[str, torch.Tensor], state: StateDict) -> list[dict[str, Any]]:
    """Returns the arguments to try: the library's own network, one with the file's classifier, one with none."""
    if architecture.library == "open_clip":
        return [{}]
    outputs = {
        int(state[name].shape[0])
        for name, value in own.items()
        if name in state and value.ndim >= 2 and _differ_in_rows_only(value, state[name])
    }
    side = _input_side(own, state) if architecture.library == "timm" else {}
    heads: list[dict[str, Any]] = [{}, *({"num_classes": count} for count in sorted(outputs)), {"num_classes": 0}]
    return [*heads, *({**side, **one} for one in heads if side)]


def _input_side(own: Mapping[str, torch.Tensor], state: StateDict) -> dict[str, int]:
    """Returns the input side at which a transformer has as many positions as the file; nothing where it has already."""
    ours, theirs, patches = own.get("pos_embed"), state.get("pos_embed"), own.get("patch_embed.proj.weight")
    if ours is None or theirs is None or patches is None or ours.ndim != 3 or theirs.ndim != 3:
        return {}
    if ours.shape == theirs.shape or ours.shape[2] != theirs.shape[2]:
        return {}
    # Tokens that are no patches: as many as make ours a square.
    others = ours.shape[1] - math.isqrt(ours.shape[1]) ** 2
    side = math.isqrt(max(theirs.shape[1] - others, 0))
    return {"img_size": side * int(patches.shape[-1])} if side and side**2 + others == theirs.shape[1] else {}


def _differ_in_rows_only(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape[0] != other.shape[0] and one.shape[1:] == other.shape[1:]
