from typing import Any

from probebench.leaderboard.board import answers, board_rows, shots_columns
from tests.results.make import checkpoint, result, trial


def test_one_row_a_checkpoint_best_first() -> None:
    results = [
        result(model="a", shots=1, mean=0.9),
        result(model="a", shots="full", mean=0.5),
        result(model="b", shots=1, mean=0.2),
        result(model="b", shots="full", mean=0.7),
    ]
    rows = board_rows(results)
    assert [row.model for row in rows] == ["b", "a"]
    assert shots_columns(rows) == [1, "full"]
    assert rows[0].cells[1].mean == 0.2


def test_a_missing_or_failed_cell_never_counts_as_zero_and_never_helps() -> None:
    rows = board_rows(
        [
            result(model="low", shots="full", mean=0.0, ci95=(0.0, 0.1)),
            result(model="missing", shots=1, mean=0.99),
            result(model="failed", shots="full", mean=None, ci95=None),
            result(model="high", shots="full", mean=0.9),
        ]
    )
    assert [row.model for row in rows] == ["high", "low", "missing", "failed"]


def test_of_several_results_the_one_with_most_draws_counts() -> None:
    few, many = result(mean=0.9), result(mean=0.5, trials=[trial(0), trial(1)])
    for results in ([few, many], [many, few]):
        (row,) = board_rows(results)
        assert row.cells[1].mean == 0.5


def test_other_weights_sizes_and_protocols_are_other_rows() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"weights_digest": "1" * 64},
        {"input_size": 224},
        {"protocol": "x"},
        {"dtype": "bf16"},
        {"backend": "torch"},
        {"feature_key": {"test": "2" * 64}},
    ]
    assert len(board_rows([result(**change) for change in changes])) == 7


def test_selected_on_test_is_shown_last_and_not_ranked() -> None:
    rows = board_rows([result(model="cheat", mean=1.0, selection="test"), result(model="fair", mean=0.1)])
    assert [(row.model, row.ranked) for row in rows] == [("fair", True), ("cheat", False)]


def test_what_results_can_answer_is_computed() -> None:
    other = checkpoint(sources=[{"name": "LAION", "samples": "unknown"}])
    assert not answers(board_rows([result()]))[0]
    assert answers([])[1] == "There are no results yet."
    assert not answers(board_rows([result(), result(model="b", checkpoint={**other, "architecture": "timm/other"})]))[0]
    assert answers(board_rows([result(), result(model="b", checkpoint=other)]))[0]
