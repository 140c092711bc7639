from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from probebench.study.answer import Answer, Estimate
from probebench.study.observations import observations
from probebench.study.pairs import QUESTIONS, Question, pairs_answer
from tests.study.make import DATASETS, SOURCES, Pretraining, alarms, results

BY_KEY = {question.key: question for question in QUESTIONS}
METHODS = [
    Pretraining(source, method=method, objective=objective)
    for source in SOURCES
    for method, objective in (("image-image", "simclr"), ("language-image", "clip"))
]
CURATION = [
    Pretraining(f"{curation} {number}", curation=curation, samples=size)
    for number, size in enumerate((1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000))
    for curation in ("human", "none")
]
LABELS = [
    Pretraining(f"{labels} {number}", labels=labels, samples=size, method="supervised")
    for number, size in enumerate((1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000))
    for labels in ("human", "hashtags")
]
CASES = [("methods", METHODS), ("curation", CURATION), ("labels", LABELS)]


def first(question: Question, one: Pretraining) -> bool:
    return {"methods": one.method == "image-image", "curation": one.curation == "human"}.get(
        question.key, one.labels == "human"
    )


def answer(key: str, grid: list[Pretraining], seed: int, effect: float) -> Answer:
    """Each source, size and data set has an effect of its own, and each pair one on top of the planted one."""
    generator = np.random.default_rng(seed)
    question = BY_KEY[key]
    size = {one: generator.normal(0, 0.03) for one in {(one.source, one.samples) for one in grid}}
    own = {(one, dataset): generator.normal(0, 0.008) for one in grid for dataset in DATASETS}

    def truth(one: Pretraining, dataset: str, shots: int | str) -> float:
        shared = size[one.source, one.samples] if key == "methods" else 0.0
        return float(0.6 + shared + own[one, dataset] + effect * first(question, one))

    return pairs_answer(question, observations(results(generator, grid, truth, levels=[5, "full"])))


@pytest.mark.parametrize(("key", "grid"), CASES, ids=[key for key, _ in CASES])
def test_the_planted_difference_lies_within_the_interval(key: str, grid: list[Pretraining]) -> None:
    repetitions, seen, held = 60, 0, [0, 0]
    for seed in range(repetitions):
        found = answer(key, grid, seed, 0.05)
        table = found.table("differences")
        assert table is not None
        for place, row in enumerate(table.rows):
            estimate = row["difference"]
            assert isinstance(estimate, Estimate) and estimate.low is not None and estimate.high is not None
            held[place] += estimate.low <= 0.05 <= estimate.high
        seen += bool(found.found)
    assert seen >= 0.9 * repetitions
    assert min(held) >= 0.9 * repetitions, held


@pytest.mark.parametrize(("key", "grid"), CASES, ids=[key for key, _ in CASES])
def test_no_difference_is_reported_where_there_is_none(key: str, grid: list[Pretraining]) -> None:
    assert alarms([answer(key, grid, seed, 0.0).found for seed in range(200)]) <= 16


@pytest.mark.parametrize("change", ["source", "architecture", "samples"])
def test_methods_are_compared_only_at_equal_source_architecture_and_size(change: str) -> None:
    other: dict[str, Any] = {change: 5_000_000 if change == "samples" else "another"}
    grid = [replace(one, **other) if one.method == "image-image" else one for one in METHODS]
    found = pairs_answer(BY_KEY["methods"], observations(results(np.random.default_rng(0), grid, lambda *_: 0.5)))
    assert found.refused and found.verdict.startswith("not enough matched pairs: 0 pairs")


def test_two_pairs_are_refused() -> None:
    made = results(np.random.default_rng(0), METHODS[:2], lambda *_: 0.5, datasets=DATASETS[:2])
    assert "2 pairs" in pairs_answer(BY_KEY["methods"], observations(made)).verdict


@pytest.mark.parametrize(("key", "fact"), [("curation", "curation"), ("labels", "labels")])
def test_what_is_unknown_takes_no_part(key: str, fact: str) -> None:
    unknown: dict[str, Any] = {fact: "unknown"}
    grid = [replace(one, **unknown) for one in (CURATION if key == "curation" else LABELS)]
    assert pairs_answer(BY_KEY[key], observations(results(np.random.default_rng(0), grid, lambda *_: 0.5))).refused


def test_a_missing_cell_costs_its_row_or_column_and_no_more() -> None:
    made = results(np.random.default_rng(0), METHODS, lambda *_: 0.5, levels=["full"])
    kept = [one for one in made if not (one.dataset == DATASETS[0] and "laion" in one.model)]
    table = pairs_answer(BY_KEY["methods"], observations(kept)).table("differences")
    assert table is not None
    assert (table.rows[0]["bases"], table.rows[0]["datasets"]) in {(6, 4), (5, 5)}
