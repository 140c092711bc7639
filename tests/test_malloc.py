import ctypes
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from probebench.malloc import keep_freed_memory

FAULTS = """
import resource, torch
from probebench.malloc import keep_freed_memory
def faults():
    torch.ones(1 << 24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
left = faults()
keep_freed_memory()
print(left, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_large_tensors_get_the_memory_of_those_before() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True)
    left, kept = map(int, done.stdout.split())
    assert kept < 0.5 * left


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    keep_freed_memory.__wrapped__()
