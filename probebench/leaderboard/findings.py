"""What a check found, in lines that are safe to print."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from probebench.errors import one_line

# No line of a hostile file fills the screen.
_LONGEST = 400


def plain(text: str) -> str:
    """Returns text on one line, with control characters, direction marks and lone surrogates written out."""
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


@dataclass(frozen=True, order=True)
class Finding:
    """One line: the file, and what is to say of it."""

    file: str
    what: str

    def __str__(self) -> str:
        """The line."""
        return f"{self.file}: {self.what}"


def in_short(findings: Iterable[Finding]) -> list[str]:
    """Returns a line for each thing that was found, where files share it with their number and the first of them."""
    files: dict[str, list[str]] = defaultdict(list)
    for one in findings:
        files[one.what].append(one.file)
    return [f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {what}" for what, names in files.items()]


@dataclass
class Findings:
    """Everything that a run of checks found.

    Attributes:
        root: Files are named from here.
        failures: What is wrong.
        unchecked: What could not be checked on this machine.
        notes: What a reader should know, and nothing is wrong with.
    """

    root: Path
    failures: list[Finding] = field(default_factory=list)
    unchecked: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def fail(self, path: Path, what: str) -> None:
        """Adds a failure."""
        self.failures.append(self._finding(path, what))

    def pass_over(self, path: Path, what: str) -> None:
        """Adds what could not be checked here."""
        self.unchecked.append(self._finding(path, what))

    def note(self, path: Path, what: str) -> None:
        """Adds a note."""
        self.notes.append(self._finding(path, what))

    def _finding(self, path: Path, what: str) -> Finding:
        name = str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)
        return Finding(plain(name), plain(what))

    @contextlib.contextmanager
    def guard(self, path: Path) -> Iterator[None]:
        """Turns whatever a hostile file makes a check raise into a failure of that file."""
        try:
            yield
        # Files of strangers make parsers raise whatever they stumble over, recursion and memory errors included.
        except Exception as error:
            self.fail(path, f"cannot be checked ({type(error).__name__}: {one_line(error, 160)})")
