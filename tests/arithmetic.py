"""What tensors' operations show of a device that is not there."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from probebench.probes import stream

PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "convolution", "conv2d", "linear", "matmul"}


class Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations by name, and notes in which float32 arithmetic a GPU would have run each product."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: dict[str, int] = {}
        self.arithmetic: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.counts[name] = self.counts.get(name, 0) + 1
        if name in PRODUCTS:
            backends: Any = torch.backends
            self.arithmetic |= {backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision}
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def tf32_asked_for() -> Iterator[Watched]:
    """Asks for TF32 as a user's own code would, and watches."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with Watched() as watched:
            yield watched
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


CUDA = torch.device("cuda")
_BACK = {torch.Tensor.cpu}


class FakeCuda(TorchFunctionMode):
    """A CUDA device on the CPU: tensors that were sent there are marked, and meeting an unmarked one is an error.

    As on a real one, tensors of one number may come from the host, and what is there is no NumPy array. What torch does
    beneath its functions is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.device, torch._C._nn._parse_to):
            return func(*args, **kwargs)
        if func == torch.Tensor.device.__get__:
            return CUDA if is_there(args[0]) else torch.device("cpu")
        if func == torch.Tensor.data.__set__:  # type: ignore[attr-defined]
            args[0]._there = is_there(args[1])
            return func(*args, **kwargs)
        if func is torch._has_compatible_shallow_copy_type:
            return True
        flat, shape = tree_flatten((args, kwargs))
        asked = [one for one in flat if is_device(one)]
        args, kwargs = tree_unflatten([torch.device("cpu") if is_device(one) else one for one in flat], shape)
        tensors = [one for one in flat if isinstance(one, torch.Tensor)]
        there = [is_there(one) for one in tensors if one.dim() or is_there(one)]
        if any(there):
            self.used.add(func.__name__)
        if any(there) and not all(there):
            if not asked:
                raise RuntimeError(f"{func.__name__}: expected all tensors to be on the same device")
        if any(there) and func in (torch.Tensor.numpy, torch.Tensor.__array__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu()")
        result = func(*args, **kwargs)
        moved = torch.device(asked[-1]) == CUDA if asked else any(there) and func not in _BACK
        if isinstance(result, torch.Tensor) and any(result is one for one in tensors) and is_there(result) != moved:
            # Where nothing has to be copied, torch gives back the tensor itself.
            result = result.clone()
        for one in tree_flatten(result)[0]:
            if isinstance(one, torch.Tensor):
                one._there = moved  # type: ignore[attr-defined]
        return result


def is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value in ("cuda", "cpu"))


def is_there(tensor: torch.Tensor) -> bool:
    """Says whether a tensor is on the fake device."""
    return getattr(tensor, "_there", False)


class PlainCopies:
    """Stands in for what copies through page-locked memory, and sees where a buffer is filled again too early."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.waiting: list[Any] = []

    def buffer(self, like: Any) -> Any:
        return np.empty_like(like)

    def send(self, rows: Any) -> Any:
        there, before = torch.as_tensor(rows.copy(), device=self.device), rows.copy()

        def done() -> None:
            assert (rows == before).all()

        return there, done


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    """Makes code that asks find a CUDA device with 64 GiB."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (64 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    monkeypatch.setattr(stream, "Copies", PlainCopies)
    # torch's optimizers ask the driver whether a graph is being captured.
    for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
        monkeypatch.setattr(torch.optim.Optimizer, name, lambda optimizer: None, raising=False)
    with FakeCuda() as fake:
        yield fake


class RoundedProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Rounds operands of float32 products to TF32, 10 bits of mantissa, where a GPU would: where that is allowed."""

    UNIT = 1 << 13

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rounded = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        products: Any = torch.backends.cuda.matmul
        name = func.overloadpacket.__name__.rstrip("_")
        if name in PRODUCTS and args[-1].dtype == torch.float32 and products.fp32_precision == "tf32":
            self.rounded += 1
            args = (*args[:-2], *(self._round(one) for one in args[-2:]))
        return func(*args, **(kwargs or {}))

    def _round(self, value: torch.Tensor) -> torch.Tensor:
        # To the nearest, ties to even.
        whole = value.contiguous().view(torch.int32)
        whole = (whole + self.UNIT // 2 - 1 + (whole // self.UNIT) % 2) // self.UNIT * self.UNIT
        return whole.view(torch.float32)
