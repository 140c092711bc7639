"""How the C library deals with memory that is freed."""

import ctypes
from functools import cache

# Of glibc's mallopt. 1 GiB is the largest power of two below what its int parameters hold.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_THRESHOLD, _TRIM = 1 << 30, (1 << 31) - 1


@cache
def keep_freed_memory() -> None:
    """Lets this process keep memory that is freed, for the next allocation, where the C library is glibc.

    glibc gives every freed block of more than 32 MiB back to the kernel, so a network on a CPU has the activations of
    each batch cleared page by page anew: that was half of the time of EfficientNet-Lite0 at 224 px in batches of 64.
    The process then holds on to the most that it ever used at once.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        # Another C library, which has rules of its own.
        return
    mallopt(_MMAP_THRESHOLD, _THRESHOLD)
    mallopt(_TRIM_THRESHOLD, _TRIM)
