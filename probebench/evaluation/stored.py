"""A result is computed once: what is there already is read, and what is computed is written."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from probebench.evaluation.record import Measured, Task, measured_result
from probebench.results.schema import Result
from probebench.results.store import read_predictions, read_result, write_predictions, write_result

TaskT = TypeVar("TaskT", bound=Task)


def keep(task: Task, path: Path, measured: Measured) -> Result:
    """Writes predictions and then the result whose JSON is ``path``, and returns it."""
    result = measured_result(task, measured, write_predictions(path, measured.predictions))
    write_result(path, result)
    return result


def stored_or_compute(
    task: TaskT,
    paths: Sequence[Path],
    compute: Callable[[], Iterable[Measured]],
    keep: Callable[[TaskT, Path, Measured], Result] = keep,
) -> tuple[list[Result], bool]:
    """Returns a task's results, computed and written unless all of them are there already.

    Args:
        task: What was asked for.
        paths: Of the results' JSON.
        compute: Measures, one for each path.
        keep: Writes one.

    Returns:
        The results, and whether this call computed them.

    Raises:
        ResultError: A result is there, but damaged.
    """
    if not all(path.exists() for path in paths):
        return [keep(task, path, measured) for path, measured in zip(paths, compute(), strict=True)], True
    results = [read_result(path) for path in paths]
    for path, result in zip(paths, results, strict=True):
        read_predictions(path, result)
    return results, False
