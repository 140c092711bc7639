"""Builds a network from its registry entry, with the library that it names, and loads its weights."""

from pathlib import Path
from typing import Any

import torch

from probebench.backbones.adapters import by_order, read_state_dict
from probebench.backbones.base import Backbone
from probebench.backbones.locate import check_given, check_sha256, locate, network
from probebench.backbones.pins import check_pin
from probebench.backbones.user_weights import UserWeights, require_weights
from probebench.backbones.weights import load_into, state_digest
from probebench.errors import RegistryError, UsageError, WeightsError, did_you_mean, one_line
from probebench.network import quiet_libraries
from probebench.registry.checkpoint import MODULE
from probebench.registry.schema import Architecture, CheckpointSpec


class _OpenClipProjected(torch.nn.Module):
    """The image half of a CLIP model: the projected embedding, not normalised."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.visual = clip.visual

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps images (B, 3, S, S) to embeddings (B, D)."""
        features: torch.Tensor = self.visual(images)
        return features


def build_backbone(spec: CheckpointSpec, home: Path, input_size: int | None = None) -> Backbone:
    """Builds a checkpoint's network with its weights, and proves by one blank image that it runs.

    A file that the user registered for the checkpoint comes before the entry's own weights.

    Args:
        spec: The registry entry.
        home: The probebench home folder, which holds registered and downloaded weights.
        input_size: Side of the input in pixels; None takes the entry's.

    Raises:
        UsageError: The network cannot run at that input size, or needs a user's file that was not given.
        WeightsError: The weights are missing, damaged, out of reach or of another architecture.
        RegistryError: The library does not know the architecture, or its feature width differs from the entry.
    """
    module, digest = _with_weights(spec, home, input_size)
    return _finish(spec, module, digest, input_size)


def build_language_image(spec: CheckpointSpec, home: Path, input_size: int | None = None) -> tuple[Any, str]:
    """Builds a language-image checkpoint whole, image and text tower, in evaluation mode.

    Returns:
        open_clip's network, and the weights digest that its backbone has too.

    Raises:
        UsageError: The checkpoint has no text tower, or needs a user's file that was not given.
        WeightsError: The weights are missing, damaged, out of reach or of another architecture.
        RegistryError: open_clip does not know the architecture.
    """
    if spec.architecture.library != "open_clip" or spec.weights.keys == "open-clip-visual":
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
    check_sha256(spec, path)
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
    if spec.weights.keys == "by-order":
        state = by_order(state, module, path)
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
    return image_tower(module) if spec.weights.keys == "open-clip-visual" else module


def image_tower(clip: Any) -> torch.nn.Module:
    """Returns the image half of a CLIP network, under the names that it has in the whole."""
    return _OpenClipProjected(clip)


def construct(
    architecture: Architecture, input_size: int | None = None, tag: str | None = None, seed: int = 0
) -> torch.nn.Module:
    """Builds the whole network, head included: published state dicts fit that, and so does the digest.

    The construction draws from its own fork of torch's generator, so that it moves no other random choice.

    Args:
        architecture: Library, name and arguments.
        input_size: Side of the input in pixels where it is not the network's own.
        tag: The library's name for weights, which it then fetches and loads.
        seed: Of the initial weights.

    Raises:
        RegistryError: The library does not know the architecture, or it cannot be built with these arguments.
    """
    if architecture.library == MODULE:
        raise RegistryError(f"{architecture.name} is a module of a Python session, which no library builds")
    build = {"timm": _timm, "open_clip": _open_clip, "torchvision": _torchvision}[architecture.library]
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        torch.manual_seed(seed)
        try:
            return build(architecture, input_size, tag)
        except (TypeError, ValueError, AssertionError, AttributeError) as error:
            raise RegistryError(
                f"{architecture.library} {architecture.name} cannot be built: {one_line(error, 160)}; check the entry"
            ) from error


