"""What is kept of predictions once they are checked: enough to know a copy, in a few kilobytes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.fingerprint import fingerprint
from probebench.results.predictions import Predictions

# Smallest hashes of a set that are kept; the share of errors that two results have in common is then known to 0.02.
_KEPT = 256
# Fewer errors than this may be the same by chance: images that nobody gets right.
FEW = 20

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Errors:
    """A set of wrong predictions: how many, the smallest hashes of them, and whether all are of one class."""

    count: int
    smallest: Hashes
    constant: bool

    def shared(self, other: "Errors") -> float:
        """Estimates the share of the smaller set that is in the other: the same images with the same wrong labels.

        The smallest hashes of both together give the share of all that both have (Broder, 1997).
        """
        together = np.union1d(self.smallest, other.smallest)[:_KEPT]
        both = np.isin(together, self.smallest) & np.isin(together, other.smallest)
        common = float(both.mean()) if len(together) else 0.0
        shared = common / (1 + common) * (self.count + other.count)
        return min(shared / max(min(self.count, other.count), 1), 1.0)


@dataclass(frozen=True)
class Sketch:
    """Predictions in short.

    Attributes:
        part: sha256 over test ids and labels.
        errors: Of all trials together.
        trials: Of each trial.
    """

    part: str
    errors: Errors
    trials: tuple[Errors, ...]

    @classmethod
    def of(cls, predictions: Predictions) -> "Sketch":
        """Sketches predictions whose arrays are known to fit together."""
        wrong = [_codes(row, predictions.y_true) for row in predictions.y_pred]
        whole = [codes + np.uint64(number) * _ROW for number, codes in enumerate(wrong)]
        return cls(
            part=fingerprint({"ids": list(predictions.test_ids), "labels": predictions.y_true.tolist()}),
            errors=_errors(np.concatenate(whole)),
            trials=tuple(_errors(codes) for codes in wrong),
        )


# A label, and above it an image, and above that a trial.
_IMAGE, _ROW = np.uint64(1 << 24), np.uint64(1 << 48)
_LABEL = np.uint64((1 << 24) - 1)


def _codes(row: Labels, y_true: Labels) -> Hashes:
    places = np.flatnonzero(row != y_true)
    return places.astype(np.uint64) * _IMAGE + row[places].astype(np.uint64)


def _errors(codes: Hashes) -> Errors:
    # splitmix64's last steps.
    mixed = codes.copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return Errors(len(codes), np.sort(mixed)[:_KEPT], len(np.unique(codes & _LABEL)) < 2)
