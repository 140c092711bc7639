"""Ray's part: order, errors, and workers that die."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from probebench.engine import EngineError, Ray
from probebench.errors import ProbebenchWarning
from probebench.extraction import ExtractionOptions
from probebench.extraction.shards import RayExecutor
from tests.on_ray import always_die, die_once, fail_at_three, identity, triple


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    with Ray() as engine:
        yield engine


def test_results_come_in_the_order_of_the_items(cluster: Ray) -> None:
    assert list(cluster.map(triple, range(50))) == [3 * item for item in range(50)]
    assert list(cluster.map(triple, [])) == []


def test_an_error_is_the_functions_own_and_what_came_before_it_is_there(cluster: Ray) -> None:
    results = cluster.map(fail_at_three, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="no 3"):
        next(results)


def test_a_killed_worker_costs_only_what_it_had_in_hand(cluster: Ray, tmp_path: Path) -> None:
    assert list(cluster.map(die_once, [(tmp_path, item) for item in range(8)])) == list(range(8))
    calls = [path.name.split("-")[0] for path in tmp_path.iterdir()]
    assert calls.count("2") == 2 and len(calls) <= 8 + 2


def test_what_tasks_share_is_one_object_in_each_worker(cluster: Ray) -> None:
    handle = cluster.share([1, 2, 3])
    first = set(cluster.map(identity, [handle] * 12))
    assert len({process for _, process in first}) == len(first)
    assert set(cluster.map(identity, [handle] * 12)) <= first, "workers are kept from one call to the next"


def test_a_task_that_kills_every_worker_is_given_up(cluster: Ray) -> None:
    with pytest.raises(EngineError, match="lost its worker 4 times"):
        list(cluster.map(always_die, [1]))


def test_no_more_results_than_a_few_for_each_worker_wait(cluster: Ray) -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = cluster.map(triple, items(), cpus=64)
    assert next(results) == 0
    assert len(taken) <= 8
    results.close()  # type: ignore[attr-defined]


def test_a_cluster_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def unreachable(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance at: 10.0.0.1:6379.\nand more")

    monkeypatch.setattr(ray, "init", unreachable)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(
        EngineError, match=r"^the cluster at RAY_ADDRESS=10.0.0.1:6379 cannot be joined: Could not find"
    ):
        Ray()


def test_ray_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'probebench\[ray\]'"):
        Ray()


def test_a_gpu_has_the_cores_of_its_own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four machines of a cluster with a GPU and 16 cores each, one with two GPUs, and one without any."""
    machines = [{"CPU": 16.0, "GPU": 1.0}] * 4 + [{"CPU": 24.0, "GPU": 2.0}, {"CPU": 64.0}]
    fake = SimpleNamespace(
        is_initialized=lambda: True,
        cluster_resources=lambda: {"CPU": 152.0, "GPU": 6.0},
        nodes=lambda: [{"Alive": True, "Resources": machine} for machine in machines],
        put=lambda value: value,
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    engine = Ray()
    assert engine.gpus == 6 and engine.cores_a_gpu == 12
    options = ExtractionOptions(device="cuda", dtype="fp32")
    assert RayExecutor(None, options, 10, engine)._cpus == 12  # type: ignore[arg-type]


def test_a_node_that_is_slow_to_start_is_waited_for_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    started: list[int] = []

    def slow(**_: object) -> None:
        started.append(len(started))
        if len(started) <= late:
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", slow)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "nodes", lambda: [{"Resources": {"CPU": 2.0}, "Alive": True}])
    late = 2
    with pytest.warns(
        ProbebenchWarning, match="this machine is busy, and Ray did not start within 30 s; attempt 2 of 4"
    ):
        Ray()
    assert len(started) == 3
    late = 100
    with pytest.raises(EngineError, match="^Ray cannot be started: The current node timed out"), pytest.warns():
        Ray()
    assert len(started) == 7
