"""How much more data of one source matches another?"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probebench.registry.entry import Shots
from probebench.results.cells import counted, in_order, shots_text, size_text
from probebench.results.stats import holm
from probebench.study.answer import ALPHA, Answer, Estimate, Table, Value, refusal, rests_on, selection_note
from probebench.study.noise import Array, values, variances
from probebench.study.observations import Observation, pretrained

_QUESTION, _TITLE = "scaling", "How much more data of one source matches another?"
_SIZES = 3
_GRID = 2001
_Z = 1.959963984540054
OVERALL = "mean of all"

# (method, objective, architecture, source)
Name = tuple[str, str, str, str]


@dataclass(frozen=True)
class SizePoint:
    """One source at one size: mean log-error over one data set or several, and its sampling variance."""

    name: Name
    samples: int
    log_error: float
    variance: float
    cells: tuple[Observation, ...]


@dataclass(frozen=True)
class Line:
    """Log-error as a straight line over log size, weighted by 1 / variance.

    Attributes:
        covariance: Of (height at the mean size, slope), widened by the lack of fit where there is some.
    """

    sizes: tuple[int, int]
    centre: float
    height: float
    slope: float
    covariance: Array

    def at(self, log_size: Array) -> tuple[Array, Array]:
        """Returns log-error and its variance at natural logarithms of sizes."""
        x = log_size - self.centre
        value: Array = self.height + self.slope * x
        spread: Array = self.covariance[0, 0] + 2 * x * self.covariance[0, 1] + x**2 * self.covariance[1, 1]
        return value, spread


@dataclass(frozen=True)
class Match:
    """How much of one source matches another at its size.

    Attributes:
        multiple: Size needed over the other's size. The value is None where it is not reached within the measured
            sizes; an end is None where the interval runs beyond them.
        state: "reached", "not reached", or "below the smallest size".
        p_value: That both are equal at the other's size; None where that size was not measured.
    """

    multiple: Estimate
    state: str
    p_value: float | None


def scaling_answer(listed: Sequence[Observation]) -> Answer:
    """Answers for one track."""
    track = str(listed[0].track)
    rows: list[dict[str, Value]] = []
    curves: list[dict[str, Value]] = []
    used: list[Observation] = []
    for (dataset, shots), points in _points(listed).items():
        series = {name: line for name in dict.fromkeys(point.name for point in points) if (line := fit(name, points))}
        drawn = {"dataset": dataset, "shots": shots}
        for name, line in series.items():
            curves += [{**drawn, **_curve(name, line, point)} for point in points if point.name == name]
            for other in points:
                if other.name != name and other.name[2] == name[2]:
                    rows.append({**drawn, **_row(name, line, other)})
                    used += [cell for point in points if point.name in (name, other.name) for cell in point.cells]
    if not rows:
        why = f"it takes one source at {_SIZES} sizes or more, and another, on one architecture and with known noise"
        return refusal(_QUESTION, _TITLE, track, why)
    overall = [row for row in rows if str(row["dataset"]).startswith(OVERALL)]
    found = _found(overall or rows)
    return Answer(
        question=_QUESTION,
        title=_TITLE,
        track=track,
        verdict=_verdict(overall or rows, found),
        found=found,
        tables=(_table(rows), _curve_table(curves)),
        notes=(
            "Log-error is fitted as a straight line over log size and read only within the measured sizes.",
            *selection_note(dict.fromkeys(used)),
        ),
        basis=rests_on(dict.fromkeys(used)),
    )


def _points(listed: Sequence[Observation]) -> dict[tuple[str, str], list[SizePoint]]:
    """Returns the points by data set and shots; those of the mean of all data sets come first."""
    held: dict[Shots, dict[tuple[Name, int], dict[str, Observation]]] = defaultdict(lambda: defaultdict(dict))
    for cell in pretrained(listed):
        if cell.samples:
            name = (cell.method, cell.objective, cell.architecture, cell.source)
            by_dataset = held[cell.shots][name, cell.samples]
            if cell.dataset not in by_dataset or by_dataset[cell.dataset].score < cell.score:
                by_dataset[cell.dataset] = cell
    found: dict[tuple[str, str], list[SizePoint]] = {}
    for shots in in_order(held):
        series = held[shots]
        datasets = sorted({dataset for by_dataset in series.values() for dataset in by_dataset})
        whole = _whole(series, datasets)
        if len(datasets) > 1 and len(whole) > 1:
            found[f"{OVERALL} {len(whole)} data sets", shots_text(shots)] = _gather(series, whole)
        for dataset in datasets:
            found[dataset, shots_text(shots)] = _gather(series, [dataset])
    return found


def _whole(series: dict[tuple[Name, int], dict[str, Observation]], datasets: Sequence[str]) -> list[str]:
    """Returns the data sets on which every size of every source that has enough of them was measured."""
    sizes: dict[Name, int] = defaultdict(int)
    for name, _ in series:
        sizes[name] += 1
    long = [by_dataset for (name, _), by_dataset in series.items() if sizes[name] >= _SIZES]
    return [dataset for dataset in datasets if all(dataset in by_dataset for by_dataset in long)] if long else []


def _gather(series: dict[tuple[Name, int], dict[str, Observation]], datasets: Sequence[str]) -> list[SizePoint]:
    points = []
    for (name, samples), by_dataset in series.items():
        if all(dataset in by_dataset for dataset in datasets):
            chosen = [by_dataset[dataset] for dataset in datasets]
            noise = variances(chosen, "log") if len(chosen) == 1 else _separate(chosen)
            if noise is not None:
                count = len(chosen)
                mean = float(values(chosen, "log").mean())
                points.append(SizePoint(name, samples, mean, float(noise.sum()) / count**2, tuple(chosen)))
    return points


def _separate(chosen: Sequence[Observation]) -> Array | None:
    """Returns each cell's variance by itself: cells of several data sets share no draws."""
    each = [variances([cell], "log") for cell in chosen]
    known = [one for one in each if one is not None]
    return np.concatenate(known) if len(known) == len(each) else None


