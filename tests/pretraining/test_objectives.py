"""Losses are the libraries' own, on fixed tensors."""

from typing import Any

import pytest
import torch
from lightly.loss import NTXentLoss
from open_clip.loss import ClipLoss

from probebench.pretraining.objectives import ImageImage, LanguageImage, Supervised

ROWS = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))


def never(images: torch.Tensor) -> torch.Tensor:
    raise AssertionError("views that are there are not drawn again")


class Says(torch.nn.Module):
    """A network that gives what it was told to."""

    def __init__(self, *outputs: torch.Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.outputs if len(self.outputs) > 1 else self.outputs[0]


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_image_image_is_lightlys(temperature: float) -> None:
    objective = ImageImage(never, torch.arange(6), temperature)
    loss = objective.loss(Says(ROWS, OTHERS), torch.zeros(6, 2, 3, 4, 4), torch.arange(6))
    assert float(loss) / 6 == pytest.approx(float(NTXentLoss(temperature)(ROWS, OTHERS)), rel=1e-6)


def test_image_image_by_hand() -> None:
    """SimCLR's formula: each of 2n views against the 2n - 1 others."""
    rows = torch.nn.functional.normalize(torch.cat([ROWS, OTHERS]).double(), dim=1)
    logits = (rows @ rows.T / 0.2).fill_diagonal_(-torch.inf)
    partner = torch.cat([torch.arange(6, 12), torch.arange(6)])
    loss = ImageImage(never, torch.arange(6), 0.2).loss(Says(ROWS, OTHERS), torch.zeros(6, 2), torch.arange(6))
    assert float(loss) / 6 == pytest.approx(float(torch.nn.functional.cross_entropy(logits, partner)), rel=1e-5)


def test_language_image_is_open_clips() -> None:
    image, text = (torch.nn.functional.normalize(one, dim=1) for one in (ROWS, OTHERS))
    scale = torch.tensor(14.3)
    objective = LanguageImage(never, torch.zeros(6, 1, 4, dtype=torch.long))
    loss = objective.loss(Says(image, text, scale), torch.zeros(6, 3, 4, 4), torch.zeros(6, 4))
    assert float(loss) / 6 == pytest.approx(float(ClipLoss()(image, text, scale)), rel=1e-6)
    both = [
        torch.nn.functional.cross_entropy(scale * one @ other.T, torch.arange(6))
        for one, other in ((image, text), (text, image))
    ]
    assert float(loss) / 6 == pytest.approx(float(sum(both)) / 2, rel=1e-5)


def test_supervised_is_cross_entropy_to_the_labels_of_the_places() -> None:
    objective = Supervised(never, torch.tensor([2, 0, 1, 1, 2, 0, 7]), label_smoothing=0.1)
    inputs, targets = objective.mixed(torch.zeros(6, 3, 4, 4), torch.tensor([6, 0, 1, 2, 3, 4]))
    assert targets.tolist() == [7, 2, 0, 1, 1, 2]
    expected = torch.nn.functional.cross_entropy(ROWS, targets, label_smoothing=0.1)
    assert float(objective.loss(Says(ROWS), inputs, targets)) / 6 == pytest.approx(float(expected), rel=1e-6)


def test_stored_images_are_drawn_and_each_has_one_of_its_sentences() -> None:
    tokens = torch.arange(5 * 3 * 2).view(5, 3, 2)
    objective = LanguageImage(lambda images: images.float() + 0.5, tokens)
    places = torch.arange(5).repeat(40)
    inputs, targets = objective.mixed(torch.zeros(200, 3, 4, 4, dtype=torch.uint8), places)
    assert float(inputs[0, 0, 0, 0]) == 0.5
    chosen = (targets[:, 0] - tokens[places, 0, 0]) // 2
    assert sorted(set(chosen.tolist())) == [0, 1, 2] and torch.equal(targets, tokens[places, chosen])
