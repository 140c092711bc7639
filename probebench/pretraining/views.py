"""Views of images: random crops, flips and colours, of a whole batch of stored images at once or of one image.

Of a batch, each image has its own crop and colours. All that jitter does to colours is linear in them but for an
offset, so one product with a matrix (3, 3) an image does it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image

from probebench.registry.recipe import Views
from probebench.registry.schema import Input

# Luma of ITU-R BT.601, as torchvision and Pillow have it.
_LUMA = (0.299, 0.587, 0.114)
# From RGB to luma and two differences of colour (YIQ), in which a turn about the first axis moves the hue.
_YIQ = (_LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


class BatchViews:
    """Draws a view of every image of a batch, from torch's generator."""

    def __init__(self, views: Views, spec: Input, pairs: bool) -> None:
        """Takes what happens, the input that a network expects, and whether each image gives two views."""
        self._views, self._spec, self._pairs = views, spec, pairs

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Maps images (B, 3, S, S), uint8, to views (B, 3, s, s) or (B, 2, 3, s, s), normalised."""
        images = images.float().mul_(1 / 255)
        if self._pairs:
            return torch.stack([self._view(images), self._view(images)], dim=1)
        return self._view(images)

    def _view(self, images: torch.Tensor) -> torch.Tensor:
        views, spec = self._views, self._spec
        cropped = crop(images, views, spec.size)
        if views.jitter or views.grayscale:
            cropped = recolour(cropped, views)
        mean, std = (torch.tensor(one, device=images.device).view(3, 1, 1) for one in (spec.mean, spec.std))
        return cropped.sub_(mean).div_(std)


def crop(images: torch.Tensor, views: Views, size: int) -> torch.Tensor:
    """Returns a random crop of each image (B, 3, S, S), resized to (B, 3, size, size), some of them flipped.

    The area and the logarithm of the sides' ratio are uniform, as in torchvision's RandomResizedCrop; a side that would
    be longer than the image's is cut to it. Bilinear: where S is twice the size or less, no pixel is passed over.
    """
    device = images.device
    area, ratio, across, down, flip = torch.rand(5, len(images), device=device)
    area = views.crop_scale[0] + area * (views.crop_scale[1] - views.crop_scale[0])
    low, high = (math.log(one) for one in views.crop_ratio)
    ratio = torch.exp(low + ratio * (high - low))
    width, height = torch.sqrt(area * ratio).clamp(max=1), torch.sqrt(area / ratio).clamp(max=1)
    mirror = torch.where(flip < views.flip, -1.0, 1.0)
    # In coordinates from -1 to 1: the centres of the view's pixels, scaled and moved along each side (B, size).
    centres = (2 * torch.arange(size, device=device) + 1) / size - 1
    columns = (width * mirror).view(-1, 1) * centres + ((2 * across - 1) * (1 - width)).view(-1, 1)
    rows = height.view(-1, 1) * centres + ((2 * down - 1) * (1 - height)).view(-1, 1)
    grid = torch.empty(len(images), size, size, 2, device=device)
    grid[..., 0], grid[..., 1] = columns[:, None, :], rows[:, :, None]
    return torch.nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def recolour(images: torch.Tensor, views: Views) -> torch.Tensor:
    """Moves the colours of each image (B, 3, s, s), in [0, 1], and takes them from some.

    Brightness, contrast, saturation and hue in this order, with torchvision's meanings, but that the hue turns in YIQ
    and values are cut to [0, 1] once, at the end.
    """
    jittered, brightness, contrast, saturation, hue, grey = torch.rand(6, len(images), 1, 1, device=images.device)
    moved = jittered < views.jitter

    def factor(uniform: torch.Tensor, strength: float) -> torch.Tensor:
        low = max(0.0, 1 - strength)
        return torch.where(moved, low + uniform * (1 + strength - low), 1.0)

    matrix, offset = colour_map(
        images,
        factor(brightness, views.brightness),
        factor(contrast, views.contrast),
        factor(saturation, views.saturation),
        torch.where(moved, 2 * math.pi * views.hue * (2 * hue - 1), 0.0),
        grey < views.grayscale,
    )
    return torch.baddbmm(offset, matrix, images.flatten(2)).clamp_(0, 1).view_as(images)


def colour_map(
    images: torch.Tensor,
    brightness: torch.Tensor,
    contrast: torch.Tensor,
    saturation: torch.Tensor,
    turn: torch.Tensor,
    grey: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the matrices (B, 3, 3) and offsets (B, 1, 1) that move the colours of images (B, 3, s, s).

    A pixel x becomes G H S (c b x + (1 - c) m), where b is the brightness, c the contrast, m the image's mean luma
    times b, S = s I + (1 - s) 1 l' mixes with the luma l'x, H turns the hue, and G = 1 l' takes the colours away. The
    three leave grey as it is, so the offset stays (1 - c) m.

    Args:
        images: The images.
        brightness: b (B, 1, 1).
        contrast: c (B, 1, 1).
        saturation: s (B, 1, 1).
        turn: Of the hue, in radians (B, 1, 1).
        grey: Whether colours are taken (B, 1, 1).
    """
    luma = torch.tensor(_LUMA, device=images.device)
    to_grey, unit = luma.expand(3, 3), torch.eye(3, device=images.device)
    yiq = torch.tensor(_YIQ, device=images.device)
    cos, sin = torch.cos(turn).view(-1), torch.sin(turn).view(-1)
    turned = torch.zeros(len(images), 3, 3, device=images.device)
    turned[:, 0, 0] = 1
    turned[:, 1, 1], turned[:, 1, 2], turned[:, 2, 1], turned[:, 2, 2] = cos, -sin, sin, cos
    mixed = saturation * unit + (1 - saturation) * to_grey
    coloured = torch.linalg.inv(yiq) @ turned @ yiq @ mixed
    matrix = torch.where(grey, to_grey @ coloured, coloured) * (contrast * brightness)
    mean = (images.mean(dim=(2, 3)) @ luma).view(-1, 1, 1) * brightness
    return matrix, (1 - contrast) * mean


def image_views(views: Views, spec: Input, pairs: bool) -> Callable[[Image.Image], torch.Tensor]:
    """Returns torchvision's transform of one RGB image to a view (3, s, s), or to two (2, 3, s, s), normalised."""
    from torchvision.transforms import v2

    mode = v2.InterpolationMode(spec.interpolation)
    steps: list[Any] = [
        v2.RandomResizedCrop(spec.size, views.crop_scale, views.crop_ratio, interpolation=mode),
        v2.RandomHorizontalFlip(views.flip),
    ]
    if views.jitter:
        jitter = v2.ColorJitter(views.brightness, views.contrast, views.saturation, views.hue)
        steps.append(v2.RandomApply([jitter], views.jitter))
    if views.grayscale:
        steps.append(v2.RandomGrayscale(views.grayscale))
    if views.blur:
        # An odd width, as a kernel must have.
        steps.append(v2.RandomApply([v2.GaussianBlur(spec.size // 10 // 2 * 2 + 1, (0.1, 2.0))], views.blur))
    steps += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(spec.mean, spec.std)]
    transform = v2.Compose(steps)
    return (lambda image: torch.stack([transform(image), transform(image)])) if pairs else transform
