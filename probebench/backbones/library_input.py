"""What a library itself does to images before one of its networks, in the terms of an entry."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from probebench.backbones.construct import construct
from probebench.errors import RegistryError, UsageError
from probebench.registry.checkpoint import Architecture, Keys


def library_input(architecture: Architecture, tag: str | None = None) -> dict[str, Any]:
    """Returns the evaluation preprocessing that a library gives an architecture, as the keys of an entry's input.

    Args:
        architecture: Library and name.
        tag: The library's name for weights, which may have a preprocessing of their own; None: its default ones.

    Raises:
        RegistryError: The library has a preprocessing that an entry cannot say, or does not know the tag.
    """
    return {"timm": _timm_input, "open_clip": _open_clip_input, "torchvision": _torchvision_input}[
        architecture.library
    ](architecture, tag)


# What trainers evaluate with, by their format: their own evaluation code, for ImageNet. The side is the architecture's.
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "resize": "shortest", "crop": 0.875}
_TRAINERS: dict[str, dict[str, Any]] = {
    # facebookresearch/dino eval_linear.py and dinov2/data/transforms.py; mae/util/datasets.py.
    **{keys: {**_IMAGENET, "interpolation": "bicubic"} for keys in ("dino", "mae")},
    # main_lincls.py of moco and moco-v3; VISSL's and solo-learn's linear evaluation; Lightly's benchmarks.
    **{keys: {**_IMAGENET, "interpolation": "bilinear"} for keys in ("moco", "vissl", "solo-learn", "lightly")},
    # facebookresearch/SLIP, main.py: the shorter side at the crop's own size.
    "slip": {**_IMAGENET, "crop": 1.0, "interpolation": "bilinear"},
}


def format_input(architecture: Architecture, keys: Keys, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Returns the preprocessing of a weights file, as the keys of an entry's input, and whose it is.

    Args:
        architecture: Library, name and arguments.
        keys: The file's format.
        given: Keys that its owner says.

    Raises:
        UsageError: The format does not tell how images were normalised, and the library has several ways for this
            architecture.
        RegistryError: As in ``library_input``.
    """
    library, trainer = library_input(architecture), _TRAINERS.get(keys)
    if "img_size" in architecture.kwargs:
        library["size"] = architecture.kwargs["img_size"]
    whose = f"{keys}'s own" if trainer else f"{architecture.library}'s own for {architecture.name}"
    if trainer is None and not {"mean", "std"} <= set(given) and len(ways := _normalisations(architecture)) > 1:
        told = " or ".join(f"--mean {_numbers(mean)} --std {_numbers(std)}" for mean, std in ways)
        raise UsageError(
            f"{architecture.library} normalises images for {architecture.name} in {len(ways)} ways, and the file "
            f"does not tell which its training took; say {told}"
        )
    if given:
        whose += f", but for {', '.join(given)} as given"
    return {**library, **(trainer or {}), **given}, whose


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _normalisations(architecture: Architecture) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Returns means and standard deviations of all weights that timm has of an architecture, the most common first."""
    if architecture.library != "timm":
        return []
    import timm

    known = (timm.get_pretrained_cfg(name) for name in timm.list_pretrained(f"{architecture.name}.*"))
    return [way for way, _ in Counter((tuple(one.mean), tuple(one.std)) for one in known if one).most_common()]


def default_tag(library: str, architecture: str) -> str:
    """Returns the tag of the weights that a library means by an architecture alone.

    Raises:
        RegistryError: It has no such architecture, or none that stands for it; the line names those that there are.
    """
    known: list[str] = []
    if library == "timm":
        import timm

        config = timm.get_pretrained_cfg(architecture) if timm.is_model(architecture) else None
        if config is not None and config.has_weights:
            return str(config.tag)
        known = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    elif library == "torchvision":
        from torchvision.models import get_model_weights, list_models

        if architecture in list_models():
            return str(get_model_weights(architecture).DEFAULT.name)
    else:
        import open_clip

        known = open_clip.list_pretrained_tags_by_model(architecture)
    if not known:
        raise RegistryError(f"{library} has no architecture {architecture!r} with weights")
    raise RegistryError(f"{library} {architecture} has several weights; name one of its tags: {', '.join(known)}")


def _timm_input(architecture: Architecture, tag: str | None) -> dict[str, Any]:
    import timm
    from timm.data.config import resolve_data_config

    with torch.device("meta"):
        network = construct(architecture)
    own = None
    if tag:
        if f"{architecture.name}.{tag}" not in (known := timm.list_pretrained(f"{architecture.name}.*")):
            raise _no_tag(architecture, tag, [name.partition(".")[2] for name in known])
        chosen = timm.get_pretrained_cfg(f"{architecture.name}.{tag}")
        own = chosen.to_dict() if chosen else None  # type: ignore[no-untyped-call]
    config = resolve_data_config(pretrained_cfg=own, model=network)  # type: ignore[no-untyped-call]
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


def _no_tag(architecture: Architecture, tag: str, known: Sequence[str]) -> RegistryError:
    there = ", ".join(known) or "none"
    return RegistryError(f"{architecture.library} has no weights {tag!r} of {architecture.name}; it has: {there}")


def _open_clip_input(architecture: Architecture, tag: str | None) -> dict[str, Any]:
    import open_clip

    with torch.device("meta"):
        config: Any = construct(architecture).visual
    chosen = config.preprocess_cfg
    if tag:
        known = open_clip.get_pretrained_cfg(architecture.name, tag)
        if not known:
            raise _no_tag(architecture, tag, open_clip.list_pretrained_tags_by_model(architecture.name))
        own = {"mean": "mean", "std": "std", "interpolation": "interpolation", "resize_mode": "resize_mode"}
        chosen = {**chosen, **{name: known[key] for name, key in own.items() if key in known}}
    size = chosen["size"] if isinstance(chosen["size"], int) else chosen["size"][0]
    return {
        "size": size,
        "resize": chosen["resize_mode"],
        "crop": 1.0,
        "interpolation": chosen["interpolation"],
        "mean": chosen["mean"],
        "std": chosen["std"],
    }


def _torchvision_input(architecture: Architecture, tag: str | None) -> dict[str, Any]:
    from torchvision.models import get_model_weights

    weights = get_model_weights(architecture.name)
    if tag and tag not in weights.__members__:
        raise _no_tag(architecture, tag, list(weights.__members__))
    chosen = (weights[tag] if tag else next(iter(weights))).transforms()
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
