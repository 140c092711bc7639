from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as reference

from probebench.pretraining.views import BatchViews, colour_map, crop, image_views, recolour
from probebench.registry.recipe import Views
from probebench.registry.schema import Input

STILL = Views(crop_scale=(1, 1), crop_ratio=(1, 1), flip=0)
SPEC = Input(size=16, resize="shortest", crop=1, interpolation="bilinear", mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))


def images(count: int = 5, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    # Away from the ends, where values are cut.
    return 0.3 + 0.4 * torch.rand(count, 3, side, side, generator=generator)


def coloured(inputs: torch.Tensor, **changes: float) -> torch.Tensor:
    one = torch.ones(len(inputs), 1, 1)
    values = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "turn": 0.0, **changes}
    matrix, offset = colour_map(inputs, **{key: value * one for key, value in values.items()}, grey=one < 0)
    return torch.baddbmm(offset, matrix, inputs.flatten(2)).view_as(inputs)


@pytest.mark.parametrize("factor", [0.7, 1.2])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_jitter_is_torchvisions(name: str, factor: float) -> None:
    theirs = getattr(reference, f"adjust_{name}")(images(), factor)
    # torchvision rounds the weights of luma to four digits.
    assert coloured(images(), **{name: factor}).numpy() == pytest.approx(theirs.numpy(), abs=2e-4)


def test_a_turn_of_the_hue_leaves_grey_and_luma_and_a_whole_turn_everything() -> None:
    luma = torch.tensor([0.299, 0.587, 0.114])
    grey = torch.full((2, 3, 4, 4), 0.4)
    assert coloured(grey, turn=1.0).numpy() == pytest.approx(grey.numpy(), abs=1e-5)
    turned = coloured(images(), turn=0.5)
    before, after = (torch.einsum("bchw,c->bhw", one, luma) for one in (images(), turned))
    assert after.numpy() == pytest.approx(before.numpy(), abs=1e-5) and not torch.allclose(turned, images(), atol=0.01)
    assert coloured(images(), turn=2 * torch.pi).numpy() == pytest.approx(images().numpy(), abs=1e-4)


def test_order_and_offset_of_the_jitters_together() -> None:
    ours = coloured(images(), brightness=0.9, contrast=1.1, saturation=0.8)
    theirs = reference.adjust_saturation(
        reference.adjust_contrast(reference.adjust_brightness(images(), 0.9), 1.1), 0.8
    )
    assert ours.numpy() == pytest.approx(theirs.numpy(), abs=3e-4)


def test_chances_are_each_images_own() -> None:
    torch.manual_seed(0)
    many = images(400, 4)
    jittered = recolour(many, Views(jitter=0.8, brightness=0.4))
    factors = (jittered / many).mean(dim=(1, 2, 3))
    moved = (factors - 1).abs() > 1e-5
    assert 0.7 < moved.float().mean() < 0.9 and factors[moved].min() < 0.7 and factors[moved].max() > 1.3
    grey = recolour(many, Views(grayscale=0.2))
    lost = (grey[:, 0] - grey[:, 1]).abs().amax(dim=(1, 2)) < 1e-6
    assert 0.1 < lost.float().mean() < 0.3 and torch.allclose(grey[~lost], many[~lost], atol=1e-5)


def test_a_crop_of_all_at_half_the_size_is_the_mean_of_four_pixels() -> None:
    halved = crop(images(), STILL, 16)
    assert halved.numpy() == pytest.approx(torch.nn.functional.avg_pool2d(images(), 2).numpy(), abs=1e-5)
    assert crop(images(), STILL, 32).numpy() == pytest.approx(images().numpy(), abs=1e-5)
    flipped = crop(images(), STILL.model_copy(update={"flip": 1.0}), 32)
    assert flipped.numpy() == pytest.approx(images().flip(3).numpy(), abs=1e-5)


def test_crops_lie_in_the_image_and_cover_it() -> None:
    """Where each pixel holds its own place, a crop's pixels say where they come from."""
    torch.manual_seed(0)
    side = 64
    places = (torch.arange(side) + 0.5) / side
    ramp = torch.stack([places.expand(side, side), places.view(-1, 1).expand(side, side), torch.zeros(side, side)])
    found = crop(ramp.expand(2000, -1, -1, -1), Views(crop_scale=(0.2, 0.6), flip=0.0), 16)
    across, down = found[:, 0, 0, :], found[:, 1, :, 0]
    # A view's outer pixels lie half a pixel inside of the crop's edge.
    width, height = ((one[:, -1] - one[:, 0]) * 16 / 15 for one in (across, down))
    area, ratio = width * height, width / height
    assert area.min() > 0.19 and area.max() < 0.61 and area.mean() == pytest.approx(0.4, abs=0.01)
    assert ratio.log().mean() == pytest.approx(0, abs=0.02) and 1.25 < ratio.max() < 1.4
    assert across.min() >= 0 and across.max() <= 1 and across.min() < 0.05 and across.max() > 0.95


@pytest.mark.parametrize("pairs", [False, True])
def test_a_batch_is_normalised_and_a_pair_is_two_views(pairs: bool) -> None:
    batch = torch.full((4, 3, 32, 32), 51, dtype=torch.uint8)
    views = BatchViews(Views(), SPEC, pairs)(batch)
    assert views.shape == ((4, 2, 3, 16, 16) if pairs else (4, 3, 16, 16))
    channel = views.flatten(0, 1) if pairs else views
    assert channel[0, :, 0, 0].tolist() == pytest.approx([0.2, 0.0, -0.2], abs=1e-5)
    if pairs:
        noise = (torch.rand(4, 3, 32, 32) * 255).byte()
        one = BatchViews(Views(), SPEC, True)(noise)
        assert not torch.equal(one[:, 0], one[:, 1])


@pytest.mark.parametrize("pairs", [False, True])
def test_a_view_of_one_image(pairs: bool) -> None:
    picture = Image.new("RGB", (40, 24), (51, 51, 51))
    views: dict[str, Any] = {"jitter": 1.0, "hue": 0.1, "grayscale": 0.5, "blur": 1.0}
    view = image_views(Views(**views), SPEC, pairs)(picture)
    assert view.shape == ((2, 3, 16, 16) if pairs else (3, 16, 16))
    assert view.flatten(0, -3)[:3].amax(dim=(1, 2)).tolist() == pytest.approx([0.2, 0.0, -0.2], abs=1e-3)
