"""Where to compute, and with what arithmetic, where that was left to choose."""

import os

from probebench.errors import UsageError


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
