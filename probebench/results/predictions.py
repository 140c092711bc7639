"""The predictions of a run, from which every score can be computed again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.fingerprint import fingerprint

# What a run may say of each test image in each draw beside its label: probabilities of a logistic probe, as they are
# and scaled by a temperature, and what became of a query in retrieval.
PROBABILITIES = ("p_true", "p_predicted", "p_squared")
SCALED = tuple(f"scaled_{name}" for name in PROBABILITIES)
RANKS = ("first_hit", "average_precision")
MEASURES = (*PROBABILITIES, *SCALED, *RANKS)

Measure = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Predictions:
    """Test ids (N,), true labels (N,) and predicted labels (trials, N); -1 in a trial that failed.

    Attributes:
        own: Of a run on the test part of another data set: those of the same probes on its own test part, of the
            classes that both sets have.
        measures: Those of ``MEASURES`` that the run has, each (trials, N); NaN in a trial that failed.
    """

    test_ids: tuple[str, ...]
    y_true: Labels
    y_pred: Labels
    measures: Mapping[str, Measure] = field(default_factory=dict)
    own: "Predictions | None" = None

    @property
    def digest(self) -> str:
        """The sha256 of ids, labels, predictions and measures."""
        found = hashlib.sha256(_ids_digest(self.test_ids))
        for array in (self.y_true, self.y_pred):
            found.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        for name in sorted(self.measures):
            found.update(name.encode() + np.ascontiguousarray(self.measures[name], dtype="<f4").tobytes())
        if self.own is not None:
            found.update(b"own" + self.own.digest.encode())
        return found.hexdigest()

    @property
    def part(self) -> str:
        """The digest of the test part, ids and labels, as data sets' entries publish it."""
        return _part_digest(self.test_ids, np.ascontiguousarray(self.y_true, dtype="<i8").tobytes())

    def of_trials(self, trials: list[int]) -> "Predictions":
        """Returns those of some trials."""
        measures = {name: values[trials] for name, values in self.measures.items()}
        own = None if self.own is None else self.own.of_trials(trials)
        return Predictions(self.test_ids, self.y_true, self.y_pred[trials], measures, own)


@lru_cache(maxsize=32)
def _ids_digest(ids: tuple[str, ...]) -> bytes:
    return hashlib.sha256(json.dumps(ids).encode()).digest()


@lru_cache(maxsize=32)
def _part_digest(ids: tuple[str, ...], labels: bytes) -> str:
    return fingerprint({"ids": list(ids), "labels": np.frombuffer(labels, dtype="<i8").tolist()})
