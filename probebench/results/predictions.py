"""The predictions of a run, from which every score can be computed again."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from probebench.arrays import Labels


@dataclass(frozen=True)
class Predictions:
    """Test ids (N,), true labels (N,) and predicted labels (trials, N); -1 in a trial that failed."""

    test_ids: tuple[str, ...]
    y_true: Labels
    y_pred: Labels

    @property
    def digest(self) -> str:
        """The sha256 of ids, labels and predictions."""
        found = hashlib.sha256(json.dumps(self.test_ids).encode())
        for array in (self.y_true, self.y_pred):
            found.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        return found.hexdigest()
