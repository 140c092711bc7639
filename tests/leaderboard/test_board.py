from typing import Any

from probebench.leaderboard.board import Row, answers, board_rows, shots_columns
from probebench.results.cells import gather
from probebench.results.schema import CheckpointFacts
from probebench.results.scores import score_of
from tests.results.make import checkpoint, result


def mean(row: Row) -> float | None:
    return score_of(row.cells[1].result).mean


def test_one_row_a_checkpoint_best_first() -> None:
    results = [
        result(model="a", shots=1, mean=0.9),
        result(model="a", shots="full", mean=0.5),
        result(model="b", shots=1, mean=0.2),
        result(model="b", shots="full", mean=0.7),
    ]
    rows = board_rows(gather(results))
    assert [row.entrant.model for row in rows] == ["b", "a"]
    assert shots_columns(rows) == [1, "full"]
    assert mean(rows[0]) == 0.2


def test_a_missing_or_failed_cell_never_counts_as_zero_and_never_helps() -> None:
    rows = board_rows(
        gather(
            [
                result(model="low", shots="full", mean=0.0, ci95=(0.0, 0.1)),
                result(model="missing", shots=1, mean=0.99),
                result(model="failed", shots="full", mean=None, ci95=None),
                result(model="high", shots="full", mean=0.9),
            ]
        )
    )
    assert [row.entrant.model for row in rows] == ["high", "low", "missing", "failed"]


def test_other_weights_sizes_settings_and_arithmetic_are_other_rows() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"weights_digest": "1" * 64},
        {"input_size": 224},
        {"protocol": "x"},
        {"dtype": "bf16"},
        {"checkpoint": checkpoint(layer="projected")},
        {"metric": "mean-per-class"},
    ]
    assert len(board_rows(gather([result(**change) for change in changes]))) == 7


def test_another_backend_is_no_other_row() -> None:
    changes: list[dict[str, Any]] = [{}, {"backend": "torch"}, {"feature_key": {"test": "2" * 64}}]
    assert len(board_rows(gather([result(**change) for change in changes]))) == 1


def test_selected_on_test_is_shown_last_and_not_ranked() -> None:
    cheat, fair = result(model="cheat", mean=1.0, selection="test"), result(model="fair", mean=0.1)
    rows = board_rows(gather([cheat, fair]))
    assert [(row.entrant.model, row.ranked) for row in rows] == [("fair", True), ("cheat", False)]


def test_what_results_can_answer_is_computed() -> None:
    other = checkpoint(sources=[{"name": "LAION", "samples": "unknown"}])
    ours = result().checkpoint
    theirs = CheckpointFacts.model_validate(other)
    elsewhere = theirs.model_copy(update={"architecture": "timm/other"})
    assert "cannot say" in answers([ours])
    assert answers([]) == "There are no results yet."
    assert "cannot say" in answers([ours, elsewhere])
    assert answers([ours, theirs]).startswith("Compare sources")
    # Whatever library built the network.
    names = ("timm/resnet50", "torchvision/resnet50")
    pairs = zip((ours, theirs), names, strict=True)
    one, other_one = (facts.model_copy(update={"architecture": name}) for facts, name in pairs)
    assert answers([one, other_one]).startswith("Compare sources")