def fit(name: Name, points: Sequence[SizePoint]) -> Line | None:
    """Fits one source's line; None with fewer than three sizes."""
    own = [point for point in points if point.name == name]
    if len({point.samples for point in own}) < _SIZES:
        return None
    x = np.log([point.samples for point in own])
    y = np.array([point.log_error for point in own])
    weight = 1 / np.maximum([point.variance for point in own], 1e-12)
    centre = float((weight * x).sum() / weight.sum())
    moment = float((weight * (x - centre) ** 2).sum())
    height = float((weight * y).sum() / weight.sum())
    slope = float((weight * (x - centre) * y).sum() / moment)
    misfit = float((weight * (y - height - slope * (x - centre)) ** 2).sum() / (len(own) - 2))
    covariance = np.diag([1 / weight.sum(), 1 / moment]) * max(1.0, misfit)
    samples = [point.samples for point in own]
    return Line((min(samples), max(samples)), centre, height, slope, covariance)


def match(line: Line, other: SizePoint) -> Match:
    """Reads off the size at which a line meets another source's point, never outside the measured sizes.

    The interval holds every size at which both agree within noise (Fieller's set: |line - point| <= z times its
    standard error); an end that lies on the edge of the measured sizes is open.
    """
    from scipy.special import ndtr

    grid = np.linspace(np.log(line.sizes[0]), np.log(line.sizes[1]), _GRID)
    value, variance = line.at(grid)
    gap = value - other.log_error
    inside = np.abs(gap) <= _Z * np.sqrt(variance + other.variance)
    multiple = np.exp(grid - np.log(other.samples))
    better = gap <= 0
    state = "below the smallest size" if better[0] else "reached" if better[-1] else "not reached"
    where = np.flatnonzero(inside)
    low = high = None
    if len(where):
        low = float(multiple[where[0]]) if where[0] > 0 else None
        high = float(multiple[where[-1]]) if where[-1] < _GRID - 1 else None
    elif state == "not reached":
        low = float(multiple[-1])
    else:
        high = float(multiple[0])
    reached = float(multiple[int(better.argmax())]) if state == "reached" else None
    p_value = None
    if line.sizes[0] <= other.samples <= line.sizes[1]:
        one, its = line.at(np.array([np.log(other.samples)]))
        error = float(np.sqrt(its[0] + other.variance))
        p_value = 2 * float(ndtr(-abs(one[0] - other.log_error) / error)) if error else float(one[0] == other.log_error)
    return Match(Estimate(reached, low, high), state, p_value)


