"""Claims about sources of one group: do they matter, does that fade, who leads, and does that carry over."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from probebench.study import spread_claims
from probebench.study.claims import LARGEST_RUN_SD, SMALLEST_SD, Basis, Claim, Estimate
from probebench.study.engine import Array
from probebench.study.observations import Track
from probebench.study.order import concordance, order
from probebench.study.panel import SCALES, Panel, whole
from probebench.study.runs import run_variance
from probebench.study.spread_claims import RUNS, fades_claim, matters_claim, refused

# Of P(first), whatever the group.
_SEED = 230213603
QUESTIONS = {
    **spread_claims.QUESTIONS,
    "best-source": "Which source wins?",
    "ranking-carries-over": "Does the ranking of sources carry over between data sets?",
}


def source_claims(panel: Panel, group: str, track: Track, candidates: Panel | None = None) -> list[Claim]:
    """Answers what can be asked of several sources of one group, and again without flagged scores.

    Args:
        panel: A row for each source.
        group: What they have in common.
        track: How they are measured.
        candidates: A panel of mixtures of these sources too, of which the best is looked for; None: there are none.
    """
    claims = _claims(panel, group, track, candidates or panel)
    if not panel.flagged.any():
        return claims
    cleared = panel.cleared()
    again = _claims(cleared, group, track, candidates.cleared() if candidates else cleared)
    by_question = {(one.id, one.level): one for one in again}
    return [_held(claim, by_question.get((claim.id, claim.level))) for claim in claims]


def _held(claim: Claim, without: Claim | None) -> Claim:
    """Takes a verdict back that does not hold without flagged scores."""
    told = replace(claim, without_flagged=without.estimate if without else None)
    if not claim.answered or (without and without.verdict == claim.verdict):
        return told
    rest = "an effect is not ruled out" if claim.verdict == "no effect" else "it is not beyond noise"
    why = f"scores off chance and ceiling: without such scores {rest}"
    return replace(told, verdict="not answerable", missing=why, sentence=f"Of all scores alone: {claim.sentence}")


def _claims(panel: Panel, group: str, track: Track, candidates: Panel) -> list[Claim]:
    matters = [matters_claim(panel, level, group, track) for level in panel.levels]
    differ = any(_beyond_noise(one) for one in matters if one.level != "zero-shot")
    (best, _), (_, carries) = _orders(candidates, group, track), _orders(panel, group, track)
    return [*matters, fades_claim(panel, group, track, differ=differ), best, carries]


def _beyond_noise(claim: Claim) -> bool:
    sizes = claim.estimate, claim.logit
    return all(size is not None and size.low is not None and size.low > 0 for size in sizes)


def _orders(panel: Panel, group: str, track: Track) -> tuple[Claim, Claim]:
    """Returns who leads, and whether the order carries over."""
    level = panel.headline
    places = panel.places(level)
    table, rows, columns = whole(panel.means("points", places))
    shared = {"group": group, "track": track, "basis": Basis.of(panel, rows, columns), "level": level}
    best = {"id": "best-source", "question": QUESTIONS["best-source"], **shared}
    carries = {"id": "ranking-carries-over", "question": QUESTIONS["ranking-carries-over"], **shared}
    if len(rows) < 3 or table.shape[1] < 2:
        few = "three sources on two data sets"
        return refused(best, few), refused(carries, few)
    if not panel.equal:
        why = "the same settings for every source: an order of sources that were tuned unequally is one of tuning"
        heat = {"details": {"heat map": _heat(panel, places)}}
        return refused(best, why, **heat), refused(carries, why)
    found = {}
    for scale in SCALES:
        scored, _, _ = whole(panel.means(scale, places))
        run = run_variance(panel.by_run(scale, places)[rows][:, :, columns])
        found[scale] = order(scored, run=run, seed=_SEED), panel.fewest_runs(rows, columns) > 1
    return _best(best, panel, rows, found, places), _carries(carries, table, found)


def _best(about: dict[str, Any], panel: Panel, rows: list[int], found: Any, places: list[int]) -> Claim:
    (points, several), (logit, _) = found["points"], found["logit"]
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
    trails = points.trail.low > 0 and logit.trail.low > 0 and int(logit.means.argmin()) == last
    loser = f"; {names[last]} is last beyond noise" if trails else ""
    if same and lead.low > 0 and logit.lead.low > 0:
        if several or points.undone_lead > LARGEST_RUN_SD:
            alone = "" if several else _undone(points.undone_lead)
            return Claim(**about, verdict="confirmed", sentence=f"{told}{alone}{loser}.")
        return Claim(
            **about,
            verdict="not answerable",
            sentence=f"Of these checkpoints {told}{loser}{_undone(points.undone_lead)}.",
            missing=RUNS,
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
        one = order(table, seed=_SEED)
        lead = Estimate.of(one.lead).as_dict(unit=False)
        found.append({"shots": shots, "first": str(panel.rows[rows[int(one.means.argmax())]]), **lead})
    return found


def _heat(panel: Panel, places: list[int]) -> list[dict[str, Any]]:
    """Returns each source on each data set, less the mean of the sources there, in points."""
    table = panel.means("points", places)
    known = ~np.isnan(table)
    away = table - np.where(known, table, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
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
    (points, several), (logit, _) = found["points"], found["logit"]
    agreement = concordance(table.T)
    about["estimate"] = Estimate.of(agreement, "rank correlation")
    told = f"data sets agree on the order of sources by a rank correlation of {about['estimate']}"
    if points.p_agree < 0.05 and logit.p_agree < 0.05:
        if several or points.undone_agree > LARGEST_RUN_SD:
            alone = "" if several else _undone(points.undone_agree)
            return Claim(**about, verdict="confirmed", sentence=f"It carries over: {told}{alone}.")
        return Claim(
            **about,
            verdict="not answerable",
            sentence=f"Of these checkpoints, {told}{_undone(points.undone_agree)}.",
            missing=RUNS,
        )
    if agreement.high <= 0.3:
        bound = round(max(abs(agreement.low), abs(agreement.high)), 2)
        return Claim(**about, verdict="no effect", bound=bound, sentence=f"It does not carry over: {told}.")
    return Claim(
        **about, verdict="not answerable", sentence=f"Within noise: {told}.", missing="more data sets or sources"
    )
