"""Tables for a paper: what is where, what is marked, and how it is written."""

from pathlib import Path

import numpy as np
import pytest

from probebench.registry.entry import ShortClass
from probebench.results.paper import latex, markdown, tables
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from tests.results.make import result, trial

TRUE = np.arange(1000) % 4


def predicted(accuracy: float, seed: int) -> Predictions:
    wrong = np.random.default_rng(seed).permutation(1000)[: round(1000 * (1 - accuracy))]
    guesses = TRUE.copy()
    guesses[wrong] = (guesses[wrong] + 1) % 4
    return Predictions(tuple(map(str, range(1000))), TRUE, guesses[None])


def measured(**scores: float) -> tuple[list[Result], dict[str, Predictions]]:
    results, held = [], {}
    for seed, (model, score) in enumerate(scores.items()):
        results.append(
            result(model=model, mean=score, trials=[trial(0, score)], n_test=1000, ci95=(score - 0.02, score + 0.02))
        )
        held[model] = predicted(score, seed)
    return results, held


def test_the_best_is_marked_and_what_cannot_be_told_from_it() -> None:
    results, held = measured(a_net=0.8, b=0.79, c=0.5)
    (table,) = tables(results, lambda one: held[one.model])
    ((column, best),) = table.rows["a_net"].items()
    assert (
        (column[0].name, column[1]) == ("digits", 1) and best.best and not best.tied and best.mean == pytest.approx(80)
    )
    tied, apart = table.rows["b"][column], table.rows["c"][column]
    assert tied.tied and not tied.best and not apart.tied and not apart.best
    text = latex([table], intervals=True)
    assert r"a\_net & \textbf{80.0} {\scriptsize [78.0, 82.0]} \\" in text
    assert r"b & \underline{79.0}" in text and "c & 50.0 " in text
    assert text.count("{") == text.count("}") and r"\multicolumn{1}{c}{digits}" in text
    assert "| a_net | **80.0** |\n| b | *79.0* |\n| c | 50.0 |" in markdown([table])


def test_columns_are_data_sets_and_shots_as_numbers_and_gaps_are_dashes() -> None:
    made = [result(dataset=name, shots=shots, model="m") for name in ("b", "a") for shots in (10, "full", 1)]
    made.append(result(dataset="a", shots=5, model="n"))
    (table,) = tables(made, lambda _: pytest.fail("nothing to compare"))
    assert [(held.name, shots) for held, shots in table.columns] == [
        *(("a", shots) for shots in (1, 5, 10, "full")),
        *(("b", shots) for shots in (1, 10, "full")),
    ]
    assert "| n | – | **80.0** | – | – | – | – | – |" in markdown([table])


def test_what_is_not_ranked_is_never_the_best() -> None:
    long_tail = {"shots": 10, "short_classes": [ShortClass(0, 1, 0), ShortClass(1, 1, 0)], "classes": 3}
    results = [
        result(model="a", mean=0.9, selection="test"),
        result(model="b", mean=0.7),
        result(model="c", mean=0.99, dataset="digits@12"),
        result(model="d", mean=0.99, **long_tail),
    ]
    (table,) = tables(results, lambda one: predicted(0.7, 0))
    text = markdown([table])
    assert "90.0\\*" in text and "**70.0**" in text and text.count("99.0\\*") == 2


def test_settings_have_tables_of_their_own(tmp_path: Path) -> None:
    found = tables([result(), result(kind="finetune", mode="lp-ft", protocol="quick")], lambda _: predicted(0.8, 0))
    assert len(found) == 2 and any("quick v1, lp-ft" in table.caption for table in found)
