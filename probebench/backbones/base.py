"""What the rest of probebench sees of a network."""

from dataclasses import dataclass

import torch

from probebench.registry.schema import CheckpointSpec, Input


@dataclass(frozen=True)
class Backbone:
    """A network in evaluation mode that maps images (B, 3, S, S) to features (B, D).

    Attributes:
        spec: The registry entry that it was built from.
        input: The preprocessing in force, at the input size that was asked for.
        module: Called with a normalised float batch; gives features.
        weights_digest: sha256 over every tensor of the whole checkpoint (head and text tower included).
    """

    spec: CheckpointSpec
    input: Input
    module: torch.nn.Module
    weights_digest: str

    @property
    def features(self) -> int:
        """The feature width D."""
        return self.spec.output.features
