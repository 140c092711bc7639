import numpy as np
import pytest
from scipy.stats import friedmanchisquare, kendalltau, norm, spearmanr

from probebench.study.answer import Answer, Estimate
from probebench.study.observations import observations
from probebench.study.ranks import concordance, ranks_answer
from tests.study.make import DATASETS, SOURCES, Pretraining, alarms, results

GRID = [Pretraining(source) for source in SOURCES]


def mean_spearman(scores: np.ndarray) -> float:
    pairs = [(one, other) for one in range(len(scores)) for other in range(one)]
    return float(np.mean([spearmanr(scores[one], scores[other]).statistic for one, other in pairs]))


def test_concordance_is_the_mean_of_all_pairs_of_data_sets() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 6))
    rho, tau, _ = concordance(scores)
    assert rho.value == pytest.approx(mean_spearman(scores))
    taus = [kendalltau(scores[one], scores[other]).statistic for one in range(5) for other in range(one)]
    assert tau == pytest.approx(np.mean(taus))


def test_the_p_value_is_friedmans() -> None:
    scores = np.random.default_rng(1).normal(size=(12, 6)) + np.arange(6) * 0.2
    assert concordance(scores)[2] == pytest.approx(friedmanchisquare(*scores.T).pvalue, abs=0.02)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
def test_the_planted_rank_correlation_lies_within_the_interval(share: float) -> None:
    """Sources' effects agree between data sets to a correlation of ``share``; Spearman's expectation is Moran's."""
    count, repetitions, held = 7, 200, 0
    truth = 6 / (np.pi * (count + 1)) * (np.arcsin(share) + (count - 2) * np.arcsin(share / 2))
    generator = np.random.default_rng(2)
    for _ in range(repetitions):
        common = generator.normal(size=count)
        scores = np.sqrt(share) * common + np.sqrt(1 - share) * generator.normal(size=(6, count))
        rho = concordance(scores)[0]
        assert rho.low is not None and rho.high is not None
        held += rho.low <= truth <= rho.high
    assert held >= 0.9 * repetitions


def answer(seed: int, common: float) -> Answer:
    generator = np.random.default_rng(seed)
    shared = dict(zip(SOURCES, norm.ppf((np.arange(6) + 0.5) / 6), strict=True))
    own = {(source, dataset): generator.normal() for source in SOURCES for dataset in DATASETS}

    def truth(one: Pretraining, dataset: str, shots: int | str) -> float:
        return float(0.5 + common * shared[one.source] + 0.03 * own[one.source, dataset])

    return ranks_answer(observations(results(generator, GRID, truth, levels=[1, "full"])))


def test_planted_agreement_is_found() -> None:
    assert all(len(answer(seed, 0.08).found) == 2 for seed in range(10))


def test_no_agreement_is_reported_where_every_data_set_ranks_by_itself() -> None:
    # At 5%, 97.5% of such experiments have at most 29 alarms; over 1,000 seeds there are 50.
    assert alarms([answer(seed, 0.0).found for seed in range(400)]) <= 29


def test_the_best_source_and_whether_its_lead_is_beyond_noise() -> None:
    made = results(
        np.random.default_rng(0),
        GRID,
        lambda one, dataset, _: 0.5 + 0.1 * (one.source == "WIT") * (dataset == "dtd"),
        levels=["full"],
        datasets=["dtd", "pets"],
    )
    table = ranks_answer(observations(made)).table("winners")
    assert table is not None
    won = {row["dataset"]: row for row in table.rows}
    assert won["dtd"]["winner"] == "WIT" and won["dtd"]["clear"] == "yes"
    assert won["dtd"]["lead"] == pytest.approx(0.1, abs=0.04)
    assert won["pets"]["clear"] == "no"


def test_equal_scores_everywhere_are_no_agreement() -> None:
    rho, tau, p_value = concordance(np.ones((3, 4)))
    assert rho == Estimate(0.0, -1.0, 1.0) and tau == 0 and p_value == 1


def test_two_sources_are_too_few_to_rank() -> None:
    found = ranks_answer(observations(results(np.random.default_rng(0), GRID[:2], lambda *_: 0.5)))
    assert found.refused and found.verdict.startswith("not enough matched pairs")
