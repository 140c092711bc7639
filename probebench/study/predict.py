"""Does few-shot accuracy predict accuracy after full fine-tuning?"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from probebench.registry.entry import Shots
from probebench.results.cells import in_order, shots_text
from probebench.results.stats import LEVEL, holm
from probebench.study.answer import ALPHA, Answer, Estimate, Table, Value, refusal, rests_on, selection_note
from probebench.study.noise import Array
from probebench.study.observations import Observation, Track, group_by, pretrained

_QUESTION, _TITLE = "predict", "Does few-shot accuracy predict accuracy at full data?"
_CHECKPOINTS = 5

FewAndFull = tuple[Observation, Observation]


def predict_answer(few: Sequence[Observation], full: Sequence[Observation]) -> Answer:
    """Answers for few-shot cells of one track and full-data cells of one, which may be the same track."""
    track = _label(few[0].track, full[0].track)
    rows: list[dict[str, Value]] = []
    single: list[dict[str, Value]] = []
    points: list[dict[str, Value]] = []
    used: list[Observation] = []
    p_values: list[float] = []
    for shots, pairs in _paired(few, full).items():
        by_dataset = group_by(pairs, lambda pair: pair[0].dataset)
        kept = {name: one for name, one in by_dataset.items() if len(one) >= _CHECKPOINTS and _varies(one)}
        if not kept:
            continue
        used += [cell for one in kept.values() for pair in one for cell in pair]
        p_value, row = _pooled(kept)
        p_values.append(p_value)
        rows.append({"shots": shots_text(shots), **row})
        for name, one in kept.items():
            single.append({"shots": shots_text(shots), "dataset": name, **_single(one)})
            points += [_point(shots, name, pair) for pair in one]
    if not rows:
        why = f"it takes {_CHECKPOINTS} checkpoints with both a few-shot and a full-data score on one data set"
        return refusal(_QUESTION, _TITLE, track, why)
    for filled, value in zip(rows, holm(p_values), strict=True):
        filled["p"] = value
    found = tuple(f"{row['shots']} predict full" for row in rows if isinstance(row["p"], float) and row["p"] < ALPHA)
    return Answer(
        question=_QUESTION,
        title=_TITLE,
        track=track,
        verdict=_verdict(found),
        found=found,
        tables=(_table(rows), _single_table(single), _point_table(points)),
        notes=(
            "Untrained networks are left out: they would make any correlation high.",
            *selection_note(dict.fromkeys(used)),
        ),
        basis=rests_on(dict.fromkeys(used)),
    )


def track_pairs(tracks: Sequence[Track]) -> list[tuple[Track, Track]]:
    """Returns which few-shot track is held against which full-data track: itself, and full fine-tuning."""
    pairs = []
    for few in tracks:
        if few.kind == "zeroshot":
            continue
        for full in tracks:
            if full == few or (full.kind == "finetune" and full.mode == "full" and full.metric == few.metric):
                pairs.append((few, full))
    return pairs


def _verdict(found: Sequence[str]) -> str:
    if not found:
        return "No rank correlation within data sets beyond chance."
    return f"It does from {', '.join(one.removesuffix(' predict full') for one in found)}, by ranks within data sets."


def _label(few: Track, full: Track) -> str:
    return str(few) if few == full else f"few shots: {few}; full data: {full}"


def _paired(few: Sequence[Observation], full: Sequence[Observation]) -> dict[Shots, list[FewAndFull]]:
    at_full = {(cell.pretraining, cell.dataset): cell for cell in pretrained(full) if cell.shots == "full"}
    found: dict[Shots, list[FewAndFull]] = defaultdict(list)
    for shots in in_order(cell.shots for cell in few):
        for cell in pretrained(few):
            if cell.shots == shots and shots != "full" and (cell.pretraining, cell.dataset) in at_full:
                found[shots].append((cell, at_full[cell.pretraining, cell.dataset]))
    return found


def _scores(pairs: Sequence[FewAndFull]) -> Array:
    return np.array([[one.score, other.score] for one, other in pairs])


def _varies(pairs: Sequence[FewAndFull]) -> bool:
    return bool((np.ptp(_scores(pairs), axis=0) > 0).all())


def _standard(scores: Array, *, ranked: bool) -> Array:
    """Returns both columns, or their ranks, with mean 0 and variance 1."""
    from scipy.stats import rankdata

    found: Array = rankdata(scores, axis=0) if ranked else scores
    found = found - found.mean(axis=0)
    spread = np.sqrt((found**2).mean(axis=0))
    scaled: Array = found / np.where(spread > 0, spread, 1.0)
    return scaled


def _fisher(correlation: float, error: float, freedom: float) -> tuple[Estimate, float]:
    """Returns a correlation with its interval through Fisher's z, and the p-value of there being none."""
    from scipy.special import stdtr, stdtrit

    z = float(np.arctanh(np.clip(correlation, -0.9999, 0.9999)))
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(z) / error)) if error > 0 else float(z == 0)
    return Estimate(correlation, float(np.tanh(z - half)), float(np.tanh(z + half))), p_value


