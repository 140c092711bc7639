"""What every function of the front door begins with: the registry, and who hears how far it is."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from probebench.errors import ProbebenchError, ProbebenchWarning, UnfinishedError, UsageError
from probebench.files import home
from probebench.progress import Progress, Silent

if TYPE_CHECKING:
    from probebench.api.tables import Results
    from probebench.engine import Ray
    from probebench.registry import Registry


Path_ = str | os.PathLike[str]
# Folders of a user's own entries, one or several.
Folders = Path_ | Sequence[Path_]
EngineName = Literal["local", "ray"]
# Whether to show a bar, what hears how far work is, or what makes such a hearer of a unit that is counted.
Watching = bool | Progress | Callable[[str], AbstractContextManager[Progress]]


def entry_folders(registry: Folders = ()) -> tuple[Path, ...]:
    """Returns the folders of a user's own entries: those that were named, and the home's ``registry``."""
    own = home() / "registry"
    return (*(Path(one) for one in listed(registry)), *([own] if own.is_dir() else []))


def new_entries(registry: Folders = ()) -> Path:
    """Returns the folder that takes new entries: the first named, else $PROBEBENCH_REGISTRY's, else the home's."""
    named = [part for part in os.environ.get("PROBEBENCH_REGISTRY", "").split(os.pathsep) if part]
    return Path([*listed(registry), *named, home() / "registry"][0])


def open_registry(registry: Folders = ()) -> "Registry":
    """Loads the shipped entries, those of some folders and of $PROBEBENCH_REGISTRY, and the home's own.

    Raises:
        RegistryError: An entry is malformed, or two share an id.
    """
    from probebench.registry import Registry

    return Registry.load(entry_folders(registry))


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
    warnings.warn(message, ProbebenchWarning, stacklevel=3)


def finished(results: "Results", problems: Sequence[object]) -> "Results":
    """Returns results where there was no problem.

    Raises:
        ProbebenchError: The one thing that was asked for failed, so: its own error.
        UnfinishedError: There are several problems, or results beside them, which it holds.
    """
    if len(problems) == 1 and not results and isinstance(problems[0], ProbebenchError):
        raise problems[0]
    if problems:
        raise UnfinishedError(results, problems)
    return results


@contextlib.contextmanager
def started(engine: EngineName) -> "Iterator[Ray | None]":
    """Joins or starts the engine that was asked for; None is this process.

    Raises:
        UsageError: Ray is not installed, or its cluster cannot be reached.
        ProbebenchError: A task lost its worker again and again.
    """
    if engine == "local":
        yield None
        return
    if engine != "ray":
        raise UsageError(f"engine= takes 'local' or 'ray', not {engine!r}")
    from probebench.engine import EngineError, Ray

    try:
        cluster = Ray()
    except EngineError as error:
        raise UsageError(str(error)) from error
    with cluster:
        try:
            yield cluster
        except EngineError as error:
            raise ProbebenchError(str(error)) from error


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
def watched(progress: Watching, unit: str) -> Iterator[Progress]:
    """Gives what hears how far a piece of work is; a bar of ours is closed after an error too."""
    if callable(progress):
        with progress(unit) as told:
            yield told
        return
    if not isinstance(progress, bool):
        yield progress
        return
    bar = _Bar(unit) if progress else Silent()
    try:
        yield bar
    finally:
        bar.finish()
