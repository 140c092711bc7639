"""What is kept of predictions once they are checked: enough to know a copy, in a few kilobytes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.results.predictions import Predictions

# Smallest hashes of a set that are kept; the share of errors that two results have in common is then known to 0.02.
_KEPT = 256
# Fewer errors than this may be the same by chance: images that nobody gets right.
FEW = 20

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Errors:
    """A set of wrong predictions.

    Attributes:
        count: How many.
        smallest: The smallest hashes of them.
        constant: Whether all are of one class.
        confused: The pairs of true and predicted label that occur most, ascending.
        rates: Of each such pair n / sqrt(N): n images of the N of that class (in all trials) are taken for the other.
    """

    count: int
    smallest: Hashes
    constant: bool
    confused: Hashes
    rates: npt.NDArray[np.float64]

    def shared(self, other: "Errors") -> float:
        """Estimates the share of the smaller set that is in the other: the same images with the same wrong labels.

        The smallest hashes of both together give the share of all that both have (Broder, 1997).
        """
        # No set has a hash twice: what is there twice is in both.
        _, often = np.unique(np.concatenate([self.smallest, other.smallest]), return_counts=True)
        common = float((often[:_KEPT] == 2).mean()) if len(often) else 0.0
        shared = common / (1 + common) * (self.count + other.count)
        return min(shared / max(min(self.count, other.count), 1), 1.0)

    def beyond_chance(self, other: "Errors") -> float:
        """Returns what of ``shared`` is more than two would share that confuse the same classes as often as these do.

        Two that take most images of rare classes for the common one share such errors whatever they know of an image.
        As in Cohen's kappa, 1 is a copy and 0 is chance.
        """
        _, mine, theirs = np.intersect1d(self.confused, other.confused, assume_unique=True, return_indices=True)
        # Of N images, n and m are taken for a class by either: n m / N by both, if they know nothing of each other.
        chance = float(self.rates[mine] @ other.rates[theirs]) / max(min(self.count, other.count), 1)
        return (self.shared(other) - chance) / max(1 - chance, 1e-9)


@dataclass(frozen=True)
class Sketch:
    """Predictions in short.

    Attributes:
        part: sha256 over test ids and labels.
        errors: Of all trials together that tell classes apart.
        trials: Of each trial.
    """

    part: str
    errors: Errors
    trials: tuple[Errors, ...]

    @classmethod
    def of(cls, predictions: Predictions) -> "Sketch":
        """Sketches predictions whose arrays are known to fit together."""
        y_true = predictions.y_true
        wrong = [_codes(row, y_true) for row in predictions.y_pred]
        # A draw that says one class of everything says it whoever made it.
        own = [number for number, row in enumerate(predictions.y_pred) if len(np.unique(row)) > 1]
        whole = [wrong[number] + np.uint64(number) * _ROW for number in own]
        sizes = np.bincount(y_true)
        return cls(
            part=predictions.part,
            errors=_errors(np.concatenate(whole or [wrong[0][:0]]), y_true, sizes * len(own)),
            trials=tuple(_errors(codes, y_true, sizes) for codes in wrong),
        )


# A label, and above it an image, and above that a trial.
_IMAGE, _ROW = np.uint64(1 << 24), np.uint64(1 << 48)
_LABEL = np.uint64((1 << 24) - 1)


def _codes(row: Labels, y_true: Labels) -> Hashes:
    places = np.flatnonzero(row != y_true)
    return places.astype(np.uint64) * _IMAGE + row[places].astype(np.uint64)


def _errors(codes: Hashes, y_true: Labels, sizes: Labels) -> Errors:
    """Sketches a set of wrong predictions, given the true labels and how often each class could have been taken."""
    # splitmix64's last steps.
    mixed = codes.copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    labels = codes & _LABEL
    truths = y_true[(codes // _IMAGE & _LABEL).astype(np.int64)].astype(np.uint64)
    pairs, often = np.unique(truths * _IMAGE + labels, return_counts=True)
    most = np.sort(np.argsort(-often, kind="stable")[:_KEPT])
    confused = pairs[most]
    rates = often[most] / np.sqrt(sizes[(confused // _IMAGE).astype(np.int64)])
    return Errors(len(codes), np.unique(mixed)[:_KEPT], len(np.unique(labels)) < 2, confused, rates)
