"""Builds a network from its registry entry, with the library that it names, and loads its weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from probebench.backbones.adapters import of_network, read_state_dict
from probebench.backbones.base import Backbone
from probebench.backbones.construct import ImageTower, construct
from probebench.backbones.layers import Headless, layers_of
from probebench.backbones.locate import check_given, check_sha256, locate, network
from probebench.backbones.pins import check_pin
from probebench.backbones.user_weights import UserWeights, require_weights
from probebench.backbones.weights import difference, load_into, state_digest
from probebench.errors import RegistryError, UsageError, WeightsError, one_line
from probebench.registry.layers import Layers, choose
from probebench.registry.schema import CheckpointSpec


def build_backbone(
    spec: CheckpointSpec, home: Path, input_size: int | None = None, layers: Sequence[str] = ()
) -> Backbone:
    """Builds a checkpoint's network with its weights, and proves by one blank image that it runs.

    A file that the user registered for the checkpoint comes before the entry's own weights.

    Args:
        spec: The registry entry.
        home: The probebench home folder, which holds registered and downloaded weights.
        input_size: Side of the input in pixels; None takes the entry's.
        layers: Names and globs of the layers that it is to give, side by side; none: the entry's own.

    Raises:
        UsageError: The network cannot run at that input size, has no such layer, or needs a file that was not given.
        WeightsError: The weights are missing, damaged, out of reach or of another architecture.
        RegistryError: The library does not know the architecture, or its feature width differs from the entry.
    """
    widths: Layers = {spec.output.layer: spec.output.features}
    if layers:
        offered = layers_of(spec)
        widths = {name: offered[name] for name in choose(layers, offered, spec.id)}
    module, digest = _with_weights(spec, home, input_size)
    return _finish(spec, module, digest, input_size, widths)


def build_language_image(spec: CheckpointSpec, home: Path, input_size: int | None = None) -> tuple[Any, str]:
    """Builds a language-image checkpoint whole, image and text tower, in evaluation mode.

    Returns:
        open_clip's network, and the weights digest that its backbone has too.

    Raises:
        UsageError: The checkpoint has no text tower, or needs a user's file that was not given.
        WeightsError: The weights are missing, damaged, out of reach or of another architecture.
        RegistryError: open_clip does not know the architecture.
    """
    if not spec.has_text_tower:
        raise UsageError(f"{spec.id} has no text tower to compare images with; zero-shot takes open_clip checkpoints")
    module, digest = _with_weights(spec, home, input_size)
    return module.eval().requires_grad_(False), digest


def _with_weights(spec: CheckpointSpec, home: Path, input_size: int | None) -> tuple[torch.nn.Module, str]:
    """Returns the whole network with its weights, and their digest, which takes as long as reading them."""
    require_weights(spec, home)
    registered = UserWeights.find(home, spec.id)
    if registered is not None:
        module = _construct(spec, input_size)
        load_into(module, read_state_dict(registered.path), _describe(spec), registered.path)
        digest = state_digest(module.state_dict())
        if digest != registered.digest:
            raise WeightsError(
                f"registered weights {registered.path} changed on disk; "
                f"register the file again: probebench extract --model {spec.id} --weights PATH"
            )
        return module, digest
    if spec.weights.scheme in ("timm", "open_clip"):
        with network(spec):
            module = _construct(spec, input_size, tag=spec.weights.uri.split("://", 1)[1])
        size = spec.input.size if input_size is None else input_size
        digest = state_digest(module.state_dict())
        check_pin(spec, home, f"tensors at {size} px", digest)
        return module, digest
    if spec.weights.scheme == "random":
        module = _construct(spec, input_size, seed=int(spec.weights.uri.split(":", 1)[1]))
    else:
        path = locate(spec, home)
        module = _construct(spec, input_size)
        _load_file(module, spec, path)
    return module, state_digest(module.state_dict())


def register_weights(spec: CheckpointSpec, home: Path, path: Path) -> UserWeights:
    """Checks that a user's file fits a checkpoint and keeps a copy of its tensors for later runs.

    Raises:
        UsageError: The checkpoint is random by definition.
        WeightsError: The file is missing, damaged, of another architecture, or not the one that the entry names.
    """
    check_given(spec, path)
    before = UserWeights.find(home, spec.id)
    try:
        check_sha256(spec, path)
    except WeightsError as error:
        if before is None:
            raise
        told = difference(_load_file(_construct(spec, None), spec, path), read_state_dict(before.path))
        raise WeightsError(f"{error} (against the registered weights, {told})") from error
    return keep_weights(spec, home, path)


def keep_weights(spec: CheckpointSpec, home: Path, path: Path) -> UserWeights:
    """Keeps a copy of a file's tensors as a checkpoint's weights; that it is the file of the entry is known.

    Raises:
        WeightsError: The file is damaged or of another architecture.
    """
    module = _construct(spec, None)
    state = _load_file(module, spec, path)
    return UserWeights.register(home, spec.id, state, state_digest(module.state_dict()), path.resolve())


def _load_file(module: torch.nn.Module, spec: CheckpointSpec, path: Path) -> dict[str, torch.Tensor]:
    state = read_state_dict(path, spec.weights.keys)
    state = of_network(state, spec.weights.keys, module, path)
    load_into(module, state, _describe(spec), path)
    return state


def _describe(spec: CheckpointSpec) -> str:
    return f"{spec.architecture.library} {spec.architecture.name} ({spec.id})"


def _construct(spec: CheckpointSpec, input_size: int | None, tag: str | None = None, seed: int = 0) -> torch.nn.Module:
    size = None if input_size == spec.input.size else input_size
    try:
        module = construct(spec.architecture, size, tag, seed)
    except RegistryError as error:
        raise RegistryError(f"{spec.id}: {error}") from error
    return ImageTower(module) if spec.weights.keys == "open-clip-visual" else module


def _finish(
    spec: CheckpointSpec, module: torch.nn.Module, digest: str, input_size: int | None, widths: Layers
) -> Backbone:
    size = spec.input.at_size(input_size).size
    try:
        headless = Headless(spec, module)
        backbone = Backbone(
            spec=spec,
            input=spec.input.at_size(input_size),
            module=headless.read(tuple(widths)),
            weights_digest=digest,
            layers=widths,
            headless=headless,
        )
        with torch.inference_mode():
            shape = tuple(backbone.module(torch.zeros(1, 3, size, size)).shape)
    except RegistryError as error:
        raise RegistryError(f"{spec.id}: {error}") from error
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(
            f"{spec.id} cannot run at {size} px ({one_line(error, 120)}); "
            f"its own size is {spec.input.size} px: leave out --input-size"
        ) from error
    if shape != (1, backbone.features):
        told = "the entry says" if len(widths) == 1 else f"{', '.join(widths)} are"
        raise RegistryError(f"{spec.id}: {told} {backbone.features} features, the network gives {shape[1:]}")
    return backbone


def feature_width(spec: CheckpointSpec) -> int:
    """Returns the width D of the layer that stands for an entry, found without weights or arithmetic.

    Raises:
        RegistryError: The library does not know the architecture, or it has no such layer.
    """
    size = spec.input.size
    with torch.device("meta"), torch.inference_mode():
        module = _construct(spec, None)
        try:
            features = Headless(spec, module).read((spec.output.layer,))(torch.empty(1, 3, size, size))
        except RegistryError as error:
            raise RegistryError(f"{spec.id}: {error}") from error
    return int(features.shape[-1])