def _single(pairs: Sequence[FewAndFull]) -> dict[str, Value]:
    """Returns both correlations on one data set: Fisher's interval, and Bonett and Wright's (2000) for ranks."""
    count, scores = len(pairs), _scores(pairs)
    linear, rank = (float(_standard(scores, ranked=ranked).prod(axis=1).mean()) for ranked in (False, True))
    rank_error = float(np.sqrt((1 + rank**2 / 2) / (count - 3)))
    return {
        "checkpoints": count,
        "rank": _fisher(rank, rank_error, 1e6)[0],
        "linear": _fisher(linear, 1 / float(np.sqrt(count - 3)), 1e6)[0],
    }


def _pooled(kept: dict[str, list[FewAndFull]]) -> tuple[float, dict[str, Value]]:
    """Returns both correlations within data sets, pooled, and the rank correlation's p-value.

    Scores or their ranks are standardised within each data set and multiplied. One checkpoint is on many data sets, so
    the standard error is the jackknife's over checkpoints, in Fisher's z with t on their number less 1.
    """
    checkpoints = sorted({pair[0].pretraining for pairs in kept.values() for pair in pairs}, key=str)
    row: dict[str, Value] = {"checkpoints": len(checkpoints), "datasets": len(kept)}
    p_value = 1.0
    for name, ranked in (("linear", False), ("rank", True)):
        whole = _within(kept, None, ranked=ranked)
        parts = [_within(kept, left_out, ranked=ranked) for left_out in checkpoints]
        z = np.arctanh(np.clip(parts, -0.9999, 0.9999))
        count = len(checkpoints)
        error = float(np.sqrt((count - 1) / count * ((z - z.mean()) ** 2).sum()))
        row[name], p_value = _fisher(whole, error, count - 1)
    return p_value, row


def _within(kept: dict[str, list[FewAndFull]], left_out: tuple[object, ...] | None, *, ranked: bool) -> float:
    products: list[Array] = []
    for pairs in kept.values():
        held = [pair for pair in pairs if pair[0].pretraining != left_out]
        if len(held) > 2:
            products.append(_standard(_scores(held), ranked=ranked).prod(axis=1))
    return float(np.concatenate(products).mean()) if products else 0.0


def _point(shots: Shots, dataset: str, pair: FewAndFull) -> dict[str, Value]:
    return {
        "shots": shots_text(shots),
        "dataset": dataset,
        "model": pair[0].model,
        "few": pair[0].score,
        "full": pair[1].score,
    }


def _table(rows: Sequence[dict[str, Value]]) -> Table:
    return Table(
        "correlations",
        "Correlation of few-shot and full-data scores between checkpoints, within data sets",
        (
            ("shots", "few-shot at", "text"),
            ("checkpoints", "checkpoints", "count"),
            ("datasets", "data sets", "count"),
            ("rank", "Spearman", "r"),
            ("p", "p (Holm)", "p"),
            ("linear", "Pearson", "r"),
        ),
        tuple(rows),
    )


def _single_table(rows: Sequence[dict[str, Value]]) -> Table:
    return Table(
        "datasets",
        "On each data set",
        (
            ("dataset", "data set", "text"),
            ("shots", "few-shot at", "text"),
            ("checkpoints", "checkpoints", "count"),
            ("rank", "Spearman", "r"),
            ("linear", "Pearson", "r"),
        ),
        tuple(rows),
    )


def _point_table(rows: Sequence[dict[str, Value]]) -> Table:
    return Table(
        "points",
        "Every checkpoint",
        (
            ("dataset", "data set", "text"),
            ("shots", "few-shot at", "text"),
            ("model", "checkpoint", "text"),
            ("few", "few-shot", "points"),
            ("full", "full data", "points"),
        ),
        tuple(rows),
    )
