"""A copy of the tree, to try what an addition to it takes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probebench.fingerprint import file_sha256

ROOT = Path(__file__).parents[1]
_PARTS = ("probebench", "registry")


@dataclass(frozen=True)
class Tree:
    """A copy of the package and of the registry, with nothing installed."""

    root: Path

    @classmethod
    def copy(cls, root: Path) -> "Tree":
        for part in _PARTS:
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(root)

    def insert(self, name: str, before: str, text: str) -> None:
        """Puts text before a text that a file has once."""
        path = self.root / name
        whole = path.read_text()
        assert whole.count(before) == 1, (name, before)
        path.write_text(whole.replace(before, text + before))

    def differing(self) -> list[str]:
        """Lists the files that are new, gone or other than in the original."""
        ours, theirs = _digests(self.root), _digests(ROOT)
        return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))

    def run(self, home: Path, *arguments: object) -> str:
        """Runs a command line of the copy, beside it, and returns all that it said."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "PROBEBENCH_HOME": str(home),
        }
        done = subprocess.run(
            [sys.executable, "-m", "probebench", *map(str, arguments)],
            cwd=self.root.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout


def _digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): file_sha256(path)
        for part in _PARTS
        for path in (root / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def write_files(folder: Path, files: Mapping[str, Any]) -> Path:
    """Writes JSON files into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    return folder
