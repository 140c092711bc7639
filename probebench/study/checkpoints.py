"""Claims about checkpoints as they are: their plain ranking, and whether few-shot scores tell full-data ones."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from probebench.results.stats import paired
from probebench.study.claims import Basis, Claim, Estimate, Weighed, weigh
from probebench.study.engine import Array, Interval, Mask, Rows, crossed, welch_freedom
from probebench.study.noise import Noise
from probebench.study.observations import Observation, Track
from probebench.study.order import tukey
from probebench.study.panel import WORDS, Level, Panel, level_of
from probebench.study.panels import PanelMaker

_CHECKPOINTS, _SOURCES = 5, 3
# A rank correlation below this is of no use for choosing.
_USELESS = 0.3
QUESTIONS = {
    "few-shot-predicts-full": "Does few-shot accuracy predict accuracy at full data?",
    "ranking": "Which checkpoint is best?",
}


def ranking_claim(cells: Sequence[Observation], maker: PanelMaker, track: Track) -> Claim | None:
    """Ranks all checkpoints, matched or not, on the data sets that they share; None with fewer than two.

    It speaks of these checkpoints on these data sets: draws and test images vary, sources and runs do not.
    """
    panel = maker.make(cells, lambda cell: (cell.model, cell.pretraining))
    if len(panel.rows) < 2:
        return None
    level, rows, columns = _shared(panel)
    about: dict[str, Any] = {
        "id": "ranking",
        "question": QUESTIONS["ranking"],
        "group": "all checkpoints",
        "track": track,
        "level": level,
    }
    if len(rows) < 2:
        return Claim(
            **about,
            verdict="not answerable",
            sentence="No two checkpoints share a data set.",
            missing="two checkpoints with scores on the same data sets",
        )
    places = panel.places(level)
    scores = panel.means("points", places)[np.ix_(rows, columns)].mean(axis=1)
    ranked = [rows[place] for place in np.argsort(-scores, kind="stable")]
    first = ranked[0]
    gaps = {row: _gap(panel, maker.noise, (first, row), columns, places, len(rows)) for row in ranked[1:]}
    points, logit = gaps[ranked[1]]
    names = {row: str(panel.rows[row][0]) for row in ranked}
    said = f"{names[first]} leads {names[ranked[1]]} by {Estimate.of(points)} at {WORDS[level]}"
    weighed = weigh(points, logit)
    # Where both mostly lie at an end of the scale, they are alike whatever they are worth.
    at_ends = panel.flagged[np.ix_(ranked[:2], columns, places)].mean() > 0.5
    if at_ends and weighed.verdict in ("no effect", "not answerable"):
        weighed = Weighed("not answerable", None, "scores off chance and ceiling")
    elif weighed.verdict == "not answerable":
        weighed = Weighed("not answerable", None, "more draws, test images or data sets")
    sentence = {
        "confirmed": f"{said}, beyond noise of draws and test images.",
        "contradicted": said,
        "no effect": f"The first two differ by no more than {weighed.bound} points: {said}.",
        "not answerable": f"No checkpoint leads beyond noise: {said}.",
    }[weighed.verdict]
    return Claim(
        **about,
        verdict=weighed.verdict,
        bound=weighed.bound,
        sentence=sentence,
        estimate=Estimate.of(points),
        logit=Estimate.of(logit, "logits"),
        per_shots=tuple(_by_shots(panel, rows, columns, places, names)),
        basis=Basis.of(panel, rows, columns),
        missing=weighed.why,
        details={
            "ranking": [
                {
                    "rank": place + 1,
                    "checkpoint": names[row],
                    "mean": round(float(scores[rows.index(row)]), 3),
                    **({} if row == first else _behind(gaps[row][0])),
                }
                for place, row in enumerate(ranked)
            ]
        },
    )


def _behind(gap: Interval) -> dict[str, Any]:
    found = Estimate.of(-gap)
    return {"to the first": found.value, "low": found.low, "high": found.high}


def _shared(panel: Panel) -> tuple[Level, list[int], list[int]]:
    """Returns the first level at which checkpoints share data sets, with both; those with most gaps are left out."""
    for level in panel.levels:
        there = ~np.isnan(panel.means("points", panel.places(level)))
        rows, columns = list(range(there.shape[0])), list(range(there.shape[1]))
        while rows and columns and not there[np.ix_(rows, columns)].all():
            held = there[np.ix_(rows, columns)]
            by_row, by_column = held.mean(axis=1), held.mean(axis=0)
            if by_row.min() <= by_column.min():
                rows.pop(int(by_row.argmin()))
            else:
                columns.pop(int(by_column.argmin()))
        if len(rows) > 1:
            return level, rows, columns
    return panel.headline, [], []


def _gap(
    panel: Panel, noise: Noise, pair: tuple[int, int], columns: Sequence[int], places: Sequence[int], count: int
) -> tuple[Interval, Interval]:
    """Returns the difference of two checkpoints in points and logits, within bounds that hold for all pairs (Tukey).

    Numbers of shots of one data set share test images, so that their errors are added as if they were one; data sets
    are independent. Where noise is unknown, data sets are the random unit.
    """
    one, other = pair
    found = []
    for scale in ("points", "logit"):
        table = panel.means(scale, places)
        away = table[one, columns] - table[other, columns]
        errors = [_error(panel, noise, pair, column, places, scale == "logit") for column in columns]
        if any(math.isnan(error) for error, _ in errors):
            if len(columns) < 2:
                found.append(Interval(float(away[0]), -math.inf, math.inf))
                continue
            freedom, error = len(columns) - 1.0, float(away.std(ddof=1)) / math.sqrt(len(columns))
        else:
            parts = [(error**2, freedom) for error, freedom in errors]
            freedom = welch_freedom(*parts) if any(variance for variance, _ in parts) else 1e6
            error = math.sqrt(sum(variance for variance, _ in parts)) / len(columns)
        half = tukey(count, int(min(freedom, 1e6))) / math.sqrt(2) * error
        value = float(away.mean())
        found.append(Interval(value, value - half, value + half, error, freedom))
    return found[0], found[1]


def _error(
    panel: Panel, noise: Noise, pair: tuple[int, int], column: int, places: Sequence[int], logit: bool
) -> tuple[float, float]:
    """Returns the standard error of a difference on one data set, and its degrees of freedom."""
    errors, free = [], []
    for place in places:
        keys = [(panel.rows[row], panel.datasets[column], panel.shots[place]) for row in pair]
        if any(key not in panel.members for key in keys):
            continue
        cells = [panel.members[key][0] for key in keys]
        held = [noise.correct(cell) for cell in cells]
        same = [digest for digest, _ in cells[0].draws] == [digest for digest, _ in cells[1].draws]
        if held[0] is not None and held[1] is not None and same and held[0][0] == held[1][0]:
            compared = paired(held[0][1], held[1][1])
            error, freedom = compared.error, compared.freedom
        else:
            error, freedom = math.sqrt(float(noise.of(cells, [cell.score for cell in cells]).sum())), 1e6
        slope = math.prod(_slope(cell) for cell in cells) if logit else 1e-4
        errors.append(error / math.sqrt(slope))
        free.append(min(freedom, 1e6))
    return float(np.mean(errors)), min(free, default=1e6)


def _slope(cell: Observation) -> float:
    inside = min(max(cell.score, 0.5 / (cell.images or 1000)), 1 - 0.5 / (cell.images or 1000))
    return inside * (1 - inside)


def _by_shots(
    panel: Panel, rows: Sequence[int], columns: Sequence[int], places: Sequence[int], names: dict[int, str]
) -> list[dict[str, Any]]:
    found = []
    for place in places:
        table = panel.means("points", [place])[np.ix_(rows, columns)]
        if np.isnan(table).any():
            continue
        means = table.mean(axis=1)
        first = int(means.argmax())
        lead = np.sort(means)[-1] - np.sort(means)[-2]
        found.append({"shots": panel.shots[place], "first": names[rows[first]], "value": round(float(lead), 4)})
    return found


# ---------------------------------------------------------------- few-shot against full


def predict_claim(
    few: Sequence[Observation], full: Sequence[Observation], maker: PanelMaker, track: Track
) -> Claim | None:
    """Says whether pre-trained checkpoints keep their order from few shots to full data; None where none has both.

    Args:
        few: Cells to take few-shot scores of.
        full: Cells to take full-data scores of, of the same track or of full fine-tuning.
        maker: Of panels.
        track: That of the few-shot cells.
    """
    chosen = [cell for cell in few if level_of(cell.shots) == "few-shot"]
    chosen += [cell for cell in full if cell.shots == "full"]
    both = {cell.pretraining for cell in few} & {cell.pretraining for cell in full}
    chosen = [cell for cell in chosen if cell.method != "none" and cell.pretraining in both]
    if not chosen:
        return None
    panel = maker.make(chosen, lambda cell: cell.pretraining)
    if set(panel.levels) != {"few-shot", "full"}:
        return None
    about: dict[str, Any] = {
        "id": "few-shot-predicts-full",
        "question": QUESTIONS["few-shot-predicts-full"],
        "group": "all pre-trained checkpoints" if few is full else f"full data by {full[0].track}",
        "track": track,
    }
    scores = [panel.means("points", panel.places(level)) for level in ("few-shot", "full")]
    there = ~np.isnan(scores[0]) & ~np.isnan(scores[1])
    columns = [
        d for d in range(there.shape[1]) if there[:, d].sum() >= _CHECKPOINTS and _ordered(panel, there[:, d], d)
    ]
    sources = [str(row[3]) for row in panel.rows]
    distinct = sorted({source for source, row in zip(sources, there[:, columns], strict=True) if row.any()})
    if not columns or len(distinct) < _SOURCES:
        lacking = (
            f"{_CHECKPOINTS} checkpoints of {_SOURCES} sources with few-shot and full scores that differ, off chance "
            "and ceiling, on a data set"
        )
        return Claim(**about, verdict="not answerable", sentence=f"It takes {lacking}.", missing=lacking)
    number = np.array([distinct.index(source) if source in distinct else -1 for source in sources])
    found = _correlation(scores[0][:, columns], scores[1][:, columns], number, len(distinct))
    estimate = Estimate.of(found, "rank correlation")
    weighed = weigh(found, found, _USELESS)
    said = f"within a data set few-shot and full scores correlate by ranks: {estimate}"
    alone = len(columns) == 1
    if alone:
        weighed = Weighed("not answerable", None, "two data sets")
    start = {
        "confirmed": "Yes",
        "contradicted": "No, the order turns",
        "no effect": f"No, by less than {weighed.bound}",
        "not answerable": f"On {panel.datasets[columns[0]]} alone" if alone else "Within noise",
    }[weighed.verdict]
    return Claim(
        **about,
        verdict=weighed.verdict,
        bound=weighed.bound,
        sentence=f"{start}; {said}.",
        estimate=estimate,
        basis=Basis.of(panel, columns=columns),
        missing=weighed.why,
        details={
            "points": [
                {
                    "dataset": panel.datasets[d],
                    "checkpoint": panel.members[panel.rows[s], panel.datasets[d], "full"][0].model,
                    "few": round(float(scores[0][s, d]), 4),
                    "full": round(float(scores[1][s, d]), 4),
                }
                for d in columns
                for s in range(len(panel.rows))
                if there[s, d]
            ]
        },
    )


def _ordered(panel: Panel, rows: Mask, column: int) -> bool:
    """Says whether scores on a data set differ at both levels, and most are off chance and ceiling."""
    for level in ("few-shot", "full"):
        places = panel.places(level)
        if np.ptp(panel.means("points", places)[rows, column]) == 0:
            return False
        if panel.flagged[rows, column][:, places].mean() > 0.5:
            return False
    return True


def _correlation(few: Array, full: Array, number: Array, sources: int) -> Interval:
    """Returns the mean Spearman correlation within data sets, sources and data sets both random, through Fisher's z."""
    from scipy.stats import rankdata

    there = ~np.isnan(few) & ~np.isnan(full)

    def z(rows: Rows, columns: Rows) -> float:
        kept = np.isin(number, rows)
        each = []
        for d in columns:
            one = kept & there[:, d]
            if one.sum() < 3:
                continue
            ranks = rankdata(np.array([few[one, d], full[one, d]]), axis=1)
            if (np.ptp(ranks, axis=1) > 0).all():
                each.append(float(np.corrcoef(ranks)[0, 1]))
        return math.atanh(min(0.99, max(-0.99, float(np.mean(each))))) if each else 0.0

    found = crossed(z, [np.arange(sources)], few.shape[1]).interval()
    return Interval(math.tanh(found.value), math.tanh(found.low), math.tanh(found.high), found.error, found.freedom)
