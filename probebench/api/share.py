"""How far several evaluations are, in percent of the work."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from probebench.errors import ProbebenchError
from probebench.progress import Progress

if TYPE_CHECKING:
    from probebench.evaluation.probe_task import ProbeTask


class Share:
    """Tells fits of several tasks as percent of the work: one on full data takes as long as many few-shot ones."""

    def __init__(self, told: Progress, tasks: "Sequence[ProbeTask]") -> None:
        """Takes what hears of it, and the tasks."""
        self._told, self._shown = told, 0
        costs = [_cost(task) for task in tasks]
        whole = sum(costs) or 1.0
        self._shares = iter(cost / whole for cost in costs)
        self._planned = iter(len(task.seeds) * task.fits_a_draw for task in tasks)
        self._done, self._fits = 0.0, 0
        self._begin()
        told.start("probes", 100, 0)

    def _begin(self) -> None:
        self._share, self._count = next(self._shares, 0.0), max(next(self._planned, 1), 1)
        self._fits = 0

    def fits(self, count: int) -> None:
        """So many fits of the task at work are done."""
        self._fits += count
        self._show(self._done + self._share * min(self._fits / self._count, 1.0))

    def over(self) -> None:
        """The task at work is done."""
        self._done += self._share
        self._show(self._done)
        self._begin()

    def _show(self, done: float) -> None:
        percent = int(100 * done + 1e-6)
        self._told.advance(percent - self._shown)
        self._shown = percent


def _cost(task: "ProbeTask") -> float:
    from probebench.probes.cost import cost, machine

    try:
        found = cost(task.cell, machine("cpu"))
    except (ProbebenchError, OSError):
        # What is wrong with it is told when it is evaluated.
        return 0.0
    return found.seconds if found else 1.0
