"""The three methods: a network with what it is trained through, and the loss that its library has.

``backbone`` is what the checkpoint keeps; the rest is thrown away. Targets are looked up by an image's place among the
training images, so that all methods read the same batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.state import PartialState

from probebench.device import is_out_of_memory
from probebench.errors import UsageError
from probebench.registry.recipe import RecipeSpec
from probebench.training.together import run_out_together

Draw = Callable[[torch.Tensor], torch.Tensor]


class Labelled(torch.nn.Module):
    """A network and one linear layer on its features."""

    def __init__(self, backbone: torch.nn.Module, features: int, classes: int) -> None:
        """Takes the network, and the widths of its features and of the labels."""
        super().__init__()
        self.backbone, self.head = backbone, torch.nn.Linear(features, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps images (B, 3, s, s) to logits (B, K)."""
        logits: torch.Tensor = self.head(self.backbone(images))
        return logits


class Paired(torch.nn.Module):
    """A network and SimCLR's projection on its features, which lightly has."""

    def __init__(self, backbone: torch.nn.Module, features: int, recipe: RecipeSpec) -> None:
        """Takes the network, the width of its features and the recipe's projector."""
        super().__init__()
        projector = recipe.projector
        assert projector is not None
        head = require_lightly().models.modules.heads.SimCLRProjectionHead
        self.backbone = backbone
        self.head = head(features, projector.hidden, projector.output, num_layers=projector.layers)

    def forward(self, pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps pairs (B, 2, 3, s, s) to their embeddings, (B, E) each."""
        views = torch.cat([pairs[:, 0], pairs[:, 1]]).contiguous(memory_format=torch.channels_last)
        first, second = self.head(self.backbone(views)).chunk(2)
        return first, second


class Captioned(torch.nn.Module):
    """open_clip's network, image and text tower."""

    # open_clip's training keeps the scale of logits below 100.
    _MOST = 4.6052

    def __init__(self, backbone: Any) -> None:
        """Takes the network."""
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Maps images (B, 3, s, s) and tokens (B, L) to unit features (B, E) of both, and the scale of logits."""
        with torch.no_grad():
            self.backbone.logit_scale.clamp_(0, self._MOST)
        image = self.backbone.encode_image(images, normalize=True)
        text = self.backbone.encode_text(tokens, normalize=True)
        return image, text, self.backbone.logit_scale.exp()


def require_lightly() -> Any:
    """Returns lightly, with its losses and heads.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import lightly
        import lightly.loss.ntx_ent_loss
        import lightly.models.modules.heads
    except ImportError as error:
        raise UsageError("image-image pre-training needs lightly; pip install 'probebench[pretrain]'") from error
    return lightly


@dataclass(frozen=True)
class _Drawn:
    """Views of stored images are drawn as they come; those that were decoded one by one are views already.

    Attributes:
        draw: Maps stored images to views.
        targets: (N, ...) what each training image is to give, by its place.
    """

    draw: Draw
    targets: torch.Tensor

    def mixed(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps images, and their places (B,), to views and targets."""
        return self.draw(inputs) if inputs.dtype == torch.uint8 else inputs, self._of(targets)

    def _of(self, places: torch.Tensor) -> torch.Tensor:
        return self.targets.to(places.device)[places]


@dataclass(frozen=True)
class Supervised(_Drawn):
    """Cross-entropy to the label; ``targets`` are labels (N,)."""

    label_smoothing: float = 0.0
    whole: bool = False

    def loss(self, model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the summed cross-entropy."""
        return torch.nn.functional.cross_entropy(
            model(inputs).float(), targets, reduction="sum", label_smoothing=self.label_smoothing
        )


@dataclass(frozen=True)
class LanguageImage(_Drawn):
    """open_clip's ClipLoss; ``targets`` are tokens (N, T, L) of T sentences on each image, of which one is drawn."""

    whole: bool = True

    def _of(self, places: torch.Tensor) -> torch.Tensor:
        sentence = torch.randint(self.targets.shape[1], places.shape, device=places.device)
        return self.targets.to(places.device)[places, sentence]

    def loss(self, model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the sum over this process's pairs, compared with those of all processes."""
        from open_clip.loss import ClipLoss

        image, text, scale = forward_together(lambda: model(inputs, targets))
        state = PartialState()
        compare = ClipLoss(True, True, rank=state.process_index, world_size=state.num_processes)
        loss: torch.Tensor = compare(image.float(), text.float(), scale.float()) * len(inputs)
        return loss


@dataclass(frozen=True)
class ImageImage(_Drawn):
    """lightly's NTXentLoss of two views of each image; ``targets`` are not looked at."""

    temperature: float = 0.5
    whole: bool = True

    def loss(self, model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the sum over this process's images, compared with those of all processes."""
        first, second = forward_together(lambda: model(inputs))
        several = PartialState().num_processes > 1
        compare = require_lightly().loss.ntx_ent_loss.NTXentLoss(self.temperature, gather_distributed=several)
        loss: torch.Tensor = compare(first.float(), second.float()) * len(inputs)
        return loss


def forward_together(run: Callable[[], tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
    """Runs a forward pass; where memory runs out in one process, it does in all, and none waits for the others.

    Raises:
        torch.OutOfMemoryError: In one of the processes.
    """
    state = PartialState()
    if state.num_processes == 1:
        return run()
    outputs: tuple[torch.Tensor, ...] = ()
    try:
        outputs = run()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    run_out_together(not outputs, state.device)
    return outputs
