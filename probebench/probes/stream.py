"""Where rows are computed with, what fits there, and how they get there.

Rows come from disk or from the host's memory. On their way to a GPU they pass through two page-locked buffers: while
one is copied there and computed with, a thread fills the other.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probebench.device import available_memory
from probebench.probes.base import BLOCK_ROWS, RowSource, as_source, blocks
from probebench.probes.prepare import Preparation, PreparedRows
from probebench.probes.sizes import BLOCK, CHUNK, GPU_BLOCK, GPU_CHUNK, GPU_SHARE, SHARE, working_bytes

NOT_FINITE = "X holds NaN or infinite features (Input X contains NaN or infinity)"


def pick_device(name: str) -> torch.device:
    """Returns the torch device for "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but there is no CUDA device here; use cpu")
    return device


def chunk_entries(device: torch.device) -> int:
    """Returns how many entries elementwise work takes at a time."""
    return CHUNK if device.type == "cpu" else GPU_CHUNK


def block_entries(device: torch.device) -> int:
    """Returns how many entries of rows are cast or read at a time."""
    return BLOCK if device.type == "cpu" else GPU_BLOCK


def free_memory(device: torch.device) -> int:
    """Returns the bytes that are free on a device, those among them that torch holds ready."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    return available_memory()


def room_for_rows(count: int, width: int, classes: int, device: torch.device) -> int:
    """Returns the bytes that the rows (N, D) of one draw may take beside what the solver works in."""
    gpu = device.type != "cpu"
    left = free_memory(device) - working_bytes(count, width, classes, gpu)
    return max(0, int((GPU_SHARE if gpu else SHARE) * left))


class Copies:
    """Copies from page-locked host memory to a CUDA device, beside what is computed there."""

    def __init__(self, device: torch.device) -> None:
        """Opens a stream of its own."""
        self._device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def buffer(self, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns page-locked memory of the shape and dtype of an array."""
        pinned: npt.NDArray[Any] = torch.empty(like.shape, dtype=torch.from_numpy(like).dtype, pin_memory=True).numpy()
        return pinned

    def send(self, rows: npt.NDArray[Any]) -> tuple[torch.Tensor, Callable[[], None]]:
        """Begins to copy rows of a buffer; returns them there, and what waits until the buffer may be filled again."""
        current = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            there = torch.from_numpy(rows).to(self._device, non_blocking=True)
            done = self._stream.record_event()
        current.wait_stream(self._stream)
        there.record_stream(current)
        return there, done.synchronize


