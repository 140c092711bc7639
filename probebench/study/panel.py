"""One comparison's table: rows (sources, or checkpoints) by runs, data sets and numbers of shots, on both scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from probebench.registry.entry import Shots
from probebench.results.cells import shots_text
from probebench.study.engine import Array, Mask, filled
from probebench.study.observations import Observation

Scale = Literal["points", "logit"]
Level = Literal["zero-shot", "few-shot", "full"]
SCALES: tuple[Scale, Scale] = ("points", "logit")
LEVELS: tuple[Level, ...] = ("few-shot", "full", "zero-shot")
WORDS: dict[Level, str] = {"few-shot": "few shots", "full": "full data", "zero-shot": "zero-shot"}
# More images a class than these are many: they are shown, and no part of what is called few-shot.
FEW = 50
# A test set of fewer images is too noisy for what is read of spreads: its noise would swamp the others'.
IMAGES = 500

# A source, or what else is compared: (source, size), (side, source), a checkpoint.
Row = Any


def level_of(shots: Shots) -> Level | None:
    """Returns which of the levels a number of shots belongs to; None for the many that are not all."""
    if shots == "full":
        return "full"
    return "zero-shot" if shots == 0 else "few-shot" if shots <= FEW else None


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Scores of rows that are compared.

    Attributes:
        rows: [S].
        run_names: [R], None for checkpoints that name no run.
        datasets: [D].
        shots: [L], ascending, full last.
        scores: Scale -> [S, R, D, L], percent or logit; NaN where there is none.
        noise: Scale -> the sampling variance of each.
        least: Scale -> the least it can be, where what test images share is unknown.
        flagged: [S, D, L]; within two standard errors of chance or of the ceiling.
        images: [D, L], the fewest test images behind a score; inf where it is unknown.
        settings: [D, L], tunings behind each score.
        equal: Whether all rows have the same tunings wherever there are several.
        members: (row, data set, shots) -> observations.
        dropped: What was left out, and why.
    """

    rows: tuple[Row, ...]
    run_names: tuple[int | None, ...]
    datasets: tuple[str, ...]
    shots: tuple[Shots, ...]
    scores: Mapping[Scale, Array]
    noise: Mapping[Scale, Array]
    least: Mapping[Scale, Array]
    flagged: Mask
    images: Array
    settings: Array
    equal: bool
    members: Mapping[tuple[Row, str, Shots], tuple[Observation, ...]]
    dropped: tuple[tuple[str, str], ...] = ()

    def fewest_runs(self, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None) -> int:
        """Returns how many runs a row has at least on a data set on which it has some; of all by default."""
        chosen = (
            range(len(held)) if some is None else list(some)
            for some, held in ((rows, self.rows), (columns, self.datasets))
        )
        counts = (~np.isnan(self.scores["points"]).all(axis=3)).sum(axis=1)[np.ix_(*chosen)]
        return int(counts[counts > 0].min(initial=counts.max(initial=0)))

    @property
    def most_runs(self) -> int:
        """The most runs that a row has on a data set."""
        return int((~np.isnan(self.scores["points"]).all(axis=3)).sum(axis=1).max())

    def cleared(self) -> "Panel":
        """Returns the panel without flagged scores: of no row, where one lies at chance or at the ceiling."""
        off = self.flagged.any(axis=0)
        scores = {scale: np.where(off, np.nan, table) for scale, table in self.scores.items()}
        return replace(self, scores=scores, flagged=np.zeros_like(self.flagged))

    def left_out(self) -> list[tuple[str, str]]:
        """Says which numbers of shots of which data sets no spread is read of, and why."""
        found = []
        flagged: Mask = np.asarray(self.flagged.any(axis=0))
        for off, why in (
            (flagged, "a source lies at chance or at the ceiling: claims must hold without it too"),
            (self.images < IMAGES, f"fewer than {IMAGES} test images: no spread is read of it"),
        ):
            where = [
                f"{dataset} at {shots_text(shots)}"
                for d, dataset in enumerate(self.datasets)
                for at, shots in enumerate(self.shots)
                if off[d, at]
            ]
            if where:
                found.append((", ".join(where), why))
        return found

    def over_runs(self, scale: Scale, *, least: bool = False) -> tuple[Array, Array]:
        """Returns the mean over the runs of each row [S, D, L], and its variance by runs, draws and test images.

        Args:
            scale: Of the scores.
            least: Give the least that the variance can be.
        """
        there = ~np.isnan(self.scores[scale])
        number = there.sum(axis=1).astype(float)
        number[number == 0] = np.nan
        means: Array = np.where(there, self.scores[scale], 0.0).sum(axis=1) / number
        variance = (self.least if least else self.noise)[scale]
        noise: Array = np.where(there, variance, 0.0).sum(axis=1) / number**2
        return means, self._by_runs(self.scores[scale], noise)

    def _by_runs(self, table: Array, noise: Array) -> Array:
        """Returns the variance of means over runs: how runs of one row differ, where all rows have several.

        It holds the noise of draws and test images too. Its mean over rows counts: of two runs each is poorly known. A
        data set on which a row has one run takes the mean of the others.

        Args:
            table: [S, R, D, ...].
            noise: Of the means without runs [S, D, ...].
        """
        there = ~np.isnan(table)
        number = there.sum(axis=1)
        known = ((number > 1) | (number == 0)).all(axis=0) & (number > 1).any(axis=0)
        if not known.any():
            return noise
        means = np.where(there, table, 0.0).sum(axis=1) / np.maximum(number, 1)
        squares = np.where(there, (table - means[:, None]) ** 2, 0.0).sum(axis=(0, 1))
        each = squares / np.maximum((number - 1).clip(min=0).sum(axis=0), 1)
        each = np.where(known, each, each[known].mean())
        found: Array = np.where(number > 0, each / np.maximum(number, 1), np.nan)
        return found

    def places(self, level: Level) -> list[int]:
        """Returns the positions of the numbers of shots of a level; many shots are few-shot where nobody has fewer."""
        found = [place for place, shots in enumerate(self.shots) if level_of(shots) == level]
        if level == "few-shot" and not found:
            return [place for place, shots in enumerate(self.shots) if level_of(shots) is None]
        return found

    @property
    def levels(self) -> list[Level]:
        """The levels at which there is a score."""
        return [level for level in LEVELS if self.places(level)]

    @property
    def headline(self) -> Level:
        """Few-shot where there is one, else full, else zero-shot."""
        return self.levels[0]

    def only(self, rows: Sequence[int]) -> "Panel":
        """Returns some of the rows, by position."""
        chosen = list(rows)
        kept = {self.rows[place] for place in chosen}
        return replace(
            self,
            rows=tuple(self.rows[place] for place in chosen),
            scores={scale: table[chosen] for scale, table in self.scores.items()},
            noise={scale: table[chosen] for scale, table in self.noise.items()},
            least={scale: table[chosen] for scale, table in self.least.items()},
            flagged=self.flagged[chosen],
            members={key: found for key, found in self.members.items() if key[0] in kept},
        )

    def _used(self, places: Sequence[int], clear: bool) -> Mask:
        """Returns which numbers of shots count on which data set [D, L].

        Those that most rows have, so that all rows are averaged over the same ones.
        """
        held = ~np.isnan(self.scores["points"][..., list(places)]).all(axis=1)
        counts = held.sum(axis=0)
        used: Mask = (counts == counts.max(axis=1, keepdims=True)) & (counts > 0)
        if clear:
            used &= ~self.flagged[..., list(places)].any(axis=0)
        return used

    def by_run(self, scale: Scale, places: Sequence[int], *, clear: bool = False) -> Array:
        """Returns the mean over some numbers of shots [S, R, D].

        Args:
            scale: Of the scores.
            places: Numbers of shots by position.
            clear: Leave out numbers of shots of a data set at which a row lies at chance or at the ceiling.
        """
        table, used = self.scores[scale][..., list(places)], self._used(places, clear)
        total = np.where(used, table, 0.0).sum(axis=3)
        number = used.sum(axis=1).astype(float)
        number[number == 0] = np.nan
        found: Array = total / number
        return found

    def means(self, scale: Scale, places: Sequence[int], *, clear: bool = False) -> Array:
        """Returns the same [S, D], the mean over the runs of each row."""
        runs = self.by_run(scale, places, clear=clear)
        there = ~np.isnan(runs)
        number = there.sum(axis=1).astype(float)
        number[number == 0] = np.nan
        found: Array = np.where(there, runs, 0.0).sum(axis=1) / number
        return found

    def level_noise(self, scale: Scale, places: Sequence[int]) -> Array:
        """Returns the variance of those means by runs, draws and test images [S, D]."""
        table = self.noise[scale][..., list(places)]
        there = ~np.isnan(self.scores[scale][..., list(places)]) & self._used(places, False)
        number = np.maximum(there.sum(axis=(1, 3)), 1)
        return self._by_runs(self.by_run(scale, places), np.where(there, table, 0.0).sum(axis=(1, 3)) / number**2)

    def large(self, places: Sequence[int]) -> list[int]:
        """Returns the data sets whose test sets are large enough to read spreads of; all, where none is."""
        kept = [d for d in range(len(self.datasets)) if self.images[d, list(places)].min() >= IMAGES]
        return kept or list(range(len(self.datasets)))

    def is_clear(self, places: Sequence[int]) -> bool:
        """Says whether no score at these numbers of shots lies at chance or at the ceiling."""
        return not self.flagged[..., list(places)].any()

    def used(self, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None) -> list[Observation]:
        """Returns every observation behind some rows and data sets, by position; of all by default."""
        names = set(self.rows if rows is None else (self.rows[place] for place in rows))
        datasets = set(self.datasets if columns is None else (self.datasets[place] for place in columns))
        found = (held for key, held in self.members.items() if key[0] in names and key[1] in datasets)
        return list({id(one): one for held in found for one in held}.values())


