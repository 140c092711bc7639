import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from probebench.backbones.preprocess import build_transform
from probebench.registry import Registry
from probebench.registry.schema import Input

PHOTOS = [Image.fromarray(array) for array in load_sample_images().images]
SIZES = [(640, 427), (31, 200), (97, 64), (8, 8)]


def images() -> list[Image.Image]:
    return PHOTOS + [PHOTOS[0].resize(size) for size in SIZES]


@pytest.mark.parametrize(
    "model", ["efficientnet_lite0_in1k", "efficientnet_lite1_in1k", "efficientnet_lite2_in1k", "resnet50_a1_in1k"]
)
@pytest.mark.parametrize("size", [None, 96])
def test_equals_timms_own_transform(shipped: Registry, model: str, size: int | None) -> None:
    from timm.data.transforms_factory import create_transform

    own = shipped.checkpoint(model).input.at_size(size)
    theirs = create_transform(
        (3, own.size, own.size), interpolation=own.interpolation, mean=own.mean, std=own.std, crop_pct=own.crop
    )
    ours = build_transform(own)
    for image in images():
        assert torch.equal(ours(image), theirs(image))


@pytest.mark.parametrize("model", ["openai_clip_rn50", "laion2b_clip_vit_b_32", "laion_clip_rn50"])
def test_equals_open_clips_own_transform(shipped: Registry, model: str) -> None:
    from open_clip import image_transform

    own = shipped.checkpoint(model).input
    theirs = image_transform(own.size, is_train=False, mean=own.mean, std=own.std, interpolation=own.interpolation)
    ours = build_transform(own)
    for image in images():
        assert torch.equal(ours(image), theirs(image))


def test_squash_keeps_the_whole_image() -> None:
    spec = Input(size=4, resize="squash", crop=1.0, interpolation="nearest", mean=(0, 0, 0), std=(1, 1, 1))
    array = np.zeros((8, 16, 3), np.uint8)
    array[:, 8:] = 255
    tensor = build_transform(spec)(Image.fromarray(array))
    assert tensor.shape == (3, 4, 4)
    assert tensor[0, 0].tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_mode_becomes_rgb_first(shipped: Registry, mode: str) -> None:
    transform = build_transform(shipped.checkpoint("efficientnet_lite0_in1k").input.at_size(32))
    image = PHOTOS[1].convert(mode)
    assert torch.equal(transform(image), transform(image.convert("RGB")))
