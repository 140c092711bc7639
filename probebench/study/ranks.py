"""Which source wins where, and does the ranking of sources carry over between data sets?"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from probebench.results.cells import counted, in_order, shots_text, size_text
from probebench.results.stats import LEVEL, holm
from probebench.study.answer import ALPHA, Answer, Estimate, Table, Value, refusal, rests_on, selection_note
from probebench.study.noise import Array, values, variances
from probebench.study.observations import Observation, average, group_by, rectangle, sized

_QUESTION, _TITLE = "ranks", "Which source wins where, and does the ranking carry over between data sets?"
_SOURCES, _DATASETS = 3, 2
_SEED, _PERMUTATIONS = 230213602, 2000

Group = dict[str, dict[str, Observation]]


def ranks_answer(listed: Sequence[Observation]) -> Answer:
    """Answers for one track."""
    track = str(listed[0].track)
    winners: list[dict[str, Value]] = []
    rows: list[dict[str, Value]] = []
    used: list[Observation] = []
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
        question=_QUESTION,
        title=_TITLE,
        track=track,
        verdict=_verdict(rows, found),
        found=found,
        tables=(_agreement_table(rows), _winner_table(winners)),
        notes=("Noise in scores pulls rank correlations towards 0.", *selection_note(used)),
        basis=rests_on(used),
    )


def _tables(listed: Sequence[Observation]) -> dict[tuple[str, str], Group]:
    """Returns data set -> source -> the mean of its checkpoints, for each matched group and number of shots."""
    found: dict[tuple[str, str], dict[str, dict[str, list[Observation]]]] = {}
    by_shots = group_by(sized(listed), lambda pair: pair[0].shots)
    for shots in in_order(by_shots):
        for one, size in by_shots[shots]:
            group = f"{one.method} ({one.objective}), {one.architecture}, {size_text(size)}"
            table = found.setdefault((group, shots_text(shots)), defaultdict(lambda: defaultdict(list)))
            table[one.dataset][one.source].append(one)
    return {
        key: {
            dataset: {source: average(members) for source, members in sources.items()}
            for dataset, sources in table.items()
        }
        for key, table in found.items()
    }


def concordance(scores: Array) -> tuple[Estimate, float, float]:
    """Returns the mean Spearman correlation between rows with its interval, the mean tau-b, and a p-value.

    Both sources and data sets are samples. The mean Spearman correlation is the intraclass correlation of the ranks
    (one rank, consistency, two-way), whose interval is McGraw and Wong's (1996) from the F distribution. Near 1, where
    ranks are far from normal, it is too short; so it is widened to hold also the interval of the scores' own
    intraclass correlation, each row scaled to variance 1, carried over by Moran's (1948) expectation of Spearman's
    correlation of S normal pairs. The p-value, of no agreement, is that of the sum of ranks' squares under 2,000
    permutations of every row.

    Args:
        scores: (D, S) scores of sources on data sets, D at least 2 and S at least 3.
    """
    from scipy.stats import kendalltau, rankdata

    ranks: Array = rankdata(scores, axis=1)
    rows, columns = ranks.shape
    taus = [float(kendalltau(scores[one], scores[other]).statistic) for one, other in combinations(range(rows), 2)]
    tau = float(np.nan_to_num(taus).mean())
    rho = _intraclass(ranks)
    if rho.value is None:
        return Estimate(0.0, -1.0, 1.0), tau, 1.0
    spread = scores.std(axis=1, keepdims=True)
    own = _intraclass(scores / np.where(spread > 0, spread, 1.0))
    ends = [one for one in (own.low, own.high) if one is not None]
    carried = [_expected_spearman(end, columns) for end in ends]
    low, high = (float(bound) for bound in (rho.low or 0.0, rho.high or 0.0))
    return Estimate(rho.value, min([low, *carried]), max([high, *carried])), tau, _permuted(ranks)


def _intraclass(table: Array) -> Estimate:
    """Returns the two-way consistency intraclass correlation of (D, S) and its interval; no value in a flat table."""
    from scipy.special import fdtri

    rows, columns = table.shape
    freedom = columns - 1, (rows - 1) * (columns - 1)
    between = float(rows * table.mean(axis=0).var(ddof=1))
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    within = float((rest**2).sum() / freedom[1])
    if between + within <= 1e-12:
        return Estimate(None, None, None)
    ratio = between / max(within, 1e-9)
    upper = (1 + LEVEL) / 2

    def correlation(value: float) -> float:
        return float((value - 1) / (value + rows - 1))

    low = correlation(ratio / float(fdtri(*freedom, upper)))
    return Estimate(correlation(ratio), low, correlation(ratio * float(fdtri(*freedom[::-1], upper))))


def _expected_spearman(correlation: float, count: int) -> float:
    inner = np.arcsin(correlation) + (count - 2) * np.arcsin(correlation / 2)
    return float(6 / (np.pi * (count + 1)) * inner)


def _permuted(ranks: Array) -> float:
    """Returns the share of permutations whose rank sums lie at least as far apart, the table at hand counted in."""
    generator = np.random.default_rng(_SEED)
    shuffled = generator.permuted(np.broadcast_to(ranks, (_PERMUTATIONS, *ranks.shape)), axis=2)
    apart = (shuffled.sum(axis=1) ** 2).sum(axis=1)
    seen = (ranks.sum(axis=0) ** 2).sum()
    return float((1 + (apart >= seen - 1e-9).sum()) / (1 + _PERMUTATIONS))


def _mean_ranks(chosen: Sequence[Sequence[Observation]]) -> Array:
    from scipy.stats import rankdata

    ranks: Array = rankdata([values(row, "points") for row in chosen], axis=1).mean(axis=0)
    return ranks


def _winner(row: Sequence[Observation]) -> dict[str, Value]:
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
    made = counted(len(rows), "comparison")
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
