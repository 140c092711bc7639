"""What produced a number: versions, commit and machine."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = (
    "probebench",
    "numpy",
    "scikit-learn",
    "scipy",
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
    "h5py",
    "pillow",
)


@functools.cache
def environment() -> dict[str, Any]:
    """Returns versions of everything that computes, and the commit of probebench's own checkout.

    ``commit`` is "unknown" and ``dirty`` None where probebench was installed from a package.
    """
    commit, dirty = _commit(Path(__file__).parents[1])
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "commit": commit,
        "dirty": dirty,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _commit(package: Path) -> tuple[str, bool | None]:
    """Reads the commit, only if git tracks this package: site-packages may lie in somebody else's repository."""
    git = ["git", "-C", str(package)]
    try:
        for command in (
            ["ls-files", "--error-unmatch", "__init__.py"],
            ["rev-parse", "HEAD"],
            ["status", "--porcelain", "."],
        ):
            done = subprocess.run([*git, *command], capture_output=True, text=True, timeout=10, check=True)
            if command[0] == "rev-parse":
                commit = done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown", None
    return commit, bool(done.stdout.strip())
