"""What the solver does on a GPU, with stand-ins for one: launches, memory, copies, and where tensors are."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from probebench.probes import logistic_sweep, stream
from probebench.probes.base import ArrayRows
from probebench.probes.prepare import Preparation, PreparedRows
from probebench.probes.problem import Problem
from probebench.probes.rows import Rows
from probebench.probes.sizes import CHUNK
from probebench.probes.stream import Feed, free_memory, room_for_rows, spans_of, streamed
from tests.arithmetic import CUDA, FakeCuda, PlainCopies, Watched, fake_cuda, is_there
from tests.probes.test_logistic import data

__all__ = ["fake_cuda"]
GIB = 1 << 30


def shapes_alone(count: int, width: int, classes: int) -> Problem:
    """A problem of which there are shapes but no numbers, on a device that is no CPU."""
    rows = torch.empty(1, count, width, device="meta")

    def blocks(dtype: torch.dtype) -> Iterator[tuple[int, int, torch.Tensor]]:
        yield 0, count, rows.to(dtype)

    one = torch.ones(1, dtype=torch.float64, device="meta")
    made = Rows(
        shape=(1, count, width),
        blocks=blocks,
        spectrum=torch.empty(1, 1, width, device="meta"),
        basis=None,
        top=one,
        dropped=one,
        expand=None,
        mean=one,
        scale=one,
        cheap=False,
    )
    labels = torch.zeros(1, count, dtype=torch.int64, device="meta")
    return Problem(rows=made, labels=labels, classes=classes, tol=1e-6, fit_intercept=True)


def test_a_pass_over_a_million_rows_takes_hundreds_of_launches_on_a_gpu() -> None:
    problem = shapes_alone(100_000, 16, 1000)
    scores = torch.empty(1, 100_000, 1000, dtype=torch.float64, device="meta")
    gradient = torch.zeros(1, 1000, 16, dtype=torch.float64, device="meta")
    with Watched() as passing:
        problem._pass_over_scores(scores, torch.zeros(1, 1, 1000, dtype=torch.float64, device="meta"), gradient)
    curved = problem.curvature_along(torch.ones(1, 1, 1, device="meta"), torch.float32)
    with Watched() as bending:
        curved(torch.empty(1, 1000, 16, device="meta"))
    assert sum(passing.counts.values()) < 200 and sum(bending.counts.values()) < 100


def test_chunks_of_any_size_give_the_same_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(7, 300, 10)
    fits = []
    for chunk in (CHUNK, 7 * 13, 1 << 26):
        monkeypatch.setattr(stream, "CHUNK", chunk)
        fits.append(logistic_sweep(X, y, [np.arange(300)], [0.1, 10.0]))
    assert fits[0].converged.all()
    for other in fits[1:]:
        assert np.allclose(fits[0].objective, other.objective, rtol=2e-6)


def reading(monkeypatch: pytest.MonkeyPatch, free: int, reserved: int = 0, allocated: int = 0) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated)


def test_what_torch_holds_ready_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    reading(monkeypatch, 10 * GIB, reserved=60 * GIB, allocated=5 * GIB)
    assert free_memory(CUDA) == 65 * GIB


def test_rows_stay_where_scores_leave_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    count, width, classes = 1_281_167, 2048, 1000
    rows, scores = 4 * count * width, 24 * count * classes
    reading(monkeypatch, 78 * GIB)
    assert room_for_rows(count, width, classes, CUDA) >= rows
    # Half of this is more than the rows take, but the scores come first.
    reading(monkeypatch, scores + rows // 2)
    assert room_for_rows(count, width, classes, CUDA) < rows
    reading(monkeypatch, scores // 2)
    assert room_for_rows(count, width, classes, CUDA) == 0


@pytest.mark.parametrize(("count", "step"), [(1, 4), (8, 4), (30, 4)])
def test_rows_that_stream_are_all_there_in_order(count: int, step: int) -> None:
    rows = np.arange(3.0 * count).reshape(count, 3)
    copies: Any = PlainCopies(torch.device("cpu"))
    parts = list(streamed(lambda start, stop: rows[start:stop], spans_of(count, step), copies))
    assert [part[:2] for part in parts] == spans_of(count, step)
    assert torch.equal(torch.cat([there for _, _, there in parts]), torch.from_numpy(rows))


def test_a_row_that_cannot_be_read_is_said_where_rows_are_wanted() -> None:
    def read(start: int, stop: int) -> Any:
        if start == 8:
            raise OSError("the disk is gone")
        return np.zeros((4, 2))

    copies: Any = PlainCopies(torch.device("cpu"))
    parts = streamed(read, spans_of(16, 4), copies)
    assert [next(parts)[:2], next(parts)[:2]] == [(0, 4), (4, 8)]
    with pytest.raises(OSError, match="the disk is gone"):
        next(parts)


class Counting:
    """A source that counts how often each row is read."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.shape = rows, rows.shape
        self.read_rows = np.zeros(len(rows), dtype=int)

    def read(self, positions: Any) -> Any:
        self.read_rows[positions] += 1
        return self.rows[positions]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_large_rows_are_read_once_and_prepared_on_the_device(
    dtype: Any, fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "GPU_BLOCK", 64 * 256)
    X, _ = data(5, 1000, 64)
    source = Counting(X.astype(dtype))
    prepared = PreparedRows(source, Preparation(l2=True, divisor=3.0))
    feed = Feed.of(prepared, np.arange(1000), CUDA, room=10 * X.nbytes)
    for _ in range(3):
        rows = torch.cat([block for _, _, block in feed.rows()])
        assert is_there(rows) and np.allclose(rows.cpu().numpy(), prepared.preparation(source.rows), atol=1e-12)
    # The first one twice: it tells the dtype.
    assert source.read_rows[1:].max() == 1 and feed.keep
    assert (feed.store() is feed.resident) == (dtype == np.float32)


def test_half_precision_rows_stay_as_they_are_where_float32_does_not_fit(fake_cuda: FakeCuda) -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float16)
    feed = Feed.of(ArrayRows(rows), np.arange(1000), CUDA, room=3 * rows.size)
    assert not feed.keep and feed.resident is not None and feed.resident.dtype == torch.float16
    assert Feed.of(ArrayRows(rows), np.arange(1000), CUDA, room=rows.size).resident is None


@pytest.mark.parametrize("kind", ["few", "dense", "kept", "streamed"])
def test_no_tensor_of_the_host_meets_one_of_the_device(
    kind: str, fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    from probebench.probes import sizes

    X, y = data(4, 40 if kind == "few" else 400, 60 if kind == "few" else 12)
    if kind in ("kept", "streamed"):
        monkeypatch.setattr(sizes, "SMALL", 10)
    memory = 0 if kind == "streamed" else None
    draws, Cs = [np.arange(len(y)), np.arange(len(y))[::-1].copy()], [0.1, 10.0]
    there = logistic_sweep(X, y, draws, Cs, device="cuda", memory=memory)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = logistic_sweep(X, y, draws, Cs, device="cpu")
    assert there.converged.all() and np.allclose(there.objective, here.objective, rtol=2e-6)
    assert np.array_equal(there.predict(X), here.predict(X))
