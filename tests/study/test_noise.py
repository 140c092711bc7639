from dataclasses import replace

import numpy as np
import pytest

from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.study.noise import Noise
from probebench.study.observations import Observation, observations
from tests.study.make import LEVELS, Pretraining, results

IMAGES = 400


def cells(count: int, **changes: object) -> list[Observation]:
    grid = [Pretraining(f"source{number}") for number in range(count)]
    made = results(np.random.default_rng(0), grid, lambda *_: 0.6, datasets=["dtd"], levels=LEVELS[:1], **changes)  # type: ignore[arg-type]
    return observations(made)


def predictions(shared: float, seed: int = 0) -> dict[str, Predictions]:
    """Predictions of three checkpoints; a share of the images is right or wrong for all of them."""
    generator = np.random.default_rng(seed)
    common = generator.random((1, IMAGES)) < 0.6
    truth = np.zeros(IMAGES, dtype=np.int64)
    found = {}
    for number in range(3):
        own = generator.random((1, IMAGES)) < 0.6
        right = np.where(generator.random(IMAGES) < shared, common, own)
        wrong = np.repeat(1 - right.astype(np.int64), 5, axis=0)
        found[f"source{number}"] = Predictions(tuple(map(str, range(IMAGES))), truth, wrong)
    return found


def test_hard_images_that_all_share_are_no_noise_of_a_difference() -> None:
    compared = cells(3)
    binomial = Noise().of(compared, [0.6] * 3)
    assert (binomial >= 0.6 * 0.4 / 2000).all()
    found = {}
    for shared in (0.0, 1.0):
        held = predictions(shared)

        def read(result: Result, held: dict[str, Predictions] = held) -> Predictions:
            return held[result.checkpoint.sources[0].name]

        found[shared] = float(Noise(read).of(compared, [0.6] * 3)[0])
    draws = float(binomial[0]) - (0.6 * 2000 + 2) / 2004 * (1 - (0.6 * 2000 + 2) / 2004) / 2000
    assert found[1.0] == pytest.approx(draws, abs=1e-9)
    assert found[0.0] == pytest.approx(draws + 0.24 / IMAGES, rel=0.15)


def test_scores_are_those_of_predictions_whatever_a_result_says() -> None:
    held = predictions(0.0)
    made = results(
        np.random.default_rng(0), [Pretraining("source0")], lambda *_: 0.99, datasets=["dtd"], levels=[1], images=IMAGES
    )
    (told,) = observations(made)
    (found,) = observations(made, Noise(lambda _: held["source0"]).draw_scores)
    right = (held["source0"].y_pred == held["source0"].y_true).mean(axis=1)
    assert told.score > 0.9 and found.score == pytest.approx(right.mean()) and found.score < 0.7
    assert [score for _, score in found.draws] == pytest.approx(right.tolist())
    assert observations(made, Noise(lambda _: None).draw_scores) == [told]


def test_a_draw_that_is_easy_for_all_is_no_noise_of_a_difference() -> None:
    easy = np.array([-0.1, -0.05, 0.0, 0.05, 0.1])

    def with_draws(own: float) -> list[Observation]:
        generator = np.random.default_rng(0)
        found = []
        for cell in cells(4):
            scores = 0.6 + easy + own * generator.standard_normal(5)
            draws = tuple((digest, float(score)) for (digest, _), score in zip(cell.draws, scores, strict=True))
            found.append(replace(cell, draws=draws))
        return found

    binomial = Noise().of(cells(1), [0.6])[0] - np.var([score for _, score in cells(1)[0].draws], ddof=1) / 5
    assert Noise().of(with_draws(0.0), [0.6] * 4) == pytest.approx([binomial] * 4)
    assert Noise().of(with_draws(0.0)[:1], [0.6])[0] == pytest.approx(binomial + np.var(easy, ddof=1) / 5)
    assert Noise().of(with_draws(0.05), [0.6] * 4)[0] == pytest.approx(binomial + 0.05**2 / 5, rel=0.6)


def test_without_the_number_of_images_the_noise_is_unknown() -> None:
    (cell,) = cells(1, n_test=None, provenance="published", predictions=None, weights_digest=None)
    assert np.isnan(Noise().of([cell], [0.5])).all()
