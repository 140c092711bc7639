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
from probebench.progress import Silent, duration

T = TypeVar("T")
# What a rate takes to settle: seconds, and a share of the work, after the first of it was done.
_SETTLED_S, _SETTLED = 5.0, 0.02


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
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


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

    def __init__(self, unit: str, every: float = 10.0, after: float = 0.0) -> None:
        """Takes the unit of what is counted, the seconds between plain lines, and those before anything is shown."""
        self._unit, self._every, self._after = unit, every, after
        self._bar: Any = None
        self._task: Any = None
        self._what, self._total, self._done, self._began_at = "", 0, 0, 0
        self._limit = ""
        self._began = self._told = 0.0
        # When the first were done, and how many: what came before them, such as loading, says nothing of the rate.
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        """Opens the bar where there is a terminal, unless it is to wait."""
        if not self._after:
            self._open()
        return self

    def _open(self) -> None:
        if sys.stderr.isatty() and self._bar is None:
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[rate]}", markup=False),
                progress.TextColumn("{task.fields[left]}", markup=False),
                console=Console(stderr=True),
            )
            self._bar.start()

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
        self._first = None
        if self._after:
            # Told of once it has taken so long.
            self._told += self._after - self._every
        elif self._bar:
            self._add_task()
        elif done:
            click.echo(f"{what}: goes on at {done} of {total} {self._unit}", err=True)

    def _add_task(self) -> None:
        if not self._bar:
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(self._what, total=self._total, completed=self._done, rate="", left="")

    def advance(self, count: int = 1, limit: str | None = None) -> None:
        """``count`` more are done; ``limit`` is what holds the others up now."""
        self._done += count
        self._limit = f", limited by {limit}" if limit else ""
        now = time.monotonic()
        if self._first is None and count:
            self._first = now, self._done
        if self._after and now - self._began >= self._after and self._bar is None:
            self._open()
            self._add_task()
        rate = max(self._done - self._began_at, 1e-9) / max(now - self._began, 1e-9)
        if self._bar:
            self._bar.update(
                self._task,
                completed=self._done,
                rate=(f"{rate:.0f} {self._unit}/s" if rate >= 10 else "") + self._limit,
                left=self._left(now).removeprefix(", "),
            )
        elif now - self._told >= self._every and self._done < self._total:
            self._told = now
            often = f"{rate:.1f}/s" if rate >= 0.1 else f"{60 * rate:.1f}/min"
            done = f"{self._done} of {self._total} {self._unit}, {often}"
            done = f"{self._done}%" if self._unit == "%" else done
            click.echo(f"{self._what}: {done}{self._limit}{self._left(now)}", err=True)

    def _left(self, now: float) -> str:
        """Returns the time left once the rate has settled: some seconds and some of the work after the first."""
        since, done = self._first or (now, self._done)
        if now - since < _SETTLED_S or self._done - done < _SETTLED * (self._total - self._began_at):
            return ""
        rate = (self._done - done) / (now - since)
        return f", {duration((self._total - self._done) / rate)} left"

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
        if self._bar and self._after:
            self._bar.stop()
            self._bar = None


class EpochLines(ProgressLines):
    """Of training, with a line for an epoch at most every few seconds."""

    def __init__(self, unit: str) -> None:
        """Takes the unit of what is counted."""
        super().__init__(unit)
        self._said = float("-inf")

    def note(self, message: str) -> None:
        """Writes one line beside the progress."""
        if "epoch " in message:
            now = time.monotonic()
            if now - self._said < 10.0:
                return
            self._said = now
        super().note(message)


class Told(Silent):
    """Of a dry run, what is told is the output."""

    def note(self, message: str) -> None:
        """Writes one line."""
        click.echo(message)


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
