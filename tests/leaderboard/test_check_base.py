"""What a pull request may change: each case is a change to a repository that holds a leaderboard."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.errors import UsageError
from probebench.leaderboard.check_base import check_base
from probebench.leaderboard.findings import Findings

NAME = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
FILES = (
    *("leaderboard/results/net/digits/probe-default-1-00000000.json", "leaderboard/submissions/README.md"),
    *("leaderboard/submissions/old/manifest.json", "leaderboard/submissions/old/digits/a.json"),
    *("leaderboard/submissions/other/manifest.json", "leaderboard/submissions/other/digits/a.json"),
    *("leaderboard/reproductions/net-00000000.json", "probebench/code.py", ".github/workflows/submissions.yml"),
)


def git(place: Path, *command: str) -> None:
    subprocess.run(["git", "-C", place, *command], check=True, capture_output=True, env={**os.environ, **NAME})


def write(place: Path, *names: str, text: str = "new") -> None:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("repository")
    git(place, "init", "-q", "-b", "main")
    write(place, *FILES, text="old")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "start")
    return place


@pytest.fixture
def repository(start: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-r", start, tmp_path / "clone"], check=True)
    git(tmp_path / "clone", "checkout", "-qb", "mine")
    return tmp_path / "clone"


def found(repository: Path, base: str = "main", path: str = "leaderboard") -> Findings:
    findings = Findings(repository)
    check_base(repository / path, base, findings)
    return findings


def remove(*names: str) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        for name in names:
            (place / name).unlink()

    return change


def added(*names: str) -> Callable[[Path], None]:
    return lambda place: write(place, *names)


def a_repository(place: Path) -> None:
    place.mkdir(parents=True)
    git(place, "init", "-q", "-b", "main")
    git(place, "commit", "-q", "--allow-empty", "-m", "inner")


def a_repository_inside(place: Path) -> None:
    write(place, "leaderboard/submissions/mine/manifest.json")
    a_repository(place / "leaderboard/submissions/mine/inner")


def a_repository_as(place: Path) -> None:
    a_repository(place / "leaderboard/submissions/mine")


def a_program(place: Path) -> None:
    write(place, "leaderboard/submissions/mine/manifest.json")
    (place / "leaderboard/submissions/mine/manifest.json").chmod(0o755)


def a_link(place: Path) -> None:
    write(place, "leaderboard/submissions/mine/manifest.json")
    (place / "leaderboard/submissions/mine/a.json").symlink_to("manifest.json")


def a_linked_folder(place: Path) -> None:
    (place / "leaderboard/submissions").rename(place / "elsewhere")
    (place / "leaderboard/submissions").symlink_to("../elsewhere")


BESIDE = "changes beside a submission"
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a result of another": (added(FILES[0]), BESIDE),
    "a deleted result": (remove(FILES[0]), BESIDE),
    "a new result among what ships": (added("leaderboard/results/net/digits/b.json"), BESIDE),
    "the README of submissions": (added("leaderboard/submissions/README.md"), BESIDE),
    "code": (added("probebench/code.py", "leaderboard/submissions/mine/manifest.json"), BESIDE),
    "the workflow": (added(".github/workflows/submissions.yml", "leaderboard/submissions/mine/manifest.json"), BESIDE),
    "a file of a name that breaks lines": (
        added("a\nb: ::error::", "leaderboard/submissions/mine/manifest.json"),
        BESIDE,
    ),
    "two submissions": (
        added("leaderboard/submissions/mine/manifest.json", "leaderboard/submissions/yours/manifest.json"),
        "2 submissions change (mine, yours)",
    ),
    "one's own and another's": (
        added("leaderboard/submissions/mine/manifest.json", "leaderboard/submissions/other/digits/a.json"),
        "2 submissions change (mine, other)",
    ),
    "a submission that goes away": (
        remove("leaderboard/submissions/old/manifest.json", "leaderboard/submissions/old/digits/a.json"),
        "goes away: only a maintainer",
    ),
    "a submission without its manifest": (remove("leaderboard/submissions/old/manifest.json"), "goes away"),
    "a submission with its own reproduction": (
        added("leaderboard/submissions/mine/manifest.json", "leaderboard/reproductions/mine-11111111.json"),
        "a submission and a reproduction change",
    ),
    "two reproductions": (
        added("leaderboard/reproductions/a-11111111.json", "leaderboard/reproductions/b-11111111.json"),
        "2 reproductions change",
    ),
    "a changed reproduction": (added("leaderboard/reproductions/net-00000000.json"), "never changed or removed"),
    "a reproduction that goes away": (
        remove("leaderboard/reproductions/net-00000000.json"),
        "never changed or removed",
    ),
    "a renamed submission": (
        lambda place: (place / "leaderboard/submissions/old").rename(place / "leaderboard/submissions/mine"),
        "2 submissions change (mine, old)",
    ),
    "another's file made a program": (
        lambda place: (place / "leaderboard/results/net/digits/probe-default-1-00000000.json").chmod(0o755),
        BESIDE,
    ),
    "a program": (a_program, "has mode 100755"),
    "a link": (a_link, "has mode 120000"),
    "the submissions as a link": (a_linked_folder, BESIDE),
    "a repository in a submission": (a_repository_inside, "has mode 160000"),
    "a repository as a submission": (a_repository_as, BESIDE),
    "attributes of one's own": (added(".gitattributes", "leaderboard/submissions/mine/manifest.json"), BESIDE),
    "something else beside reproductions": (added("leaderboard/reproductions/x/y.json"), BESIDE),
    "a new folder of the leaderboard": (added("leaderboard/more/x.json"), BESIDE),
}


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("name", REFUSED)
def test_what_lies_outside_one_submission_is_refused(name: str, committed: bool, repository: Path) -> None:
    change, reason = REFUSED[name]
    change(repository)
    git(repository, "add", "-A")
    if committed:
        git(repository, "commit", "-qm", "change")
    findings = found(repository)
    assert reason in "\n".join(map(str, findings.failures))
    assert all("\n" not in str(one) for one in findings.failures)


def test_one_new_submission_or_reproduction_passes(repository: Path) -> None:
    write(repository, "leaderboard/submissions/mine/manifest.json", "leaderboard/submissions/mine/digits/a.json")
    for path in ("leaderboard", "leaderboard/submissions", "leaderboard/submissions/mine"):
        assert found(repository, path=path).ok
    git(repository, "stash", "-u")
    write(repository, "leaderboard/reproductions/net-11111111.json")
    assert found(repository).ok


def test_what_git_does_not_know_counts_inside_the_leaderboard_alone(repository: Path) -> None:
    """Weights and results of one's own lie about in a clone, and no pull request holds them."""
    write(repository, "my_net.pt", "results/my_net/digits/a.json", "leaderboard/submissions/mine/manifest.json")
    assert found(repository).ok
    write(repository, "leaderboard/more.json")
    assert not found(repository).ok


