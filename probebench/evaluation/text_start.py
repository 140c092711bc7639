"""Where a head starts from the names of the classes: which words, and their embeddings.

What loads torch is imported where it is used: verifying results asks for the words alone.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from probebench.cache.key import FeatureKey
from probebench.errors import CacheError
from probebench.files import home
from probebench.registry.schema import CheckpointSpec, DatasetSpec, ProtocolSpec

if TYPE_CHECKING:
    from probebench.evaluation.zeroshot import Prompts


def starts_from_text(protocol: ProtocolSpec, checkpoint: CheckpointSpec, layer: str) -> bool:
    """Says whether a protocol's heads start from text on these features; projected ones alone compare with it."""
    return protocol.solver.start == "text" and checkpoint.architecture.library == "open_clip" and layer == "projected"


def start_prompts(
    protocol: ProtocolSpec, checkpoint: CheckpointSpec, layer: str, dataset: DatasetSpec | None
) -> "Prompts | None":
    """Returns the words that heads start from, those of zero-shot; None where they start from none."""
    if dataset is None or not starts_from_text(protocol, checkpoint, layer):
        return None
    from probebench.evaluation.zeroshot import Prompts

    return Prompts.of(dataset, dataset.classes)


def start_vectors(checkpoint: CheckpointSpec, key: FeatureKey, prompts: "Prompts") -> npt.NDArray[np.float64]:
    """Returns a unit vector for each class, (labels, D), of the checkpoint's own text tower.

    Raises:
        CacheError: The features are of other weights than are there now.
        WeightsError: Weights or tokenizer are missing, damaged or out of reach.
    """
    from probebench.backbones.builders import build_language_image
    from probebench.backbones.locate import network
    from probebench.evaluation.zeroshot import class_embeddings

    clip, digest = build_language_image(checkpoint, home(), key.preprocessing.size)
    if digest != key.weights_digest:
        raise CacheError(f"features of {checkpoint.id} are of other weights than are there now; extract them again")
    with network(checkpoint):
        return class_embeddings(clip, checkpoint.architecture.name, prompts)
