"""How the command line talks: results on standard output, everything else on standard error."""

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TextIO, TypeVar

import click

from probebench.errors import ProbebenchError, ProbebenchWarning, UnfinishedError
from probebench.progress import duration

T = TypeVar("T")


def warn(message: str) -> None:
    """Writes one warning line."""
    click.echo(f"warning: {message}", err=True)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Writes our own warnings as lines, each time; those of libraries go their own way."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, ProbebenchWarning):
            warn(str(message))
        else:
            usual(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.simplefilter("always", ProbebenchWarning)
        usual, warnings.showwarning = warnings.showwarning, show
        yield


def print_json(value: Any) -> None:
    """Writes JSON to standard output."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def print_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Writes a table; each column is (heading, "left" or "right"). Nothing in it is read as markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for heading, side in columns:
        table.add_column(Text(heading), justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # A pipe has no width; a table cut to 80 columns there would lose text.
    Console(width=None if sys.stdout.isatty() else 200, soft_wrap=False).print(table)


class ProgressLines:
    """A progress bar with rate and time left on a terminal, plain periodic lines elsewhere, all on standard error."""

    def __init__(self, unit: str, every: float = 10.0) -> None:
        """Takes the unit of what is counted, and the seconds between plain lines."""
        self._unit, self._every = unit, every
        self._bar: Any = None
        self._task: Any = None
        self._what, self._total, self._done, self._began_at = "", 0, 0, 0
        self._limit = ""
        self._began = self._told = 0.0

    def __enter__(self) -> Self:
        """Opens the bar where there is a terminal."""
        if sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[rate]}", markup=False),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the terminal as it was."""
        if self._bar:
            self._bar.stop()

    def start(self, what: str, total: int, done: int) -> None:
        """One piece of work begins, ``done`` of its ``total`` being there already."""
        self._what, self._total, self._done, self._began_at, self._limit = what, total, done, done, ""
        self._began = self._told = time.monotonic()
        if self._bar:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(what, total=total, completed=done, rate="")
        elif done:
            click.echo(f"{what}: goes on at {done} of {total} {self._unit}", err=True)

    def advance(self, count: int = 1, limit: str | None = None) -> None:
        """``count`` more are done; ``limit`` is what holds the others up now."""
        self._done += count
        self._limit = f", limited by {limit}" if limit else ""
        now = time.monotonic()
        rate = max(self._done - self._began_at, 1e-9) / max(now - self._began, 1e-9)
        if self._bar:
            self._bar.update(
                self._task,
                completed=self._done,
                rate=(f"{rate:.0f} {self._unit}/s" if rate >= 10 else "") + self._limit,
            )
        elif now - self._told >= self._every and self._done < self._total:
            self._told = now
            left = duration((self._total - self._done) / rate)
            done = f"{self._done} of {self._total} {self._unit}"
            click.echo(f"{self._what}: {done}, {rate:.1f}/s{self._limit}, {left} left", err=True)

    def note(self, message: str) -> None:
        """Writes one line beside the progress."""
        if self._bar:
            self._bar.console.print(message, markup=False, highlight=False)
        else:
            click.echo(message, err=True)

    def finish(self) -> None:
        """The piece of work is complete."""
        if self._bar and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


def done_of(call: Callable[[], T]) -> tuple[T, tuple[str, ...]]:
    """Returns what a call did, and a line for each thing that it could not do."""
    try:
        return call(), ()
    except UnfinishedError as error:
        return error.done, error.problems


def raise_all(failures: Sequence[str]) -> None:
    """Says every failure once, each in an error line.

    Raises:
        ProbebenchError: There is one; the last is its message, which the command prints.
    """
    distinct = list(dict.fromkeys(failures))
    for failure in distinct[:-1]:
        click.echo(f"error: {failure}", err=True)
    if distinct:
        raise ProbebenchError(distinct[-1])
