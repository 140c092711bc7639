"""The cost model: its sizes are those of real draws, and its memory and time grow as the work does."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from probebench.datasets.draws import TrainingSplit
from probebench.probes import cost as model
from probebench.probes.cost import Cell, cost, counts, fits_of, machine
from probebench.registry import Registry
from probebench.registry.draws import DrawRule, takes_own_validation


def cell(registry: Registry, protocol: str = "default", **changes: Any) -> Cell:
    facts: dict[str, Any] = {"shots": "full", "images": (30, 12, 7), "val": 0, "test": 40, "width": 64, "draws": 3}
    spec = registry.protocol(protocol)
    return Cell(**{"protocol": spec, "backend": spec.backends[0], **facts, **changes})


@pytest.mark.parametrize(
    "protocol", ["default", "dinov2_logreg", "elevater", "mieb", "knn", "retrieval", "clip_benchmark"]
)
@pytest.mark.parametrize("shots", [2, 8, "full"])
@pytest.mark.parametrize("val", [0, 9])
def test_rows_are_those_of_a_real_draw(protocol: str, shots: Any, val: int, shipped: Registry) -> None:
    made = cell(shipped, protocol, shots=shots, val=val)
    labels = np.repeat(np.arange(3), made.images)
    own = bool(val) and takes_own_validation(made.protocol, shots)
    split = TrainingSplit([f"image-{number}" for number in range(len(labels))], labels)
    draw = split.draw(DrawRule.of(made.protocol, shots, own), None if shots == "full" else 0)
    folds = made.protocol.folds(shots)
    drawn, held = len(draw.train), val if own else len(draw.validation)
    fitted, validated, whole = made.rows
    if folds > 1:
        assert whole == drawn and fitted + validated == whole and abs(validated - drawn / folds) < 1
        return
    # Shares are rounded class by class.
    assert abs(fitted - drawn) <= 3 and abs(validated - held) <= 3
    assert whole == fitted + (validated if made.protocol.refits(shots) else 0)


def test_every_kind_of_work_has_a_price_on_every_machine() -> None:
    for name in ("cpu", "h100"):
        assert set(machine(name).seconds) == {*model.KINDS} - ({"copied"} if name == "cpu" else set())


@pytest.mark.parametrize(
    "protocol", ["default", "ridge", "knn", "retrieval", "mieb", "clip_lbfgs", "clip_benchmark", "elevater"]
)
def test_more_rows_classes_and_features_cost_more(protocol: str, shipped: Registry) -> None:
    base = cell(shipped, protocol, images=(400,) * 20, width=256)
    told = cost(base, machine("cpu"))
    assert told is not None and told.device is None
    for more in ({"images": (800,) * 20}, {"images": (400,) * 40}, {"width": 512}, {"test": 4000}):
        other = cost(replace(base, **more), machine("cpu"))
        assert other is not None and other.seconds > told.seconds and other.host >= told.host
    faster = cost(base, machine("cpu", 8))
    assert faster is not None and told.seconds / 8 < faster.seconds < told.seconds


def test_rows_that_do_not_fit_on_a_gpu_go_there_for_each_product(shipped: Registry) -> None:
    made, gpu = cell(shipped, images=(2000,) * 100, width=1024), machine("h100")
    roomy, tight = cost(made, gpu), cost(made, replace(gpu, memory=1e9))
    assert roomy is not None and tight is not None and roomy.device is not None and tight.device is not None
    rows = 4 * 0.8 * 200_000 * 1024
    assert roomy.device - tight.device > rows and roomy.device < 80e9
    fits = fits_of(made)
    once, again = (counts(made, fits, gpu=True, streamed=streamed)["copied"] for streamed in (False, True))
    assert again > 50 * once


def test_cuml_is_not_modelled(shipped: Registry) -> None:
    assert cost(cell(shipped, backend="cuml"), machine("h100")) is None
