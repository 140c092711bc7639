"""Where and how to train: what of it can change numbers is in a result's name or recorded in it."""

from dataclasses import dataclass
from typing import Literal, cast

from probebench.device import cores, resolve_device

TrainingDtype = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class TrainingOptions:
    """Where and how to train.

    Attributes:
        device: "cpu" or "cuda".
        dtype: Arithmetic; bf16 is mixed precision, and weights stay float32.
        micro_batch: Images that go through the network at once; gradients add up over the protocol's batch. None: all
            of the batch, halved where memory runs out.
        workers: Processes that decode and augment; 0 does it in this one. None: by the cores.
    """

    device: str
    dtype: TrainingDtype
    micro_batch: int | None = None
    workers: int | None = None

    @classmethod
    def resolve(
        cls,
        device: str = "auto",
        dtype: str = "auto",
        micro_batch: int | None = None,
        workers: int | None = None,
        cluster_gpus: int | None = None,
    ) -> "TrainingOptions":
        """Fills in the device and the dtype where they were left to choose.

        Args:
            device: "auto", "cpu" or "cuda".
            dtype: "auto", "fp32" or "bf16".
            micro_batch: As in the attributes.
            workers: As in the attributes.
            cluster_gpus: GPUs of the cluster that will compute; None: this machine will.

        Raises:
            UsageError: The device is not there.
        """
        device, dtype = resolve_device(device, dtype, cluster_gpus)
        return cls(device, cast(TrainingDtype, dtype), micro_batch, workers)

    @property
    def loaders(self) -> int:
        """Processes that decode and augment."""
        if self.workers is not None:
            return self.workers
        # On few cores, the network wants them all.
        return 0 if cores() <= 2 and self.device == "cpu" else min(cores(), 16)
