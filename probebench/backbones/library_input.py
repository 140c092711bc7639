"""What a library itself does to images before one of its networks, in the terms of an entry."""

import math
from typing import Any

import torch

from probebench.backbones.builders import construct
from probebench.errors import RegistryError
from probebench.registry.checkpoint import Architecture


def library_input(architecture: Architecture) -> dict[str, Any]:
    """Returns the evaluation preprocessing that a library gives an architecture, as the keys of an entry's input.

    Raises:
        RegistryError: The library has a preprocessing that an entry cannot say.
    """
    return {"timm": _timm_input, "open_clip": _open_clip_input, "torchvision": _torchvision_input}[
        architecture.library
    ](architecture)


def _timm_input(architecture: Architecture) -> dict[str, Any]:
    from timm.data.config import resolve_data_config

    with torch.device("meta"):
        config = resolve_data_config(model=construct(architecture))  # type: ignore[no-untyped-call]
    resize = {"center": "shortest", "squash": "squash"}.get(config["crop_mode"])
    if resize is None or config["input_size"][1] != config["input_size"][2]:
        raise RegistryError(
            f"timm evaluates {architecture.name} with crop mode {config['crop_mode']} at "
            f"{config['input_size'][1:]} px, which an entry cannot say"
        )
    return {
        "size": config["input_size"][-1],
        "resize": resize,
        "crop": config["crop_pct"],
        "interpolation": config["interpolation"],
        "mean": config["mean"],
        "std": config["std"],
    }


def _open_clip_input(architecture: Architecture) -> dict[str, Any]:
    with torch.device("meta"):
        config: Any = construct(architecture).visual
    chosen = config.preprocess_cfg
    size = chosen["size"] if isinstance(chosen["size"], int) else chosen["size"][0]
    return {
        "size": size,
        "resize": chosen["resize_mode"],
        "crop": 1.0,
        "interpolation": chosen["interpolation"],
        "mean": chosen["mean"],
        "std": chosen["std"],
    }


def _torchvision_input(architecture: Architecture) -> dict[str, Any]:
    from torchvision.models import get_model_weights

    chosen = next(iter(get_model_weights(architecture.name))).transforms()
    size, resized = chosen.crop_size[0], chosen.resize_size[0]
    # An entry states the resize as floor(size / crop).
    crop = size / resized if math.floor(size / (size / resized)) == resized else size / (resized + 0.5)
    return {
        "size": size,
        "resize": "shortest",
        "crop": crop,
        "interpolation": chosen.interpolation.value,
        "mean": chosen.mean,
        "std": chosen.std,
    }
