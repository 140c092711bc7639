import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probebench.backbones.preprocess import Pixels
from probebench.datasets.base import ArrayImages
from probebench.errors import DatasetError, FeatureError
from probebench.extraction.decode import decoded
from probebench.registry.schema import Input

SPEC = Input(size=8, resize="shortest", crop=1.0, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))
BLANK = torch.zeros(8, 8, 3, dtype=torch.uint8)
PIXELS = np.random.default_rng(0).integers(0, 255, (23, 12, 10, 3), np.uint8)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_whatever_the_number_of_processes(workers: int) -> None:
    batches = list(decoded(ArrayImages(PIXELS), Pixels(SPEC), BLANK, 2, 23, batch_size=4, workers=workers, pin=False))
    assert [len(batch.pixels) for batch in batches] == [4, 4, 4, 4, 4, 1]
    expected = torch.stack([Pixels(SPEC)(Image.fromarray(array)) for array in PIXELS[2:]])
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), expected)
    assert expected.dtype == torch.uint8 and not any(batch.failed for batch in batches)


class Some(ArrayImages):
    def load(self, position: int) -> Image.Image:
        if position in (3, 9):
            raise DatasetError(f"image {position} cannot be read")
        return super().load(position)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_handed_over_as_its_line(workers: int) -> None:
    batches = list(decoded(Some(PIXELS), Pixels(SPEC), BLANK, 0, 12, batch_size=4, workers=workers, pin=False))
    assert [batch.failed for batch in batches] == [
        {3: "image 3 cannot be read"},
        {},
        {1: "image 9 cannot be read"},
    ]
    assert not batches[0].pixels[3].any()


class Deadly(ArrayImages):
    def load(self, position: int) -> Image.Image:
        os.kill(os.getpid(), 9)
        raise AssertionError


def test_a_killed_decoding_process_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="with fewer --workers"):
        list(decoded(Deadly(PIXELS), Pixels(SPEC), BLANK, 0, 12, batch_size=4, workers=1, pin=False))


class Deep(ArrayImages):
    """Of ten images two have 16 bits, one 32 and one is of floats."""

    def load(self, position: int) -> Image.Image:
        made = {1: np.uint16, 5: np.uint16, 6: np.int32, 9: np.float32}
        return Image.fromarray(PIXELS[position, :, :, 0].astype(made.get(position, np.uint8)))


@pytest.mark.parametrize("workers", [0, 2])
def test_images_of_more_than_8_bits_are_counted(workers: int) -> None:
    batches = list(decoded(Deep(PIXELS), Pixels(SPEC), BLANK, 0, 10, batch_size=4, workers=workers, pin=False))
    assert [batch.deep for batch in batches] == [1, 2, 1]
