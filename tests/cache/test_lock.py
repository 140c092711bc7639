import threading
import time
from pathlib import Path

from probebench.cache.lock import lock_path, locked_now
from probebench.cache.writer import locked


def test_the_lock_lets_one_in_at_a_time_and_says_once_that_it_waits(path: Path) -> None:
    said: list[str] = []
    began = threading.Event()

    def waiting() -> None:
        said.append("waiting")
        began.set()

    def other() -> None:
        with locked(path, waiting):
            said.append("in")

    with locked(path, lambda: said.append("never")):
        thread = threading.Thread(target=other)
        thread.start()
        assert began.wait(10)
        thread.join(timeout=0.3)
        assert thread.is_alive() and said == ["waiting"]
    thread.join(timeout=10)
    assert said == ["waiting", "in"]


def test_a_lock_that_is_held_is_seen_at_once(path: Path) -> None:
    with locked(path):
        with locked_now(path) as mine:
            assert not mine
    with locked_now(path) as mine:
        assert mine


def test_who_waits_on_a_lock_file_that_is_removed_still_waits_for_its_turn(path: Path) -> None:
    """Removing the file must not let two in: one on the old file, one on a new one."""
    inside: list[str] = []
    began, leave = threading.Event(), threading.Event()

    def other() -> None:
        with locked(path, began.set):
            inside.append("other")
            leave.wait(10)

    with locked(path):
        thread = threading.Thread(target=other)
        thread.start()
        assert began.wait(10)
        lock_path(path).unlink()
    while not inside:
        time.sleep(0.01)
    with locked_now(path) as mine:
        assert not mine
    leave.set()
    thread.join(timeout=10)
