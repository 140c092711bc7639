"""Numbers on ranks that do not follow from the arrays, and arrays that come of no ranking: each is refused."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from probebench.leaderboard.check_retrieval import check_retrieval
from probebench.results.predictions import Predictions
from probebench.results.retrieval import summary
from probebench.results.schema import Result
from tests.results.make import result, trial

Arrays = dict[str, Any]


def ranked(shots: int | str = 5) -> tuple[dict[str, Any], Arrays]:
    """An honest result: two draws of three classes, one of which the gallery lacks, ranked at random."""
    generator = np.random.default_rng(0)
    labels, truth = np.repeat([0, 1], 5), np.arange(30) % 3
    arrays: Arrays = {"y_true": truth, "y_pred": [], "first_hit": [], "average_precision": []}
    for _ in range(2):
        orders = [generator.permutation(10) for _ in truth]
        arrays["y_pred"].append([labels[order[0]] for order in orders])
        places = [np.flatnonzero(labels[order] == own) + 1 for order, own in zip(orders, truth, strict=True)]
        arrays["first_hit"].append([place[0] if len(place) else 0 for place in places])
        arrays["average_precision"].append(
            [(np.arange(1, len(place) + 1) / place).mean() if len(place) else 0 for place in places]
        )
    arrays = {name: np.array(values, np.int64 if name[0] == "y" else np.float32) for name, values in arrays.items()}
    told = summary(predictions(arrays))
    assert told is not None
    facts = result(
        kind="retrieval", mode="cosine", protocol="retrieval", backend="numpy", shots=shots, trials=[trial(0), trial(1)]
    ).model_dump(mode="json")
    return facts | {"retrieval": told.model_dump()}, arrays


def predictions(arrays: Arrays) -> Predictions:
    measures = {name: values for name, values in arrays.items() if not name.startswith("y_")}
    ids = tuple(f"image-{number}" for number in range(len(arrays["y_true"])))
    return Predictions(ids, arrays["y_true"], arrays["y_pred"], measures)


def faults(values: dict[str, Any], arrays: Arrays) -> list[str]:
    return list(check_retrieval(Result.model_validate(values), predictions(arrays)))


@pytest.mark.parametrize("shots", [5, "full"])
def test_an_honest_result_passes(shots: int | str) -> None:
    assert faults(*ranked(shots)) == []


def put(name: str, where: Any, value: float, *, told: bool = True) -> Callable[[dict[str, Any], Arrays], None]:
    """Changes an array, and if so asked every number that follows from it."""

    def change(values: dict[str, Any], arrays: Arrays) -> None:
        arrays[name][where(arrays)] = value
        if told and (again := summary(predictions(arrays))) is not None:
            values["retrieval"] = again.model_dump()

    return change


def say(name: str, value: float) -> Callable[[dict[str, Any], Arrays], None]:
    return lambda values, arrays: values["retrieval"].update({name: value})


def of_rank(rank: int) -> Callable[[Arrays], Any]:
    """Says where an image of the second draw is that finds the first of its class at a rank."""
    return lambda arrays: (1, int(np.flatnonzero(arrays["first_hit"][1] == rank)[0]))


CASES: dict[str, tuple[Callable[[dict[str, Any], Arrays], Any], str]] = {
    **{
        f"another {name}": (say(name, 0.987), f"{name} is 0.987000, and the ranks give")
        for name in ("recall_at_1", "recall_at_5", "recall_at_10", "mean_average_precision")
    },
    "arrays under their old numbers": (put("first_hit", of_rank(2), 6, told=False), "recall_at_5 is"),
    "a nearest image that is another": (put("first_hit", of_rank(2), 1), "draw 1: first hits and predictions differ"),
    "a rank beyond the gallery": (put("first_hit", of_rank(2), 11), "no rank among 10 images"),
    "a rank below nothing": (put("first_hit", of_rank(2), -1), "no rank among 10 images"),
    "half a rank": (put("first_hit", of_rank(2), 2.5), "no rank among 10 images"),
    "no number": (put("average_precision", of_rank(2), np.nan), "is no number"),
    "a class that is there for one image": (put("first_hit", of_rank(0), 4), "a class is in the gallery for some"),
    "a precision of nothing": (put("average_precision", of_rank(0), 0.3), "an average precision without a hit"),
    "a precision that is too good": (put("average_precision", of_rank(2), 0.9), "that no ranking with its first hit"),
    "a precision above one": (put("average_precision", of_rank(1), 1.01), "that no ranking with its first hit"),
    "a precision that is too bad": (put("average_precision", of_rank(1), 0.15), "that no ranking with its first hit"),
    "no numbers": (lambda values, arrays: values.pop("retrieval"), "is missing"),
    "no ranks": (lambda values, arrays: arrays.pop("first_hit"), "is missing"),
    "ranks of another kind": (lambda values, arrays: values.update(kind="knn"), "kind knn ranks nothing"),
    "ranks of fine-tuning": (lambda values, arrays: values.update(kind="finetune"), "kind finetune ranks nothing"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_no_ranking_gives_is_refused(name: str) -> None:
    change, reason = CASES[name]
    values, arrays = ranked()
    values, arrays = copy.deepcopy(values), copy.deepcopy(arrays)
    change(values, arrays)
    found = faults(values, arrays)
    assert any(reason in fault for fault in found), found


def test_at_full_data_only_one_bounds_a_precision() -> None:
    values, arrays = ranked("full")
    arrays["average_precision"][of_rank(2)(arrays)] = 1.01
    assert any("no ranking" in fault for fault in faults(values, arrays))
