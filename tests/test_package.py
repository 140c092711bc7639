"""What is shipped: the wheel, and what the repository promises about itself."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import probebench

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


def test_constraints_pin_what_every_make_command_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for needed in (*project["dependencies"], *extras["dev"], *extras["docs"]):
        name = re.split(r"[><=\[; ]", needed)[0].lower().replace("_", "-")
        assert name in pinned, f"run make constraints: {name}"


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_in_the_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_citation_has_what_its_format_asks_for_and_tells_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software" and citation["license"] == "Apache-2.0"
    # The keys of version 1.2.0 that may be used; any other makes the file invalid.
    assert set(citation) <= {
        *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords"),
        *("license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact"),
        *("repository-code", "title", "type", "url", "version"),
    }
    for reference in citation["references"]:
        assert {"authors", "title", "type"} <= set(reference)
    for author in (*citation["authors"], *(one for work in citation["references"] for one in work["authors"])):
        assert set(author) in ({"name"}, {"family-names", "given-names"})
    assert citation["version"] == probebench.__version__
    released = f"## {citation['version']} ({citation['date-released'].isoformat()})"
    assert released in (ROOT / "CHANGELOG.md").read_text().splitlines()


def test_forms_for_issues_can_be_read() -> None:
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= set(form), path.name
        names = [part["id"] for part in form["body"]]
        assert len(names) == len(set(names))
        for part in form["body"]:
            assert part["type"] in ("input", "textarea") and part["attributes"]["label"], path.name


def test_a_commit_is_checked_by_what_checks_the_project() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = local["hooks"]
    assert local["repo"] == "local" and hook["language"] == "system" and not hook["pass_filenames"]
    assert hook["entry"] == "make check"
    for name in ("probebench/cli/main.py", "pyproject.toml", "docs/conf.py"):
        assert re.search(hook["files"], name)
    for target in ("check", "test", "site", "docs", "constraints"):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
