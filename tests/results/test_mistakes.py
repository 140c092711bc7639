"""Worst classes, confusions and surest errors, against counts that are spelt out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probebench.results.mistakes import class_accuracies, confusion_matrix, confusions, surest_errors
from probebench.results.predictions import Predictions

TRUE = np.array([0, 0, 0, 0, 1, 1, 2])
PREDICTED = np.array([[0, 1, 1, 0, 1, 1, 1], [0, 1, 2, 0, 1, 0, 2]])


def _predictions(**measures: list[list[float]]) -> Predictions:
    held = {name: np.array(values, dtype=np.float32) for name, values in measures.items()}
    return Predictions(tuple("abcdefg"), TRUE, PREDICTED, held)


def test_the_worst_class_comes_first() -> None:
    matrix = confusion_matrix(_predictions(), 4)
    assert matrix.tolist() == [[2, 1.5, 0.5, 0], [0.5, 1.5, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 0]]
    found = [(one.label, one.images, one.accuracy, one.taken_for, one.share) for one in class_accuracies(matrix)]
    # Class 3 has no test image.
    assert found == [(0, 4, 0.5, 1, 0.375), (2, 1, 0.5, 1, 0.5), (1, 2, 0.75, 0, 0.25)]
    pairs = [(one.true, one.predicted, one.share) for one in confusions(matrix)]
    assert pairs == [(2, 1, 0.5), (0, 1, 0.375), (1, 0, 0.25), (0, 2, 0.125)]


def test_a_class_that_is_always_right_is_taken_for_none() -> None:
    (one,) = class_accuracies(np.array([[3.0]]))
    assert one.taken_for is None and one.accuracy == 1 and not confusions(np.array([[3.0]]))


def test_the_surest_error_comes_first() -> None:
    sure = [0.9, 0.6, 0.9, 0.9, 0.9, 0.9, 0.8]
    found = surest_errors(_predictions(p_predicted=[sure, sure], p_true=[[0.9, 0.3, 0.0, 0.9, 0.9, 0.9, 0.1]] * 2))
    # c is wrong by 0.9 in both draws, b by 0.3 in both, g by 0.7 and f by 0 in one of two.
    assert [one.id for one in found] == ["c", "g", "b", "f"]
    assert found[0].predicted == 1 and found[0].wrong == 1 and found[0].true == 0
    assert found[1].wrong == 0.5 and abs((found[1].p_predicted or 0) - 0.8) < 1e-6
    # Without probabilities, what most draws get wrong.
    plain = surest_errors(_predictions())
    assert [one.id for one in plain] == ["b", "c", "f", "g"] and plain[0].p_true is None


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 5), st.integers(1, 3))
def test_counts_are_those_of_a_plain_loop(seed: int, images: int, classes: int, draws: int) -> None:
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.integers(0, classes, images), rng.integers(0, classes, (draws, images))
    predictions = Predictions(tuple(map(str, range(images))), y_true, y_pred)
    counts = np.zeros((classes, classes))
    for row in y_pred.tolist():
        for true, guess in zip(y_true.tolist(), row, strict=True):
            counts[true, guess] += 1 / draws
    assert np.allclose(confusion_matrix(predictions, classes), counts)
    wrong = {one.id for one in surest_errors(predictions)}
    assert wrong == {str(place) for place in range(images) if (y_pred[:, place] != y_true[place]).any()}
