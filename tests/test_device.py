import gc
import weakref

import pytest
import torch

from probebench.device import in_smaller_batches


class Wrapped:
    """A network whose wrapper refers to it and to which it refers, as accelerate's do."""

    def __init__(self) -> None:
        self.wrapper = self


def test_what_did_not_fit_is_gone_before_the_cache_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    networks: list[weakref.ref[Wrapped]] = []
    alive: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(networks[-1]() is not None))

    def run(size: int) -> int:
        networks.append(weakref.ref(Wrapped()))
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size

    gc.disable()
    try:
        assert in_smaller_batches(run, 8, RuntimeError, lambda size: None) == 2
    finally:
        gc.enable()
    assert alive == [False, False]
