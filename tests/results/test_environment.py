import subprocess
from pathlib import Path

from probebench.results.environment import _commit, environment


def test_versions_of_everything_that_computes() -> None:
    facts = environment()
    assert {"torch", "timm", "scikit-learn", "numpy", "h5py"} <= set(facts["versions"])
    assert "unknown" not in facts["versions"].values()


def git(folder: Path, *command: str) -> None:
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *command],
        check=True,
        capture_output=True,
    )


def test_commit_and_dirty_flag(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    assert _commit(tmp_path / "pkg") == ("unknown", None)
    git(tmp_path, "init")
    # A repository that does not track the package is somebody else's.
    assert _commit(tmp_path / "pkg") == ("unknown", None)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    commit, dirty = _commit(tmp_path / "pkg")
    assert len(commit) == 40 and dirty is False
    (tmp_path / "pkg" / "__init__.py").write_text("x = 1")
    assert _commit(tmp_path / "pkg") == (commit, True)
