"""Where to compute and with what arithmetic, where that was left to choose; and what to do where memory runs out."""

import gc
import os
from collections.abc import Callable
from typing import TypeVar

from probebench.errors import UsageError, one_line

Out = TypeVar("Out")


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
        dtype = "bf16" if device == "cuda" and (not here or torch.cuda.is_bf16_supported()) else "fp32"
    return device, dtype


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether memory ran out, the device's or the machine's."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


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
