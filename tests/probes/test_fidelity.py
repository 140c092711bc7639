"""Presets that carry a published name give that procedure's labels on the same features.

What they are compared with was made by those functions, to the label (benchmarks/fidelity.py, docs/probes.md).
"""

from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from probebench.registry import Registry
from tests.probes.fidelity_cases import cases, fits, golden, labels_of, whole

CASES = ("digits 5", "digits 20", "gaussian 5", "gaussian 20")
SINGLE = {"clip": "clip_lbfgs", "clip_benchmark": "clip_benchmark", "elevater": "elevater", "dino": "knn"}
# Labels of 200 that another CPU's rounding may move, where 100 iterations stop short of the optimum (docs/probes.md).
ROUNDED = {"mieb": 2}
WHOLE = {"clip_search": "clip_lbfgs", "mieb": "mieb", "dinov2": "dinov2_logreg", "big_vision": "big_vision_lsr"}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Where a procedure stops short of the optimum, rounding decides where, and threads round otherwise."""
    with threadpool_limits(1):
        yield


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
    assert (mine != labels_of(told["whole"][0])).sum() <= ROUNDED.get(source, 0)
    if "chosen" in told:
        assert list(chosen.values()) == pytest.approx([told["chosen"]], rel=1e-5)


@pytest.mark.parametrize("source", sorted({*SINGLE, *WHOLE}))
def test_each_says_what_it_was_made_by(source: str) -> None:
    told = golden(source)
    assert len(told["commit"]) == 40 and told["source"] and told["versions"]["numpy"]
    assert set(told["cases"]) == set(CASES) == set(cases())
    if source in ("clip", "clip_search"):
        assert tuple(map(int, told["versions"]["scikit-learn"].split(".")[:2])) < (1, 4)
