from typing import Any

from probebench.results.depth import narrowed, sweeps
from probebench.results.schema import Result
from tests.results.make import checkpoint, result


def on(layer: str, mean: float | None = 0.5, **changes: Any) -> Result:
    width = 8 if layer.startswith("block") else 16
    told: dict[str, Any] = {"ci95": None, "ci95_covers": None}
    if mean is not None:
        told = {"ci95": (max(0.0, mean - 0.05), min(1.0, mean + 0.05))}
    return result(checkpoint=checkpoint(layer=layer, features=width), mean=mean, **told, **changes)


def test_blocks_come_in_order_and_the_other_layers_after_them() -> None:
    layers = ["pooled", "block:10", "block:2", "last4", "block:2:mean"]
    (sweep,) = sweeps([on(layer, 0.1 * place) for place, layer in enumerate(layers, 1)])
    assert sweep.layers == ["block:2", "block:2:mean", "block:10", "pooled", "last4"]
    assert [(one.layer, one.width, round(one.mean, 3)) for one in sweep.scores[1]] == [
        ("block:2", 8, 0.3),
        ("block:2:mean", 8, 0.5),
        ("block:10", 8, 0.2),
        ("pooled", 16, 0.1),
        ("last4", 16, 0.4),
    ]


def test_what_differs_in_more_than_the_layer_is_another_sweep() -> None:
    found = sweeps(
        [on("block:1"), on("block:1", model="other"), on("block:1", dataset="dtd"), on("block:2", dtype="bf16")]
        + [on("block:1", protocol="ridge", kind="ridge")]
    )
    assert len(found) == 5 and len({(one.name, one.dataset, one.setting) for one in found}) == 5


def test_without_a_block_there_is_no_sweep_and_a_failed_run_is_no_point() -> None:
    assert sweeps([on("pooled"), on("cls")]) == []
    (sweep,) = sweeps([on("block:0"), on("block:1", None)])
    assert sweep.layers == ["block:0"]
    assert sweeps([on("block:0", provenance="published")]) == []


def test_narrowing_leaves_what_still_is_a_sweep() -> None:
    found = sweeps([on("block:0", shots=1), on("block:0", shots="full"), on("pooled", shots=5)])
    assert [one.shots for one in narrowed(found, None)] == [[1, 5, "full"]]
    assert [one.shots for one in narrowed(found, ["full", 5])] == [[5, "full"]]
    assert narrowed(found, [5]) == []
