"""Features on which the published procedures' own functions were run, and the presets on the same rows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from probebench.arrays import Labels
from probebench.probes.backends import backend_name, fitters
from probebench.probes.base import Labelled
from probebench.probes.prepare import Preparation, PreparedRows
from probebench.probes.select import Selected, SelectionData, select
from probebench.registry import Registry

GOLDEN = Path(__file__).parents[1] / "golden" / "fidelity"
SHOTS = (5, 20)
MOST = max(SHOTS)


@dataclass(frozen=True)
class Case:
    """One draw of some features. The last fifth of each class's images are its validation rows.

    Attributes:
        train: (N, D) float32.
        text: Vectors of unit length from which a head may start, (classes, D).
    """

    name: str
    train: Any
    train_labels: Labels
    val: Any
    val_labels: Labels
    test: Any
    test_labels: Labels
    text: Any

    @classmethod
    def of(cls, name: str, rows: Any, test: Any, test_labels: Labels, shots: int) -> "Case":
        """Takes the first ``shots`` of ``MOST`` rows a class, (classes x MOST, D)."""
        classes = len(rows) // MOST
        held = shots // 5
        train = np.concatenate([np.arange(shots - held) + MOST * label for label in range(classes)])
        val = np.concatenate([np.arange(shots - held, shots) + MOST * label for label in range(classes)])
        random = np.random.default_rng(1)
        text = rows.reshape(classes, MOST, -1).mean(axis=1)
        text = (text - text.mean(axis=0)) / rows.std(axis=0).clip(min=1e-3) + random.normal(size=text.shape)
        return cls(
            name=f"{name} {shots}",
            train=rows[train],
            train_labels=train // MOST,
            val=rows[val],
            val_labels=val // MOST,
            test=test,
            test_labels=test_labels,
            text=(text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32),
        )

    @property
    def draw(self) -> Labelled:
        """Training and validation rows together, as a last fit sees them."""
        return Labelled(np.vstack([self.train, self.val]), np.concatenate([self.train_labels, self.val_labels]))


def made_up(seed: int) -> tuple[Any, Any, Labels]:
    """Correlated Gaussian features, a fifth of which hardly vary, as in few images: rows, test rows, test labels."""
    random = np.random.default_rng(seed)
    classes, width = 8, 60
    mixing = random.normal(size=(width, width)) * np.logspace(0, -1, width)[:, None] / 4
    scale = np.where(np.arange(width) % 5 == 0, 1e-3, 10.0 ** random.uniform(-0.5, 0.5, width))
    centres = random.normal(size=(classes, width)) * 0.7

    def rows(labels: Labels) -> Any:
        noise = random.normal(size=(len(labels), width))
        return (((centres[labels] + noise) @ mixing + 1.0) * scale).astype(np.float32)

    labels = random.permutation(np.repeat(np.arange(classes), 25))
    return rows(np.repeat(np.arange(classes), MOST)), rows(labels), labels


@cache
def cases() -> dict[str, Case]:
    """Returns the committed features' cases and the generated ones'."""
    with np.load(GOLDEN / "digits.npz") as held:
        digits = held["rows"].astype(np.float32), held["test"].astype(np.float32), held["test_labels"].astype(np.int64)
    sets = {"digits": digits, "gaussian": made_up(0)}
    found = [Case.of(name, *given, shots) for name, given in sets.items() for shots in SHOTS]
    return {case.name: case for case in found}


def golden(source: str) -> dict[str, Any]:
    """Returns what a source's own function gave."""
    values: dict[str, Any] = json.loads((GOLDEN / f"{source}.json").read_text())
    return values


def labels_of(text: str) -> Labels:
    """Reads labels that are written as one digit each."""
    return np.array([int(one) for one in text], dtype=np.int64)


def _predicted(chosen: Selected, case: Case) -> Labels:
    return chosen.probe.predict(chosen.preparation(case.test))


def whole(registry: Registry, name: str, case: Case) -> tuple[Labels, dict[str, float]]:
    """Runs a whole preset: what it predicts for the test rows, and what it chose."""
    spec = registry.protocol(name)
    train, held = Labelled(case.train, case.train_labels), Labelled(case.val, case.val_labels)
    data = SelectionData(train, held, refit=spec.refits("full"))
    if spec.few_shot.method == "fixed":
        data = SelectionData(case.draw, value=spec.few_shot.value)
    (chosen,) = select([data], spec, fitters(spec, backend_name(spec, "auto")))
    return _predicted(chosen, case), chosen.chosen


def fixed(
    registry: Registry, name: str, case: Case, value: float, rate: float | None = None, *, text: bool = False
) -> Labels:
    """Runs the last fit of a preset on a whole draw, at given hyper-parameters, from random weights or from text."""
    spec = registry.protocol(name)
    preparation = Preparation.of(case.draw.features, spec)
    rows = Labelled(PreparedRows(case.draw.features, preparation), case.draw.labels)
    rate = rate or next(iter(spec.solver.learning_rates), None)
    start = case.text.astype(np.float64) if text else None
    ((probe,),) = fitters(spec, backend_name(spec, "auto"), start)(rate, True)([rows], [value])
    return probe.predict(preparation(case.test))


def fits(registry: Registry, name: str, case: Case, keys: dict[str, str]) -> Iterator[tuple[str, Labels, Labels]]:
    """Yields for each single fit of a source its hyper-parameters, its labels and ours."""
    for key, told in keys.items():
        text = key.endswith(" text")
        *rate, value = (float(part) for part in key.removesuffix(" text").split())
        yield key, labels_of(told), fixed(registry, name, case, value, *rate, text=text)
