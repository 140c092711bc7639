"""Shows that two libraries build one function: maps the weights of one network onto the other, compares outputs."""

import gc
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from probebench.backbones.construct import open_clip_config
from tests.registry.tensor_names import computed, renamed

# One text layer of nothing: open_clip builds both halves, and only the image half is of interest.
TEXT = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
# Networks hold themselves in cycles, and a process of tens of gigabytes, though nobody touched them, cannot fork.
LARGE = 2e8
# Dropping a path does nothing in evaluation; its probability grows with depth, and at 0 the layer is another.
INERT = {"DropPath", "StochasticDepth", "Identity"}


class Unfilled(torch.overrides.TorchFunctionMode):
    """Leaves out the initial weights: they are replaced, and memory that nobody touches costs little."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        target: Any = args[0] if args else kwargs.get("tensor")
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and name != "requires_grad_":
            if isinstance(target, torch.nn.Parameter):
                return target
            if name == "normal_":
                # Some initialisers draw until all values lie in a range: zeros do, and spread out they take no memory.
                few = target.numel() < 1e6
                return target.zero_() if few else torch.zeros((), dtype=target.dtype).expand(target.shape)
        return func(*args, **kwargs)


def build(name: str, outputs: int, side: int | None) -> Any:
    """Builds a network without weights; the image half where there are two.

    Args:
        name: Library and architecture, as results write them.
        outputs: Width of timm's classifier: that of the other library's classifier or projection.
        side: Of the image, for a network whose weights depend on it; None leaves the library's own.
    """
    import open_clip
    import timm
    import torchvision

    library, _, architecture = name.partition("/")
    sized: dict[str, Any] = (
        {} if side is None else {"timm": {"img_size": side}, "torchvision": {"image_size": side}}.get(library, {})
    )
    with Unfilled(), doubles():
        if library == "timm":
            return timm.create_model(architecture, num_classes=outputs, **sized)
        if library == "torchvision":
            return torchvision.models.get_model(architecture, weights=None, **sized)
        return open_clip.create_model(architecture, force_image_size=side, text_cfg=TEXT).visual


@contextmanager
def doubles() -> Iterator[None]:
    """Makes float64 the default: in it, a difference of 1e-6 in an epsilon stands far above rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def width(name: str) -> int:
    """Returns how wide a classifier of timm's network matches the outputs of a network of another library."""
    library, _, architecture = name.partition("/")
    if library != "open_clip":
        return 1000
    config = open_clip_config(architecture)
    return 0 if config["vision_cfg"].get("timm_proj") == "none" else int(config["embed_dim"])


def shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def shorten(module: torch.nn.Module) -> None:
    """Keeps the first of equal blocks in every stack, so that deep networks are cheap to run.

    Blocks are equal where all their layers, their shapes and their settings are; how many there are shows in the names
    and shapes of the whole network.
    """
    for stack in list(module.modules()):
        if not isinstance(stack, torch.nn.Sequential | torch.nn.ModuleList) and type(stack).__name__ != "RegStage":
            continue
        seen = set()
        for name, block in list(stack.named_children()):
            # A single layer is no block: what comes after it may want its shape.
            if next(block.children(), None) is None:
                continue
            kind = settings(block)
            if kind in seen:
                del stack._modules[name]
            seen.add(kind)


def settings(block: torch.nn.Module) -> tuple[object, ...]:
    facts: list[object] = []
    for name, layer in block.named_modules():
        if type(layer).__name__ not in INERT:
            plain = [
                (key, str(one)) for key, one in vars(layer).items() if isinstance(one, int | float | str | tuple | list)
            ]
            facts += [name, type(layer), *sorted(plain)]
    return *facts, *((name, tuple(tensor.shape)) for name, tensor in block.named_parameters())


def fill(module: torch.nn.Module) -> None:
    """Gives weights that leave no layer idle: norms, running statistics and scales of layers are far from 1 and 0.

    The numbers come from one small table, over and over, from another place in each tensor: drawing them takes longer
    than running the network.
    """
    table = torch.rand(100_003, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    used = 0
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point() or computed(name):
            continue
        low, high = 0.5, 1.5
        if name.endswith(("bias", "running_mean")):
            low, high = -0.3, 0.3
        elif tensor.squeeze().ndim > 1:
            high = math.sqrt(6 / tensor[0].numel())
            low = -high
        numbers = table.roll(-used).mul(high - low).add(low)
        used += tensor.numel()
        for part in tensor.view(-1).split(len(numbers)):
            part.copy_(numbers[: len(part)])


def side_of(canonical: str) -> tuple[int | None, int]:
    """Returns the side to build a network for (None: its own) and the side to run it at: small where it can be."""
    patch = re.search(r"(?:vit|eva|eva02)_\w*?patch(\d+)_", canonical)
    if patch:
        return (3 * int(patch[1]),) * 2
    if re.search(r"resnet\w+_clip|vit_base_mci", canonical):
        return 64, 64
    # Windows that do not fit are another matter in each library.
    window = re.search(r"swin\w*_window(\d+)_", canonical)
    return None, 32 * int(window[1]) if window else 64 if "fastvit" in canonical else 32


def difference(canonical: str, other: str) -> float:
    """Returns how far the outputs of two networks lie apart, in units of their spread.

    Raises:
        AssertionError: The tensors of one do not fit the other, or the outputs hardly depend on the image.
    """
    side, at = side_of(canonical)
    ours, theirs = (build(name, width(other), None) for name in (canonical, other))
    assert shapes(renamed(other, theirs, ours)) == shapes(ours.state_dict())
    is_large = sum(tensor.numel() for tensor in ours.state_dict().values()) > LARGE
    if side is not None:
        del ours, theirs
        if is_large:
            gc.collect()
        ours, theirs = (build(name, width(other), side) for name in (canonical, other))
    for network in (ours, theirs):
        shorten(network)
        network.eval().double()
    fill(theirs)
    ours.load_state_dict(renamed(other, theirs, ours), assign=True)
    image, another = torch.randn(2, 1, 3, at, at, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        got, expected, changed = ours(image), theirs(image), theirs(another)
    assert got.shape == expected.shape
    spread = expected.std()
    assert (changed - expected).std() > 0.001 * spread > 0
    del ours, theirs
    if is_large:
        gc.collect()
    return float((got - expected).abs().max() / spread)
