"""From the cache to results: draws, a strength chosen on validation data, and one look at the test part.

The order is the guarantee. ``_choose`` sees a training part and nothing else; it returns probes that are finished.
Only then does ``_score`` open the test file, and it returns scores, not probes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from probebench.cache.index import FeatureGroup
from probebench.cache.key import FeatureKey
from probebench.cache.store import FeatureFile
from probebench.datasets.draws import Draw, TrainingPart
from probebench.datasets.draws import ShortClass as ShortClass_
from probebench.errors import CacheError, one_line
from probebench.fingerprint import fingerprint
from probebench.probes import sklearn_
from probebench.probes.base import FitPath, Labelled
from probebench.probes.select import Selected, select
from probebench.registry.schema import CheckpointSpec, ProtocolSpec
from probebench.results.environment import environment
from probebench.results.schema import CheckpointFacts, Result, ShortClass, SourceFact, Trial
from probebench.results.stats import interval
from probebench.results.store import (
    Predictions,
    read_predictions,
    read_result,
    result_path,
    write_predictions,
    write_result,
)

Shots = int | Literal["full"]

BACKENDS: dict[str, FitPath] = {"sklearn": sklearn_.fit_path}
# Raise it when the same cache and protocol would give other numbers.
EVALUATOR_VERSION = 1


@dataclass(frozen=True)
class Cell:
    """One number of the final table: an extraction, a protocol and a number of shots.

    Attributes:
        draws: Draws to average over (seeds 0, 1, ...); full data has one.
        backend: Name of the solver, a key of BACKENDS.
    """

    group: FeatureGroup
    checkpoint: CheckpointSpec
    protocol: ProtocolSpec
    shots: Shots
    draws: int
    backend: str

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """The seed of each draw."""
        return (None,) if self.shots == "full" else tuple(range(self.draws))

    @property
    def digest(self) -> str:
        """The sha256 over all that decides the result; names its file."""
        return fingerprint(
            {
                "evaluator": EVALUATOR_VERSION,
                "features": self.group.key.group,
                "protocol": self.protocol.model_dump(mode="json"),
                "shots": self.shots,
                "seeds": self.seeds,
                "backend": self.backend,
            }
        )

    def path(self, out: Path) -> Path:
        """Returns where the result goes under a results folder."""
        return result_path(
            out, self.group.model, self.group.dataset, "probe", self.protocol.id, self.shots, self.digest
        )


def evaluate(cell: Cell, out: Path, tick: Callable[[], None] = lambda: None) -> tuple[Result, bool]:
    """Returns a cell's result, computed and written unless it is there already.

    Args:
        cell: What to evaluate.
        out: The results folder.
        tick: Called after each draw.

    Returns:
        The result, and whether this call computed it.

    Raises:
        CacheError: A split is missing from the cache, or a feature file is damaged.
        ResultError: The result is there, but damaged.
        OSError: The results folder is full or cannot be written.
    """
    path = cell.path(out)
    if path.exists():
        result = read_result(path)
        read_predictions(path, result)
        for _ in cell.seeds:
            tick()
        return result, False
    if cell.group.missing:
        raise CacheError(
            f"features of {cell.group.model} on {cell.group.dataset} lack the {', '.join(cell.group.missing)} part; "
            "run the same probebench extract again to finish it"
        )
    started = time.perf_counter()
    with FeatureFile(cell.group.paths["train"]) as train:
        part, width = TrainingPart(train.ids, train.labels), train.width
        trials = [_choose(cell, train, part, seed, tick) for seed in cell.seeds]
        chosen_in = time.perf_counter() - started
        digests, settings = {"train": train.key.digest}, train.settings
    with FeatureFile(cell.group.paths["test"]) as test:
        predictions = _predict(test, [trial.selected for trial in trials])
        digests["test"] = test.key.digest
    if "val" in cell.group.paths:
        with FeatureFile(cell.group.paths["val"]) as held:
            digests["val"] = held.key.digest
    timings = {"choose_s": chosen_in, "total_s": time.perf_counter() - started}
    stored = write_predictions(path, predictions)
    facts = checkpoint_facts(cell.checkpoint, cell.group.key, width)
    result = _result(cell, part, trials, predictions, facts, digests, settings, stored, timings)
    write_result(path, result)
    return result, True


@dataclass(frozen=True)
class _Chosen:
    """A draw and its finished probe, or why there is none; and the labels of a validation part of the set's own."""

    draw: Draw
    validation: int
    own_labels: frozenset[int] | None
    selected: Selected | None
    error: str | None


def _choose(cell: Cell, train: FeatureFile, part: TrainingPart, seed: int | None, tick: Callable[[], None]) -> _Chosen:
    """Fits one draw and chooses its strength; the test part is out of reach here."""
    own = cell.group.paths.get("val") if seed is None else None
    draw = _draw(cell, part, seed, own is not None)
    fitted = _rows(train, draw.train)
    if own is None:
        validation = _rows(train, draw.validation)
    else:
        with FeatureFile(own) as held:
            validation = Labelled(held.read().astype(np.float64), held.labels)
    try:
        selected, error = select(fitted, validation, cell.protocol, BACKENDS[cell.backend]), None
    except (ValueError, FloatingPointError, np.linalg.LinAlgError) as failure:
        selected, error = None, one_line(failure)
    tick()
    own_labels = None if own is None else frozenset(validation.labels.tolist())
    return _Chosen(draw, len(validation), own_labels, selected, error)


