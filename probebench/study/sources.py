"""Claims about sources of one group: do they matter, does that fade, who leads, and does that carry over."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from probebench.study.claims import LARGEST_RUN_SD, SMALLEST_SD, Basis, Claim, Estimate, weigh
from probebench.study.engine import Array, Interval, Mask
from probebench.study.observations import Track
from probebench.study.order import concordance, order
from probebench.study.panel import IMAGES, SCALES, WORDS, Level, Panel, Scale, whole
from probebench.study.spreads import Spreads, any_spread, fading, permuted_runs, run_variance, source_deviation

# Seeds of the permutations and of P(first); one of each, whatever the group.
_PERMUTATIONS, _DRAWN = 230213602, 230213603
_RUNS = "a second pre-training run of each source (three sources with three runs, or four with two)"
QUESTIONS = {
    "source-matters": "Does the pre-training source matter?",
    "fades": "Does that fade with more labels?",
    "best-source": "Which source wins?",
    "ranking-carries-over": "Does the ranking of sources carry over between data sets?",
}


def source_claims(panel: Panel, group: str, track: Track) -> list[Claim]:
    """Answers what can be asked of several sources of one group."""
    matters = [_matters(panel, level, group, track) for level in panel.levels]
    return [*matters, _fades(panel, group, track), *_orders(panel, group, track)]


def _basis(panel: Panel) -> Basis:
    return Basis.of(panel.used(), int(panel.runs.min()), int(panel.settings.max()))


def _table(panel: Panel, scale: Scale, places: list[int]) -> tuple[Array, Array]:
    """Returns means and noise [S, D] of the rows and data sets that are nearly whole, on large test sets."""
    large = panel.large(places)
    table, rows, columns = whole(panel.means(scale, places)[:, large])
    noise = panel.level_noise(scale, places)[:, large]
    return table, np.nan_to_num(noise[np.ix_(rows, columns)])


def spread_rows(panel: Panel) -> list[dict[str, Any]]:
    """Returns the spread between sources at each number of shots, on both scales."""
    found = []
    for place, shots in enumerate(panel.shots):
        row: dict[str, Any] = {"shots": shots}
        for scale in SCALES:
            table, noise = _table(panel, scale, [place])
            if min(table.shape) < 1 or table.shape[0] < 2:
                break
            spread, _ = source_deviation(table, noise)
            said = Estimate.of(spread).as_dict(unit=False)
            row |= said if scale == "points" else {f"{name}_logit": value for name, value in said.items()}
            row["range" if scale == "points" else "range_logit"] = round(float(np.ptp(table, axis=0).mean()), 6)
        else:
            found.append(row)
    return found


def _matters(panel: Panel, level: Level, group: str, track: Track) -> Claim:
    places = panel.places(level)
    tables = {scale: _table(panel, scale, places) for scale in SCALES}
    about: dict[str, Any] = {
        "id": "source-matters",
        "question": QUESTIONS["source-matters"],
        "group": group,
        "track": track,
        "level": level,
        "basis": _basis(panel),
    }
    size = tables["points"][0].shape
    if size[0] < 2 or not size[1]:
        return _short(about, "two sources with scores on the same data sets")
    p_values = _permuted(panel, places)
    tested = p_values is not None and max(p_values) < 0.05
    (points, undone), (logit, _) = (source_deviation(*tables[scale], tested=tested) for scale in SCALES)
    about |= {
        "estimate": Estimate.of(points),
        "logit": Estimate.of(logit, "logits"),
        "per_shots": tuple(
            row for row in spread_rows(panel) if row["shots"] in {panel.shots[place] for place in places}
        ),
    }
    told = f"the SD between sources is {Estimate.of(points)} at {WORDS[level]}"
    if p_values is None:
        return Claim(
            **about,
            verdict="not answerable",
            sentence=f"One run a source: {told}; sources matter if the run-to-run SD is below {undone:.1f} points.",
            missing=_RUNS,
        )
    if tested:
        return Claim(**about, verdict="confirmed", sentence=f"The source matters: {told}, beyond runs.")
    if points.high <= SMALLEST_SD:
        bound = round(points.high, 2)
        return Claim(
            **about,
            verdict="no effect",
            bound=bound,
            sentence=f"No effect of the source above {bound:.1f} points (SD) at {WORDS[level]}.",
        )
    return Claim(
        **about,
        verdict="not answerable",
        sentence=f"Within what runs of one source differ by: {told}.",
        missing="more runs or sources: their spread is not beyond that of runs",
    )


def _permuted(panel: Panel, places: list[int]) -> list[float] | None:
    """Returns the p-values on both scales, of the sources and runs that all have; None where runs are too few."""
    found = []
    for scale in SCALES:
        runs = panel.by_run(scale, places)
        columns = [d for d in range(runs.shape[2]) if not np.isnan(runs[:, :, d]).all()]
        counts = np.array([[not np.isnan(run[columns]).any() for run in source] for source in runs])
        several = np.flatnonzero(counts.sum(axis=1) > 1)
        if len(several) < 2:
            return None
        each = int(counts[several].sum(axis=1).min())
        table = np.array([runs[s][counts[s]][:each][:, columns] for s in several])
        p_value = permuted_runs(table, seed=_PERMUTATIONS)
        if p_value is None:
            return None
        found.append(p_value)
    return found


def _fades(panel: Panel, group: str, track: Track) -> Claim:
    about: dict[str, Any] = {
        "id": "fades",
        "question": QUESTIONS["fades"],
        "group": group,
        "track": track,
        "basis": _basis(panel),
    }
    usable = _usable(panel)
    if usable is None:
        return _short(about, "scores at few shots and at full data", per_shots=tuple(spread_rows(panel)))
    rows, columns, places, left = usable
    about["per_shots"] = tuple(spread_rows(panel))
    if len(rows) < 4 or len(columns) < 3:
        what = f"{len(rows)} sources on {len(columns)} data sets are usable at few shots and at full"
        return _short(about, f"four sources and three data sets with {IMAGES} test images or more ({what})")
    found: dict[Scale, Interval] = {}
    gates = []
    for scale in SCALES:
        chosen = np.ix_(rows, columns, places)
        table, noise = (np.where(left, np.nan, part[chosen]) for part in panel.over_runs(scale))
        if np.isnan(noise).all():
            return _short(about, "the number of test images behind the scores")
        spreads = Spreads.of(table, noise)
        contrast = fading(spreads)
        gates.append(any_spread(spreads))
        # How far the same images are hard for all sources is unknown without predictions: the interval holds both ends.
        least = np.where(left, np.nan, panel.over_runs(scale, least=True)[1][chosen])
        ends = [contrast.interval(), fading(Spreads.of(table, least)).interval()]
        found[scale] = replace(ends[0], low=min(one.low for one in ends), high=max(one.high for one in ends))
        if scale == "points":
            without = [*contrast.source[0], *contrast.dataset]
    points, logit = found["points"], found["logit"]
    names = [*(str(panel.rows[row]) for row in rows), *(panel.datasets[column] for column in columns)]
    about |= {
        "estimate": Estimate.of(points),
        "logit": Estimate.of(logit, "logits"),
        "details": {
            "left out one at a time": [
                {"without": name, "points": round(float(value), 4)} for name, value in zip(names, without, strict=True)
            ]
        },
    }
    said = Estimate.of(points)
    told = f"the spread between sources (SD) is {said} wider at few shots than at full"
    if not all(gates):
        return Claim(
            **about,
            verdict="not answerable",
            sentence="Sources do not differ beyond noise at all, so nothing can fade.",
            missing="sources that differ",
        )
    weighed = weigh(points, logit, SMALLEST_SD)
    sentence = {
        "confirmed": f"It fades: {told}.",
        "contradicted": f"It grows: {told}.",
        "no effect": f"It neither fades nor grows by more than {weighed.bound} points (SD).",
        "not answerable": f"Within noise: {told}.",
    }[weighed.verdict]
    return Claim(**about, verdict=weighed.verdict, bound=weighed.bound, sentence=sentence, missing=weighed.why)


def _usable(panel: Panel) -> tuple[list[int], list[int], list[int], Mask] | None:
    """Returns rows, data sets, numbers of shots (full last) to read spreads of, and which of them not to [1, D, L].

    A number of shots of a data set is left out where a source lies at chance or at the ceiling, or where test images
    are few.
    """
    few, full = panel.places("few-shot"), panel.places("full")
    if not few or not full:
        return None
    places = [*few, full[0]]
    there: Mask = ~np.array(np.isnan(panel.scores["points"]).all(axis=1))
    rows = [s for s in range(len(panel.rows)) if there[s][:, places].mean() > 0.5]
    if len(rows) < 2:
        return rows, [], places, np.zeros((1, 0, len(places)), dtype=bool)
    left: Mask = np.array(panel.flagged[rows].any(axis=0), dtype=bool)
    left = (left | (panel.images < IMAGES) | (there[rows].sum(axis=0) < 2))[:, places]
    columns = [d for d in range(len(panel.datasets)) if not left[d, -1] and not left[d, :-1].all()]
    kept = [at for at in range(len(places)) if columns and not left[columns, at].all()]
    return rows, columns, [places[at] for at in kept], left[np.ix_(columns, kept)][None]


def _orders(panel: Panel, group: str, track: Track) -> list[Claim]:
    level = panel.headline
    places = panel.places(level)
    basis = _basis(panel)
    shared = {"group": group, "track": track, "basis": basis, "level": level}
    best = {"id": "best-source", "question": QUESTIONS["best-source"], **shared}
    carries = {"id": "ranking-carries-over", "question": QUESTIONS["ranking-carries-over"], **shared}
    table, rows, _ = whole(panel.means("points", places))
    if len(rows) < 3 or table.shape[1] < 2:
        return [_short(one, "three sources on two data sets") for one in (best, carries)]
    if not panel.equal:
        why = "the same settings for every source: an order of sources that were tuned unequally is one of tuning"
        heat = {"details": {"heat map": _heat(panel, places)}}
        return [_short(best, why, **heat), _short(carries, why)]
    found = {}
    for scale in SCALES:
        runs = panel.by_run(scale, places)[rows]
        scored, _, _ = whole(panel.means(scale, places))
        each = float(panel.runs[rows].min())
        found[scale] = order(scored, run=run_variance(runs), runs=each, seed=_DRAWN), run_variance(runs)[1]
    return [_best(best, panel, rows, found, places), _carries(carries, table, found)]


def _best(about: dict[str, Any], panel: Panel, rows: list[int], found: Any, places: list[int]) -> Claim:
    (points, free), (logit, _) = found["points"], found["logit"]
    names = [str(panel.rows[row]) for row in rows]
    first, second, *_ = np.argsort(-points.means)
    last = int(points.means.argmin())
    same = int(logit.means.argmax()) == first
    lead = points.lead
    about |= {
        "estimate": Estimate.of(lead),
        "logit": Estimate.of(logit.lead, "logits"),
        "details": {
            "order": [
                {
                    "source": names[place],
                    "mean": round(float(points.means[place]), 4),
                    "mean rank": round(float(points.ranks[place]), 2),
                    "P(first)": round(float(points.first[place]), 3),
                    "P(last)": round(float(points.last[place]), 3),
                }
                for place in np.argsort(-points.means)
            ],
            "heat map": _heat(panel, places),
        },
        "per_shots": tuple(_firsts(panel)),
    }
    told = f"{names[first]} leads {names[second]} by {Estimate.of(lead)}"
    trails = points.trail.low > 0 and logit.trail.low > 0
    loser = f"; {names[last]} is last beyond noise" if trails else ""
    if same and lead.low > 0 and logit.lead.low > 0:
        if free or points.undone_lead > LARGEST_RUN_SD:
            alone = "" if free else _undone(points.undone_lead)
            return Claim(**about, verdict="confirmed", sentence=f"{told}{alone}{loser}.")
        return Claim(
            **about,
            verdict="not answerable",
            sentence=f"Of these checkpoints {told}{loser}{_undone(points.undone_lead)}.",
            missing=_RUNS,
        )
    if lead.high <= SMALLEST_SD * 2:
        bound = round(lead.high, 2)
        said = f"Nobody leads by more than {bound:.1f} points{loser}."
        return Claim(**about, verdict="no effect", bound=bound, sentence=said)
    return Claim(
        **about,
        verdict="not answerable",
        sentence=f"No source leads beyond noise: {told}{loser}.",
        missing="more data sets or runs: the lead is within noise",
    )


def _undone(run: float) -> str:
    return f" (one run a source; a run-to-run SD above {run:.1f} points would undo it)"


def _firsts(panel: Panel) -> list[dict[str, Any]]:
    """Returns who is first at each number of shots, and by how much."""
    found = []
    for place, shots in enumerate(panel.shots):
        table, rows, _ = whole(panel.means("points", [place]))
        if len(rows) < 3 or table.shape[1] < 2:
            continue
        one = order(table, seed=_DRAWN)
        lead = Estimate.of(one.lead).as_dict(unit=False)
        found.append({"shots": shots, "first": str(panel.rows[rows[int(one.means.argmax())]]), **lead})
    return found


def _heat(panel: Panel, places: list[int]) -> list[dict[str, Any]]:
    """Returns each source on each data set, less the mean of the sources there, in points."""
    table = panel.means("points", places)
    away = table - np.nanmean(table, axis=0)
    return [
        {
            "source": str(row),
            **{
                dataset: None if math.isnan(away[s, d]) else round(float(away[s, d]), 3)
                for d, dataset in enumerate(panel.datasets)
            },
        }
        for s, row in enumerate(panel.rows)
    ]


def _carries(about: dict[str, Any], table: Array, found: Any) -> Claim:
    (points, free), (logit, _) = found["points"], found["logit"]
    agreement = concordance(table.T)
    about["estimate"] = Estimate.of(agreement, "rank correlation")
    told = f"data sets agree on the order of sources by a rank correlation of {about['estimate']}"
    if points.p_agree < 0.05 and logit.p_agree < 0.05:
        if free or points.undone_agree > LARGEST_RUN_SD:
            alone = "" if free else _undone(points.undone_agree)
            return Claim(**about, verdict="confirmed", sentence=f"It carries over: {told}{alone}.")
        return Claim(
            **about,
            verdict="not answerable",
            sentence=f"Of these checkpoints, {told}{_undone(points.undone_agree)}.",
            missing=_RUNS,
        )
    if agreement.high <= 0.3:
        bound = round(max(abs(agreement.low), abs(agreement.high)), 2)
        return Claim(**about, verdict="no effect", bound=bound, sentence=f"It does not carry over: {told}.")
    return Claim(
        **about, verdict="not answerable", sentence=f"Within noise: {told}.", missing="more data sets or sources"
    )


def _short(about: dict[str, Any], missing: str, **more: Any) -> Claim:
    return Claim(**about, **more, verdict="not answerable", sentence=f"It takes {missing}.", missing=missing)
