"""What every function of the front door begins with: the registry, and who hears how far it is."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.errors import ProbebenchError, UsageError
from probebench.files import home
from probebench.progress import Progress, Silent

if TYPE_CHECKING:
    from probebench.registry import Registry


def own_entries() -> Path:
    """Returns the folder that takes entries of a user's own checkpoints; command line and Python both read it."""
    return home() / "registry"


def open_registry(extra: Sequence[Path] = ()) -> "Registry":
    """Loads the shipped entries, those of $PROBEBENCH_REGISTRY, of ``extra`` folders, and the home's own.

    Raises:
        RegistryError: An entry is malformed, or two share an id.
    """
    from probebench.registry import Registry

    own = own_entries()
    return Registry.load((*extra, own) if own.is_dir() else extra)


def listed(values: Any) -> list[Any]:
    """Returns one value or several as a list; a text is one value."""
    if values is None:
        return []
    return list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]


def shots_of(shots: Any) -> list[Any] | None:
    """Checks numbers of shots: positive whole numbers and "full", one or several.

    Raises:
        UsageError: One is something else.
    """
    if shots is None:
        return None
    asked = listed(shots)
    for one in asked:
        if one != "full" and (isinstance(one, bool) or not isinstance(one, int) or one < 1):
            raise UsageError(f"shots= takes positive whole numbers and 'full', such as [1, 5, 'full']; not {one!r}")
    return list(dict.fromkeys(asked))


def warn(message: str) -> None:
    """Warns the caller of the front door, once for each message and place."""
    warnings.warn(message, UserWarning, stacklevel=3)


def raise_first(problems: "Sequence[str | ProbebenchError]") -> None:
    """Raises for the first of some problems and counts the others; what could be done is done by then.

    Raises:
        ProbebenchError: There is one; of the kind of the first.
    """
    lines = dict.fromkeys(str(problem) for problem in problems)
    if problems:
        kind = type(problems[0]) if isinstance(problems[0], ProbebenchError) else ProbebenchError
        raise kind(next(iter(lines)) + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""))


class _Bar(Silent):
    """A bar of tqdm's, in a terminal or a notebook."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bar: Any = None

    def start(self, what: str, total: int, done: int) -> None:
        from tqdm.auto import tqdm

        self.finish()
        self._bar = tqdm(desc=what, total=total, initial=done, unit=f" {self._unit}")

    def advance(self, count: int, limit: str | None = None) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def note(self, message: str) -> None:
        from tqdm.auto import tqdm

        tqdm.write(message)


@contextlib.contextmanager
def watched(progress: bool, unit: str) -> Iterator[Progress]:
    """Gives what hears how far a piece of work is: a bar where one was asked for; it is closed after an error too."""
    bar = _Bar(unit) if progress else Silent()
    try:
        yield bar
    finally:
        bar.finish()