def _label(name: Name) -> str:
    return f"{name[3]} ({name[0]}, {name[1]})"


def _row(name: Name, line: Line, other: SizePoint) -> dict[str, Value]:
    found = match(line, other)
    across = "" if other.name[:2] == name[:2] else f"across methods: {name[0]} against {other.name[0]}"
    return {
        "architecture": name[2],
        "source": _label(name),
        "sizes": f"{size_text(line.sizes[0])} to {size_text(line.sizes[1])}",
        "other": f"{_label(other.name)} at {size_text(other.samples)}",
        "across": across or "within one method",
        "multiple": found.multiple,
        "state": found.state,
        "p": found.p_value,
    }


def _curve(name: Name, line: Line, point: SizePoint) -> dict[str, Value]:
    fitted, _ = line.at(np.array([np.log(point.samples)]))
    half = _Z * float(np.sqrt(point.variance))
    return {
        "architecture": name[2],
        "source": _label(name),
        "samples": point.samples,
        "log_error": Estimate(point.log_error, point.log_error - half, point.log_error + half),
        "fitted": float(fitted[0]),
    }


def _found(rows: Sequence[dict[str, Value]]) -> tuple[str, ...]:
    tested = [(row, p_value) for row in rows if isinstance(p_value := row["p"], float)]
    adjusted = holm([p_value for _, p_value in tested])
    return tuple(
        f"{row['source']} differs from {row['other']} ({row['dataset']}, {row['shots']})"
        for (row, _), value in zip(tested, adjusted, strict=True)
        if value < ALPHA
    )


def _verdict(rows: Sequence[dict[str, Value]], found: Sequence[str]) -> str:
    states = [row["state"] for row in rows]
    reached, not_reached = states.count("reached"), states.count("not reached")
    return (
        f"Of {counted(len(rows), 'comparison')}, {reached} are matched within the measured sizes, {not_reached} are "
        f"not reached, {len(rows) - reached - not_reached} already at the smallest size. "
        f"At equal size the two differ beyond noise in {len(found)}."
    )


def _table(rows: Sequence[dict[str, Value]]) -> Table:
    return Table(
        "multiples",
        "Size of the first source that does as well as the second, over the second's size",
        (
            ("dataset", "data set", "text"),
            ("shots", "shots", "text"),
            ("architecture", "architecture", "text"),
            ("source", "source", "text"),
            ("sizes", "measured sizes", "text"),
            ("other", "matches", "text"),
            ("across", "methods", "text"),
            ("multiple", "multiple", "multiple"),
            ("state", "state", "text"),
            ("p", "p of equality at equal size", "p"),
        ),
        tuple(rows),
    )


def _curve_table(rows: Sequence[dict[str, Value]]) -> Table:
    return Table(
        "curves",
        "Log-error against size",
        (
            ("dataset", "data set", "text"),
            ("shots", "shots", "text"),
            ("architecture", "architecture", "text"),
            ("source", "source", "text"),
            ("samples", "samples", "count"),
            ("log_error", "log-error", "log"),
            ("fitted", "fitted", "log"),
        ),
        tuple(rows),
    )
