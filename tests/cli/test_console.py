"""What long work says of itself where there is no terminal."""

import time

import pytest

from probebench.cli.console import ProgressLines
from probebench.progress import Silent, heard, heard_by


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_no_time_is_told_until_the_rate_has_settled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 100 the first takes 40 seconds, in which libraries load and what not, and each other a fifth of one."""
    clock = Clock(monkeypatch)
    with ProgressLines("images", every=1.0) as lines:
        lines.start("work", 100, 0)
        clock.now = 40.0
        lines.advance()
        assert "left" not in capsys.readouterr().err
        for _ in range(10):
            clock.now += 0.2
            lines.advance()
        assert "left" not in capsys.readouterr().err, "two seconds of it are too few"
        for _ in range(20):
            clock.now += 0.2
            lines.advance()
        assert capsys.readouterr().err.splitlines()[-1].endswith(", 14 s left"), "69 of five a second"


def test_percent_have_no_rate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(monkeypatch)
    with ProgressLines("%", every=1.0) as lines:
        lines.start("probes", 100, 0)
        for _ in range(7):
            clock.now += 1.0
            lines.advance(4)
        assert capsys.readouterr().err.splitlines()[-1] == "probes: 28%, 18 s left"


def test_what_is_over_soon_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(monkeypatch)
    with ProgressLines("files", after=2.0) as lines:
        for seconds, said in ((0.1, 0), (0.3, 1)):
            lines.start("reading files", 20, 0)
            for _ in range(19):
                clock.now += seconds
                lines.advance()
            lines.finish()
            assert len(capsys.readouterr().err.splitlines()) == said


def test_who_hears_of_work_that_nobody_watches() -> None:
    lines = Silent()
    with heard_by(lines):
        assert heard() is lines
    assert heard() is not lines
