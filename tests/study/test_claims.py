import math

import pytest

from probebench.study.claims import Estimate, weigh
from probebench.study.engine import Interval

FOR, AGAINST, NEITHER = Interval(3, 1, 5), Interval(-3, -5, -1), Interval(0.5, -4, 5)


@pytest.mark.parametrize(
    ("points", "logit", "said"),
    [
        (FOR, FOR, "confirmed"),
        (AGAINST, AGAINST, "contradicted"),
        (FOR, AGAINST, "not answerable"),
        (FOR, NEITHER, "not answerable"),
        (NEITHER, NEITHER, "not answerable"),
        (Interval(0.1, -1, 1.2), NEITHER, "no effect"),
        (Interval(0.1, -1, 2.2), NEITHER, "not answerable"),
        (Interval(1, 0.5, 1.5), NEITHER, "not answerable"),
        (Interval(1, -math.inf, math.inf), FOR, "not answerable"),
        (Interval(math.nan, 1, 2), FOR, "not answerable"),
    ],
)
def test_a_verdict_takes_both_scales(points: Interval, logit: Interval, said: str) -> None:
    found = weigh(points, logit)
    assert found.verdict == said
    assert (found.why is None) == (said != "not answerable")
    assert (found.bound is None) == (said != "no effect")


def test_an_effect_must_outlive_scores_at_chance() -> None:
    assert weigh(FOR, FOR, clear=FOR).verdict == "confirmed"
    assert "chance" in (weigh(FOR, FOR, clear=NEITHER).why or "")
    assert weigh(AGAINST, AGAINST, clear=FOR).verdict == "not answerable"


def test_no_effect_must_hold_without_scores_at_chance_too() -> None:
    small, open_ = Interval(0.1, -0.5, 0.7), Interval(0.0, -math.inf, math.inf)
    assert weigh(small, small).verdict == weigh(small, small, clear=small).verdict == "no effect"
    for clear in (open_, Interval(1.0, -3.0, 5.0)):
        found = weigh(small, small, clear=clear)
        assert found.verdict == "not answerable" and "an effect is not ruled out" in (found.why or "")


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(4.25, 1.0, 7.44), "4.2 points [1.0, 7.4]"),
        (Estimate(-0.04, -1.0, 1.0), "0.0 points [-1.0, 1.0]"),
        (Estimate(None, 11.54, None, "ratio"), "[11.5, open]"),
        (Estimate(6.0, 2.0, 40.0, "ratio"), "6x [2, 40]"),
        (Estimate(0.5, -0.1, 0.9, "rank correlation"), "0.50 [-0.10, 0.90]"),
    ],
)
def test_estimates_are_shown_as_people_read_them(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text


def test_what_is_not_finite_is_open() -> None:
    assert Estimate.of(Interval(1.0, -math.inf, math.inf)) == Estimate(1.0, None, None)
