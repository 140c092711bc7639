"""Where to compute and with what arithmetic, where that was left to choose; and what to do where memory runs out."""

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from probebench.errors import UsageError, one_line

Out = TypeVar("Out")

# What libraries say where memory runs out, other than by torch's own error: the machine's, CUDA's runtime and driver,
# cuBLAS and cuSOLVER, and cuDNN, old and new.
_NO_MEMORY = (
    "allocate memory",
    "CUDA error: out of memory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "cudaErrorMemoryAllocation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUSPARSE_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)


def resolve_device(device: str, dtype: str, cluster_gpus: int | None) -> tuple[str, str]:
    """Fills in "auto": a GPU where there is one, and bf16 on GPUs that have it.

    Args:
        device: "auto", "cpu" or "cuda".
        dtype: "auto", or one that is taken as it is.
        cluster_gpus: GPUs of the cluster that will compute; None: this machine will.

    Raises:
        UsageError: The device is not there.
    """
    import torch

    here = cluster_gpus is None
    gpu = torch.cuda.is_available() if here else bool(cluster_gpus)
    if device == "auto":
        device = "cuda" if gpu else "cpu"
    if device == "cuda" and not gpu:
        raise UsageError(f"no CUDA device {'on this machine' if here else 'in the cluster'}; use --device cpu")
    if dtype == "auto":
        dtype = "bf16" if device == "cuda" and (not here or has_bf16()) else "fp32"
    return device, dtype


@contextlib.contextmanager
def in_threads(number: int | None) -> Iterator[None]:
    """Lets torch compute in so many threads within the block: sums are then rounded in one order. None: as it is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_bf16() -> bool:
    """Says whether this machine's GPU computes in bf16 itself; older ones emulate it, slower than float32."""
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Runs what is inside with float32 products in float32, whatever the process asks for, and puts that back after.

    TF32 keeps 10 of float32's 23 bits, bf16 7. torch has three switches for them: ``allow_tf32``,
    ``set_float32_matmul_precision``, and ``fp32_precision`` of everything, of a backend or of an operation, where the
    narrower one counts and "none" follows the wider. The first two, asked after the third was set, may raise an error.
    """
    import torch

    backends: Any = torch.backends
    wide: list[Any] = [backends, backends.cudnn, backends.mkldnn]
    products: list[Any] = [backends.cuda.matmul, backends.mkldnn.matmul]
    others: list[Any] = [backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.conv, backends.mkldnn.rnn]
    saved: list[tuple[Any, str]] = []

    def put(places: list[Any], precision: str) -> None:
        for place in places:
            saved.append((place, place.fp32_precision))
            place.fp32_precision = precision

    # The widest first: a narrower one then shows what it was itself set to.
    put(wide, "none")
    put(products, "ieee")
    asked = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    for place in wide:
        place.fp32_precision = "ieee"
    # One that was never set follows, and is left so: to set it would pin it.
    put([place for place in others if place.fp32_precision != "ieee"], "ieee")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(asked)
        for place, precision in reversed(saved):
            place.fp32_precision = precision


@contextlib.contextmanager
def tf32_products() -> Iterator[None]:
    """Lets a GPU round the operands of float32 matrix products to TF32, for what only steers and certifies nothing.

    It stands inside of ``full_float32``. Elsewhere than on an NVIDIA GPU it changes nothing.
    """
    import torch

    products: Any = torch.backends.cuda.matmul
    before, products.fp32_precision = products.fp32_precision, "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before


def device_name(device: str) -> str:
    """Returns the name of the GPU, or the device as it is where that is none."""
    if device != "cuda":
        return device
    import torch

    return torch.cuda.get_device_name()


def has_gpu() -> bool:
    """Says whether an NVIDIA GPU seems to be here and may be used; torch, which knows, takes seconds to load."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1") and any(Path("/dev").glob("nvidia[0-9]*"))


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int:
    """Returns the bytes of the machine's memory that are free or can be freed."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether memory ran out, the device's or the machine's."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in _NO_MEMORY)


def in_smaller_batches(
    run: Callable[[int], Out], size: int, refused: Callable[[str], Exception], on_smaller: Callable[[int], None]
) -> Out:
    """Runs in batches of ``size``, and in batches of half the size as often as memory runs out.

    Args:
        run: Does the work in batches of the size that it is given, from where it left off or anew.
        size: Of the first batches.
        refused: Makes the error where one image alone does not fit, from what the library said.
        on_smaller: Called with each new size.

    Raises:
        Exception: What ``refused`` made, or whatever else ``run`` raised.
    """
    import torch

    while True:
        try:
            return run(size)
        except (RuntimeError, MemoryError) as caught:
            if not is_out_of_memory(caught):
                raise
            error = one_line(caught, 120)
        # Outside of the except clause: the caught error holds on to the tensors that filled the memory.
        if size == 1:
            raise refused(error)
        size = -(-size // 2)
        on_smaller(size)
        # Wrappers of a network hold on to it in a circle: until that is collected, what did not fit is still there.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
