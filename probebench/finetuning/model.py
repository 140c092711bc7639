"""The network that is trained: a backbone and a linear head, from a start that can be made again."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from probebench.backbones.base import Backbone
from probebench.backbones.builders import build_backbone
from probebench.finetuning.heads import HeadStart
from probebench.finetuning.task import FinetuneTask
from probebench.registry.checkpoint import untrained
from probebench.training.seeds import Seeds

State = Mapping[str, torch.Tensor]


class Classifier(torch.nn.Module):
    """Maps inputs to logits (B, K): a backbone, and one linear layer on its features.

    Attributes:
        backbone: Maps inputs to features (B, D).
        head: From D to K.
    """

    def __init__(
        self, backbone: torch.nn.Module | None, features: int, classes: int, start: HeadStart | None, unit: bool = False
    ) -> None:
        """Joins a backbone (None: inputs are features) and a head that begins at ``start`` (None: at zero).

        With ``unit``, or where the head starts so, each row of features is divided by its norm before the head.
        """
        super().__init__()
        self.backbone = torch.nn.Identity() if backbone is None else backbone
        # Filled below; its own initial values would move the global generator.
        self.head: torch.nn.Linear = torch.nn.utils.skip_init(torch.nn.Linear, features, classes)  # type: ignore[no-untyped-call]
        self._unit = unit or (start is not None and start.unit)
        self.requires_grad_(True)
        with torch.no_grad():
            self.head.weight.copy_(torch.zeros(classes, features) if start is None else torch.from_numpy(start.weight))
            self.head.bias.copy_(torch.zeros(classes) if start is None else torch.from_numpy(start.bias))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns logits (B, K)."""
        rows = self.backbone(inputs)
        if self._unit:
            rows = torch.nn.functional.normalize(rows, dim=-1)
        logits: torch.Tensor = self.head(rows)
        return logits


@dataclass
class Starts:
    """Makes the network of a trial as it is before training, as often as it is asked for.

    Attributes:
        task: What is trained.
        backbone: The pre-trained network; under ``scratch`` the first trial's, and each other has one of its own.
    """

    task: FinetuneTask
    backbone: Backbone

    @classmethod
    def of(cls, task: FinetuneTask) -> "Starts":
        """Builds the backbone.

        Raises:
            WeightsError: The weights are missing, damaged or out of reach.
        """
        return cls(task, build_backbone(task.checkpoint, task.home, task.key.preprocessing.size))

    def trunk(self, seeds: Seeds) -> torch.nn.Module:
        """Returns a copy of the backbone's module for one training."""
        if self.task.mode != "scratch":
            return copy.deepcopy(self.backbone.module)
        spec = untrained(self.task.checkpoint, seeds.number)
        return build_backbone(spec, self.task.home, self.task.key.preprocessing.size).module

    def network(self, seeds: Seeds, head: HeadStart | None) -> Classifier:
        """Returns the whole network of one training; the head alone under ``linear``."""
        trunk = None if self.task.mode == "linear" else self.trunk(seeds)
        classes, unit = len(self.task.dataset.class_names), self.task.protocol.unit_features
        module = Classifier(trunk, self.backbone.features, classes, head, unit)
        # Convolutions are faster in this layout.
        return module if trunk is None else module.to(memory_format=torch.channels_last)


def interpolate(start: State, end: State, alpha: float) -> dict[str, torch.Tensor]:
    """Returns (1 - alpha) start + alpha end for every floating tensor, running statistics included (WiSE-FT).

    Counters are the end's. At 0 and 1 the ends come out bit by bit.
    """
    return {
        name: torch.lerp(start[name].to(tensor), tensor, alpha) if tensor.is_floating_point() else tensor
        for name, tensor in end.items()
    }
