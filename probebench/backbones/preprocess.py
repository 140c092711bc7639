"""From a PIL image to the tensor that a checkpoint expects, by its own entry and nothing else.

In two steps, so that only bytes travel between processes and to the device: ``Pixels`` ends in uint8, ``Normalise``
takes whole batches of it to float32. Resizing stays with PIL: torchvision's resize of uint8 tensors is faster, but one
value in some hundred differs by a level or two (benchmarks/README.md), and features would no longer be the library's.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from probebench.registry.schema import Input


class Pixels:
    """RGB, resize, centre crop: from an image of any kind to uint8 pixels (size, size, 3).

    The steps and their rounding are those of timm's and open_clip's evaluation transforms.
    """

    def __init__(self, spec: Input) -> None:
        """Reads size, resize, crop and interpolation of an entry's input."""
        scaled = math.floor(spec.size / spec.crop)
        side: int | tuple[int, int] = scaled if spec.resize == "shortest" else (scaled, scaled)
        self._fit = transforms.Compose(
            [
                transforms.Resize(side, interpolation=InterpolationMode(spec.interpolation)),
                transforms.CenterCrop(spec.size),
            ]
        )

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Returns the pixels, uint8 (size, size, 3)."""
        return torch.from_numpy(np.array(self._fit(to_rgb(image))))


class Normalise(torch.nn.Module):
    """Scales pixels to [0, 1], takes off the mean and divides by the standard deviation, as torchvision does."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, spec: Input) -> None:
        """Reads mean and std of an entry's input."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(spec.mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Maps pixels (B, S, S, 3), uint8, to a batch (B, 3, S, S), float32, which lies channels-last in memory."""
        return pixels.permute(0, 3, 1, 2).float().div(255).sub(self.mean).div(self.std)


def build_transform(spec: Input) -> Callable[[Image.Image], torch.Tensor]:
    """Returns the whole transform of an entry for one image; the tensor equals timm's and open_clip's own.

    Its shape is (3, size, size), dtype float32.
    """
    pixels, normalise = Pixels(spec), Normalise(spec)

    def transform(image: Image.Image) -> torch.Tensor:
        batch: torch.Tensor = normalise(pixels(image)[None])
        return batch[0].contiguous()

    return transform


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image of any kind as RGB."""
    if image.mode == "RGB":
        return image
    with warnings.catch_warnings():
        # PIL advises on palettes with transparency; there is nothing that a user could do about it.
        warnings.simplefilter("ignore")
        return image.convert("RGB")
