"""The predictions of a run, from which every score can be computed again."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

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
        found = hashlib.sha256(_ids_digest(self.test_ids))
        for array in (self.y_true, self.y_pred):
            found.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        return found.hexdigest()


@lru_cache(maxsize=32)
def _ids_digest(ids: tuple[str, ...]) -> bytes:
    return hashlib.sha256(json.dumps(ids).encode()).digest()
