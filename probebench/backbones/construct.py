"""Builds an architecture with the library that knows it: the whole network, before any weights."""

from typing import Any

import torch

from probebench.errors import RegistryError, did_you_mean, one_line
from probebench.network import quiet_libraries
from probebench.registry.checkpoint import MODULE
from probebench.registry.load import shipped_registry
from probebench.registry.schema import Architecture


class ImageTower(torch.nn.Module):
    """The image half of a CLIP network, under the names that it has in the whole; its embedding is not normalised."""

    def __init__(self, clip: Any) -> None:
        """Takes whatever has the half as ``visual``."""
        super().__init__()
        self.visual = clip.visual

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps images (B, 3, S, S) to embeddings (B, D)."""
        features: torch.Tensor = self.visual(images)
        return features


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


def open_clip_config(name: str) -> Any:
    """Returns open_clip's configuration of a network, of those that ship with probebench too; None if there is none."""
    import open_clip

    if open_clip.get_model_config(name) is None:
        open_clip.add_model_config(shipped_registry() / "open_clip")
    return open_clip.get_model_config(name)


def _open_clip(architecture: Architecture, input_size: int | None, tag: str | None) -> torch.nn.Module:
    import open_clip

    name, kwargs = architecture.name, dict(architecture.kwargs)
    if open_clip_config(name) is None:
        near = did_you_mean(name, open_clip.list_models())
        raise RegistryError(f"open_clip {open_clip.__version__} has no architecture {name!r}{near}")
    if tag is not None and not open_clip.get_pretrained_cfg(name, tag):
        # It would take any other text for a file, and read it.
        known = open_clip.list_pretrained_tags_by_model(name)
        raise RegistryError(f"open_clip has no weights {tag!r} of {name}; it has: {', '.join(known) or 'none'}")
    if input_size is not None and tag is not None and "ViT" in name:
        kwargs["force_image_size"] = input_size
    # It moves the network to the CPU unless told otherwise, which one on the meta device cannot do.
    device = torch.get_default_device()
    # Nor does it fetch weights of a text tower that nobody asked for.
    return open_clip.create_model(  # type: ignore[no-any-return]
        name, pretrained=tag, pretrained_hf=False, device=device, **kwargs
    )


def _torchvision(architecture: Architecture, input_size: int | None, tag: str | None) -> torch.nn.Module:
    import torchvision

    try:
        known = torchvision.models.get_model_builder(architecture.name)
    except ValueError as error:
        near = did_you_mean(architecture.name, torchvision.models.list_models())
        raise RegistryError(f"torchvision has no architecture {architecture.name!r}{near}") from error
    return known(weights=None, **architecture.kwargs)  # type: ignore[no-any-return]
