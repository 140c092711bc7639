"""A backbone at work: on its device, channels-last, compiled where it pays, in batches that fit into memory."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from probebench.arrays import Features
from probebench.backbones.base import Backbone
from probebench.device import full_float32, in_smaller_batches
from probebench.errors import FeatureError, UsageError, one_line
from probebench.extraction.clock import Clock
from probebench.extraction.inference import Network
from probebench.extraction.options import Dtype, ExtractionOptions
from probebench.malloc import keep_freed_memory

_TORCH = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# Compiling takes 10 to 40 s on two cores and saves up to two fifths of the time.
COMPILE_FROM_SECONDS = 180.0
_GAIN = 0.95
# Batches under way on a GPU while the host prepares the next.
_UNDER_WAY = 2


class Forward:
    """Maps pixels (n, S, S, 3), uint8, to features (n, D): float32 of fp32 arithmetic, float16 of half precision.

    Attributes:
        device: "cpu" or "cuda".
        batch_size: Images that go through the network at once; halved whenever memory runs out.
        compiled: Whether torch.compile made what runs.
        folded: Whether batch normalisation is folded into convolutions.
    """

    def __init__(
        self,
        backbone: Backbone,
        device: str,
        dtype: Dtype,
        batch_size: int,
        compiled: bool = False,
        fold: bool = True,
    ) -> None:
        """Moves the backbone to the device."""
        self.device, self.batch_size, self.compiled = device, batch_size, compiled
        self._dtype, self._id, self._side, self._noise = dtype, backbone.spec.id, backbone.input.size, backbone.noise
        if device == "cpu":
            keep_freed_memory()
        with full_float32():
            network = Network(backbone, fold, dtype == "bf16")
        network = network.eval().to(device).to(memory_format=torch.channels_last)
        self.folded = network.folded
        self._network: Callable[[torch.Tensor], torch.Tensor] = _compiled(network, device) if compiled else network
        self._copies = torch.cuda.Stream() if device == "cuda" else None  # type: ignore[no-untyped-call]

    def __call__(self, pixels: torch.Tensor) -> Features:
        """Returns the features of one batch.

        Raises:
            FeatureError: One image alone does not fit into memory.
        """
        return self.begin(pixels)()

    def begin(self, pixels: torch.Tensor) -> Callable[[], Features]:
        """Starts a batch, on a GPU without waiting for it, and returns what waits and gives its features.

        Raises:
            FeatureError: One image alone does not fit into memory.
        """

        def run(size: int) -> Callable[[], Features]:
            with (
                torch.inference_mode(),
                full_float32(),
                torch.autocast(self.device, dtype=_TORCH[self._dtype], enabled=self._dtype != "fp32"),
            ):
                return self._collected([self._run(part) for part in torch.split(pixels, size)])

        def refused(error: str) -> FeatureError:
            return FeatureError(f"{self._id}: one image does not fit into memory at {self._side} px ({error})")

        return in_smaller_batches(run, self.batch_size, refused, lambda size: setattr(self, "batch_size", size))

    def _run(self, pixels: torch.Tensor) -> torch.Tensor:
        whole = _padded(pixels, self.batch_size)
        if self._copies is not None:
            # The copy has a stream of its own, so that it passes beside the batch that is being computed.
            with torch.cuda.stream(self._copies):
                whole = whole.to(self.device, non_blocking=True)
            torch.cuda.current_stream().wait_stream(self._copies)
            whole.record_stream(torch.cuda.current_stream())
        features = self._network(whole)[: len(pixels)].float()
        return features if self._dtype == "fp32" else features.half()

    def _collected(self, parts: list[torch.Tensor]) -> Callable[[], Features]:
        features = torch.cat(parts) if len(parts) > 1 else parts[0]
        if self.device == "cpu":
            return lambda: features.numpy()
        host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
        host.copy_(features, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()

        def wait() -> Features:
            done.synchronize()
            rows: Features = host.numpy()
            return rows

        return wait

    def stream(self, batches: Iterable[torch.Tensor], clock: Clock) -> Iterator[tuple[Features, int]]:
        """Yields each batch's features, and how many images went through the network at once for them.

        On a GPU the next batches are begun before one is waited for, and may have halved the batch size since.
        """
        waiting: deque[tuple[Callable[[], Features], int]] = deque()
        depth = _UNDER_WAY if self.device == "cuda" else 0

        def first() -> tuple[Features, int]:
            wait, size = waiting.popleft()
            with clock.waiting_for("forward"):
                return wait(), size

        for pixels in batches:
            with clock.waiting_for("forward"):
                begun = self.begin(pixels)
            waiting.append((begun, self.batch_size))
            while len(waiting) > depth:
                yield first()
        while waiting:
            yield first()

    def seconds_a_batch(self) -> float:
        """Runs a made-up batch twice and times the second; a batch size that does not fit is halved on the way."""
        pixels = self._noise(self.batch_size)
        self(pixels)
        pixels = pixels[: self.batch_size]
        began = time.perf_counter()
        self(pixels)
        return time.perf_counter() - began


def ready(backbone: Backbone, options: ExtractionOptions, images: int) -> Forward:
    """Returns the backbone ready for ``images`` images: with a batch size that fits, and compiled where that pays.

    Raises:
        UsageError: Compilation was asked for and does not work here.
        FeatureError: One image alone does not fit into memory.
    """
    eager = Forward(backbone, options.device, options.dtype, options.first_batch(backbone.input.size))
    if options.compile == "off":
        return eager
    if options.compile == "auto" and images <= 4 * eager.batch_size:
        return eager
    eager_seconds = eager.seconds_a_batch()
    if options.compile == "auto" and images / eager.batch_size * eager_seconds < COMPILE_FROM_SECONDS:
        return eager
    try:
        compiled = Forward(backbone, options.device, options.dtype, eager.batch_size, compiled=True)
        compiled_seconds = compiled.seconds_a_batch()
    except Exception as error:
        # A missing C++ compiler, an operator that cannot be traced: compilers fail in ways of their own.
        if options.compile == "on":
            raise UsageError(
                f"{backbone.spec.id} cannot be compiled here ({one_line(error, 120)}); leave out --compile on"
            ) from error
        return eager
    faster = compiled_seconds / compiled.batch_size < _GAIN * eager_seconds / eager.batch_size
    return compiled if faster or options.compile == "on" else eager


def _compiled(network: Network, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    # It warns that a machine without a GPU has no GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    # Frozen weights let batch normalisation be folded into convolutions (RN50 on two cores: 1.6x eager, 1.4x without).
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(
        network, options={"freezing": True} if device == "cpu" else None, dynamic=False
    )
    return compiled


def _padded(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """Repeats the last image up to the batch size: another shape could take another kernel and other roundings."""
    if len(pixels) == size:
        return pixels
    return torch.cat([pixels, pixels[-1:].expand(size - len(pixels), *pixels.shape[1:])])


def first_unusable(rows: Features) -> int | None:
    """Returns the position of the first row with NaN or infinity, which half precision gives on overflow."""
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    return int(wrong[0]) if len(wrong) else None
