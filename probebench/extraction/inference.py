"""A backbone's network as it runs: batch normalisation folded into convolutions, small sums kept out of bf16."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from torch import fx
from torch.nn.utils.fusion import fuse_conv_bn_weights

from probebench.backbones.base import Backbone

# Rounding averages out over the terms of a sum; convolutions over fewer of them stay in float32 under bf16. On
# EfficientNet-Lite0 (digits, 96 px) that takes the error of the features from 10.5% of their spread to 4.5%.
FEW_TERMS = 64
# Relative error that folding may make; it makes 1e-7 to 5e-7. More: a network is not what its trace says.
FOLDING_ERROR = 3e-6

_Norms = (torch.nn.BatchNorm2d, BatchNormAct2d)


class Network(torch.nn.Module):
    """Maps pixels (n, S, S, 3), uint8, to features (n, D).

    Attributes:
        folded: Whether batch normalisation was folded into convolutions.
    """

    def __init__(self, backbone: Backbone, fold: bool, bf16: bool) -> None:
        """Takes the backbone, whose weights are left as they are.

        Args:
            backbone: The network with its preprocessing.
            fold: Whether to fold batch normalisation where that is possible.
            bf16: Whether it will run under autocast to bf16.
        """
        super().__init__()
        self.normalise = backbone.normalise
        # What a module of the user's does is its own affair: nothing in it is traced or changed.
        module = _folded(backbone) if fold and backbone.transform is None else None
        self.folded = module is not None
        if bf16:
            module = _small_sums_in_float32(module or copy.deepcopy(backbone.module))
        self.module = module or backbone.module

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalises and runs the network."""
        features: torch.Tensor = self.module(self.normalise(pixels))
        return features


def _folded(backbone: Backbone) -> torch.nn.Module | None:
    """Returns a copy with batch normalisation folded into the convolutions before it; None where there is none.

    In evaluation mode normalisation is a scale and a shift per channel, so it can be done to the weights once instead
    of to every image: RN50 runs 1.1 to 1.2 times as fast on a CPU, and half precision rounds half as often.
    """
    if not any(isinstance(part, _Norms) for part in backbone.module.modules()):
        return None
    # On the CPU, wherever the backbone is by now: two networks of one backbone may be made, and the check is in fp32.
    original = copy.deepcopy(backbone.module).cpu()
    module = copy.deepcopy(original)
    # Tracing runs the network's own code, which may keep what it sees; so it has a copy of its own.
    pairs = list(_pairs(copy.deepcopy(module)))
    for conv, norm in pairs:
        _fold(module, conv, norm)
    return module if pairs and _agree(module, original, backbone.input.size) else None


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        """Says that convolutions and norms of any library are steps of the graph."""
        return isinstance(m, (torch.nn.Conv2d, *_Norms)) or super().is_leaf_module(m, module_qualified_name)


def _pairs(module: torch.nn.Module, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the names of convolutions, and of the norms that alone see what these give.

    A network that cannot be traced whole, since its path depends on its input, is traced part by part.
    """
    try:
        graph = _Tracer().trace(module)
    except Exception:
        # Any code may be in a forward method, and fail in any way on a stand-in for a tensor.
        for name, child in module.named_children():
            yield from _pairs(child, f"{prefix}{name}.")
        return
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        conv, norm = str(source.target), str(node.target)
        if calls.count(conv) == calls.count(norm) == 1 and _foldable(module, conv, norm):
            yield prefix + conv, prefix + norm


def _foldable(module: torch.nn.Module, conv: str, norm: str) -> bool:
    """Says whether both are of the plain kinds: others, as weight-standardised convolutions, do more."""
    after = module.get_submodule(norm)
    return (
        type(module.get_submodule(conv)) in (torch.nn.Conv2d, Conv2dSame)
        and type(after) in _Norms
        and getattr(after, "running_mean", None) is not None
    )


def _fold(module: torch.nn.Module, conv_name: str, norm_name: str) -> None:
    """Folds one norm into the convolution before it; what an activation the norm has stays in its place."""
    conv: Any = module.get_submodule(conv_name)
    norm: Any = module.get_submodule(norm_name)
    bias, scale, shift = (None if one is None else one.double() for one in (conv.bias, norm.weight, norm.bias))
    mean, var = norm.running_mean.double(), norm.running_var.double()
    folded = fuse_conv_bn_weights(conv.weight.double(), bias, mean, var, norm.eps, scale, shift)
    conv.weight, conv.bias = (torch.nn.Parameter(one.to(conv.weight.dtype), requires_grad=False) for one in folded)
    rest = torch.nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else torch.nn.Identity()
    _replace(module, norm_name, rest)


def _agree(module: torch.nn.Module, original: torch.nn.Module, side: int) -> bool:
    """Compares the features of noise, so that nothing rests on the trace alone."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, side, side, generator=generator)
    with torch.inference_mode():
        expected, given = original.eval()(images), module.eval()(images)
    return bool((given - expected).norm() <= FOLDING_ERROR * expected.norm())


class _Float32(torch.nn.Module):
    """Runs a layer outside of autocast."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps images in any arithmetic to float32."""
        with torch.autocast(images.device.type, enabled=False):
            given: torch.Tensor = self.layer(images.float())
        return given


def _small_sums_in_float32(module: torch.nn.Module) -> torch.nn.Module:
    """Wraps convolutions over few terms, such as depthwise ones and a first one over three channels, in place."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, torch.nn.Conv2d) and layer.weight[0].numel() < FEW_TERMS:
            _replace(module, name, _Float32(layer))
    return module


def _replace(module: torch.nn.Module, name: str, by: torch.nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, by)
