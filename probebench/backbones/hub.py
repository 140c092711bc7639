"""A repository of the Hugging Face Hub as a network: what its config names is checked as an entry is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probebench.backbones.library_input import library_input
from probebench.errors import WeightsError, one_line
from probebench.network import hub_offline, quiet_libraries, reachable
from probebench.outside import read_json
from probebench.registry.checkpoint import Architecture
from probebench.registry.library_names import LibraryName
from probebench.registry.load import checked

_CONFIG, _FILES = "config.json", ("model.safetensors", "pytorch_model.bin")
_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class HubNetwork:
    """What a repository holds: a network of timm's, its preprocessing and the uri of its weights."""

    architecture: Architecture
    input: dict[str, Any]
    uri: str


def open_clip_name(repository: str) -> LibraryName | None:
    """Returns open_clip's own name of a repository that its table of weights points to."""
    import open_clip

    for architecture, tag in open_clip.list_pretrained():
        known = open_clip.get_pretrained_cfg(architecture, tag) or {}
        if known.get("hf_hub", "").strip("/").lower() == repository.lower():
            return LibraryName("open_clip", architecture, tag)
    return None


def hub_network(repository: str, revision: str) -> HubNetwork:
    """Reads the config of a repository in timm's format; its arguments must be such as an entry may give.

    Raises:
        WeightsError: It cannot be reached, or is not in timm's format.
        UsageError: Its config gives an argument that an entry may not give.
        RegistryError: timm does not know the architecture.
    """
    found = _download(repository, revision, _CONFIG)
    try:
        config = json.loads(read_json(found))
        architecture = config["architecture"]
        stated = config.get("pretrained_cfg", config)
        kwargs = dict(config.get("model_args") or {})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"hf-hub:{repository}: its {_CONFIG} names no architecture of timm's ({one_line(error, 80)}); fetch its "
            "weights and say probebench models add FILE"
        ) from error
    classes = config.get("num_classes", stated.get("num_classes"))
    if classes is not None:
        kwargs.setdefault("num_classes", classes)
    network = checked(Architecture, library="timm", name=architecture, kwargs=kwargs)
    size = stated.get("input_size")
    said = {name: stated.get(key) for name, key in (("mean", "mean"), ("std", "std"), ("crop", "crop_pct"))}
    said |= {
        "interpolation": stated.get("interpolation"),
        "size": size[-1] if isinstance(size, list) and size else None,
    }
    own = {name: value for name, value in said.items() if value is not None}
    at = f"@{revision}" if revision else ""
    return HubNetwork(
        network, {**library_input(network), **own}, f"hf://{repository}{at}/{_file(repository, revision)}"
    )


def _file(repository: str, revision: str) -> str:
    for name in _FILES[:-1]:
        try:
            _download(repository, revision, name)
        except WeightsError:
            continue
        return name
    return _FILES[-1]


def _download(repository: str, revision: str, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    offline = not reachable(_HUB)
    try:
        with hub_offline(offline), quiet_libraries():
            return Path(hf_hub_download(repository, name, revision=revision or None))
    except (OSError, RuntimeError, ValueError) as error:
        why = "the network cannot be reached" if offline else one_line(error, 120)
        raise WeightsError(f"hf-hub:{repository}: {name} is not on this machine and {why}; check the name") from error
