"""Every random choice has a seed of its own, named by what it is for; none depends on what ran before."""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probebench.fingerprint import fingerprint
from probebench.registry.schema import FinetuneProtocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Seeds:
    """The seeds of one trial.

    Attributes:
        protocol: Id and version of the protocol.
        draw: Digest of the draw.
        training: The training seed.
        number: The trial's place among those of its result; an untrained network starts from it.
    """

    protocol: str
    draw: str
    training: int
    number: int

    @classmethod
    def of(cls, protocol: FinetuneProtocol, draw: str, training: int, number: int) -> "Seeds":
        """Names the seeds of a trial under a protocol."""
        return cls(f"{protocol.id} v{protocol.version}", draw, training, number)

    def __call__(self, purpose: str, *details: Any) -> int:
        """Returns the seed for a purpose, such as the order of images in an epoch; below 10^15."""
        return int(fingerprint([self.protocol, self.draw, self.training, purpose, *details])[:15], 16) % 10**15


@contextlib.contextmanager
def seeded(seed: int, device: "torch.device | None" = None) -> Iterator[None]:
    """Runs what is inside from a seed, in Python's, numpy's and torch's generators, and puts these back after.

    Args:
        seed: The seed.
        device: The GPU whose generator is seeded too; None: none is looked at. A process that loads images must leave
            them alone: forked, it cannot reach them, and in the training's own process they are the training's.
    """
    import torch

    gpu = device if device is not None and device.type == "cuda" else None
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[] if gpu is None else [gpu]):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        # Not manual_seed, which seeds every GPU as well.
        torch.default_generator.manual_seed(seed)
        if gpu is not None:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
