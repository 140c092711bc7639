"""Zero-shot classification: cached image embeddings against the embeddings of class names in words."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from probebench.backbones.builders import build_language_image
from probebench.backbones.locate import network
from probebench.cache.store import FeatureFile
from probebench.device import full_float32
from probebench.errors import CacheError, UsageError
from probebench.evaluation.cached_task import CachedTask
from probebench.evaluation.features import require_splits
from probebench.evaluation.record import Measured
from probebench.evaluation.stored import stored_or_compute
from probebench.fingerprint import fingerprint
from probebench.network import quiet_libraries
from probebench.registry.entry import Metric, Shots
from probebench.registry.protocol import ZEROSHOT, ZeroshotProtocol
from probebench.registry.schema import DatasetSpec
from probebench.results.predictions import Predictions
from probebench.results.schema import Result, Trial
from probebench.results.store import result_path

# Where a data set has no templates of its own.
DEFAULT_TEMPLATES = ("a photo of a {}.",)
# Rows that are compared at once: 32 MiB of float64 at 1,024 features.
_ROWS = 4096
# The one trial, of which there is nothing to say: no image was drawn and nothing was chosen.
_UNTRAINED = Trial(
    draw_seed=None,
    draw_digest=fingerprint({"train": [], "validation": []}),
    train=0,
    validation=0,
    selection="fixed",
    chosen={},
    on_edge=None,
    validation_loss=None,
    validation_score=None,
    test_score=None,
    converged=None,
    unconverged=[],
)


@dataclass(frozen=True)
class Prompts:
    """Class names in words, in the order of labels, and templates with {} in the place of the name."""

    names: tuple[str, ...]
    templates: tuple[str, ...]

    @classmethod
    def of(cls, spec: DatasetSpec | None, class_names: Sequence[str], templates: Sequence[str] = ()) -> "Prompts":
        """Returns the prompts of a data set: its entry's, or its own class names in a plain sentence.

        Args:
            spec: Its entry; None for a set without one.
            class_names: The names of its classes as its files have them, for a set without an entry; "_" is a space.
            templates: Templates in the place of the entry's.
        """
        names = spec.readable_classes if spec else tuple(name.replace("_", " ") for name in class_names)
        return cls(names, tuple(templates) or (spec.templates if spec else ()) or DEFAULT_TEMPLATES)


@dataclass(frozen=True)
class ZeroshotTask(CachedTask):
    """One checkpoint on one data set, by its class names.

    Attributes:
        prompts: Class names and templates.
        metric: The data set's own.
        home: The home folder, which holds weights.
    """

    prompts: Prompts
    metric: Metric
    home: Path

    kind: ClassVar[str] = "zeroshot"
    protocol: ClassVar[ZeroshotProtocol] = ZEROSHOT
    backend: ClassVar[str] = "numpy"
    shots: ClassVar[Shots] = 0

    @property
    def digest(self) -> str:
        """The sha256 over all that decides the result; names its file."""
        return fingerprint(
            {
                "zeroshot": self.protocol.version,
                "features": self.key.group,
                "names": self.prompts.names,
                "templates": self.prompts.templates,
                "metric": self.metric,
            }
        )

    def path(self, out: Path) -> Path:
        """Returns where the result goes under a results folder."""
        return result_path(out, self.model, self.dataset_id, self.kind, self.protocol.id, self.shots, self.digest)


def class_embeddings(clip: Any, architecture: str, prompts: Prompts) -> npt.NDArray[np.float64]:
    """Returns a unit vector for each class: the mean of its prompts' unit embeddings, normalised again (CLIP).

    Args:
        clip: open_clip's network.
        architecture: Its name, which decides the tokenizer.
        prompts: K names and T templates.

    Returns:
        (K, D).

    Raises:
        WeightsError: The architecture's tokenizer is not on this machine and out of reach.
    """
    import open_clip
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.inference_mode(), quiet_libraries(), full_float32():
        tokenizer = open_clip.get_tokenizer(architecture)
        classifier = open_clip.build_zero_shot_classifier(
            clip.to(device), tokenizer, prompts.names, prompts.templates, device=device
        )
    embeddings: npt.NDArray[np.float64] = classifier.T.double().cpu().numpy()
    return embeddings


def zeroshot(task: ZeroshotTask, out: Path) -> tuple[Result, bool]:
    """Returns a checkpoint's zero-shot result on a data set, computed and written unless it is there already.

    A label is the class whose embedding has the largest cosine with the image's; ties go to the smaller label. Nothing
    is chosen, so nothing but the test split is read.

    Args:
        task: What to evaluate.
        out: The results folder.

    Returns:
        The result, and whether this call computed it.

    Raises:
        UsageError: The checkpoint has no text tower, or its features are not the projected ones.
        CacheError: The test split is not in the cache, or damaged, or of other weights.
        WeightsError: Weights or tokenizer are missing, damaged or out of reach.
    """
    (result,), computed = stored_or_compute(task, [task.path(out)], lambda: [_measure(task)])
    return result, computed


def _measure(task: ZeroshotTask) -> Measured:
    if task.key.layer != "projected":
        raise UsageError(
            f"{task.model}: its cached features are {task.key.layer}; text can be compared with projected ones only"
        )
    require_splits(task.group, "test")
    started = time.perf_counter()
    clip, digest = build_language_image(task.checkpoint, task.home, task.key.preprocessing.size)
    if digest != task.key.weights_digest:
        raise CacheError(
            f"features of {task.model} on {task.dataset_id} are of other weights than are there now; extract them again"
        )
    with network(task.checkpoint):
        embeddings = class_embeddings(clip, task.checkpoint.architecture.name, task.prompts)
    names, templates = list(task.prompts.names), list(task.prompts.templates)
    with FeatureFile(task.group.paths["test"]) as test:
        if int(test.labels.max()) >= len(names):
            raise UsageError(f"{task.dataset_id} has more classes than the {len(names)} names that were given")
        return Measured(
            mode="text",
            width=test.width,
            trained_on=None,
            trials=[_UNTRAINED],
            predictions=Predictions(test.ids, test.labels, _nearest(test, embeddings)[None]),
            feature_key={"test": test.key.digest},
            skipped=list(test.skipped.ids),
            environment={
                "extraction": dict(test.settings),
                "prompts": {"names": names, "templates": templates},
            },
            timings={"total_s": time.perf_counter() - started},
        )


def _nearest(test: FeatureFile, embeddings: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Returns the class of the largest cosine for each row of a file, (N,); an image's own length changes no order."""
    labels = np.empty(test.rows, dtype=np.int64)
    for start in range(0, test.rows, _ROWS):
        rows = np.arange(start, min(start + _ROWS, test.rows))
        labels[rows] = np.argmax(test.read(rows).astype(np.float64) @ embeddings.T, axis=1)
    return labels
