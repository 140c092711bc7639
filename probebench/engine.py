"""Runs tasks on Ray: on the cores or GPUs of this machine, or of the cluster that RAY_ADDRESS names."""

import contextlib
import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from probebench.errors import ProbebenchWarning, one_line

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Out = TypeVar("Out")

# A task that takes its worker down this often is at fault itself.
RETRIES = 3
# Attempts to start a node.
STARTS = 4
# Tasks that a worker has at a time: one under way and one waiting.
_DEEP = 2


class EngineError(Exception):
    """Ray is not installed, cannot be reached, or lost a task's worker again and again."""


# What this process, a worker, fetched of late: a network stays moved and compiled from task to task.
_fetched: dict[str, Any] = {}
_FETCHED_AT_MOST = 4


class Handle(Generic[Shared]):
    """What many tasks share: sent to a worker once, and the same object for all tasks there."""

    def __init__(self, reference: Any) -> None:
        """Takes Ray's reference to the object."""
        self._reference = reference

    def get(self) -> Shared:
        """Returns the object; call it in a task."""
        import ray

        name = self._reference.hex()
        if name not in _fetched:
            while len(_fetched) >= _FETCHED_AT_MOST:
                del _fetched[next(iter(_fetched))]
            _fetched[name] = ray.get(self._reference)
        value: Shared = _fetched[name]
        return value


class _Worker:
    """An actor: the process that it is keeps what it imported and fetched."""

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        return function(item)


# Idle workers by kind (cores, with a GPU or not). A process has one connection to Ray, so it has one set of workers.
_pools: dict[tuple[int, bool], list[Any]] = {}


class Ray:
    """A Ray cluster, joined or started. Use it as a context manager.

    Attributes:
        gpus: Number of GPUs in the cluster.
        cores_a_gpu: Cores that each of them can have to itself, on the machine that has fewest.
    """

    def __init__(self) -> None:
        """Joins the cluster of RAY_ADDRESS, or starts one of this machine's cores and GPUs.

        Raises:
            EngineError: Ray is not installed, or the cluster cannot be reached.
        """
        # Read when Ray is imported: nothing is reported to anybody, tasks without a GPU see the machine as it is, and
        # a busy machine is waited for.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise EngineError("--engine ray needs Ray: pip install 'probebench[ray]'") from error
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            self._start(os.environ.get("RAY_ADDRESS"))
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.gpus = int(resources.get("GPU", 0))
        self._cpus = int(resources.get("CPU", 1))
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        self._largest = max(int(machine.get("CPU", 1)) for machine in machines)
        shares = [int(machine.get("CPU", 1) // machine["GPU"]) for machine in machines if machine.get("GPU", 0) >= 1]
        self.cores_a_gpu = max(1, min(shares, default=1))

    def _start(self, address: str | None) -> None:
        """Joins a cluster, or starts one; its node gets 30 s from Ray, which on a busy machine is not always enough."""
        for attempt in range(1, STARTS + 1):
            try:
                self._ray.init(
                    address=address,
                    include_dashboard=None if address else False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
                return
            # Ray has no class of its own for a node that did not come up in time.
            except Exception as error:
                slow = "timed out during startup" in str(error) and address is None
                if not slow or attempt == STARTS:
                    what = (
                        f"the cluster at RAY_ADDRESS={address} cannot be joined" if address else "Ray cannot be started"
                    )
                    raise EngineError(f"{what}: {one_line(error, 160)}") from error
                self._ray.shutdown()
                warnings.warn(
                    f"this machine is busy, and Ray did not start within 30 s; attempt {attempt + 1} of {STARTS}",
                    ProbebenchWarning,
                    stacklevel=3,
                )

    def share(self, value: Shared) -> Handle[Shared]:
        """Puts an object where all workers can fetch it; hand the handle to tasks."""
        return Handle(self._ray.put(value))

    def map(
        self, function: Callable[[Item], Out], items: Iterable[Item], cpus: int = 1, gpu: bool = False
    ) -> Iterator[Out]:
        """Yields ``function(item)`` of every item, in the order of the items.

        A task whose worker dies runs again elsewhere; nothing else is lost. Results wait in the cluster until it is
        their turn, a few for each worker, so memory does not grow with the number of items.

        Args:
            function: Of a module that the workers can import.
            items: Sent one by one.
            cpus: Cores that a worker takes.
            gpu: Whether a worker takes a GPU.

        Raises:
            EngineError: A task lost its worker more than ``RETRIES`` times.
            Exception: What the function raised.
        """
        cpus = max(1, min(cpus, self._largest))
        slots = max(1, min(self.gpus, self._cpus) if gpu else self._cpus // cpus)
        workers = self._workers(cpus, gpu)
        # Places in workers' queues; workers are made as they are needed.
        free = deque(workers * _DEEP)
        running: dict[Any, tuple[int, Any]] = {}
        done: dict[int, Any] = {}
        left, exhausted, turn, sent = iter(items), False, 0, 0
        try:
            while True:
                while not exhausted and sent - turn < 2 * _DEEP * slots and (free or len(workers) < slots):
                    try:
                        item = next(left)
                    except StopIteration:
                        exhausted = True
                        break
                    if not free:
                        workers.append(self._new_worker(cpus, gpu))
                        free.extend([workers[-1]] * _DEEP)
                    worker = free.popleft()
                    running[worker.call.remote(function, item)] = (sent, worker)
                    sent += 1
                while turn in done:
                    yield self._get(done.pop(turn))
                    turn += 1
                if not running:
                    if exhausted:
                        return
                    continue
                for reference in self._ray.wait(list(running), num_returns=1)[0]:
                    number, worker = running.pop(reference)
                    done[number] = reference
                    free.append(worker)
        finally:
            # After an error, or where nobody wants the rest: what is still at work must not keep its core or GPU.
            for worker in {worker for _, worker in running.values()}:
                workers.remove(worker)
                self._stop(worker)

    def _workers(self, cpus: int, gpu: bool) -> list[Any]:
        """Returns the idle workers of a kind, and stops those of other kinds, whose cores are wanted now."""
        for kind in _pools.keys() - {(cpus, gpu)}:
            for worker in _pools.pop(kind):
                self._stop(worker)
        return _pools.setdefault((cpus, gpu), [])

    def _new_worker(self, cpus: int, gpu: bool) -> Any:
        kind = self._ray.remote(num_cpus=cpus, num_gpus=int(gpu), max_restarts=-1, max_task_retries=RETRIES)(_Worker)
        return kind.remote()

    def _stop(self, worker: Any) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(worker)

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            # The function's own error, without the worker's traceback around it.
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            raise EngineError(
                f"a task lost its worker {RETRIES + 1} times ({type(error).__name__}), perhaps for lack of memory; "
                "what is finished is kept"
            ) from error

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the cluster, and stops it if it was started here."""
        for workers in _pools.values():
            for worker in workers:
                self._stop(worker)
        _pools.clear()
        if self._started:
            self._ray.shutdown()
