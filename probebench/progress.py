"""Who hears how far long work is: one protocol for extraction, training and everything else that takes its time."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol


class Progress(Protocol):
    """Hears how far a piece of work is."""

    def start(self, what: str, total: int, done: int) -> None:
        """A piece of work begins, ``done`` of its ``total`` (images mostly) being there already."""

    def advance(self, count: int, limit: str | None = None) -> None:
        """``count`` more are done; ``limit`` is the stage that holds the others up now, where one is known."""

    def finish(self) -> None:
        """The piece of work is complete."""

    def note(self, message: str) -> None:
        """Something that the user should know, such as what is being waited for."""


class Silent:
    """Progress that nobody watches."""

    def start(self, what: str, total: int, done: int) -> None:
        """Says nothing."""

    def advance(self, count: int, limit: str | None = None) -> None:
        """Says nothing."""

    def finish(self) -> None:
        """Says nothing."""

    def note(self, message: str) -> None:
        """Says nothing."""


# Who hears of work that no caller thought to watch, such as reading a data set's files: the command line sets it.
_HEARD: ContextVar[Progress] = ContextVar("probebench_progress", default=Silent())  # noqa: B039


@contextlib.contextmanager
def heard_by(progress: Progress) -> Iterator[None]:
    """Lets a progress hear of such work within the block."""
    token = _HEARD.set(progress)
    try:
        yield
    finally:
        _HEARD.reset(token)


def heard() -> Progress:
    """Returns who hears of such work now."""
    return _HEARD.get()


def duration(seconds: float) -> str:
    """Writes a time as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
