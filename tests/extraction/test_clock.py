import pytest

from probebench.extraction.clock import Clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [0.0]
    monkeypatch.setattr("probebench.extraction.clock.time.perf_counter", lambda: time[0])
    return time


def spend(watch: Clock, now: list[float], stage: str, seconds: float) -> None:
    with watch.waiting_for(stage):
        now[0] += seconds


def test_the_stage_that_is_waited_for_longest_limits(now: list[float]) -> None:
    watch = Clock()
    for _ in range(20):
        spend(watch, now, "decode", 1.0)
        spend(watch, now, "forward", 3.0)
    assert watch.limit == "forward"
    assert watch.seconds == {"decode": 20.0, "forward": 60.0, "disk": 0.0}
    for _ in range(20):
        spend(watch, now, "decode", 9.0)
        spend(watch, now, "forward", 3.0)
    assert watch.limit == "decode", "what counts is now"


def test_a_wait_that_ends_in_an_error_counts(now: list[float]) -> None:
    watch = Clock()
    with pytest.raises(OSError), watch.waiting_for("disk"):
        now[0] += 2.0
        raise OSError
    assert watch.seconds["disk"] == 2.0


def test_a_wait_for_workers_is_divided_as_they_spent_their_time() -> None:
    watch = Clock()
    watch.share(4.0, {"decode": 30.0, "forward": 10.0, "disk": 0.0})
    assert watch.seconds == {"decode": 3.0, "forward": 1.0, "disk": 0.0}
    watch.share(1.0, {"decode": 0.0})
