"""Results on the test part of another data set stay apart from all others, whoever reads them."""

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from probebench.leaderboard.board import board_rows
from probebench.leaderboard.card import commands
from probebench.leaderboard.page import page_data
from probebench.leaderboard.ranking import arrange
from probebench.leaderboard.rules import lacking
from probebench.registry import Registry
from probebench.results.cells import CellKey, dataset_text, gather
from probebench.results.compare import comparable_cells, rank_shifts
from probebench.results.export import tidy_row
from probebench.results.paper import tables
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.scores import drop_of
from probebench.study.ask import study
from tests.results.make import result, trial

SHIFT = {"fingerprint": "1" * 64, "n_own": 40, "own_mean": 0.9, "drop": 0.3, "drop_ci95": (0.2, 0.4)}


def shifted(**changes: Any) -> Result:
    return result(**{"test_dataset": "harder", "shift": SHIFT, "mean": 0.6, "ci95": (0.5, 0.7)} | changes)


def test_it_is_a_cell_of_its_own() -> None:
    plain, moved, elsewhere = result(), shifted(), shifted(test_dataset="other")
    assert len(gather([plain, moved, elsewhere])) == 3
    assert len(gather([moved, shifted(shift=SHIFT | {"fingerprint": "2" * 64})])) == 2
    assert str(CellKey.of(moved)) == "net at 96 px, pooled on digits -> harder, 1 shot, default"
    assert dataset_text(plain) == "digits" and CellKey.of(plain).setting.tested == ""
    assert [row.dataset.name for row in board_rows(gather([moved, plain]))] == ["digits", "digits -> harder"]


def test_ranks_and_means_never_mix_them(shipped: Registry) -> None:
    results = [one(model=name) for name in ("a", "b") for one in (result, shifted)]
    arranged = arrange(gather(results))
    assert {
        setting.tested: {one.name for own in held.values() for one in own} for (setting, _), held in arranged.items()
    } == {
        "": {"digits"},
        "harder": {"digits -> harder"},
    }
    page = page_data(results)
    assert [one["name"].partition(", tested on ")[2] for one in page["settings"]] == ["", "harder"]
    assert all(len(view["sets"]) == 1 for view in page["views"]) and page["datasets"][1]["metric"] == "accuracy"
    assert [one.dataset for one in rank_shifts(results, ["default"])] == ["digits", "digits -> harder"]
    pairs = comparable_cells([results[0], results[1]], [results[2], results[3]])
    assert [(one.test_dataset, two.test_dataset) for one, two in pairs] == [(None, None), ("harder", "harder")]
    held = Predictions(("a", "b"), np.array([0, 1]), np.array([[0, 1]]))
    assert [table.setting.tested for table in tables(results, lambda _: held)] == ["", "harder"]
    assert "tested on harder" in tables(results, lambda _: held)[1].caption
    five = [trial(seed, draw_digest=f"{seed}" * 64) for seed in range(5)]
    assert lacking([shifted(trials=five, protocol_version=3)], ["digits"], shipped) == lacking([], ["digits"], shipped)


def test_the_commands_of_a_card_make_them_again() -> None:
    lines = commands([result(), shifted()])
    assert "--dataset digits,harder" in lines[0]
    assert ["--test-dataset harder" in line for line in lines] == [False, False, True]


def test_the_study_leaves_them_out() -> None:
    results = [result(model=name, shots=shots) for name in ("a", "b") for shots in (1, "full")]
    moved = [one.model_copy(update={"test_dataset": "harder", "shift": shifted().shift}) for one in results]
    alone, both = study(results), study([*results, *moved])
    assert both.claims == alone.claims
    assert [one.what for one in both.dropped if one.why == "on the test part of another data set"] == ["4 results"]


def test_rows_tell_the_drop() -> None:
    row = tidy_row(shifted())
    assert (row["dataset"], row["test_dataset"], row["own_mean"], row["drop"]) == ("digits", "harder", 0.9, 0.3)
    assert (row["drop_low"], row["drop_high"]) == (0.2, 0.4)
    assert {tidy_row(result())[name] for name in ("test_dataset", "own_mean", "drop", "drop_low", "drop_high")} == {
        None
    }


def test_of_more_draws_than_count_a_drop_takes_predictions() -> None:
    many = shifted(trials=[trial(seed, draw_digest=f"{seed}" * 64) for seed in range(6)])
    assert drop_of(many) is None and drop_of(result()) is None
    right = np.arange(6)[:, None] < np.array([[5, 3, 6, 0]])
    held = Predictions(
        tuple("abcd"),
        np.zeros(4, int),
        np.where(right, 0, 1),
        own=Predictions(("e",), np.zeros(1, int), np.zeros((6, 1), int)),
    )
    found = drop_of(many, held)
    assert found is not None and found[0] == pytest.approx(1 - right[:5].mean())


def test_older_files_stay_as_they_were() -> None:
    """Unset fields are in no dump, so that files and whatever is a digest of them keep their bytes."""
    text = result().model_dump_json()
    assert not {"test_dataset", "shift"} & set(json.loads(text)) and Result.model_validate_json(text) == result()
    assert Result.model_validate_json(shifted().model_dump_json()) == shifted()
    assert "labels" not in shifted().model_dump()["shift"]
    for half in ({"test_dataset": "harder"}, {"shift": SHIFT}):
        with pytest.raises(ValidationError, match="test_dataset and shift belong together"):
            result(**half)
    plain = Predictions(("a",), np.zeros(1, int), np.zeros((1, 1), int))
    assert Predictions(plain.test_ids, plain.y_true, plain.y_pred, own=plain).digest != plain.digest
