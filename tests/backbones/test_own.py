"""A module of the user's: its digest moves with all that it does, and with nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from probebench.backbones.base import Backbone
from probebench.backbones.own import own_backbone
from probebench.errors import FeatureError
from probebench.registry.schema import Pretraining, Source
from tests.api.making import Tiny, transform

UNKNOWN = Pretraining(
    method="unknown",
    objective="unknown",
    sources=(Source(name="unknown", samples="unknown"),),
    samples_seen="unknown",
    epochs="unknown",
    labels="unknown",
    curation="unknown",
)


def made(module: torch.nn.Module, change: Callable[[Image.Image], Any] = transform) -> Backbone:
    return own_backbone(module, change, name="module", title=None, pretraining=UNKNOWN, said={})


class Doubled(Tiny):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(images)


class Switch(Tiny):
    """Behaves differently by a plain attribute, which no state dict holds."""

    scale = 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * super().forward(images)


def test_the_digest_is_of_weights_code_attributes_and_transform() -> None:
    switched = Switch()
    switched.scale = 0.5
    others = [
        made(Tiny(seed=1)),
        made(Doubled()),
        made(switched),
        made(Tiny(), lambda image: transform(image) + 1e-3),
        made(Tiny(), lambda image: transform(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))),
    ]
    first = made(Tiny())
    assert len({one.weights_digest for one in (first, *others)}) == 1 + len(others)
    assert made(Tiny().train()).weights_digest == first.weights_digest == made(Switch()).weights_digest
    assert (first.spec.output.features, first.input.size, first.input.resize) == (12, 8, "own")


def test_threads_change_nothing_and_stay_as_they_are() -> None:
    before = torch.get_num_threads()
    digests = set()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            digests.add(made(Tiny()).weights_digest)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(digests) == 1


def test_the_module_itself_is_left_alone() -> None:
    module = Tiny().train()
    backbone = made(module)
    assert module.training and module.convolution.weight.requires_grad
    before = backbone.module.state_dict()["convolution.weight"].clone()
    with torch.no_grad():
        module.convolution.weight.add_(1)
    assert torch.equal(backbone.module.state_dict()["convolution.weight"], before)


def broken(image: Image.Image) -> torch.Tensor:
    raise KeyError("no such thing")


class Locked(Tiny):
    def __deepcopy__(self, memo: object) -> "Locked":
        raise TypeError("cannot pickle '_thread.lock' object")


class Nan(Tiny):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) / 0 * 0


class Dropping(Tiny):
    """Random in evaluation mode too."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(super().forward(images), training=True)


@pytest.mark.parametrize(
    ("module", "change", "line"),
    [
        (Tiny(), broken, "the transform failed on an image: 'no such thing'"),
        (Tiny(), lambda image: np.array(image), "the transform gave ndarray"),
        (Tiny(), lambda image: torch.zeros(3, 8, 9), "the transform gave"),
        (Tiny(), lambda image: torch.zeros(3, image.height // 8, image.height // 8), "for images of several sizes"),
        (Tiny(), lambda image: transform(image) + torch.rand(1), "take what is random out"),
        (Dropping(), transform, "take what is random out"),
        (torch.nn.Identity(), transform, r"Identity gave \(3, 3, 8, 8\) for a batch of 3"),
        (torch.nn.Linear(3, 3), transform, "Linear failed on a batch"),
        (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(7)), transform, "failed on a batch"),
        (Nan(), transform, "Nan gave NaN or infinite features"),
        (Locked(), transform, "Locked cannot be copied"),
    ],
)
def test_a_module_that_cannot_be_used_is_one_line(
    module: torch.nn.Module, change: Callable[[Image.Image], torch.Tensor], line: str
) -> None:
    with pytest.raises(FeatureError, match=line) as caught:
        made(module, change)
    assert "\n" not in str(caught.value)