def _draw(cell: Cell, part: TrainingPart, seed: int | None, own_validation: bool) -> Draw:
    if cell.shots == "full":
        return part.full(0.0 if own_validation else cell.protocol.full.holdout)
    assert seed is not None
    return part.few_shot(cell.shots, min(cell.shots, cell.protocol.few_shot.most), seed)


def _rows(file: FeatureFile, positions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Labelled:
    return Labelled(file.read(positions).astype(np.float64), file.labels[positions])


def _predict(test: FeatureFile, probes: Sequence[Selected | None]) -> Predictions:
    """Lets finished probes predict the whole test part; a failed trial predicts -1 everywhere."""
    features = test.read().astype(np.float64)
    predicted = [
        np.full(test.rows, -1) if selected is None else selected.probe.predict(selected.scaling(features))
        for selected in probes
    ]
    return Predictions(test.ids, test.labels, np.stack(predicted).astype(np.int64))


def _trial(chosen: _Chosen, score: float) -> Trial:
    selected = chosen.selected
    return Trial(
        draw_seed=chosen.draw.seed,
        draw_digest=chosen.draw.digest,
        train=len(chosen.draw.train),
        validation=chosen.validation,
        selection=selected.how if selected else "validation",
        chosen={"C": selected.probe.C} if selected else {},
        on_edge=selected.on_edge if selected else None,
        validation_loss=selected.loss if selected else None,
        validation_score=selected.score if selected else None,
        test_score=score if selected else None,
        converged=selected.probe.converged if selected else None,
        unconverged=list(selected.unconverged) if selected else [],
        error=chosen.error,
    )


def _result(
    cell: Cell,
    part: TrainingPart,
    chosen: Sequence[_Chosen],
    predictions: Predictions,
    facts: CheckpointFacts,
    digests: dict[str, str],
    settings: dict[str, str | int | bool],
    stored: dict[str, str],
    timings: dict[str, float],
) -> Result:
    correct = predictions.y_pred == predictions.y_true
    trials = [_trial(one, float(row.mean())) for one, row in zip(chosen, correct, strict=True)]
    whole = all(trial.error is None for trial in trials)
    key = cell.group.key
    return Result(
        provenance="measured",
        kind="probe",
        mode=cell.protocol.probe,
        model=cell.group.model,
        weights_digest=key.weights_digest,
        checkpoint=facts,
        dataset=cell.group.dataset,
        dataset_fingerprint=key.dataset_fingerprint,
        train_fingerprint=part.fingerprint,
        feature_key=digests,
        input_size=key.preprocessing.size,
        dtype=key.dtype,
        protocol=cell.protocol.id,
        protocol_version=cell.protocol.version,
        backend=cell.backend,
        shots=cell.shots,
        labels_spent=trials[0].train + trials[0].validation,
        selection="validation" if any(trial.selection == "validation" for trial in trials) else "fixed",
        trials=trials,
        short_classes=[
            ShortClass(label=short.label, train=short.train, validation=short.validation)
            for short in _short_classes(chosen[0], part, predictions)
        ],
        metric="accuracy",
        n_test=len(predictions.y_true),
        skipped_ids=[],
        mean=float(correct.mean()) if whole else None,
        ci95=interval(correct) if whole else None,
        ci95_covers=("draws and test images" if len(trials) > 1 else "test images only") if whole else None,
        predictions=stored,
        environment={**environment(), "extraction": settings},
        timings=timings,
    )


def _short_classes(chosen: _Chosen, part: TrainingPart, predictions: Predictions) -> list[ShortClass_]:
    """Returns the draw's short classes, those that a set's own validation part lacks, and those that only test has."""
    short = {one.label: one for one in chosen.draw.short}
    labels, counts = np.unique(part.labels, return_counts=True)
    for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
        if chosen.own_labels is not None and label not in chosen.own_labels:
            short[label] = ShortClass_(label, count, 0)
    for label in np.setdiff1d(predictions.y_true, labels).tolist():
        short[label] = ShortClass_(label, 0, 0)
    return [short[label] for label in sorted(short)]


def checkpoint_facts(spec: CheckpointSpec, key: FeatureKey, width: int) -> CheckpointFacts:
    """Gathers the facts that the study groups results by.

    What the features were made with comes from their key, since an entry may have been edited since; what only the
    entry knows comes from there.
    """
    return CheckpointFacts(
        title=spec.title,
        method=spec.pretraining.method,
        objective=spec.pretraining.objective,
        sources=[SourceFact(name=source.name, samples=source.samples) for source in spec.pretraining.sources],
        samples_seen=spec.pretraining.samples_seen,
        labels=spec.pretraining.labels,
        curation=spec.pretraining.curation,
        architecture=f"{key.architecture.library}/{key.architecture.name}",
        layer=key.layer,
        features=width,
    )