def _timm(architecture: Architecture, input_size: int | None, tag: str | None) -> torch.nn.Module:
    import timm

    name, kwargs = architecture.name, dict(architecture.kwargs)
    full_name = name if tag is None else f"{name}.{tag}"
    if not timm.is_model(name):
        raise RegistryError(f"timm {timm.__version__} has no architecture {name!r}{did_you_mean(name, _timm_names())}")
    config = timm.get_pretrained_cfg(full_name, allow_unregistered=False) if tag or "." in name else None
    if input_size is not None and config is not None and config.fixed_input_size:
        kwargs["img_size"] = input_size
    return timm.create_model(full_name, pretrained=tag is not None, **kwargs)


def _timm_names() -> list[str]:
    import timm

    return timm.list_models()


def _open_clip(architecture: Architecture, input_size: int | None, tag: str | None) -> torch.nn.Module:
    import open_clip

    name, kwargs = architecture.name, dict(architecture.kwargs)
    if open_clip.get_model_config(name) is None:
        near = did_you_mean(name, open_clip.list_models())
        raise RegistryError(f"open_clip {open_clip.__version__} has no architecture {name!r}{near}")
    if input_size is not None and tag is not None and "ViT" in name:
        kwargs["force_image_size"] = input_size
    # It moves the network to the CPU unless told otherwise, which one on the meta device cannot do.
    device = torch.get_default_device()
    return open_clip.create_model(name, pretrained=tag, device=device, **kwargs)  # type: ignore[no-any-return]


def _torchvision(architecture: Architecture, input_size: int | None, tag: str | None) -> torch.nn.Module:
    import torchvision

    try:
        known = torchvision.models.get_model_builder(architecture.name)
    except ValueError as error:
        near = did_you_mean(architecture.name, torchvision.models.list_models())
        raise RegistryError(f"torchvision has no architecture {architecture.name!r}{near}") from error
    return known(weights=None, **architecture.kwargs)  # type: ignore[no-any-return]


def _finish(spec: CheckpointSpec, module: torch.nn.Module, digest: str, input_size: int | None) -> Backbone:
    feature_module = _without_head(spec, module).eval().requires_grad_(False)
    backbone = Backbone(spec, spec.input.at_size(input_size), feature_module, digest)
    size = backbone.input.size
    try:
        with torch.inference_mode():
            shape = tuple(feature_module(torch.zeros(1, 3, size, size)).shape)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(
            f"{spec.id} cannot run at {size} px ({one_line(error, 120)}); "
            f"its own size is {spec.input.size} px: leave out --input-size"
        ) from error
    if shape != (1, backbone.features):
        raise RegistryError(f"{spec.id}: the entry says {backbone.features} features, the network gives {shape[1:]}")
    return backbone


def feature_width(spec: CheckpointSpec) -> int:
    """Returns the width D of the features that an entry's network gives, found without weights or arithmetic.

    Raises:
        RegistryError: The library does not know the architecture, or it has no such layer.
    """
    size = spec.input.size
    with torch.device("meta"), torch.inference_mode():
        features = _without_head(spec, _construct(spec, None)).eval()(torch.empty(1, 3, size, size))
    return int(features.shape[-1])


def _without_head(spec: CheckpointSpec, module: Any) -> torch.nn.Module:
    """Takes the classifier off, so that the network ends in the entry's layer."""
    library, layer = spec.architecture.library, spec.output.layer
    if library == "open_clip":
        if layer == "pooled":
            if getattr(module.visual, "proj", None) is None:
                raise RegistryError(
                    f'{spec.id}: {spec.architecture.name} has no layer before a projection; use layer = "projected"'
                )
            module.visual.proj = None
        return _OpenClipProjected(module)
    if layer == "projected":
        raise RegistryError(f'{spec.id}: only language-image towers have a projection; use layer = "pooled"')
    if library == "timm":
        module.reset_classifier(0)
        return module  # type: ignore[no-any-return]
    return _without_last_linear(spec, module)


def _without_last_linear(spec: CheckpointSpec, module: torch.nn.Module) -> torch.nn.Module:
    """Torchvision's classifiers all end in one linear layer, under different names."""
    linear = [name for name, child in module.named_modules() if isinstance(child, torch.nn.Linear)]
    if not linear:
        raise RegistryError(f"{spec.id}: {spec.architecture.name} has no linear classifier to take off")
    parent, _, leaf = linear[-1].rpartition(".")
    setattr(module.get_submodule(parent), leaf, torch.nn.Identity())
    return module
