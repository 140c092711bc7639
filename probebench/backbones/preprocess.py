"""From a PIL image to the tensor that a checkpoint expects, by its own entry and nothing else."""

import math
import warnings
from collections.abc import Callable

import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from probebench.registry.schema import Input


def build_transform(spec: Input) -> Callable[[Image.Image], torch.Tensor]:
    """Returns the transform of an entry: RGB, resize, centre crop, scale to [0, 1], normalise.

    The steps and their rounding are those of timm's and open_clip's evaluation transforms, so the tensor equals
    theirs. Its shape is (3, size, size), dtype float32.
    """
    scaled = math.floor(spec.size / spec.crop)
    mode = InterpolationMode(spec.interpolation)
    side: int | tuple[int, int] = scaled if spec.resize == "shortest" else (scaled, scaled)
    return transforms.Compose(  # type: ignore[no-any-return]
        [
            _to_rgb,
            transforms.Resize(side, interpolation=mode),
            transforms.CenterCrop(spec.size),
            transforms.ToTensor(),
            transforms.Normalize(mean=spec.mean, std=spec.std),
        ]
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    with warnings.catch_warnings():
        # PIL advises on palettes with transparency; there is nothing that a user could do about it.
        warnings.simplefilter("ignore")
        return image.convert("RGB")
