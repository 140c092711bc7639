"""Seeds where there is a GPU: made believe, since a forked process that touches one is what must not be."""

import contextlib
from typing import Any

import numpy as np
import pytest
import torch

from probebench.training.data import ImageItems, ImageSubset, load
from probebench.training.seeds import Seeds, seeded
from tests.finetuning.making import SHIPPED


class Noise:
    def load(self, position: int) -> Any:
        from PIL import Image

        return Image.new("RGB", (4, 4), (position, 0, 0))

    def check(self, position: int) -> None: ...

    def content(self) -> str:
        return "noise"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A CUDA that was used before the fork; returns what was called of it."""
    touched: list[str] = []

    def refuse(name: str) -> Any:
        def call(*_: Any, **__: Any) -> None:
            touched.append(name)
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")

        return call

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("get_rng_state", "set_rng_state", "_lazy_init"):
        monkeypatch.setattr(torch.cuda, name, refuse(name))
    # In a fork, torch leaves this out by itself.
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: touched.append("manual_seed_all"))
    return touched


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_touches_no_gpu(gpu: list[str], workers: int) -> None:
    seeds = Seeds.of(SHIPPED.finetune_protocol("quick"), "draw", 0, 0)
    subset = ImageSubset(Noise(), ["a", "b"], np.arange(2), np.zeros(2, np.int64))

    def augment(image: Any) -> Any:
        return torch.tensor([*image.getpixel((0, 0))]) + torch.rand(3)

    items = ImageItems(subset, augment, augment, seeds)
    (batch,) = load(items, [[(1, 0), (1, 1)]], workers)
    (again,) = load(items, [[(1, 0), (1, 1)]], workers)
    assert torch.equal(batch.inputs, again.inputs) and not gpu


def test_a_training_seeds_its_own_gpu_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    def noted(what: Any, value: Any = None) -> Any:
        told.append(what)
        return value

    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: noted(("kept", device), "state"))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: noted((state, device)))
    monkeypatch.setattr(torch.cuda, "manual_seed", noted)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: noted("all"))
    monkeypatch.setattr(torch.cuda, "device", lambda device: noted(device, contextlib.nullcontext()))
    second = torch.device("cuda", 1)
    with seeded(7, second):
        one = torch.rand(2)
    assert told == [("kept", second), second, 7, ("state", second)]
    with seeded(7):
        assert torch.equal(one, torch.rand(2))


def test_a_cpu_is_seeded_as_ever() -> None:
    with seeded(7, torch.device("cpu")):
        one = torch.rand(2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        assert torch.equal(one, torch.rand(2))
