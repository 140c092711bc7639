"""What one evaluation is: an extraction, a protocol and a number of shots."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from probebench.cache.store import FeatureFile
from probebench.evaluation.cached_task import CachedTask
from probebench.fingerprint import fingerprint
from probebench.probes.grid import fits_planned
from probebench.registry.entry import Metric, Shots
from probebench.registry.probes import PROBES
from probebench.registry.schema import ProtocolSpec, Selection
from probebench.results.store import result_path

if TYPE_CHECKING:
    from probebench.evaluation.zeroshot import Prompts

# What a fit takes beside its arithmetic, in products of a row, a feature and a class: some milliseconds.
_ANY_FIT = 500_000
# Raise it when the same cache and protocol would give other numbers.
EVALUATOR_VERSION = 2


def folds_of(protocol: ProtocolSpec, shots: Shots) -> int:
    """Returns the folds inside every draw; 1 where it has none, or has them only where validation images are few."""
    selection = protocol.full if shots == "full" else protocol.few_shot
    folds = (selection.folds or 1) if selection.method == "k-fold" else 1
    return folds if shots == "full" else min(folds, shots)


def fits_a_draw(protocol: ProtocolSpec, shots: Shots) -> int:
    """Returns the fits that one draw takes, less those of a widened grid."""
    selection = protocol.full if shots == "full" else protocol.few_shot
    if selection.method == "fixed":
        return 1
    return fits_planned(protocol, folds_of(protocol, shots), protocol.refits(shots))


@dataclass(frozen=True, kw_only=True)
class ProbeTask(CachedTask):
    """One number of the final table.

    Attributes:
        draws: Draws to average over (seeds 0, 1, ...); full data has one.
        backend: Name of the solver, as results record it (probes/backends.py).
        metric: The protocol's, else the data set's own.
        prompts: The words that heads start from; None where they start from none.
        only: Seeds of the draws in the place of 0, 1, ...
    """

    protocol: ProtocolSpec
    shots: Shots
    draws: int
    backend: str
    metric: Metric = "accuracy"
    prompts: "Prompts | None" = None
    only: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of its result."""
        return PROBES[self.protocol.probe].kind

    @property
    def mode(self) -> str:
        """The variant of that kind."""
        return PROBES[self.protocol.probe].mode

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """The seed of each draw."""
        return (None,) if self.shots == "full" else self.only or tuple(range(self.draws))

    @property
    def selection(self) -> Selection:
        """On what the strength is chosen."""
        return self.protocol.full if self.shots == "full" else self.protocol.few_shot

    @property
    def folds(self) -> int:
        """Folds inside every draw; 1 where it has none, or has them only where validation images are few."""
        return folds_of(self.protocol, self.shots)

    @property
    def refit(self) -> bool:
        """Whether the last fit takes the validation images too."""
        return self.protocol.refits(self.shots)

    @property
    def fits_a_draw(self) -> int:
        """Fits that one draw takes, less those of a widened grid: what progress is counted in."""
        return fits_a_draw(self.protocol, self.shots)

    @property
    def cost(self) -> float:
        """How long the task takes, beside others: rows x width x classes of each fit, and what each takes anyhow."""
        fits = len(self.seeds) * self.fits_a_draw
        if "train" not in self.group.paths:
            return float(fits)
        with FeatureFile(self.group.paths["train"]) as train:
            images = np.unique(train.labels, return_counts=True)[1]
            rows = train.rows if self.shots == "full" else int(np.minimum(images, self.shots).sum())
            return float(fits) * (rows * train.width * len(images) + _ANY_FIT)

    @property
    def digest(self) -> str:
        """The sha256 over all that decides the result; names its file."""
        return fingerprint(
            {
                "evaluator": EVALUATOR_VERSION,
                "features": self.key.group,
                # The metric decides no prediction; what is reported is below.
                "protocol": self.protocol.model_dump(mode="json", exclude={"metric"}),
                "shots": self.shots,
                "seeds": self.seeds,
                "backend": self.backend,
                # Results from before there was a choice keep their names.
                **({} if self.metric == "accuracy" else {"metric": self.metric}),
                **({"prompts": [self.prompts.names, self.prompts.templates]} if self.prompts else {}),
            }
        )

    def path(self, out: Path) -> Path:
        """Returns where the result goes under a results folder."""
        return result_path(out, self.model, self.dataset_id, self.kind, self.protocol.id, self.shots, self.digest)
