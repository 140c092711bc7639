"""What a pull request may change: one submission, or one new reproduction, and nothing else of the repository."""

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from probebench.errors import UsageError, one_line
from probebench.leaderboard.findings import Findings
from probebench.leaderboard.rules import MANIFEST, REPRODUCTIONS, board_of

# Modes of plain files, and of one that is gone.
_PLAIN = ("100644", "000000")
# Paths that lie outside are told one by one, up to so many.
_TOLD = 20


def check_base(path: Path, base: str, findings: Findings) -> None:
    """Compares the working tree around a leaderboard with a commit, and fails what a pull request may not change.

    Compared is with the last commit that HEAD and ``base`` share; what is not committed yet counts too, of the
    leaderboard also what git does not know yet.

    Args:
        path: A leaderboard, its submissions/, or one submission.
        base: A commit, branch or tag of the repository that holds it.
        findings: Takes what is wrong.

    Raises:
        UsageError: There is no such commit, or no repository.
    """
    top = Path(_git(path, "rev-parse", "--show-toplevel").strip()).resolve()
    board = board_of(path.resolve()).relative_to(top)
    before = _git(path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}", base=base).strip()
    start = _git(path, "merge-base", before, "HEAD", base=base).strip()
    submissions: dict[str, dict[PurePosixPath, str]] = defaultdict(dict)
    reproductions: dict[PurePosixPath, str] = {}
    outside: list[PurePosixPath] = []
    for status, mode, changed in _changes(top, start, board):
        if mode not in _PLAIN:
            findings.fail(top / changed, f"has mode {mode}: an executable, a link or a repository, and no plain file")
        parts = changed.relative_to(board).parts if changed.is_relative_to(board) else ()
        if len(parts) > 2 and parts[0] == "submissions":
            submissions[parts[1]][changed] = status
        elif len(parts) == 2 and parts[0] == REPRODUCTIONS and changed.suffix == ".json":
            reproductions[changed] = status
        else:
            outside.append(changed)
    inside = any(one.is_relative_to(board) for one in outside)
    if not (submissions or reproductions or inside):
        findings.note(path, f"nothing of it has changed since {base}")
        return
    for one in outside[:_TOLD]:
        findings.fail(top / one, "changes beside a submission: a pull request holds one submission or one reproduction")
    if len(outside) > _TOLD:
        findings.fail(path, f"{len(outside) - _TOLD} more files change beside a submission")
    _check_counts(path, submissions, reproductions, findings)
    for name, files in submissions.items():
        _check_changed(top, top / board / "submissions" / name, start, files, findings)
    for file, status in reproductions.items():
        if status != "A":
            findings.fail(top / file, "is there already: reproductions are added, and never changed or removed")


def _check_counts(
    path: Path,
    submissions: dict[str, dict[PurePosixPath, str]],
    reproductions: dict[PurePosixPath, str],
    findings: Findings,
) -> None:
    if len(submissions) > 1:
        findings.fail(
            path, f"{len(submissions)} submissions change ({', '.join(sorted(submissions)[:5])}): one at once"
        )
    if len(reproductions) > 1:
        findings.fail(path, f"{len(reproductions)} reproductions change: one at once")
    if submissions and reproductions:
        findings.fail(path, "a submission and a reproduction change: nobody reproduces what is not there yet")


def _check_changed(top: Path, folder: Path, start: str, files: dict[PurePosixPath, str], findings: Findings) -> None:
    """Fails a submission that goes away, and says what becomes of the results of one that was there."""
    was = _git(top, "ls-tree", "--name-only", start, "--", (folder / MANIFEST).relative_to(top).as_posix()).strip()
    if not was:
        return
    if not (folder / MANIFEST).is_file():
        findings.fail(folder, "goes away: only a maintainer takes a submission back")
        return
    results = {file: status for file, status in files.items() if file.suffix == ".json" and file.name != MANIFEST}
    gone = sum(status == "D" for status in results.values())
    changed = sum(status == "M" for status in results.values())
    findings.note(
        folder, f"was there before: {changed} results change, {gone} go, {len(results) - changed - gone} are new"
    )


def _changes(top: Path, start: str, board: Path) -> Iterator[tuple[str, str, PurePosixPath]]:
    """Yields every file that differs from a commit, after a letter (A added, D gone, M others) and its mode."""
    diff = ("diff", "--raw", "--no-renames", "--no-ext-diff", "--no-textconv", "-z", start, "--")
    fields = _git(top, *diff).split("\0")
    for told, name in zip(fields[::2], fields[1::2], strict=False):
        _, mode, _, _, status = told.split(" ")
        yield status[:1], mode, PurePosixPath(name)
    for name in _git(top, "ls-files", "--others", "--exclude-standard", "-z", "--", str(board)).split("\0"):
        if name:
            # What is no plain file of these, verify finds itself.
            yield "A", _PLAIN[0], PurePosixPath(name)


def _git(place: Path, *command: str, base: str | None = None) -> str:
    folder = place if place.is_dir() else place.parent
    try:
        done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, timeout=120, check=True)
    except FileNotFoundError as error:
        raise UsageError("--base needs git, which is not installed") from error
    except subprocess.SubprocessError as error:
        told = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
        said = one_line(ValueError(told) if told else error, 160)
        mend = f"{base!r} is no commit that it shares; fetch it first" if base is not None else said
        raise UsageError(f"--base compares {place} with a commit of its git repository: {mend}") from error
    return done.stdout.decode(errors="surrogateescape")
