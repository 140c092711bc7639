"""Which layers a network offers, and the modules that give them; towers.py says what each name means."""

from collections.abc import Sequence
from typing import Any

import torch

from probebench.backbones.construct import ImageTower, construct
from probebench.backbones.towers import LAST, ClipResNet, ClipTransformer, Joined, TimmTower, Tower
from probebench.errors import RegistryError
from probebench.registry.checkpoint import MODULE
from probebench.registry.layers import known_layers, layers_from
from probebench.registry.schema import CheckpointSpec

ONE_LAYER = (
    "torchvision's networks give pooled features only; timm and open_clip give several layers, and timm has most of "
    "the same networks (registry/architectures.toml)"
)


class Headless:
    """A network without its classifier, to be read at one layer or several."""

    def __init__(self, spec: CheckpointSpec, network: Any) -> None:
        """Takes the whole network of an entry, whose classifier is taken off.

        Raises:
            RegistryError: It has no classifier that could be.
        """
        self._library = spec.architecture.library
        if self._library == "open_clip":
            network = ImageTower(network)
        elif self._library == "timm":
            network.reset_classifier(0)
        else:
            _take_off_last_linear(spec, network)
        self._network = network.eval().requires_grad_(False)

    def read(self, names: Sequence[str]) -> torch.nn.Module:
        """Returns the module that maps images (B, 3, S, S) to layers side by side; all modules share their tensors.

        Raises:
            RegistryError: The network has no such layer.
        """
        own = "projected" if self._library == "open_clip" else "pooled"
        if tuple(names) == (own,):
            whole: torch.nn.Module = self._network
            return whole
        return Joined(self.tower(), names).eval()

    def tower(self) -> Tower:
        """Returns what gives all layers in one pass.

        Raises:
            RegistryError: torchvision's networks have one layer.
        """
        network: Any = self._network
        if self._library == "timm":
            return TimmTower(network)
        if self._library == "open_clip":
            visual = network.visual
            if hasattr(visual, "trunk"):
                return TimmTower(visual.trunk, visual.head)
            return ClipTransformer(visual) if hasattr(visual, "transformer") else ClipResNet(visual)
        raise RegistryError(ONE_LAYER)


def _take_off_last_linear(spec: CheckpointSpec, module: torch.nn.Module) -> None:
    """Torchvision's classifiers all end in one linear layer, under different names."""
    linear = [name for name, child in module.named_modules() if isinstance(child, torch.nn.Linear)]
    if not linear:
        raise RegistryError(f"{spec.architecture.name} has no linear classifier to take off")
    parent, _, leaf = linear[-1].rpartition(".")
    setattr(module.get_submodule(parent), leaf, torch.nn.Identity())


def layers_of(spec: CheckpointSpec) -> dict[str, int]:
    """Returns the layers that an entry offers, with their widths, in the order of listings.

    Raises:
        RegistryError: The library does not know the architecture.
    """
    if spec.architecture.library in ("torchvision", MODULE):
        return {spec.output.layer: spec.output.features}
    return known_layers(spec.architecture) or layers_from(*measured(spec))


def measured(spec: CheckpointSpec) -> tuple[dict[str, int], list[int], bool]:
    """Finds what the network of an entry offers, without weights or arithmetic; as ``offered_by``.

    Raises:
        RegistryError: The library does not know the architecture.
    """
    with torch.device("meta"):
        tower = Headless(spec, construct(spec.architecture)).tower().eval()
        return offered_by(tower, torch.empty(1, 3, spec.input.size, spec.input.size))


def offered_by(tower: Tower, images: torch.Tensor) -> tuple[dict[str, int], list[int], bool]:
    """Runs a network once, on images (B, 3, S, S), to see what it offers.

    Returns:
        Width of each layer that is no block, width of each block, and whether blocks have a class token.
    """
    with torch.inference_mode():
        try:
            outputs = tower.outputs(images, range(tower.depth))
        except (AssertionError, TypeError, ValueError, NotImplementedError):
            # Its library gives no blocks of it, or has another way to ask for them.
            outputs = tower.outputs(images, ())
    ends = {"pooled": outputs.pooled, "projected": outputs.projected}
    named = {name: int(rows.shape[-1]) for name, rows in ends.items() if rows is not None}
    last, blocks = outputs.last, [int(one.pooled(None).shape[-1]) for one in outputs.blocks.values()]
    has_class_token = last is not None and last.cls is not None
    tokens = ["mean"] if last is not None else []
    if has_class_token:
        tokens += ["cls", "cls+mean", *(["last4"] if len(blocks) >= LAST else [])]
    return named | {name: int(outputs.layer(name).shape[-1]) for name in tokens}, blocks, has_class_token
