from typing import Any

import pytest

from probebench.registry.entry import Shots
from probebench.results.cells import (
    CellKey,
    beside,
    entrant_names,
    gather,
    in_order,
    shots_text,
    size_text,
    source_name,
    source_samples,
)
from probebench.results.schema import Result
from probebench.results.scores import score_of
from tests.results.make import checkpoint, result, trial


def failed(**changes: Any) -> Result:
    return result(mean=None, ci95=None, ci95_covers=None, **changes)


def counting(*results: Result) -> Result:
    """Returns the result that counts, which must not depend on the order."""
    found = [gather(order) for order in (results, results[::-1])]
    assert len(found[0]) == len(found[1]) == 1 and found[0] == found[1]
    return found[0][0].result


def test_a_failed_run_never_hides_a_score_and_is_noted() -> None:
    good, bad = result(mean=0.8, backend="cuml"), failed(backend="torch")
    assert counting(good, bad) == good
    (cell,) = gather([bad, good])
    assert cell.failed == 1 and beside([cell])[0].startswith(
        "1 failed run beside results that count: net at 96 px, pooled on"
    )
    (alone,) = gather([bad])
    assert score_of(alone.result).mean is None and beside([alone]) == []


def test_of_two_backends_ours_counts_and_the_other_is_listed() -> None:
    ours, theirs = result(mean=0.7, backend="torch"), result(mean=0.8, backend="sklearn")
    assert counting(theirs, ours) == ours
    (cell,) = gather([theirs, ours])
    assert cell.others == (theirs,) and cell.failed == 0
    assert "1 other result" in beside([cell])[0] and "(torch counts, beside it sklearn 80.0)" in beside([cell])[0]


def test_cells_of_an_older_version_of_a_protocol_are_counted_in_one_line() -> None:
    cells = gather([result(protocol_version=version, shots=shots) for version in (1, 2, 3) for shots in (1, 5)])
    (line,) = beside(cells, {"default": 3})
    assert line.startswith("4 cells of an older version") and line.endswith("default v1, now v3; default v2, now v3")
    assert beside(cells) == beside(cells, {"another": 9}) == []
    (line,) = beside(cells, {"default": 1})
    assert line.startswith("4 cells of a version of the protocol that is not known here")
    assert line.endswith("update probebench: default v2, here v1; default v3, here v1")


def test_most_draws_count_and_beyond_five_all_are_equal() -> None:
    def drawn(count: int, **changes: Any) -> Result:
        return result(trials=[trial(seed, 0.5, draw_digest=f"{seed:064x}") for seed in range(count)], **changes)

    assert counting(drawn(3, mean=0.5, backend="torch"), drawn(5, mean=0.5, backend="sklearn")).backend == "sklearn"
    assert counting(drawn(9, mean=0.5, backend="sklearn"), drawn(5, mean=0.5, backend="torch")).backend == "torch"


def test_a_score_selected_on_test_never_counts_before_an_honest_one() -> None:
    honest, cheat = result(mean=0.1), result(mean=0.9, selection="test", backend="torch")
    assert counting(honest, cheat) == honest
    hidden = result(mean=0.9, backend="torch", trials=[trial(0, 0.9, selection="test")])
    assert counting(honest, hidden) == honest


def test_which_counts_never_depends_on_a_test_score() -> None:
    """Whatever the scores: swapping them swaps nothing."""
    settings: list[dict[str, Any]] = [{"backend": one} for one in ("torch", "sklearn", "x")]
    settings.append({"backend": "x", "labels_spent": 21})
    for low, high in ((0.1, 0.9), (0.9, 0.1)):
        for one in settings:
            for other in settings:
                if one != other:
                    pair = result(mean=low, **one), result(mean=high, **other)
                    swapped = result(mean=high, **one), result(mean=low, **other)
                    chosen, again = counting(*pair), counting(*swapped)
                    assert (chosen == pair[0]) == (again == swapped[0])


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"weights_digest": "1" * 64},
        {"input_size": 224},
        {"dtype": "bf16"},
        {"dataset": "other"},
        {"dataset_fingerprint": "1" * 64},
        {"kind": "finetune"},
        {"mode": "other"},
        {"protocol": "other"},
        {"protocol_version": 9},
        {"metric": "mean-per-class"},
        {"shots": 5},
        {"provenance": "published"},
        *(
            {"checkpoint": checkpoint(**{name: value})}
            for name, value in (
                ("method", "image-image"),
                ("sources", [{"name": "other", "samples": 1}]),
                ("samples_seen", 5),
                ("labels", "none"),
                ("curation", "none"),
                ("architecture", "timm/other"),
                ("layer", "projected"),
            )
        ),
    ],
    ids=str,
)
def test_what_sets_cells_apart(change: dict[str, Any]) -> None:
    assert CellKey.of(result(**change)) != CellKey.of(result())
    assert len(gather([result(), result(**change)])) == 2


@pytest.mark.parametrize(
    "change",
    [{"backend": "torch"}, {"checkpoint": checkpoint(title="B")}, {"trials": [trial(), trial(1)]}, {"labels_spent": 1}],
    ids=str,
)
def test_what_does_not(change: dict[str, Any]) -> None:
    assert CellKey.of(result(**change)) == CellKey.of(result())


def test_tunings_of_a_published_table_are_cells_of_their_own() -> None:
    def published(**settings: str) -> Result:
        return result(
            provenance="published", trials=[], predictions=None, weights_digest=None,
            dataset_fingerprint=None, environment={"settings": settings},
        )  # fmt: skip

    assert len(gather([published(lr="0.1"), published(lr="0.2"), published(lr="0.2")])) == 2


def test_entrants_are_named_by_what_sets_them_apart() -> None:
    keys = [CellKey.of(result(**change)) for change in ({}, {"dtype": "bf16"}, {"input_size": 224}, {"model": "b"})]
    assert list(entrant_names(key.entrant for key in keys).values()) == ["net (fp32)", "net (bf16)", "net", "b"]


def test_shots_ascend_and_full_is_last() -> None:
    shots: list[Shots] = ["full", 20, 0, 5, 5]
    assert in_order(shots) == [0, 5, 20, "full"]
    assert [shots_text(one) for one in (0, 1, 5)] == ["zero-shot", "1 shot", "5 shots"] and shots_text("full") == "full"


@pytest.mark.parametrize(
    ("samples", "text"), [(None, "unknown size"), (7, "7"), (1500, "1.5k"), (1281167, "1.28M"), (2 * 10**9, "2B")]
)
def test_sizes_in_words(samples: int | None, text: str) -> None:
    assert size_text(samples) == text


def test_sources_of_several_data_sets() -> None:
    both = [{"name": "B", "samples": 5}, {"name": "A", "samples": 7}]
    facts = result(checkpoint=checkpoint(sources=both)).checkpoint
    assert (source_name(facts), source_samples(facts)) == ("A + B", 12)
    both[0]["samples"] = "unknown"
    assert source_samples(result(checkpoint=checkpoint(sources=both)).checkpoint) is None
    assert source_name(result(checkpoint=checkpoint(sources=[])).checkpoint) == "none"
