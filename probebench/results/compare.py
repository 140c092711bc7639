"""Puts results side by side: how ranks move between protocols, and whether two checkpoints differ."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probebench.results.metrics import image_scores
from probebench.results.schema import Result
from probebench.results.stats import Comparison, holm, paired
from probebench.results.store import Predictions


@dataclass(frozen=True)
class RankShift:
    """One data set at one number of shots.

    Attributes:
        protocols: Protocol ids.
        ranks: Rank of each checkpoint under each protocol, best is 1, ties share the better rank; by mean score.
        tau: Kendall's tau-b between the first protocol's scores and each other one's; None with all scores equal.
    """

    dataset: str
    shots: int | str
    protocols: tuple[str, ...]
    ranks: dict[str, tuple[int, ...]]
    tau: tuple[float | None, ...]


def rank_shifts(results: Iterable[Result], protocols: Sequence[str]) -> list[RankShift]:
    """Ranks checkpoints under each protocol on the same cache.

    Only checkpoints with a score under every protocol are ranked, and only where there are two of them.
    """
    cells: dict[tuple[str, int | str], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        if result.mean is not None:
            name = f"{result.model} at {result.input_size} px" if result.input_size else result.model
            cells[result.dataset, result.shots][name][result.protocol] = result.mean
    shifts = []
    for (dataset, shots), models in cells.items():
        whole = {name: scores for name, scores in models.items() if all(one in scores for one in protocols)}
        if len(whole) < 2:
            continue
        columns = [[scores[protocol] for scores in whole.values()] for protocol in protocols]
        ranks = [[1 + sum(other > score for other in column) for score in column] for column in columns]
        shifts.append(
            RankShift(
                dataset,
                shots,
                tuple(protocols),
                {name: tuple(column[place] for column in ranks) for place, name in enumerate(whole)},
                tuple(_tau(columns[0], column) for column in columns[1:]),
            )
        )
    return shifts


def _tau(one: Sequence[float], other: Sequence[float]) -> float | None:
    from scipy.stats import kendalltau

    value = float(kendalltau(one, other).statistic)
    return None if value != value else value


@dataclass(frozen=True)
class Pair:
    """Two checkpoints on one data set, under one protocol, at one number of shots.

    Attributes:
        holm: The p-value adjusted over all pairs that are compared together.
    """

    first: Result
    second: Result
    comparison: Comparison
    holm: float


def comparable(first: Result, second: Result) -> bool:
    """Says whether two results are of the same draws and the same test images under the same protocol."""

    def same(result: Result) -> tuple[object, ...]:
        draws = tuple(trial.draw_digest for trial in result.trials)
        return (
            result.dataset_fingerprint,
            result.protocol,
            result.protocol_version,
            result.shots,
            result.kind,
            result.mode,
            draws,
        )

    return first.mean is not None and second.mean is not None and same(first) == same(second)


def compare(pairs: Sequence[tuple[tuple[Result, Predictions], tuple[Result, Predictions]]]) -> list[Pair]:
    """Compares each pair on the same draws and images (``comparable``), with p-values adjusted over all of them."""
    found = [paired(_scores(*one), _scores(*other)) for one, other in pairs]
    adjusted = holm([comparison.p_value for comparison in found])
    return [
        Pair(first, second, comparison, value)
        for ((first, _), (second, _)), comparison, value in zip(pairs, found, adjusted, strict=True)
    ]


def _scores(result: Result, predictions: Predictions) -> npt.NDArray[np.float64]:
    return image_scores(result.metric, predictions.y_true, predictions.y_pred)
