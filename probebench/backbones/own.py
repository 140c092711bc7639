"""A torch.nn.Module of the user's as a backbone: what it does is known by its weights and by what it gives.

Neither a module's code nor its transform can be hashed. So it is run on three fixed images, and what comes out is part
of its weights digest: other code, another transform or other weights are another key, and are extracted afresh.
"""

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from probebench.backbones.base import Backbone, OwnTransform
from probebench.backbones.weights import state_digest
from probebench.device import in_threads
from probebench.errors import FeatureError, one_line
from probebench.fingerprint import fingerprint
from probebench.registry.checkpoint import MODULE, Architecture, CheckpointSpec, Pretraining
from probebench.registry.load import checked

# (height, width): of three shapes, so that how a transform resizes and crops shows.
_SHAPES = ((96, 128), (200, 150), (64, 64))


def own_backbone(
    module: torch.nn.Module,
    transform: Callable[[Image.Image], torch.Tensor],
    *,
    name: str,
    title: str | None,
    pretraining: Pretraining,
    said: dict[str, str],
) -> Backbone:
    """Makes a backbone of a module and its transform; the module itself is left as it is.

    Args:
        module: Called with a batch (B, channels, S, S) in evaluation mode; gives features (B, D).
        transform: From an RGB image to a tensor (channels, S, S); what is random in it is refused.
        name: The id that features and results go under.
        title: One line for readers; None: the class's name.
        pretraining: What is known of its pre-training.
        said: Paper, url and license, where known.

    Raises:
        FeatureError: Module or transform failed on the fixed images, gave no features, or not the same ones twice.
        UsageError: The name is none that an entry can have.
    """
    kind = type(module).__name__
    # On the CPU, whose arithmetic does not move with the card; a GPU gets it back when features are computed.
    copied = _copied(module).cpu().eval().requires_grad_(False)
    prepare = OwnTransform(transform)
    images = [prepare(image) for image in _images()]
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise FeatureError(f"the transform gives {sorted(shapes)} for images of several sizes; it must give one shape")
    batch = torch.stack(images)
    features = _run(copied, kind, batch)
    again = _run(copied, kind, torch.stack([prepare(image) for image in _images()]))
    if not torch.equal(features, again):
        raise FeatureError(
            f"{kind} gives the same image other features when it is run again: take what is random out of its "
            "transform and its forward method"
        )
    spec = checked(
        CheckpointSpec,
        id=name,
        title=title or kind,
        **{key: said.get(key, "unknown") for key in ("paper", "url", "license")},
        architecture=Architecture(library=MODULE, name=kind),
        pretraining=pretraining,
        weights={"uri": MODULE, "sha256": "none"},
        input={
            "size": batch.shape[-1],
            "resize": "own",
            "crop": 1.0,
            "interpolation": "nearest",
            "mean": (0.0, 0.0, 0.0),
            "std": (1.0, 1.0, 1.0),
        },
        output={"features": features.shape[1], "layer": "pooled"},
    )
    shown = hashlib.sha256(features.numpy().tobytes()).hexdigest()
    digest = fingerprint({"weights": state_digest(copied.state_dict()), "shown": shown})
    return Backbone(
        spec=spec,
        input=spec.input,
        module=copied,
        weights_digest=digest,
        layers={spec.output.layer: spec.output.features},
        transform=OwnTransform(transform, batch.shape[1]),
    )


def _copied(module: torch.nn.Module) -> torch.nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:
        # A module may hold what cannot be copied, such as an open file.
        raise FeatureError(
            f"{type(module).__name__} cannot be copied ({one_line(error, 120)}); it is run as a copy, so that yours "
            "stays on its device and in its mode"
        ) from error


def _images() -> list[Image.Image]:
    """Returns the three fixed images: waves of every frequency and an edge, without any generator's random numbers."""
    made = []
    for number, (height, width) in enumerate(_SHAPES):
        y, x = np.mgrid[:height, :width].astype(np.int64)
        waves = [(x * (2 + number) + y * 3) % 256, (x * y) // (3 + number) % 256, (x * x + y * (5 + number)) // 7 % 256]
        pixels = np.stack(waves, axis=-1).astype(np.uint8)
        pixels[: height // 4, : width // 3] = (255, 128 * (number % 2), 0)
        made.append(Image.fromarray(pixels))
    return made


def _run(module: torch.nn.Module, kind: str, batch: torch.Tensor) -> torch.Tensor:
    """Returns the features of the fixed images (3, D), float32, in one thread: sums are rounded in one order."""
    try:
        with in_threads(1), torch.inference_mode():
            features: Any = module(batch)
    except Exception as error:
        # Any code may be in it.
        raise FeatureError(f"{kind} failed on a batch {tuple(batch.shape)}: {one_line(error, 160)}") from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2 or len(features) != len(batch):
        what = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise FeatureError(f"{kind} gave {what} for a batch of {len(batch)}; it must give features (batch, D)")
    if not torch.isfinite(features).all():
        raise FeatureError(f"{kind} gave NaN or infinite features for fixed images; its weights may be wrong")
    return features.float().contiguous()
