"""Arithmetic and memory of devices that are not here, as far as they show without one."""

import contextlib
import gc
import multiprocessing
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from probebench.device import full_float32, in_smaller_batches, is_out_of_memory, resolve_device

backends: Any = torch.backends
PLACES: dict[str, Any] = {
    "all": backends,
    "cuda": backends.cudnn,
    "matmul": backends.cuda.matmul,
    "conv": backends.cudnn.conv,
    "rnn": backends.cudnn.rnn,
    "cpu": backends.mkldnn,
    "cpu matmul": backends.mkldnn.matmul,
    "cpu conv": backends.mkldnn.conv,
}


def precisions() -> dict[str, str]:
    return {name: place.fp32_precision for name, place in PLACES.items()}


def older() -> list[Any]:
    """What the older switches say, where they say anything."""
    said: list[Any] = []
    for ask in (
        lambda: backends.cudnn.allow_tf32,
        lambda: backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision,
    ):
        try:
            said.append(ask())
        except RuntimeError:
            said.append("refused")
    return said


def by_flags() -> None:
    backends.cuda.matmul.allow_tf32 = True
    backends.cudnn.allow_tf32 = True


def everywhere() -> None:
    backends.fp32_precision = "tf32"


def narrowly() -> None:
    backends.cuda.matmul.fp32_precision = "tf32"
    backends.cudnn.conv.fp32_precision = "tf32"
    backends.mkldnn.matmul.fp32_precision = "bf16"


def of_a_backend() -> None:
    backends.cudnn.fp32_precision = "tf32"
    backends.mkldnn.fp32_precision = "bf16"


def mixed() -> None:
    torch.set_float32_matmul_precision("medium")
    backends.fp32_precision = "tf32"
    backends.cudnn.rnn.fp32_precision = "ieee"


WAYS: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "flags": by_flags,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "everywhere": everywhere,
    "of a backend": of_a_backend,
    "narrowly": narrowly,
    "mixed": mixed,
}


def pinned() -> list[dict[str, str]]:
    """What is set, and what follows a wider switch that is then set otherwise."""
    before = precisions()
    backends.fp32_precision = "none"
    narrow = precisions()
    backends.fp32_precision = "ieee"
    return [before, narrow, precisions()]


def never_inside(way: str) -> Any:
    WAYS[way]()
    return older(), pinned()


def once_inside(way: str) -> Any:
    WAYS[way]()
    with contextlib.suppress(KeyError), full_float32():
        assert set(precisions().values()) == {"ieee"}
        assert torch.get_float32_matmul_precision() == "highest"
        assert not backends.cuda.matmul.allow_tf32
        with full_float32():
            raise KeyError
    return older(), pinned()


def apart(function: Callable[[Any], Any], item: Any) -> Any:
    """Runs in a process of its own, since what was once set cannot all be unset."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(function, (item,))


@pytest.mark.parametrize("way", WAYS)
def test_float32_is_float32_inside_and_what_was_asked_for_after(way: str) -> None:
    assert apart(once_inside, way) == apart(never_inside, way)


def test_bf16_is_chosen_where_the_card_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # As a V100 answers: torch counts emulation unless told not to.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert resolve_device("auto", "auto", None) == ("cuda", "fp32")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert resolve_device("auto", "auto", None) == ("cuda", "bf16")
    assert resolve_device("auto", "fp32", None) == ("cuda", "fp32")


@pytest.mark.parametrize(
    ("said", "of_memory"),
    [
        ("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported", True),
        ("CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`", False),
    ],
)
def test_memory_that_ran_out_is_known_by_what_is_said(said: str, of_memory: bool) -> None:
    assert is_out_of_memory(RuntimeError(said)) is of_memory


def test_memory_that_ran_out_is_known_by_its_type() -> None:
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(MemoryError())


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
