"""Which source wins where, and does the ranking of sources carry over between data sets?"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from probebench.results.stats import LEVEL, holm
from probebench.study.answer import ALPHA, Answer, Estimate, Table, Value, plural, refusal, rests_on, selection_note
from probebench.study.cells import Cell, group_by, rectangle, shots_order, shots_text, size_text, sized
from probebench.study.noise import Array, values, variances

_QUESTION, _TITLE = "ranks", "Which source wins where, and does the ranking carry over between data sets?"
_SOURCES, _DATASETS = 3, 2

Group = dict[str, dict[str, Cell]]


def ranks_answer(listed: Sequence[Cell]) -> Answer:
    """Answers for one track."""
    track = str(listed[0].track)
    winners: list[dict[str, Value]] = []
    rows: list[dict[str, Value]] = []
    used: list[Cell] = []
    p_values: list[float] = []
    for (group, shots), table in _tables(listed).items():
        winners += [
            {"group": group, "shots": shots, "dataset": dataset, **_winner(list(sources.values()))}
            for dataset, sources in table.items()
            if len(sources) > 1
        ]
        datasets, sources = rectangle(table)
        if len(sources) < _SOURCES or len(datasets) < _DATASETS:
            continue
        chosen = [[table[dataset][source] for source in sources] for dataset in datasets]
        used += [cell for row in chosen for cell in row]
        agreement, tau, p_value = concordance(np.array([values(row, "points") for row in chosen]))
        p_values.append(p_value)
        rows.append(
            {
                "group": group,
                "shots": shots,
                "sources": len(sources),
                "datasets": len(datasets),
                "rho": agreement,
                "tau": tau,
                "best": sources[int(_mean_ranks(chosen).argmax())],
            }
        )
    if not rows:
        why = f"it takes {_SOURCES} sources of one method, architecture and size on {_DATASETS} data sets"
        return refusal(_QUESTION, _TITLE, track, why)
    for row, value in zip(rows, holm(p_values), strict=True):
        row["p"] = value
    found = tuple(f"{row['group']}, {row['shots']}" for row in rows if isinstance(row["p"], float) and row["p"] < ALPHA)
    return Answer(
        _QUESTION,
        _TITLE,
        track,
        _verdict(rows, found),
        found=found,
        tables=(_agreement_table(rows), _winner_table(winners)),
        notes=("Noise in scores pulls rank correlations towards 0.", *selection_note(used)),
        basis=rests_on(used),
    )


def _tables(listed: Sequence[Cell]) -> dict[tuple[str, str], Group]:
    """Returns data set -> source -> its best cell, for each matched group and number of shots."""
    found: dict[tuple[str, str], Group] = defaultdict(lambda: defaultdict(dict))
    by_shots = group_by(sized(listed), lambda pair: pair[0].shots)
    for shots in shots_order(by_shots):
        for cell, size in by_shots[shots]:
            group = f"{cell.method} ({cell.objective}), {cell.architecture}, {size_text(size)}"
            sources = found[group, shots_text(shots)][cell.dataset]
            if cell.source not in sources or sources[cell.source].score < cell.score:
                sources[cell.source] = cell
    return {key: {dataset: dict(sources) for dataset, sources in table.items()} for key, table in found.items()}


def concordance(scores: Array) -> tuple[Estimate, float, float]:
    """Returns the mean Spearman correlation between rows with its interval, the mean tau-b, and a p-value.

    The mean Spearman correlation is the intraclass correlation of the ranks (one rank, consistency; two-way), so its
    interval is McGraw and Wong's (1996) from the F distribution, sources and data sets both being samples. The p-value,
    of no agreement, is Friedman's test in Iman and Davenport's (1980) form, the same F.

    Args:
        scores: (D, S) scores of sources on data sets, both at least 2.
    """
    from scipy.special import fdtrc, fdtri
    from scipy.stats import kendalltau, rankdata

    ranks = rankdata(scores, axis=1)
    rows, columns = ranks.shape
    between = rows * ranks.mean(axis=0).var(ddof=1)
    rest = ranks - ranks.mean(axis=1, keepdims=True) - ranks.mean(axis=0, keepdims=True) + ranks.mean()
    freedom = columns - 1, (rows - 1) * (columns - 1)
    within = float((rest**2).sum() / freedom[1])
    taus = [float(kendalltau(scores[one], scores[other]).statistic) for one, other in combinations(range(rows), 2)]
    tau = float(np.nan_to_num(taus).mean())
    if within <= 1e-12:
        return (Estimate(1.0, 1.0, 1.0), tau, 0.0) if between > 0 else (Estimate(0.0, -1.0, 1.0), tau, 1.0)
    ratio = float(between / within)
    upper = (1 + LEVEL) / 2

    def correlation(value: float) -> float:
        return float((value - 1) / (value + rows - 1))

    low = correlation(ratio / float(fdtri(*freedom, upper)))
    high = correlation(ratio * float(fdtri(*freedom[::-1], upper)))
    return Estimate(correlation(ratio), low, high), tau, float(fdtrc(*freedom, ratio))


def _mean_ranks(chosen: Sequence[Sequence[Cell]]) -> Array:
    from scipy.stats import rankdata

    ranks: Array = rankdata([values(row, "points") for row in chosen], axis=1).mean(axis=0)
    return ranks


def _winner(row: Sequence[Cell]) -> dict[str, Value]:
    """Returns the best source, its lead on the next, and whether that is beyond noise (Bonferroni over all pairs)."""
    from scipy.special import ndtr

    order = sorted(range(len(row)), key=lambda place: -row[place].score)
    first, second = order[:2]
    lead = row[first].score - row[second].score
    noise = variances(row, "points")
    clear = "unknown"
    if noise is not None:
        error = float(np.sqrt(noise[first] + noise[second]))
        pairs = len(row) * (len(row) - 1) / 2
        p_value = 2 * float(ndtr(-lead / error)) * pairs if error else float(lead == 0)
        clear = "yes" if p_value < ALPHA else "no"
    return {"winner": row[first].source, "second": row[second].source, "lead": lead, "clear": clear}


def _verdict(rows: Sequence[dict[str, Value]], found: Sequence[str]) -> str:
    made = plural(len(rows), "comparison")
    if not found:
        return f"Data sets do not agree on the ranking of sources beyond chance ({made})."
    return f"The ranking of sources carries over between data sets in {len(found)} of {made}."


def _agreement_table(rows: Sequence[dict[str, Value]]) -> Table:
    return Table(
        "agreement",
        "Agreement of data sets on the ranking of sources",
        (
            ("group", "matched at", "text"),
            ("shots", "shots", "text"),
            ("sources", "sources", "count"),
            ("datasets", "data sets", "count"),
            ("rho", "mean Spearman correlation", "r"),
            ("tau", "mean Kendall tau", "r"),
            ("p", "p (Holm)", "p"),
            ("best", "best by mean rank", "text"),
        ),
        tuple(rows),
    )


def _winner_table(rows: Sequence[dict[str, Value]]) -> Table:
    return Table(
        "winners",
        "The best source on each data set",
        (
            ("group", "matched at", "text"),
            ("shots", "shots", "text"),
            ("dataset", "data set", "text"),
            ("winner", "best", "text"),
            ("second", "second", "text"),
            ("lead", "lead, points", "points"),
            ("clear", "lead beyond noise", "text"),
        ),
        tuple(rows),
    )
