"""Makes panels of observations: equal tuning, both scales, noise, and what lies at chance or at the ceiling."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from probebench.registry.entry import Shots
from probebench.results.cells import in_order, shots_text
from probebench.study.engine import Array
from probebench.study.noise import Noise
from probebench.study.observations import Observation, equally_tuned, group_by
from probebench.study.panel import SCALES, Panel, Row, Scale, averaged


@dataclass
class PanelMaker:
    """Makes panels.

    Attributes:
        noise: Of scores.
        chance: Score of guessing, by data set; 0 where it is unknown.
        over_methods: Whether each method has a panel of its own, and their mean is given.
        made: Panels that were made, with their cells, by what of: those of one method are asked for again with others.
    """

    noise: Noise
    chance: Mapping[str, float] = field(default_factory=dict)
    over_methods: bool = False
    made: dict[tuple[object, ...], tuple[Panel, tuple[Observation, ...]]] = field(default_factory=dict)

    def make(
        self, cells: Iterable[Observation], row: Callable[[Observation], Row], *, tuned_by_source: bool = False
    ) -> Panel:
        """Puts observations into a panel; several of one row, run, data set and number of shots are averaged.

        Args:
            cells: The observations.
            row: Of each.
            tuned_by_source: Whether only rows of one source are held against each other, so that only these need
                equal tuning.
        """
        if self.over_methods:
            alone = replace(self, over_methods=False)
            by_method = group_by(cells, lambda cell: (cell.method, cell.objective))
            return averaged([alone.make(own, row, tuned_by_source=tuned_by_source) for own in by_method.values()])
        listed = tuple(cells)
        key = row, tuned_by_source, tuple(map(id, listed))
        if key not in self.made:
            # The cells are kept, or another's identity could be theirs.
            self.made[key] = self._make(listed, row, tuned_by_source), listed
        return self.made[key][0]

    def _make(self, cells: Sequence[Observation], row: Callable[[Observation], Row], tuned_by_source: bool) -> Panel:
        held: dict[tuple[str, Shots], dict[Row, list[Observation]]] = defaultdict(lambda: defaultdict(list))
        members: dict[tuple[Row, str, Shots], list[Observation]] = defaultdict(list)
        for cell in cells:
            held[cell.dataset, cell.shots][row(cell)].append(cell)
            members[row(cell), cell.dataset, cell.shots].append(cell)
        rows = sorted({name for found in held.values() for name in found}, key=str)
        runs = sorted({cell.run for cell in cells}, key=lambda run: (run is not None, run or 0))
        datasets = sorted({dataset for dataset, _ in held})
        levels, dropped = _levels(held, datasets)
        shape = (len(rows), len(runs), len(datasets), len(levels))
        scores: dict[Scale, Array] = {scale: np.full(shape, np.nan) for scale in SCALES}
        noise: dict[Scale, Array] = {scale: np.full(shape, np.nan) for scale in SCALES}
        least: dict[Scale, Array] = {scale: np.full(shape, np.nan) for scale in SCALES}
        flagged = np.zeros((shape[0], *shape[2:]), dtype=bool)
        images = np.full(shape[2:], math.inf)
        settings = np.ones(shape[2:], dtype=int)
        equal = True
        for d, dataset in enumerate(datasets):
            for at, shots in enumerate(levels):
                found = held.get((dataset, shots))
                if not found:
                    continue
                listed = [cell for name in rows for cell in found.get(name, ())]
                values, settings[d, at], same = _tuned(listed, by_source=tuned_by_source)
                equal &= same
                variances = self.noise.bounds(listed, values)
                images[d, at] = min(cell.images or math.inf for cell in listed)
                self._place(
                    [(rows.index(row(one)), runs.index(one.run), d, at) for one in listed],
                    np.array(values),
                    variances,
                    np.array([cell.images or 1000 for cell in listed], dtype=float),
                    (scores, noise, least),
                )
                error = np.sqrt(np.nan_to_num(variances[0]))
                low, high = self.chance.get(dataset.split(" (")[0], 0.0), 1.0
                for cell, value, off in zip(listed, values, error, strict=True):
                    flagged[rows.index(row(cell)), d, at] |= value - 2 * off <= low or value + 2 * off >= high
        return Panel(
            rows=tuple(rows),
            run_names=tuple(runs),
            datasets=tuple(datasets),
            shots=tuple(levels),
            scores=scores,
            noise=noise,
            least=least,
            flagged=flagged,
            images=images,
            settings=settings,
            equal=equal,
            members={key: tuple(found) for key, found in members.items() if key[2] in levels},
            dropped=tuple(dropped),
        )

    @staticmethod
    def _place(
        where: Sequence[tuple[int, int, int, int]],
        values: Array,
        variances: tuple[Array, Array],
        images: Array,
        into: tuple[dict[Scale, Array], dict[Scale, Array], dict[Scale, Array]],
    ) -> None:
        """Writes scores and both bounds of their noise on both scales, averaging what shares a place."""
        scores, *noises = into
        # A score of 0 or 1 counts as half a test image away from it: its logit must be finite.
        inside = np.clip(values, 0.5 / images, 1 - 0.5 / images)
        slope = inside * (1 - inside)
        places, position = np.unique(np.array(where), axis=0, return_inverse=True)
        count = np.bincount(position.ravel())
        at = tuple(places.T)

        def averaged(found: Array) -> Array:
            return np.bincount(position.ravel(), weights=found) / count

        scores["points"][at] = averaged(100 * values)
        scores["logit"][at] = averaged(np.log(inside / (1 - inside)))
        for noise, variance in zip(noises, variances, strict=True):
            noise["points"][at] = averaged(1e4 * variance) / count
            noise["logit"][at] = averaged(variance / slope**2) / count


def _tuned(listed: Sequence[Observation], *, by_source: bool) -> tuple[list[float], int, bool]:
    """Returns scores of equal tuning (``equally_tuned``), the most settings behind one, and whether all share them."""
    groups = group_by(range(len(listed)), lambda place: listed[place].source if by_source else "")
    found = [0.0] * len(listed)
    most, equal = 1, True
    for places in groups.values():
        scores, count, same = equally_tuned([listed[place] for place in places])
        for place, score in zip(places, scores, strict=True):
            found[place] = score
        most, equal = max(most, count), equal and same
    return found, most, equal


def _levels(
    held: Mapping[tuple[str, Shots], Mapping[Row, object]], datasets: Sequence[str]
) -> tuple[list[Shots], list[tuple[str, str]]]:
    """Returns the numbers of shots that half the data sets have, and what that leaves out."""
    with_it = {shots: {dataset for dataset, at in held if at == shots} for _, shots in held}
    kept = [shots for shots in in_order(with_it) if 2 * len(with_it[shots]) >= len(datasets)]
    if not kept:
        kept = in_order(with_it)
    few = [shots for shots in in_order(with_it) if shots not in kept]
    dropped = [(shots_text(shots), f"only {len(with_it[shots])} of {len(datasets)} data sets have it") for shots in few]
    return kept, dropped
