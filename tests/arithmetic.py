"""What tensors' operations show of a device that is not there."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "convolution", "conv2d", "linear", "matmul"}


class Watched(TorchDispatchMode):
    """Counts operations by name, and notes in which float32 arithmetic a GPU would have run each product."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.arithmetic: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.counts[name] = self.counts.get(name, 0) + 1
        if name in PRODUCTS:
            backends = torch.backends
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