def averaged(panels: Sequence[Panel]) -> Panel:
    """Returns the mean of panels of different checkpoints, of what rows, runs, data sets and numbers of shots all have.

    A run of a row is the mean of that run of all panels; where none has the same name, the first is that of the first.
    """
    first, *others = panels
    rows, names, datasets, shots = (
        tuple(one for one in getattr(first, axis) if all(one in getattr(other, axis) for other in others))
        for axis in ("rows", "run_names", "datasets", "shots")
    )
    names = names or first.run_names[: min(len(panel.run_names) for panel in panels)]

    def shared(panel: Panel, table: Any, *axes: str) -> Any:
        """Returns a table [S, R, D, L], or what of it has these axes, on what is shared."""
        kept = {"rows": rows, "run_names": names, "datasets": datasets, "shots": shots}
        places = [
            [held.index(one) if one in held else place for place, one in enumerate(kept[axis])]
            for axis in axes
            for held in [getattr(panel, axis)]
        ]
        return table[np.ix_(*places)]

    def mean(name: Literal["scores", "noise", "least"], power: int = 1) -> dict[Scale, Array]:
        axes = "rows", "run_names", "datasets", "shots"
        return {
            scale: sum(shared(panel, getattr(panel, name)[scale], *axes) for panel in panels) / len(panels) ** power
            for scale in SCALES
        }

    members: dict[tuple[Row, str, Shots], tuple[Observation, ...]] = {}
    for panel in panels:
        for key, found in panel.members.items():
            if key[0] in rows and key[1] in datasets and key[2] in shots:
                members[key] = members.get(key, ()) + found
    return Panel(
        rows=rows,
        run_names=names,
        datasets=datasets,
        shots=shots,
        scores=mean("scores"),
        noise=mean("noise", 2),
        least=mean("least", 2),
        flagged=np.logical_or.reduce([shared(panel, panel.flagged, "rows", "datasets", "shots") for panel in panels]),
        images=np.minimum.reduce([shared(panel, panel.images, "datasets", "shots") for panel in panels]),
        settings=np.maximum.reduce([shared(panel, panel.settings, "datasets", "shots") for panel in panels]),
        equal=all(panel.equal for panel in panels),
        members=members,
        dropped=tuple(dict.fromkeys(one for panel in panels for one in panel.dropped)),
    )


def whole(table: Array) -> tuple[Array, list[int], list[int]]:
    """Drops rows and data sets [S, D] that lack more than half, the emptiest first, and fills what is left.

    Returns the table and the positions of its rows and columns.
    """
    rows, columns = list(range(table.shape[0])), list(range(table.shape[1]))
    while rows and columns:
        there = ~np.isnan(table[np.ix_(rows, columns)])
        by_row, by_column = there.mean(axis=1), there.mean(axis=0)
        if by_row.min() > 0.5 and by_column.min() > 0.5:
            break
        if by_row.min() <= by_column.min():
            rows.pop(int(by_row.argmin()))
        else:
            columns.pop(int(by_column.argmin()))
    kept = table[np.ix_(rows, columns)]
    return (filled(kept) if kept.size else kept), rows, columns
