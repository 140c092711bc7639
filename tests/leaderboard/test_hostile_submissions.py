"""The whole hostile corpus, while everything that could do harm is watched."""

import os
import pickle
import shutil
import socket
from pathlib import Path

import pytest

from probebench.leaderboard.verify import Verified, verify
from probebench.registry import Registry
from tests.leaderboard.hostile import KNOWN, NEW, make_newcomer
from tests.leaderboard.tampering import Submission, make_submission
from tests.leaderboard.watching import Watch

ALL = {f"known: {name}": one for name, one in KNOWN.items()}
ALL |= {f"new: {name}": one for name, one in NEW.items()}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, shipped: Registry) -> dict[str, Path]:
    known = make_submission(tmp_path_factory.mktemp("known"), shipped)
    copy = Submission(Path(shutil.copytree(known, tmp_path_factory.mktemp("new") / known.name)))
    # Whatever verifying imports is imported here, so that reading modules is not what is watched.
    verify(known, shipped, known)
    return {"known": known, "new": make_newcomer(copy).folder}


def said(found: Verified) -> str:
    return "\n".join(map(str, found.findings.failures))


def test_honest_ones_pass(originals: dict[str, Path], shipped: Registry, tmp_path: Path) -> None:
    for name, folder in originals.items():
        found = verify(Submission.copied(folder, tmp_path / name).folder, shipped, tmp_path / "none")
        assert found.ok and found.scored == 4, said(found)


@pytest.mark.parametrize("name", ALL)
def test_each_is_refused_for_its_reason_and_does_no_harm(
    name: str, originals: dict[str, Path], shipped: Registry, tmp_path: Path
) -> None:
    (tamper, reason), folder = ALL[name], originals[name.split(":")[0]]
    one = Submission.copied(folder, tmp_path)
    tamper(one)
    with Watch(tmp_path / "submissions") as watch:
        found = verify(tmp_path / "submissions", shipped, tmp_path / "none")
    assert not watch.seen
    assert reason in said(found) and "cannot be checked" not in said(found), said(found)
    assert not any(line.isascii() and "\x1b" in line for line in said(found).splitlines())


def test_harm_would_be_seen(tmp_path: Path) -> None:
    """Otherwise the above would prove nothing."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("x")
    (tmp_path / "out").write_text("x")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    with Watch(tmp_path / "in") as watch:
        (tmp_path / "in" / "file").read_text()
        (tmp_path / "in" / "link").read_text()
        (tmp_path / "out").read_bytes()
        os.close(os.open(tmp_path / "in" / "file", os.O_WRONLY))
        list(tmp_path.iterdir())
        pickle.loads(pickle.dumps(os.getcwd))
        with socket.socket():
            pass
    told = [one.split(" ", 1)[0] for one in watch.seen]
    assert told == ["open", "open", "open", "os.listdir", "pickle.find_class", "socket.__new__"]
