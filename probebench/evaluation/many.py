"""Many tasks, here or on an engine: each gives its result or the reason why it has none."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from probebench.engine import Ray
from probebench.errors import ProbebenchError

Item = TypeVar("Item")
Out = TypeVar("Out")


def results_or_errors(
    run: Callable[[Item], Out], items: Sequence[Item], engine: Ray | None = None
) -> Iterator[Out | ProbebenchError]:
    """Yields ``run(item)`` of every item, or the error that it ended in, in the order of the items.

    Args:
        run: Computes one; with an engine, of a module that its workers can import, with arguments that can be sent.
        items: What to compute.
        engine: Spreads items as jobs; None computes them here.

    Raises:
        OSError: A folder is full or cannot be written.
        EngineError: An item lost its worker again and again.
    """
    if engine is None:
        return (_result_or_error(run, item) for item in items)
    return engine.map(partial(_result_or_error, run), items, gpu=bool(engine.gpus))


def _result_or_error(run: Callable[[Item], Out], item: Item) -> Out | ProbebenchError:
    try:
        return run(item)
    except ProbebenchError as error:
        return error
