"""A finished probe in a file of its own: safetensors, which hold numbers and cannot run code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from probebench.arrays import Labels
from probebench.errors import ResultError, UsageError, one_line
from probebench.files import write_whole
from probebench.outside import explain, kind_fault
from probebench.probes.base import FittedProbe, Linear, Matrix
from probebench.probes.prepare import Preparation
from probebench.probes.select import Selected
from probebench.registry.entry import Metric, Shots, Whole
from probebench.registry.probes import PROBES
from probebench.registry.schema import Input
from probebench.results.schema import Digest, Record, UnitScore

# The one key of the file's metadata, whose value is ProbeFacts as JSON.
_KEY = "probebench"
SUFFIX = ".safetensors"


class ProbeFacts(Record):
    """What a saved probe says of itself: what it takes, what it was fitted on, and how it did.

    Attributes:
        weights_digest: Of the checkpoint whose features it takes; it takes no others.
        layer: Which features.
        preprocessing: From images to the network's input.
        dtype: Arithmetic of the features that it was fitted on.
        class_names: Of the data set, by label; None where they were not at hand.
        kind: "probe" (logistic: scores are log-odds) or "ridge".
        draw_seed: Of the labelled images; None where all were taken.
        draw_digest: sha256 over their ids.
        chosen: The hyper-parameters by name.
        l2: Whether rows are divided by their norm before anything else.
        divisor: Divides features last.
        result: Digest of the evaluation that it comes from, as results' files are named by.
        environment: Versions and device that fitted it.
    """

    format: Annotated[Literal[1], Whole] = 1
    model: str
    weights_digest: Digest
    layer: str
    preprocessing: Input
    dtype: Literal["fp32", "fp16", "bf16"]
    dataset: str
    dataset_fingerprint: Digest
    class_names: list[str] | None
    kind: Literal["probe", "ridge"]
    protocol: str
    protocol_version: int
    backend: str
    shots: Shots
    draw_seed: int | None
    draw_digest: Digest
    chosen: dict[str, float]
    l2: bool
    divisor: Annotated[float, Field(gt=0)]
    metric: Metric
    validation_score: UnitScore | None
    test_score: UnitScore
    result: Digest
    environment: dict[str, Any]


@dataclass(frozen=True)
class SavedProbe:
    """A probe with what it is.

    Attributes:
        facts: What it says of itself.
        probe: Takes prepared features.
        preparation: Prepares them.
    """

    facts: ProbeFacts
    probe: Linear
    preparation: Preparation

    def scores(self, features: Any) -> Matrix:
        """Returns the probability of each class it knows (N, K), of ridge the score, for raw features (N, D)."""
        rows = self.preparation(np.asarray(features))
        if isinstance(self.probe, FittedProbe):
            return np.asarray(np.exp(self.probe.log_probabilities(rows)))
        return np.asarray(self.probe.scores(rows))

    @property
    def classes(self) -> Labels:
        """The labels that it predicts (K,)."""
        return self.probe.classes


def refuses(probe: str) -> str | None:
    """Says why probes of a kind cannot be saved; None where they can."""
    if PROBES[probe].searches:
        return f"a {probe} probe is its training images, and no file of weights; save logistic or ridge ones"
    return None


def write_probe(path: Path, selected: Selected, facts: ProbeFacts) -> None:
    """Writes a chosen probe.

    Raises:
        OSError: The folder is full or cannot be written.
    """
    from safetensors.numpy import save

    probe, prepared = selected.probe, selected.preparation
    assert isinstance(probe, Linear)
    tensors = {"coef": probe.coef, "intercept": probe.intercept, "classes": probe.classes}
    if prepared.mean is not None and prepared.deviation is not None:
        tensors |= {"mean": prepared.mean, "deviation": prepared.deviation}
    whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    write_whole(path, save(whole, metadata={_KEY: facts.model_dump_json()}))


def read_probe(path: Path) -> SavedProbe:
    """Reads a saved probe; nothing in the file is believed before it is checked.

    Raises:
        UsageError: There is no such file.
        ResultError: It is damaged, or no saved probe.
    """
    from safetensors import SafetensorError, safe_open

    if (fault := kind_fault(path)) is not None:
        raise UsageError(f"probe {path} {fault}; name a file that eval --save-probes wrote")
    try:
        with safe_open(path, framework="numpy") as file:
            said = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # Of a dtype that NumPy lacks, it raises what it stumbles over.
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ResultError(f"probe {path} is damaged or no safetensors file ({one_line(error, 100)})") from error
    if said is None:
        raise ResultError(f"probe {path} holds tensors and no probe; name a file that eval --save-probes wrote")
    try:
        facts = ProbeFacts.model_validate_json(said, strict=True)
    except ValidationError as error:
        told = explain(error, whole="probe", most=3)
        raise ResultError(f"probe {path} is damaged or of another version ({told})") from error
    if (wrong := _fault(tensors, facts)) is not None:
        raise ResultError(f"probe {path} is damaged: {wrong}")
    kind = FittedProbe if facts.kind == "probe" else Linear
    probe = kind(
        strength=next(iter(facts.chosen.values()), 0.0),
        classes=tensors["classes"],
        coef=tensors["coef"],
        intercept=tensors["intercept"],
    )
    return SavedProbe(facts, probe, Preparation(facts.l2, tensors.get("mean"), tensors.get("deviation"), facts.divisor))


def _fault(tensors: dict[str, Any], facts: ProbeFacts) -> str | None:
    """Says what is wrong with a file's arrays; None where they are a probe."""
    names = {"coef", "intercept", "classes"}
    if set(tensors) not in (names, names | {"mean", "deviation"}):
        return f"it holds {', '.join(sorted(tensors)) or 'nothing'}"
    coef, classes = tensors["coef"], tensors["classes"]
    if coef.ndim != 2 or classes.ndim != 1 or classes.dtype != np.int64:
        return f"its coefficients have shape {coef.shape}, its classes {classes.dtype} {classes.shape}"
    shapes = {"intercept": (len(classes),), "coef": (len(classes), coef.shape[1])}
    shapes |= {name: (coef.shape[1],) for name in ("mean", "deviation") if name in tensors}
    for name, shape in shapes.items():
        if tensors[name].shape != shape or tensors[name].dtype != np.float64 or not np.isfinite(tensors[name]).all():
            return f"its {name} is {tensors[name].dtype} {tensors[name].shape}, or not finite"
    known = len(facts.class_names) if facts.class_names is not None else 1 << 31
    if len(classes) < 2 or (np.diff(classes) <= 0).any() or classes[0] < 0 or classes[-1] >= known:
        return "its classes are no ascending labels of its data set"
    if "deviation" in tensors and (tensors["deviation"] <= 0).any():
        return "its deviation is not positive"
    return None
