"""Claims about how far sources of one group lie apart: do they matter, and does that fade with more labels?"""

from dataclasses import replace
from typing import Any

import numpy as np

from probebench.study.claims import SMALLEST_SD, Basis, Claim, Estimate, weigh
from probebench.study.engine import Array, Interval, Mask, filled
from probebench.study.observations import Track
from probebench.study.panel import IMAGES, SCALES, WORDS, Level, Panel, Scale, whole
from probebench.study.runs import permuted_runs
from probebench.study.spreads import Spreads, fading, source_deviation

# Of the permutations, whatever the group.
_SEED = 230213602
RUNS = "a second pre-training run of each source (three sources with three runs, or four with two)"
QUESTIONS = {
    "source-matters": "Does the pre-training source matter?",
    "fades": "Does that fade with more labels?",
}


def refused(about: dict[str, Any], missing: str, **more: Any) -> Claim:
    """Returns the claim that cannot be answered, with what it takes."""
    return Claim(**about, **more, verdict="not answerable", sentence=f"It takes {missing}.", missing=missing)


def _kept(panel: Panel, places: list[int]) -> tuple[list[int], list[int]]:
    """Returns the rows and data sets that are nearly whole, of large test sets, by position."""
    large = panel.large(places)
    _, rows, columns = whole(panel.means("points", places)[:, large])
    return rows, [large[column] for column in columns]


def _table(panel: Panel, scale: Scale, places: list[int]) -> tuple[Array, Array]:
    """Returns their means and noise [S, D], gaps filled."""
    chosen = np.ix_(*_kept(panel, places))
    table, noise = panel.means(scale, places)[chosen], panel.level_noise(scale, places)[chosen]
    return filled(table) if table.size else table, np.nan_to_num(noise)


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


def matters_claim(panel: Panel, level: Level, group: str, track: Track) -> Claim:
    """Says whether sources differ at a level, beyond runs; with one run a source, how far these checkpoints do."""
    places = panel.places(level)
    tables = {scale: _table(panel, scale, places) for scale in SCALES}
    about: dict[str, Any] = {
        "id": "source-matters",
        "question": QUESTIONS["source-matters"],
        "group": group,
        "track": track,
        "level": level,
        "basis": Basis.of(panel, *_kept(panel, places)),
    }
    size = tables["points"][0].shape
    if size[0] < 2 or not size[1]:
        return refused(about, "two sources with scores on the same data sets")
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
    # The test holds for these data sets, and of one it says so.
    on = f" on {panel.datasets[0]}" if len(panel.datasets) == 1 else ""
    told = f"the SD between sources is {Estimate.of(points)} at {WORDS[level]}"
    if p_values is None:
        return Claim(
            **about,
            verdict="not answerable",
            sentence=f"{_few_runs(panel)}: {told}; sources matter if the run-to-run SD is below {undone:.1f} points.",
            missing=RUNS,
        )
    if tested:
        return Claim(**about, verdict="confirmed", sentence=f"The source matters{on}: {told}, beyond runs.")
    if points.high <= SMALLEST_SD:
        bound = round(points.high, 2)
        return Claim(
            **about,
            verdict="no effect",
            bound=bound,
            sentence=f"No effect of the source above {bound:.1f} points (SD) at {WORDS[level]}{on}.",
        )
    return Claim(
        **about,
        verdict="not answerable",
        sentence=f"Within what runs of one source differ by: {told}.",
        missing="more runs or sources: their spread is not beyond that of runs",
    )


def _few_runs(panel: Panel) -> str:
    """Says why runs cannot be held against each other."""
    if panel.most_runs < 2:
        return "One run a source"
    return "Too few sources have several runs on the same data sets"


def _permuted(panel: Panel, places: list[int]) -> list[float] | None:
    """Returns the p-values on both scales; None where runs are too few.

    Of the same rows and data sets as the spread, so that the one is a test of the other.
    """
    rows, columns = _kept(panel, places)
    found = [permuted_runs(panel.by_run(scale, places)[rows][:, :, columns], seed=_SEED) for scale in SCALES]
    return None if None in found else [one for one in found if one is not None]


def fades_claim(panel: Panel, group: str, track: Track, *, differ: bool) -> Claim:
    """Holds the spread between sources at few shots against that at full data.

    Args:
        panel: Sources of one group.
        group: Its name.
        track: How they were measured.
        differ: Whether sources differ at few shots or at full data: without a spread there is nothing to fade.
    """
    about: dict[str, Any] = {
        "id": "fades",
        "question": QUESTIONS["fades"],
        "group": group,
        "track": track,
        "basis": Basis.of(panel),
    }
    usable = _usable(panel)
    if usable is None:
        return refused(about, "scores at few shots and at full data", per_shots=tuple(spread_rows(panel)))
    rows, columns, places, left = usable
    about |= {"per_shots": tuple(spread_rows(panel)), "basis": Basis.of(panel, rows, columns)}
    if len(rows) < 4 or len(columns) < 3:
        what = f"{len(rows)} sources on {len(columns)} data sets are usable at few shots and at full"
        return refused(about, f"four sources and three data sets with {IMAGES} test images or more ({what})")
    found: dict[Scale, Interval] = {}
    for scale in SCALES:
        chosen = np.ix_(rows, columns, places)
        table, noise = (np.where(left, np.nan, part[chosen]) for part in panel.over_runs(scale))
        if np.isnan(noise).all():
            return refused(about, "the number of test images behind the scores")
        contrast = fading(Spreads.of(table, noise))
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
    plain = np.where(left, np.nan, panel.over_runs("points")[0][np.ix_(rows, columns, places)])
    known = ~np.isnan(plain).any(axis=0)
    apart = np.where(known, np.where(known, plain, 0.0).max(axis=0) - np.where(known, plain, 0.0).min(axis=0), 0.0)
    ranges = apart.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    wider = float(ranges[:-1].mean() - ranges[-1])
    told = (
        f"the spread between sources (SD) is {Estimate.of(points)} wider at few shots than at full data, "
        f"and max - min {wider:.1f} points"
    )
    if not differ:
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
