"""Puts results side by side: how ranks move between protocols, and whether two checkpoints differ."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probebench.registry.entry import Shots
from probebench.results.cells import CellKey, DataSet, Entrant, dataset_text, entrant_names, gather
from probebench.results.metrics import image_scores
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.scores import counted_predictions, counted_trials, has_score, score_of
from probebench.results.short import on_too_few
from probebench.results.stats import Comparison, holm, paired


@dataclass(frozen=True)
class RankShift:
    """One data set at one number of shots.

    Attributes:
        protocols: Protocol ids.
        ranks: Rank of each checkpoint under each protocol, best is 1, ties share the better rank; by mean score.
        tau: Kendall's tau-b between the first protocol's scores and each other one's; None with all scores equal.
    """

    dataset: str
    shots: Shots
    protocols: tuple[str, ...]
    ranks: dict[str, tuple[int, ...]]
    tau: tuple[float | None, ...]


def rank_shifts(results: Iterable[Result], protocols: Sequence[str]) -> list[RankShift]:
    """Ranks checkpoints under each protocol on the same cache.

    Only checkpoints with a score under every protocol are ranked, and only where there are two of them, and where half
    of the classes or more have the images that the shots say.
    """
    cells: dict[tuple[DataSet, Shots], dict[Entrant, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for cell in gather(results):
        if (mean := score_of(cell.result).mean) is not None and not on_too_few(cell.result):
            cells[cell.key.dataset, cell.key.shots][cell.key.entrant].setdefault(cell.key.setting.protocol, mean)
    names = entrant_names(entrant for models in cells.values() for entrant in models)
    shifts = []
    for (dataset, shots), models in cells.items():
        whole = {
            f"{names[one]} at {one.input_size} px" if one.input_size else names[one]: scores
            for one, scores in models.items()
            if all(protocol in scores for protocol in protocols)
        }
        if len(whole) < 2:
            continue
        columns = [[scores[protocol] for scores in whole.values()] for protocol in protocols]
        ranks = [[1 + sum(other > score for other in column) for score in column] for column in columns]
        shifts.append(
            RankShift(
                dataset.name,
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
class ComparedPair:
    """Two checkpoints on one data set, under one protocol, at one number of shots.

    Attributes:
        holm: The p-value adjusted over all pairs that are compared together.
    """

    first: Result
    second: Result
    comparison: Comparison
    holm: float

    def as_row(self) -> dict[str, object]:
        """Returns it as a flat row: where, both means, their difference with its 95% interval, and p-values."""
        low, high = self.comparison.ci95
        return {
            "first": self.first.model,
            "second": self.second.model,
            "dataset": dataset_text(self.first),
            "kind": self.first.kind,
            "mode": self.first.mode,
            "protocol": self.first.protocol,
            "protocol_version": self.first.protocol_version,
            "shots": self.first.shots,
            "first_input_size": self.first.input_size,
            "second_input_size": self.second.input_size,
            "first_layer": self.first.checkpoint.layer,
            "second_layer": self.second.checkpoint.layer,
            "first_mean": score_of(self.first).mean,
            "second_mean": score_of(self.second).mean,
            "difference": self.comparison.difference,
            "low": low,
            "high": high,
            "p_value": self.comparison.p_value,
            "p_holm": self.holm,
        }


def comparable(first: Result, second: Result) -> bool:
    """Says whether two results are of the same draws and the same test images under the same protocol."""
    return has_score(first) and has_score(second) and _shared(first) == _shared(second)


def _shared(result: Result) -> tuple[object, ...]:
    key = CellKey.of(result)
    draws = tuple(result.trials[place].draw_digest for place in counted_trials(result))
    return key.setting, key.dataset, key.metric, key.shots, draws


def comparable_cells(first: Iterable[Result], second: Iterable[Result]) -> list[tuple[Result, Result]]:
    """Pairs the results that count of two checkpoints, wherever they share draws and images."""
    ours, theirs = gather(first), gather(second)
    return [(one.result, two.result) for one in ours for two in theirs if comparable(one.result, two.result)]


def compare(pairs: Sequence[tuple[tuple[Result, Predictions], tuple[Result, Predictions]]]) -> list[ComparedPair]:
    """Compares each pair on the same draws and images (``comparable``), with p-values adjusted over all of them."""
    found = [paired(_scores(*one), _scores(*other)) for one, other in pairs]
    adjusted = holm([comparison.p_value for comparison in found])
    return [
        ComparedPair(first, second, comparison, value)
        for ((first, _), (second, _)), comparison, value in zip(pairs, found, adjusted, strict=True)
    ]


def _scores(result: Result, predictions: Predictions) -> npt.NDArray[np.float64]:
    held = counted_predictions(result, predictions)
    return image_scores(result.metric, held.y_true, held.y_pred)
