"""What is shipped: the wheel, and what the repository promises about itself."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_works_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def call(*arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "probebench", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True).stdout

    assert "efficientnet_lite0_in1k" in call("models", "list")
    (tmp_path / "results").mkdir()
    assert "site/index.html" in call("leaderboard", "build")
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import probebench; print(probebench.__file__)"],
        cwd=tmp_path, env=environ, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(tmp_path / "site"))


def test_the_wheel_carries_every_entry_and_asset(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "registry").rglob("*.toml"):
        assert f"probebench/registry/data/{path.relative_to(ROOT / 'registry').as_posix()}" in inside
    assert {"probebench/py.typed", "probebench/leaderboard/templates/board.html"} <= inside
    assert not [name for name in inside if name.startswith(("tests/", "benchmarks/"))]


def test_constraints_name_versions_and_nothing_else() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[\w.+!]+( ; .*)?", line), line
        assert "//" not in line and "@" not in line


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (ROOT / target).exists(), f"{page.name}: {target}"
