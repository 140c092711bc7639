"""What the rest of probebench sees of a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image

from probebench.backbones.layers import Headless, layers_of
from probebench.backbones.preprocess import Normalise, Pixels, to_rgb
from probebench.errors import FeatureError, one_line
from probebench.registry.layers import Layers
from probebench.registry.schema import CheckpointSpec, Input


@dataclass(frozen=True)
class OwnTransform:
    """A module's own transform as decoding calls it: given RGB, and its result as float32, contiguous.

    Attributes:
        transform: From an RGB image to a tensor (channels, S, S).
        channels: What the module sees of an image.
    """

    transform: Callable[[Image.Image], torch.Tensor]
    channels: int = 3

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Returns the tensor (channels, S, S).

        Raises:
            FeatureError: The transform failed, or gave something else.
        """
        try:
            given = self.transform(to_rgb(image))
        except Exception as error:
            # Any code may be in it.
            raise FeatureError(f"the transform failed on an image: {one_line(error, 160)}") from error
        if not isinstance(given, torch.Tensor) or given.ndim != 3 or given.shape[1] != given.shape[2]:
            what = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
            raise FeatureError(f"the transform gave {what}; it must give one tensor (channels, side, side) an image")
        return given.detach().to("cpu", torch.float32).contiguous()


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network in evaluation mode that maps images (B, 3, S, S) to features (B, D), of one layer or of several.

    Attributes:
        spec: The registry entry that it was built from.
        input: The preprocessing in force, at the input size that was asked for.
        module: Called with a normalised float batch; gives the features of its layers side by side.
        weights_digest: sha256 over every tensor of the whole checkpoint (head and text tower included).
        layers: Width of each of its layers, in their order.
        headless: The network, for its other layers; a module of a Python session has none.
        transform: A module's own; None is that of ``input``.
    """

    spec: CheckpointSpec
    input: Input
    module: torch.nn.Module
    weights_digest: str
    layers: Layers
    headless: Headless | None = None
    transform: OwnTransform | None = None

    @property
    def features(self) -> int:
        """The feature width D, of all its layers together."""
        return sum(self.layers.values())

    def at(self, names: Sequence[str]) -> "Backbone":
        """Returns the same network, tensors shared, that gives these layers of all that it offers."""
        if tuple(names) == tuple(self.layers):
            return self
        assert self.headless is not None
        offered = {**layers_of(self.spec), **self.layers}
        return replace(self, module=self.headless.read(names), layers={name: offered[name] for name in names})

    @property
    def prepare(self) -> Callable[[Image.Image], torch.Tensor]:
        """From an image to what travels to the device: uint8 pixels (S, S, 3), or what the own transform gives."""
        return self.transform or Pixels(self.input)

    @property
    def normalise(self) -> torch.nn.Module:
        """From a batch of these to what the module is called with, on the device."""
        return Normalise(self.input) if self.transform is None else torch.nn.Identity()

    def blank(self) -> torch.Tensor:
        """Returns what stands for an image that cannot be read."""
        side = self.input.size
        if self.transform is None:
            return torch.zeros(side, side, 3, dtype=torch.uint8)
        return torch.zeros(self.transform.channels, side, side)

    def noise(self, count: int) -> torch.Tensor:
        """Returns made-up images as ``prepare`` gives them, for timing."""
        blank = self.blank()
        return torch.randint(0, 256, (count, *blank.shape), dtype=torch.uint8).to(blank.dtype)
