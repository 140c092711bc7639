"""What one evaluation is: an extraction, a protocol and a number of shots."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from probebench.cache.store import FeatureFile
from probebench.evaluation.cached_task import CachedTask
from probebench.evaluation.features import require_splits
from probebench.evaluation.saved_probe import SUFFIX
from probebench.evaluation.shifted import Shifted
from probebench.fingerprint import fingerprint
from probebench.probes.cost import Cell
from probebench.probes.grid import fits_planned
from probebench.registry.entry import Metric, Shots
from probebench.registry.probes import PROBES
from probebench.registry.schema import ProtocolSpec, Selection
from probebench.results.store import result_path

if TYPE_CHECKING:
    from probebench.evaluation.zeroshot import Prompts

# Raise it when the same cache and protocol would give other numbers.
EVALUATOR_VERSION = 2


def fits_a_draw(protocol: ProtocolSpec, shots: Shots) -> int:
    """Returns the fits that one draw takes, less those of a widened grid."""
    if protocol.selection(shots).method == "fixed":
        return 1
    return fits_planned(protocol, protocol.folds(shots), protocol.refits(shots))


@dataclass(frozen=True)
class Saving:
    """Where finished probes go, and the class names of their data set by label, where they are at hand."""

    folder: Path
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeTask(CachedTask):
    """One number of the final table.

    Attributes:
        draws: Draws to average over (seeds 0, 1, ...); full data has one.
        backend: Name of the solver, as results record it (probes/backends.py).
        metric: The protocol's, else the data set's own.
        prompts: The words that heads start from; None where they start from none.
        only: Seeds of the draws in the place of 0, 1, ...
        saving: Where its probes are kept; None keeps none. No result depends on it.
        shift: The other data set whose test part is predicted; None: the set's own is.
    """

    protocol: ProtocolSpec
    shots: Shots
    draws: int
    backend: str
    metric: Metric = "accuracy"
    prompts: "Prompts | None" = None
    only: tuple[int, ...] = ()
    saving: Saving | None = None
    shift: Shifted | None = None

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
        return self.protocol.selection(self.shots)

    @property
    def folds(self) -> int:
        """Folds inside every draw."""
        return self.protocol.folds(self.shots)

    @property
    def refit(self) -> bool:
        """Whether the last fit takes the validation images too."""
        return self.protocol.refits(self.shots)

    @property
    def fits_a_draw(self) -> int:
        """Fits that one draw takes, less those of a widened grid: what progress is counted in."""
        return fits_a_draw(self.protocol, self.shots)

    @property
    def cell(self) -> Cell:
        """What its cost is told from.

        Raises:
            CacheError: A split is missing or damaged.
        """
        rows = {}
        for split, path in self.group.paths.items():
            with FeatureFile(path) as file:
                rows[split] = file.rows
                if split == "train":
                    images, width = np.unique(file.labels, return_counts=True)[1], file.width
        require_splits(self.group, "train", "test")
        others = 0
        if self.shift is not None:
            with FeatureFile(self.shift.group.paths["test"]) as file:
                others = file.rows
        return Cell(
            protocol=self.protocol,
            shots=self.shots,
            images=tuple(images.tolist()),
            val=rows.get("val", 0),
            test=rows["test"] + others,
            width=width,
            draws=len(self.seeds),
            backend=self.backend,
        )

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
                **({"test": self.shift.identity} if self.shift else {}),
                **({"prompts": [self.prompts.names, self.prompts.templates]} if self.prompts else {}),
            }
        )

    def path(self, out: Path) -> Path:
        """Returns where the result goes under a results folder."""
        return result_path(out, self.model, self.dataset_id, self.kind, self.protocol.id, self.shots, self.digest)

    @property
    def probe_paths(self) -> tuple[Path, ...]:
        """Where the probe of each draw is kept; none where none is."""
        if self.saving is None:
            return ()
        stem = self.path(self.saving.folder).with_suffix("")
        marks = ("" if seed is None else f"-seed{seed}" for seed in self.seeds)
        return tuple(stem.with_name(f"{stem.name}{mark}{SUFFIX}") for mark in marks)
