from pathlib import Path

import numpy as np
import pytest
import torch

from probebench.backbones.preprocess import build_transform
from probebench.finetuning.model import interpolate
from probebench.registry.schema import Augment
from probebench.training.data import (
    ImageItems,
    ImageSubset,
    epoch_batches,
    epoch_sizes,
    evaluation_batches,
    load,
    training_transform,
)
from probebench.training.seeds import Seeds, seeded
from tests.finetuning.making import SHIPPED, make_task

SEEDS = Seeds.of(SHIPPED.finetune_protocol("quick"), "draw", 0, 0)


@pytest.mark.parametrize(("images", "sizes"), [(10, [8, 2]), (9, [9]), (8, [8]), (17, [8, 9]), (3, [3])])
def test_no_batch_has_a_single_image(images: int, sizes: list[int]) -> None:
    batches = epoch_batches(images, epoch_sizes(images, 8), seed=3)
    assert [len(batch) for batch in batches] == sizes
    assert sorted(place for batch in batches for place in batch) == list(range(images))


def test_order_depends_on_the_seed_alone() -> None:
    sizes = epoch_sizes(50, 8)
    assert epoch_batches(50, sizes, 1) == epoch_batches(50, sizes, 1) != epoch_batches(50, sizes, 2)


def test_seeds_are_named_by_everything_that_they_are_for() -> None:
    others = [
        Seeds.of(SHIPPED.finetune_protocol("entezari2023"), "draw", 0, 0)("order", 1),
        Seeds.of(SHIPPED.finetune_protocol("quick"), "other", 0, 0)("order", 1),
        Seeds.of(SHIPPED.finetune_protocol("quick"), "draw", 1, 1)("order", 1),
        SEEDS("order", 2),
        SEEDS("augmentation", 1),
    ]
    assert len({SEEDS("order", 1), *others}) == 6 and max(others) < 10**15


def test_seeded_repeats_and_leaves_no_trace() -> None:
    before = torch.random.get_rng_state()
    with seeded(7):
        first = torch.rand(3), np.random.rand(3)
    with seeded(7):
        again = torch.rand(3), np.random.rand(3)
    assert torch.equal(first[0], again[0]) and (first[1] == again[1]).all()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_evaluation_images_are_those_of_the_features(home: Path, tmp_path: Path) -> None:
    task = make_task(tmp_path, home)
    split = task.dataset.splits["test"]
    items = ImageItems(ImageSubset.of(split, np.array([4, 2])), build_transform(task.key.preprocessing))
    (batch,) = load(items, evaluation_batches(2, 8), workers=0)
    expected = [build_transform(task.key.preprocessing)(split.images.load(position)) for position in (4, 2)]
    assert torch.equal(batch.inputs, torch.stack(expected)) and batch.labels.tolist() == split.labels[[4, 2]].tolist()


def test_augmentation_depends_on_epoch_and_image_alone(home: Path, tmp_path: Path) -> None:
    task = make_task(tmp_path, home)
    split, spec = task.dataset.splits["train"], task.key.preprocessing
    transforms = build_transform(spec), training_transform(spec, Augment(color_jitter=0.4, erasing=0.5))
    items = ImageItems(ImageSubset.of(split), *transforms, SEEDS)
    other = ImageItems(ImageSubset.of(split, np.array([7])), *transforms, SEEDS)
    assert torch.equal(items[1, 7][0], other[1, 0][0])
    assert not torch.equal(items[1, 7][0], items[2, 7][0])


def test_training_images_are_normalised_as_the_checkpoint_says(home: Path, tmp_path: Path) -> None:
    spec = make_task(tmp_path, home).key.preprocessing.model_copy(update={"mean": (0.1, 0.2, 0.3), "std": (2, 2, 2)})
    from PIL import Image

    still = training_transform(spec, Augment(crop_scale=(1, 1), crop_ratio=(1, 1), flip=0.0))
    tensor = still(Image.new("RGB", (32, 32), (255, 255, 255)))
    assert tensor.shape == (3, 32, 32)
    assert tensor[:, 0, 0].tolist() == pytest.approx([0.45, 0.4, 0.35])


def test_interpolation_has_its_ends_bit_by_bit() -> None:
    start = {"weight": torch.randn(50), "steps": torch.tensor(3)}
    end = {"weight": torch.randn(50), "steps": torch.tensor(9)}
    assert torch.equal(interpolate(start, end, 0.0)["weight"], start["weight"])
    assert torch.equal(interpolate(start, end, 1.0)["weight"], end["weight"])
    middle = interpolate(start, end, 0.25)
    assert middle["weight"].numpy() == pytest.approx((0.75 * start["weight"] + 0.25 * end["weight"]).numpy(), abs=1e-6)
    assert middle["steps"] == 9
