"""Runs tasks on Ray: on the cores or GPUs of this machine, or of the cluster that RAY_ADDRESS names."""

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Out = TypeVar("Out")

# A task that takes its worker down this often is at fault itself.
RETRIES = 3
# Tasks that a worker has at a time: one under way and one waiting.
_DEEP = 2


class EngineError(Exception):
    """Ray is not installed, cannot be reached, or lost a task's worker again and again."""


class _Worker:
    """An actor: it holds what its tasks share, so that a network is moved and compiled once and not for every task."""

    def __init__(self, shared: Any) -> None:
        self._shared = shared

    def call(self, function: Callable[[Any, Any], Any], item: Any) -> Any:
        return function(self._shared, item)


class Ray:
    """A Ray cluster, joined or started. Use it as a context manager.

    Attributes:
        gpus: Number of GPUs in the cluster.
    """

    def __init__(self) -> None:
        """Joins the cluster of RAY_ADDRESS, or starts one of this machine's cores and GPUs.

        Raises:
            EngineError: Ray is not installed, or the cluster cannot be reached.
        """
        # Read when Ray is imported: nothing is reported to anybody, and tasks without a GPU see the machine as it is.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise EngineError("--engine ray needs Ray: pip install 'probebench[ray]'") from error
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            address = os.environ.get("RAY_ADDRESS")
            try:
                ray.init(
                    address=address,
                    include_dashboard=None if address else False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, ValueError, RuntimeError, OSError) as error:
                where = f"the cluster at RAY_ADDRESS={address} cannot be joined" if address else "Ray cannot be started"
                raise EngineError(f"{where}: {str(error).splitlines()[0][:160]}") from error
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.gpus = int(resources.get("GPU", 0))
        self._cpus = int(resources.get("CPU", 1))
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        self._largest = max(int(node["Resources"].get("CPU", 1)) for node in nodes if node["Alive"])

    def map(
        self,
        function: Callable[[Shared, Item], Out],
        shared: Shared,
        items: Iterable[Item],
        cpus: int = 1,
        gpu: bool = False,
    ) -> Iterator[Out]:
        """Yields ``function(shared, item)`` of every item, in the order of the items.

        A task whose worker dies runs again elsewhere; nothing else is lost. Results wait in the cluster until
        their turn, a few for each worker, so memory does not grow with the number of items.

        Args:
            function: Of a module that the workers can import.
            shared: Sent to each worker once.
            items: Sent one by one.
            cpus: Cores that a worker takes.
            gpu: Whether a worker takes a GPU.

        Raises:
            EngineError: A task lost its worker more than ``RETRIES`` times.
            Exception: What the function raised.
        """
        ray, cpus = self._ray, max(1, min(cpus, self._largest))
        slots = max(1, min(self.gpus, self._cpus) if gpu else self._cpus // cpus)
        kind = ray.remote(num_cpus=cpus, num_gpus=int(gpu), max_restarts=-1, max_task_retries=RETRIES)(_Worker)
        handed = ray.put(shared)
        workers: list[Any] = []
        # Places in workers' queues; workers are made as they are needed.
        free: deque[Any] = deque()
        running: dict[Any, tuple[int, Any]] = {}
        done: dict[int, Any] = {}
        numbered, exhausted, turn, sent = iter(items), False, 0, 0
        try:
            while True:
                while not exhausted and sent - turn < 2 * _DEEP * slots and (free or len(workers) < slots):
                    try:
                        item = next(numbered)
                    except StopIteration:
                        exhausted = True
                        break
                    if not free:
                        workers.append(kind.remote(handed))
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
                for reference in ray.wait(list(running), num_returns=1)[0]:
                    number, worker = running.pop(reference)
                    done[number] = reference
                    free.append(worker)
        finally:
            for worker in workers:
                with contextlib.suppress(Exception):
                    ray.kill(worker)

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
        if self._started:
            self._ray.shutdown()
