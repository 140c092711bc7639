"""Log-loss, Brier score and calibration error, computed from what predictions say of each test image."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from probebench.results.predictions import Predictions
from probebench.results.schema import Calibration

BINS = 15
# No log-loss is infinite: probabilities are float32, and below this they count as this.
_SMALLEST = float(np.finfo(np.float32).tiny)


def calibration(predictions: Predictions, names: Sequence[str]) -> Calibration | None:
    """Returns how far probabilities can be believed, the mean over draws; None where predictions hold none.

    Args:
        predictions: Of a run whose every draw succeeded.
        names: Of the measures that hold p(true label), p(predicted label) and the sum of p squared over classes.
    """
    if not all(name in predictions.measures for name in names):
        return None
    true, predicted, squared = (predictions.measures[name].astype(np.float64) for name in names)
    correct = predictions.y_pred == predictions.y_true
    errors = [calibration_error(one, right) for one, right in zip(predicted, correct, strict=True)]
    return Calibration(
        log_loss=float(-np.log(np.maximum(true, _SMALLEST)).mean()),
        # The sum over classes of (p - y)^2 is the sum of p^2, less 2 p(true), and 1; rounding may pass its ends.
        brier=min(max(float((squared - 2 * true + 1).mean()), 0.0), 2.0),
        ece=float(np.mean([plain for plain, _ in errors])),
        ece_debiased=float(np.mean([debiased for _, debiased in errors])),
    )


def calibration_error(
    confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_], bins: int = BINS
) -> tuple[float, float]:
    """Returns the expected calibration error over bins of equally many images, and its debiased form.

    Images are ordered by confidence, equal ones as they stand, and cut into bins whose sizes differ by one at most. Of
    a bin of n of the N images with mean confidence c and accuracy a, the error counts |c - a| n / N. Sampling makes
    even a calibrated probe's bins differ: a varies with variance v = a (1 - a) / n, so that the error of a resample is
    larger than that which it was drawn from by about E|g| - |c - a|, where g is normal with mean c - a and variance v.
    The debiased form takes this off (Kumar, Liang and Ma, 2019, who draw the resamples; the mean of |g| is known in
    closed form).

    Args:
        confidence: Probability of the predicted label (N,).
        correct: Whether that is right (N,).
        bins: At most so many; with fewer images, one for each.
    """
    from scipy.special import erf

    order = np.argsort(confidence, kind="stable")
    plain = resampled = 0.0
    for members in np.array_split(order, min(bins, len(order))):
        share = len(members) / len(order)
        accuracy = float(correct[members].mean())
        gap = abs(float(confidence[members].mean()) - accuracy)
        spread = np.sqrt(accuracy * (1 - accuracy) / len(members))
        plain += share * gap
        if spread == 0:
            resampled += share * gap
            continue
        folded = spread * np.sqrt(2 / np.pi) * np.exp(-0.5 * (gap / spread) ** 2) + gap * erf(gap / spread / np.sqrt(2))
        resampled += share * float(folded)
    return plain, 2 * plain - resampled