def streamed(
    read: Callable[[int, int], npt.NDArray[Any]], spans: Iterable[tuple[int, int]], copies: Copies
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yields (start, stop, rows on the device) of each span, in order; the next is read while one is computed with.

    Args:
        read: Returns rows start to stop; called in a thread.
        spans: The first is the longest.
        copies: To the device.
    """
    buffers: list[npt.NDArray[Any]] = []
    free: list[Callable[[], None]] = []

    def fill(number: int, start: int, stop: int) -> npt.NDArray[Any]:
        rows = np.ascontiguousarray(read(start, stop))
        if number < 2:
            buffers.append(copies.buffer(rows))
        else:
            free[number % 2]()
        held = buffers[number % 2][: len(rows)]
        np.copyto(held, rows)
        return held

    with ThreadPoolExecutor(1) as reader:
        todo = list(spans)
        coming = reader.submit(fill, 0, *todo[0])
        for number, (start, stop) in enumerate(todo):
            held = coming.result()
            there, done = copies.send(held)
            free[number % 2 : number % 2 + 1] = [done]
            if number + 1 < len(todo):
                coming = reader.submit(fill, number + 1, *todo[number + 1])
            yield start, stop, there


def put(values: npt.NDArray[Any], device: torch.device) -> Any:
    """Returns an array as it is for a CPU, and as a tensor on another device."""
    return values if device.type == "cpu" else torch.as_tensor(values, device=device)


def spans_of(count: int, step: int) -> list[tuple[int, int]]:
    """Returns (start, stop) of consecutive blocks of ``step`` rows."""
    return [(start, min(start + step, count)) for start in range(0, count, step)]


def blocks_on(features: Any, device: torch.device) -> Iterator[tuple[slice, Any]]:
    """Yields all rows (n, D) in blocks, in order, float64: NumPy arrays on a CPU, tensors on another device."""
    if device.type == "cpu":
        yield from blocks(features)
        return
    source, preparation = _as_stored(as_source(features), device)

    def read(start: int, stop: int) -> npt.NDArray[Any]:
        return np.asarray(source.read(np.arange(start, stop)))

    for start, stop, rows in over(read, spans_of(source.shape[0], BLOCK_ROWS), device):
        yield slice(start, stop), preparation(rows.double())


def _as_stored(source: RowSource, device: torch.device) -> tuple[RowSource, Preparation]:
    """Returns what reads rows as they are stored, and what is then to be done with them on the device."""
    if isinstance(source, PreparedRows):
        return as_source(source.features), source.preparation.on(device)
    return source, Preparation()


def over(
    read: Callable[[int, int], npt.NDArray[Any]], spans: list[tuple[int, int]], device: torch.device
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yields the rows of each span on a device, in their own dtype."""
    if device.type == "cuda":
        yield from streamed(read, spans, Copies(device))
        return
    for start, stop in spans:
        yield start, stop, torch.as_tensor(np.ascontiguousarray(read(start, stop)), device=device)


@dataclass(kw_only=True)
class Feed:
    """The rows (N, D) of one draw of many, prepared on the device that computes with them, block after block.

    Attributes:
        source: Reads them as they are stored.
        positions: Of the draw's rows in the source, (N,).
        preparation: What they go through on the device.
        device: Where that is.
        keep: Whether the device has room for all of them in float32.
        resident: Rows as they are stored, on another device than a CPU that has room for them: they are read once.
    """

    source: RowSource
    positions: npt.NDArray[np.integer[Any]]
    preparation: Preparation
    device: torch.device
    keep: bool
    resident: torch.Tensor | None = None

    @classmethod
    def of(cls, source: RowSource, positions: npt.NDArray[np.integer[Any]], device: torch.device, room: int) -> "Feed":
        """Takes a draw's rows, which may fill ``room`` bytes of the device's memory."""
        source, preparation = _as_stored(source, device)
        count, width = len(positions), source.shape[1]
        feed = cls(
            source=source, positions=positions, preparation=preparation, device=device, keep=4 * count * width <= room
        )
        if device.type != "cpu":
            feed._take(room)
        return feed

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return len(self.positions), self.source.shape[1]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """(start, stop) of each block."""
        count, width = self.shape
        return spans_of(count, max(256, block_entries(self.device) // width))

    def rows(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Yields (start, stop, prepared rows (stop - start, D) in float64) of each block, in order.

        Raises:
            ValueError: Some are not finite.
        """
        held = self.resident
        for start, stop, rows in over(self._read, self.spans, self.device) if held is None else self._held(held):
            prepared = self.preparation(rows.double())
            if not torch.isfinite(prepared).all():
                raise ValueError(NOT_FINITE)
            yield start, stop, prepared

    def store(self) -> torch.Tensor:
        """Returns memory for all rows in float32, (N, D): that of the rows as stored, where these are float32.

        Whoever fills it goes through ``rows`` for the last time, and writes a block once it has read it.
        """
        if self.resident is not None and self.resident.dtype == torch.float32:
            return self.resident
        return torch.empty(self.shape, dtype=torch.float32, device=self.device)

    def _held(self, held: torch.Tensor) -> Iterator[tuple[int, int, torch.Tensor]]:
        for start, stop in self.spans:
            yield start, stop, held[start:stop]

    def _read(self, start: int, stop: int) -> npt.NDArray[Any]:
        return self.source.read(self.positions[start:stop])

    def _take(self, room: int) -> None:
        """Reads all rows to the device as they are stored, where that fits beside those that are kept."""
        count, width = self.shape
        dtype = torch.from_numpy(np.ascontiguousarray(self._read(0, 1))).dtype
        shared = self.keep and dtype == torch.float32
        needed = count * width * ((0 if shared else dtype.itemsize) + (4 if self.keep else 0))
        if needed > room:
            return
        held = torch.empty(count, width, dtype=dtype, device=self.device)
        for start, stop, rows in over(self._read, self.spans, self.device):
            held[start:stop] = rows
        self.resident = held
