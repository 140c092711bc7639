"""Presets that carry a published name give that procedure's labels on the same features.

What they are compared with was made by the sources' own functions (benchmarks/fidelity.py, docs/probes.md). A procedure
that is the same every time is compared to the label. One that starts from random weights is compared with several seeds
of its source, and must lie no further from them than they do from one another.
"""

from typing import Any

import numpy as np
import pytest

from probebench.registry import Registry
from tests.probes.fidelity_cases import cases, fits, golden, labels_of, whole

CASES = ("digits 5", "digits 20", "gaussian 5", "gaussian 20")
SINGLE = {"clip": "clip_lbfgs", "clip_benchmark": "clip_benchmark", "elevater": "elevater", "dino": "knn"}
WHOLE = {"clip_search": "clip_lbfgs", "mieb": "mieb", "dinov2": "dinov2_logreg", "big_vision": "big_vision_lsr"}
SEEDED = {"clip_benchmark": "clip_benchmark", "elevater": "elevater"}


@pytest.mark.parametrize("title", CASES)
@pytest.mark.parametrize("source", SINGLE)
def test_single_fits_are_the_sources_to_the_label(shipped: Registry, source: str, title: str) -> None:
    """At given hyper-parameters, on a whole draw; random weights and the order of batches come from the same seed."""
    told = golden(source)["cases"][title]["fits"]
    assert told
    for key, theirs, mine in fits(shipped, SINGLE[source], cases()[title], told):
        assert np.array_equal(mine, theirs), f"{(mine != theirs).sum()} labels differ at {key}"


@pytest.mark.parametrize("title", CASES)
@pytest.mark.parametrize("source", WHOLE)
def test_whole_procedures_are_the_sources_to_the_label(shipped: Registry, source: str, title: str) -> None:
    told = golden(source)["cases"][title]
    mine, chosen = whole(shipped, WHOLE[source], cases()[title])
    assert np.array_equal(mine, labels_of(told["whole"][0]))
    if "chosen" in told:
        assert list(chosen.values()) == pytest.approx([told["chosen"]], rel=1e-5)


@pytest.mark.parametrize("title", CASES)
def test_a_head_that_starts_from_text_leaves_nothing_to_chance(shipped: Registry, title: str) -> None:
    told = golden("elevater")["cases"][title]
    mine, chosen = whole(shipped, "elevater", cases()[title], text=True)
    assert np.array_equal(mine, labels_of(told["text"]))
    assert [chosen["learning_rate"], chosen["weight_decay"]] == pytest.approx(told["text_chosen"])


@pytest.mark.parametrize("title", CASES)
@pytest.mark.parametrize("source", SEEDED)
def test_seeded_procedures_lie_among_the_sources_seeds(shipped: Registry, source: str, title: str) -> None:
    case = cases()[title]
    theirs = [labels_of(one) for one in golden(source)["cases"][title]["whole"]]
    assert len(theirs) >= 5
    mine, _ = whole(shipped, SEEDED[source], case)
    within = [differ(one, other) for at, one in enumerate(theirs) for other in theirs[:at]]
    assert np.median([differ(mine, one) for one in theirs]) <= max(within)
    scores = [np.mean(one == case.test_labels) for one in theirs]
    spread = max(float(np.std(scores, ddof=1)), 1 / len(case.test_labels))
    # Of a normal spread over six seeds, a further run lies this far out once in a thousand times.
    assert abs(np.mean(mine == case.test_labels) - np.mean(scores)) <= 7.4 * spread


def differ(one: Any, other: Any) -> int:
    return int((one != other).sum())


@pytest.mark.parametrize("source", sorted({*SINGLE, *WHOLE}))
def test_each_says_what_it_was_made_by(source: str) -> None:
    told = golden(source)
    assert len(told["commit"]) == 40 and told["source"] and told["versions"]["numpy"]
    assert set(told["cases"]) == set(CASES) == set(cases())
    if source.startswith("clip") and source != "clip_benchmark":
        assert tuple(map(int, told["versions"]["scikit-learn"].split(".")[:2])) < (1, 4)
