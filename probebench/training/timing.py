"""How fast a training is, found by a few of its steps."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from probebench.progress import Silent
from probebench.registry.optimization import Schedule
from probebench.training.loop import run
from probebench.training.options import TrainingOptions
from probebench.training.training import Training


class _Stopwatch(Silent):
    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def advance(self, count: int, limit: str | None = None) -> None:
        self._seen.append((time.perf_counter(), count))

    def rate(self) -> float:
        (first, _), *others = [one for one in self._seen if one[1]]
        return sum(count for _, count in others) / max(others[-1][0] - first, 1e-9)


def images_a_second(training: Training, options: TrainingOptions) -> float:
    """Runs a training of two steps or more and returns its rate after the first, which warms up; nothing is kept.

    Raises:
        ProbebenchError: Images cannot be read, or memory runs out.
    """
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        few = replace(training, schedule=Schedule(warmup_steps=0), path=Path(folder) / "timed.pt")
        run(few, options, watch)
    return watch.rate()
