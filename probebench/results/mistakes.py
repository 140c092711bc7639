"""Where a result errs: class by class, which classes are taken for which, and on which images it is surest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probebench.results.predictions import Predictions

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """How one class fares.

    Attributes:
        label: The class.
        images: Its test images.
        accuracy: Share of them that is right, the mean over the draws.
        taken_for: The class that the wrong ones are most often taken for; None where none is wrong.
        share: Share of its images that this happens to.
    """

    label: int
    images: int
    accuracy: float
    taken_for: int | None
    share: float


@dataclass(frozen=True)
class Confusion:
    """A share of the images of class ``true``, the mean over draws, is taken for class ``predicted``."""

    true: int
    predicted: int
    share: float


@dataclass(frozen=True, kw_only=True)
class WrongImage:
    """A test image that some draws get wrong.

    Attributes:
        position: Among the test images of the result.
        id: Its id.
        true: Its class.
        predicted: The class that it is most often taken for.
        wrong: Share of the draws that are wrong.
        p_predicted: Mean probability of what these draws predict; None of a kind without probabilities.
        p_true: Their mean probability of the true class, likewise.
    """

    position: int
    id: str
    true: int
    predicted: int
    wrong: float
    p_predicted: float | None
    p_true: float | None


def confusion_matrix(predictions: Predictions, classes: int) -> Matrix:
    """Returns how many test images of class i are predicted as j, (classes, classes), the mean over draws."""
    from sklearn.metrics import confusion_matrix

    draws = len(predictions.y_pred)
    truth = np.tile(predictions.y_true, draws)
    found: Matrix = confusion_matrix(truth, predictions.y_pred.ravel(), labels=np.arange(classes)) / draws
    return found


def class_accuracies(matrix: Matrix) -> list[ClassAccuracy]:
    """Returns every class that has test images, the worst first, equal ones by their label."""
    found = []
    for label, row in enumerate(matrix):
        if not (images := row.sum()):
            continue
        wrong = row.copy()
        wrong[label] = 0
        most = int(wrong.argmax())
        found.append(
            ClassAccuracy(
                label=label,
                images=round(float(images)),
                accuracy=float(row[label] / images),
                taken_for=most if wrong[most] else None,
                share=float(wrong[most] / images),
            )
        )
    return sorted(found, key=lambda one: (one.accuracy, one.label))


def confusions(matrix: Matrix) -> list[Confusion]:
    """Returns every pair of classes of which the first is taken for the second, most frequent first by share."""
    images = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, images, out=np.zeros_like(matrix), where=images > 0)
    np.fill_diagonal(shares, 0)
    pairs = np.argwhere(shares)
    found = [Confusion(int(true), int(predicted), float(shares[true, predicted])) for true, predicted in pairs]
    return sorted(found, key=lambda one: (-one.share, one.true, one.predicted))


def surest_errors(predictions: Predictions) -> list[WrongImage]:
    """Returns the images that some draw gets wrong, the surest errors first.

    How sure an error is, is the mean over all draws of p(predicted) - p(true), which is 0 where a draw is right. A kind
    without probabilities has 1 for each wrong draw, and so comes the image first that most draws get wrong.
    """
    wrong = predictions.y_pred != predictions.y_true
    measures = predictions.measures
    said = "p_predicted" in measures and "p_true" in measures
    margin = (measures["p_predicted"] - measures["p_true"]).astype(np.float64) if said else wrong.astype(np.float64)
    sure = np.where(wrong, margin, 0.0).mean(axis=0)
    order: Sequence[int] = np.lexsort((np.arange(len(sure)), -sure)).tolist()
    found = []
    for place in order:
        draws = wrong[:, place]
        if not draws.any():
            continue
        labels, counts = np.unique(predictions.y_pred[draws, place], return_counts=True)

        def mean(name: str, place: int = place, draws: npt.NDArray[np.bool_] = draws) -> float | None:
            return float(measures[name][draws, place].mean()) if said else None

        found.append(
            WrongImage(
                position=place,
                id=predictions.test_ids[place],
                true=int(predictions.y_true[place]),
                predicted=int(labels[counts.argmax()]),
                wrong=float(draws.mean()),
                p_predicted=mean("p_predicted"),
                p_true=mean("p_true"),
            )
        )
    return found