def test_a_changed_submission_says_what_becomes_of_its_results(repository: Path) -> None:
    write(repository, "leaderboard/submissions/old/manifest.json", "leaderboard/submissions/old/digits/b.json")
    (repository / "leaderboard/submissions/old/digits/a.json").unlink()
    findings = found(repository)
    (note,) = findings.notes
    assert findings.ok and note.what == "was there before: 0 results change, 1 go, 1 are new"


def test_a_pull_request_beside_the_leaderboard_is_none_of_its_business(repository: Path) -> None:
    write(repository, "probebench/code.py")
    findings = found(repository)
    assert findings.ok and "nothing of it has changed" in findings.notes[0].what


def test_what_others_merged_meanwhile_does_not_count(repository: Path) -> None:
    write(repository, "leaderboard/submissions/mine/manifest.json")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "mine")
    git(repository, "checkout", "-q", "main")
    write(repository, "probebench/code.py", text="merged")
    git(repository, "commit", "-qam", "merged")
    git(repository, "checkout", "-q", "mine")
    assert found(repository).ok


def test_a_base_that_is_none_is_told_in_one_line(repository: Path, tmp_path: Path) -> None:
    for base in ("nowhere", "--help", "main:leaderboard"):
        with pytest.raises(UsageError, match="is no commit that it shares; fetch it first"):
            found(repository, base)
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match="a commit of its git repository"):
        check_base(tmp_path / "plain", "main", Findings(tmp_path))


def test_a_merge_brings_nothing_in_by_the_side(repository: Path) -> None:
    """What a merge commit itself changes counts, whatever its parents held."""
    write(repository, "leaderboard/submissions/mine/manifest.json")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "mine")
    git(repository, "checkout", "-q", "main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "others")
    git(repository, "checkout", "-q", "mine")
    git(repository, "merge", "-q", "--no-ff", "--no-commit", "main")
    assert found(repository).ok
    write(repository, "probebench/code.py", text="mine")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "merged")
    assert BESIDE in "".join(map(str, found(repository).failures))
