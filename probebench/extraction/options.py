"""How to extract: on which device, in which arithmetic, in what batches."""

from dataclasses import dataclass
from typing import Literal, cast

from probebench.device import cores, resolve_device
from probebench.errors import UsageError

Dtype = Literal["fp32", "fp16", "bf16"]
OnError = Literal["stop", "skip"]
Compile = Literal["auto", "on", "off"]

CUDA_BATCH, CPU_BATCH, FEWEST = 256, 64, 8
# Beyond this side, a batch on a CPU shrinks, so that its activations take no more memory than here.
CPU_BATCH_SIDE = 256


@dataclass(frozen=True, kw_only=True)
class ExtractionOptions:
    """How to extract. Only ``dtype`` can change features beyond a relative 1e-5, so only it is in the key.

    Attributes:
        device: "cpu" or "cuda".
        dtype: Arithmetic of the forward pass.
        batch_size: Images a batch; the last one is padded to it. None: the largest that is of use and fits.
        workers: Processes that decode; 0 decodes in this one. None: by the cores and the number of images.
        on_error: What an image that cannot be read does: stop the extraction, or be left out and recorded.
        compile: Whether the network goes through torch.compile; "auto" tries it on long runs and keeps it if it pays.
    """

    device: str
    dtype: Dtype
    batch_size: int | None = None
    workers: int | None = None
    on_error: OnError = "stop"
    compile: Compile = "auto"

    @classmethod
    def resolve(
        cls,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | None = None,
        workers: int | None = None,
        on_error: OnError = "stop",
        compile: Compile = "auto",
        cluster_gpus: int | None = None,
    ) -> "ExtractionOptions":
        """Fills in the device and the dtype where they were left to choose.

        Args:
            device: "auto", "cpu" or "cuda".
            dtype: "auto", "fp32", "fp16" or "bf16".
            batch_size: As in the attributes.
            workers: As in the attributes.
            on_error: As in the attributes.
            compile: As in the attributes.
            cluster_gpus: GPUs of the cluster that will compute; None: this machine will.

        Raises:
            UsageError: The device is not there, or cannot compile in that dtype.
        """
        device, dtype = resolve_device(device, dtype, cluster_gpus)
        if device == "cpu" and dtype != "fp32" and compile != "off":
            # Inductor's code for half precision on CPUs crashes the process (torch 2.15, EfficientNet-Lite0 at 32 px).
            if compile == "on":
                raise UsageError(f"--compile on with --dtype {dtype} takes a GPU; leave out one of them")
            compile = "off"
        return cls(
            device=device,
            dtype=cast(Dtype, dtype),
            batch_size=batch_size,
            workers=workers,
            on_error=on_error,
            compile=compile,
        )

    def first_batch(self, side: int) -> int:
        """Returns the batch size to begin with at an input of ``side`` pixels; memory may halve it."""
        if self.batch_size is not None:
            return self.batch_size
        if self.device == "cuda":
            return CUDA_BATCH
        return max(FEWEST, min(CPU_BATCH, int(CPU_BATCH * (CPU_BATCH_SIDE / side) ** 2)))

    def decoders(self, images: int, batch_size: int) -> int:
        """Returns how many processes decode ``images`` images: none where starting them would take longer."""
        if self.workers is not None:
            return self.workers
        return 0 if images <= 2 * batch_size else min(cores(), 16)
