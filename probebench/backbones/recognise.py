"""Finds out which trainer's format a weights file is of, and how its network must be built for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from probebench.backbones.adapters import ADAPTERS, StateDict, adapt, by_order
from probebench.backbones.construct import ImageTower, construct
from probebench.backbones.reading import read_checkpoint, refusal
from probebench.backbones.weights import Misfit
from probebench.errors import WeightsError
from probebench.registry.checkpoint import Architecture, Keys

# Tried in this order: a format that says more about the file comes before one that takes anything.
_ORDER = ("slip", "moco", "lightly", "solo-learn", "dino", "vissl", "trunk")


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
            state = adapt(content, cast(Keys, one), path)
            if one == "by-order":
                state = by_order(state, plain, path)
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
    return [{}, *({"num_classes": count} for count in sorted(outputs)), {"num_classes": 0}]


def _differ_in_rows_only(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape[0] != other.shape[0] and one.shape[1:] == other.shape[1:]
