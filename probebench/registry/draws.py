"""How a protocol draws training images, in words that name the draw: protocols that draw alike share their draws."""

from dataclasses import dataclass

from probebench.registry.entry import Shots
from probebench.registry.finetune_protocol import FinetuneProtocol
from probebench.registry.protocol import ProtocolSpec


@dataclass(frozen=True)
class DrawRule:
    """Which images train and which validate.

    Attributes:
        shots: Training images a class, or "full".
        validation: More images of each class that validate; few-shot draws only.
        share: Share of the draw, or at full data of each class, that validates instead.
    """

    shots: Shots
    validation: int = 0
    share: float = 0.0

    @classmethod
    def of(cls, spec: ProtocolSpec | FinetuneProtocol, shots: Shots, own_validation: bool) -> "DrawRule":
        """Returns a protocol's rule at a number of shots.

        Args:
            spec: The protocol.
            shots: Training images a class, or "full".
            own_validation: Whether the data set has a validation part of its own, and the protocol takes it.
        """
        if isinstance(spec, FinetuneProtocol):
            choice = spec.choice(shots)
            if shots == "full":
                return cls(shots, share=0.0 if own_validation else choice.share or 0.0)
            return cls(shots, min(shots, choice.most or 0))
        chosen = spec.selection(shots)
        if shots == "full":
            return cls(shots, share=0.0 if chosen.method == "fixed" or own_validation else chosen.share or 0.0)
        if chosen.method == "holdout":
            return cls(shots, share=chosen.share or 0.0)
        return cls(shots, min(shots, chosen.most or 0))

    @property
    def name(self) -> str:
        """What an entry that publishes draws calls it."""
        if self.shots == "full":
            return f"full less {self.share:g}" if self.share else "full"
        return f"{self.shots} less {self.share:g}" if self.share else f"{self.shots}+{self.validation}"


def takes_own_validation(spec: ProtocolSpec | FinetuneProtocol, shots: Shots) -> bool:
    """Says whether a protocol chooses on the validation part of a data set that has one."""
    if isinstance(spec, FinetuneProtocol):
        return shots == "full" and spec.selection == "validation"
    return spec.selection(shots).method == "own-split-or-holdout"
