"""The state of a training at the end of an epoch, on the disk whole or not at all."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from probebench.files import replacing


@dataclass(frozen=True)
class Epoch:
    """How an epoch ended; what was not measured is None.

    Attributes:
        number: From 1.
        train_loss: Mean loss over its training items.
        loss: Mean loss on validation items.
        score: What the objective measures there, such as the accuracy.
    """

    number: int
    train_loss: float
    loss: float | None = None
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """A training so far.

    Attributes:
        epoch: Epochs that are done.
        state: The live network, optimizer and moving average; empty once the training is over.
        history: How each epoch ended.
        kept: The epoch whose weights count, so far.
        weights: Those weights.
        micro: Images that went through the network at once, lately.
        over: Whether there is nothing left to train.
        error: Why it ended early.
    """

    epoch: int = 0
    state: dict[str, Any] = field(default_factory=dict)
    history: tuple[Epoch, ...] = ()
    kept: Epoch | None = None
    weights: dict[str, torch.Tensor] | None = None
    micro: int | None = None
    over: bool = False
    error: str | None = None

    def with_epoch(self, epoch: Epoch, **changes: Any) -> "Progressed":
        """Returns the training one epoch further."""
        return replace(self, epoch=epoch.number, history=(*self.history, epoch), **changes)


def write(path: Path, progressed: Progressed) -> None:
    """Writes under another name, and renames."""
    values = {**vars(progressed), "history": [asdict(epoch) for epoch in progressed.history]}
    values["kept"] = asdict(progressed.kept) if progressed.kept else None
    with replacing(path) as partial:
        torch.save(values, partial)


def read(path: Path) -> Progressed:
    """Reads what was written last; where there is nothing, or nothing that can be read, the beginning."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        values["history"] = tuple(Epoch(**epoch) for epoch in values["history"])
        values["kept"] = Epoch(**values["kept"]) if values["kept"] else None
        return Progressed(**values)
    # A file of another version, or one that the disk damaged: whatever unpickling stumbles over.
    except Exception:
        return Progressed()
