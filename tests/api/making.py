"""Small modules and images for the front door."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.conftest import make_images


class Tiny(torch.nn.Module):
    """Maps (B, 3, 8, 8) to 12 features."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.convolution = torch.nn.Conv2d(3, 3, 4, stride=4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.convolution(images).relu().flatten(1)
        return features


def transform(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1) / 255


def items(classes: int = 3, each: int = 8, seed: int = 0) -> list[tuple[Any, int]]:
    """Noise around a colour of the class, as arrays."""
    generator = np.random.default_rng(seed)
    found = []
    for label in range(classes):
        for _ in range(each):
            colour = np.roll([200, 120, 40], label) + generator.normal(0, 60, (10, 12, 3))
            found.append((colour.clip(0, 255).astype(np.uint8), label))
    return found


def folder(place: Path) -> Path:
    """Class folders with a train and a test split."""
    for part, each, seed in (("train", 8, 0), ("test", 6, 1)):
        make_images(place / part, each=each, seed=seed)
    return place
