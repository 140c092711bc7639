"""Zero-shot classification: cached image embeddings against the embeddings of class names in words."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.backbones.builders import build_language_image
from probebench.backbones.locate import network
from probebench.cache.index import FeatureGroup
from probebench.cache.store import FeatureFile
from probebench.errors import CacheError, UsageError
from probebench.fingerprint import fingerprint
from probebench.network import quiet_libraries
from probebench.registry.schema import CheckpointSpec
from probebench.results.environment import environment
from probebench.results.metrics import Metric, image_scores, mean_score
from probebench.results.schema import CheckpointFacts, Result, Trial
from probebench.results.stats import interval
from probebench.results.store import (
    Predictions,
    read_predictions,
    read_result,
    result_path,
    write_predictions,
    write_result,
)

# Raise it when the same cache and prompts would give other numbers.
PROTOCOL, VERSION = "zeroshot", 1
# Where a data set has no templates of its own.
DEFAULT_TEMPLATES = ("a photo of a {}.",)
# Rows that are compared at once: 32 MiB of float64 at 1,024 features.
_ROWS = 4096


@dataclass(frozen=True)
class Prompts:
    """Class names in words, in the order of labels, and templates with {} in the place of the name."""

    names: tuple[str, ...]
    templates: tuple[str, ...]


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

    with torch.inference_mode(), quiet_libraries():
        tokenizer = open_clip.get_tokenizer(architecture)
        classifier = open_clip.build_zero_shot_classifier(clip, tokenizer, prompts.names, prompts.templates)
    embeddings: npt.NDArray[np.float64] = classifier.T.double().numpy()
    return embeddings


def zeroshot(
    group: FeatureGroup, checkpoint: CheckpointSpec, prompts: Prompts, metric: Metric, home: Path, out: Path
) -> tuple[Result, bool]:
    """Returns a checkpoint's zero-shot result on a data set, computed and written unless it is there already.

    A label is the class whose embedding has the largest cosine with the image's; ties go to the smaller label. Nothing
    is chosen, so nothing but the test part is read.

    Args:
        group: The cached features.
        checkpoint: Their checkpoint's entry.
        prompts: Class names and templates.
        metric: The data set's own.
        home: The home folder, which holds weights.
        out: The results folder.

    Returns:
        The result, and whether this call computed it.

    Raises:
        UsageError: The checkpoint has no text tower, or its features are not the projected ones.
        CacheError: The test part is not in the cache, or damaged, or of other weights.
        WeightsError: Weights or tokenizer are missing, damaged or out of reach.
    """
    path = _path(group, prompts, metric, out)
    if path.exists():
        result = read_result(path)
        read_predictions(path, result)
        return result, False
    if group.key.layer != "projected":
        raise UsageError(
            f"{group.model}: its cached features are {group.key.layer}; text can be compared with projected ones only"
        )
    if "test" not in group.paths:
        raise CacheError(
            f"features of {group.model} on {group.dataset} lack the test part; "
            "run the same probebench extract again to finish it"
        )
    started = time.perf_counter()
    clip, digest = build_language_image(checkpoint, home, group.key.preprocessing.size)
    if digest != group.key.weights_digest:
        raise CacheError(
            f"features of {group.model} on {group.dataset} are of other weights than are there now; extract them again"
        )
    with network(checkpoint):
        embeddings = class_embeddings(clip, checkpoint.architecture.name, prompts)
    with FeatureFile(group.paths["test"]) as test:
        if int(test.labels.max()) >= len(prompts.names):
            raise UsageError(f"{group.dataset} has more classes than the {len(prompts.names)} names that were given")
        predictions = Predictions(test.ids, test.labels, _nearest(test, embeddings)[None])
        settings, skipped, test_digest = dict(test.settings), list(test.skipped.ids), test.key.digest
        width = test.width
    scores = image_scores(metric, predictions.y_true, predictions.y_pred)
    mean = mean_score(scores)
    result = Result(
        provenance="measured",
        kind="zeroshot",
        mode="text",
        model=group.model,
        weights_digest=digest,
        checkpoint=CheckpointFacts.of(checkpoint, group.key.architecture, group.key.layer, width),
        dataset=group.dataset,
        dataset_fingerprint=group.key.dataset_fingerprint,
        train_fingerprint=None,
        feature_key={"test": test_digest},
        input_size=group.key.preprocessing.size,
        dtype=group.key.dtype,
        protocol=PROTOCOL,
        protocol_version=VERSION,
        backend="numpy",
        shots=0,
        labels_spent=0,
        selection="fixed",
        trials=[_trial(mean)],
        short_classes=[],
        metric=metric,
        n_test=len(predictions.y_true),
        skipped_ids=skipped,
        mean=mean,
        ci95=interval(scores),
        ci95_covers="test images only",
        predictions=write_predictions(path, predictions),
        environment={
            **environment(),
            "extraction": settings,
            "prompts": {"names": list(prompts.names), "templates": list(prompts.templates)},
        },
        timings={"total_s": time.perf_counter() - started},
    )
    write_result(path, result)
    return result, True


def _path(group: FeatureGroup, prompts: Prompts, metric: Metric, out: Path) -> Path:
    digest = fingerprint(
        {
            "zeroshot": VERSION,
            "features": group.key.group,
            "names": prompts.names,
            "templates": prompts.templates,
            "metric": metric,
        }
    )
    return result_path(out, group.model, group.dataset, "zeroshot", PROTOCOL, 0, digest)


def _nearest(test: FeatureFile, embeddings: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Returns the class of the largest cosine for each row of a file, (N,); an image's own length changes no order."""
    labels = np.empty(test.rows, dtype=np.int64)
    for start in range(0, test.rows, _ROWS):
        rows = np.arange(start, min(start + _ROWS, test.rows))
        labels[rows] = np.argmax(test.read(rows).astype(np.float64) @ embeddings.T, axis=1)
    return labels


def _trial(score: float) -> Trial:
    nothing: Sequence[str] = ()
    return Trial(
        draw_seed=None,
        draw_digest=fingerprint({"train": nothing, "validation": nothing}),
        train=0,
        validation=0,
        selection="fixed",
        chosen={},
        on_edge=None,
        validation_loss=None,
        validation_score=None,
        test_score=score,
        converged=None,
        unconverged=[],
    )
