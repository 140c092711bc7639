import numpy as np
import pytest

from probebench.results.schema import Result
from probebench.study.cells import cells, rectangle, same_sizes, shots_order, sized
from tests.results.make import checkpoint, result


def published(**changes: object) -> Result:
    return result(provenance="published", trials=[], predictions=None, weights_digest=None, **changes)


def test_the_best_setting_makes_the_cell_and_failed_ones_count_as_settings() -> None:
    made = [published(mean=mean, ci95=None) for mean in (0.5, 0.7, None)]
    (cell,) = cells(made)
    assert (cell.score, cell.settings, cell.selection) == (0.7, 3, "test")


def test_a_cell_whose_runs_all_failed_is_no_cell() -> None:
    assert cells([published(mean=None, ci95=None)]) == []


def test_one_result_keeps_what_it_was_chosen_on() -> None:
    (cell,) = cells([result()])
    assert (cell.settings, cell.selection) == (1, "validation")


@pytest.mark.parametrize(
    "change",
    [
        {"provenance": "published"},
        {"kind": "finetune"},
        {"mode": "other"},
        {"protocol": "other"},
        {"protocol_version": 9},
        {"metric": "mean-per-class"},
        {"dataset": "other"},
        {"shots": 5},
        {"checkpoint": checkpoint(method="image-image")},
        {"checkpoint": checkpoint(sources=[{"name": "other", "samples": 1}])},
    ],
    ids=str,
)
def test_what_is_measured_in_another_way_is_another_cell(change: dict[str, object]) -> None:
    assert len(cells([result(), result(**change)])) == 2


def test_one_name_with_two_fingerprints_is_two_data_sets() -> None:
    assert len({cell.dataset for cell in cells([result(), result(dataset_fingerprint="1" * 64)])}) == 2


def test_sizes_of_several_sources_add_up_where_all_are_known() -> None:
    both = [{"name": "B", "samples": 5}, {"name": "A", "samples": 7}]
    (cell,) = cells([result(checkpoint=checkpoint(sources=both))])
    assert (cell.source, cell.samples) == ("A + B", 12)
    both[0]["samples"] = "unknown"
    (cell,) = cells([result(checkpoint=checkpoint(sources=both))])
    assert cell.samples is None and sized([cell]) == []


def test_sizes_within_a_tenth_are_one_size() -> None:
    assert same_sizes([14_829_396, 15_000_000, 2_700_000, 2_980_000]) == {
        14_829_396: 14_829_396,
        15_000_000: 14_829_396,
        2_700_000: 2_700_000,
        2_980_000: 2_980_000,
    }


def test_shots_ascend_and_full_is_last() -> None:
    assert shots_order(["full", 20, 0, 5]) == [0, 5, 20, "full"]


def test_what_the_rectangle_keeps_is_complete() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        held = {row: {column for column in range(6) if generator.random() < 0.8} for row in range(5)}
        rows, columns = rectangle(held)
        assert all(set(columns) <= held[row] for row in rows)
    assert rectangle({0: {1, 2}, 1: {1, 2}}) == ([0, 1], [1, 2])
    assert rectangle({}) == ([], [])
