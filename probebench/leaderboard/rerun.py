"""What a process of its own does to run one cell again: ``python -m probebench.leaderboard.rerun FOLDER``.

What computes is imported where it is used: verifying without a re-run loads no torch.
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probebench.errors import ProbebenchError
from probebench.leaderboard.confined import answer_request
from probebench.registry.entry import Shots
from probebench.registry.layers import unpacked
from probebench.registry.load import Registry
from probebench.registry.schema import CheckpointSpec
from probebench.results.environment import environment
from probebench.results.schema import Result


@dataclasses.dataclass(frozen=True)
class _Cell:
    """A result, and what is here to make it again; ``home`` holds weights and takes features."""

    result: Result
    entry: CheckpointSpec
    registry: Registry
    home: Path
    datasets: Path


def rerun(request: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a cell again, from its weights, in the recorded setting as far as this machine has it.

    Args:
        request: result and entry as JSON; registry folders; home, where features are computed into and weights are;
            datasets; trial (of a fine-tune) and fresh (seeds of further draws).

    Returns:
        path and, with fresh draws, fresh: results below the home's ``results``; device.

    Raises:
        ProbebenchError: Something is not here, or is not what the result says.
    """
    cell = _Cell(
        Result.model_validate_json(request["result"]),
        CheckpointSpec.model_validate_json(request["entry"]),
        Registry.load_leniently([Path(folder) for folder in request["registry"]]),
        Path(request["home"]),
        Path(request["datasets"]),
    )
    if cell.result.kind == "finetune":
        paths = [_finetune(cell, request["trial"])]
    elif cell.result.kind == "zeroshot":
        paths = [_zeroshot(cell)]
    else:
        paths = _probe(cell, tuple(request["fresh"]))
    from probebench.device import device_name, resolve_device

    device, _ = resolve_device("auto", "auto", None)
    return {"paths": [str(path) for path in paths], "device": device_name(device)}


def _probe(cell: _Cell, fresh: tuple[int, ...]) -> list[Path]:
    from probebench.evaluation import ProbeTask, evaluate
    from probebench.evaluation.text_start import start_prompts
    from probebench.probes.backends import backend_name

    result, entry = cell.result, cell.entry
    group = _extract(cell)
    protocol = cell.registry.protocol(result.protocol)
    try:
        backend = backend_name(protocol, result.backend or "auto")
    except ProbebenchError:
        backend = backend_name(protocol, "auto")
    task = ProbeTask(
        group=group,
        checkpoint=entry,
        protocol=protocol,
        shots=result.shots,
        draws=len(result.trials),
        backend=backend,
        metric=result.metric,
        prompts=start_prompts(protocol, entry, group.key.layer, cell.registry.datasets.get(result.dataset)),
        shift=_shifted(cell) if result.test_dataset else None,
    )
    tasks = [task, *([dataclasses.replace(task, only=fresh)] if fresh else [])]
    for one in tasks:
        evaluate(one, cell.home / "results")
    return [one.path(cell.home / "results") for one in tasks]


def _shifted(cell: _Cell) -> Any:
    """Computes the features of the other data set whose test part a cell is on."""
    from probebench.evaluation.shifted import Shifted
    from probebench.registry.classes import matched

    own, other = cell.registry.dataset(cell.result.dataset), cell.registry.dataset(cell.result.test_dataset or "")
    labels = matched(own.classes, other.classes, (own.id, other.id))
    return Shifted.of(_extract(cell, other.id), labels, len(own.classes))


def _zeroshot(cell: _Cell) -> Path:
    from probebench.evaluation.zeroshot import Prompts, ZeroshotTask, zeroshot

    named = cell.registry.dataset(cell.result.dataset)
    prompts = Prompts.of(named, named.classes)
    task = ZeroshotTask(_extract(cell), cell.entry, prompts, cell.result.metric, cell.home)
    zeroshot(task, cell.home / "results")
    return task.path(cell.home / "results")


def _finetune(cell: _Cell, trial: int) -> Path:
    from probebench.datasets.open import open_named
    from probebench.finetuning.finetune import finetune
    from probebench.finetuning.plan import Request, tasks_of
    from probebench.progress import Silent
    from probebench.training.options import TrainingOptions

    result = cell.result
    mode, *more = result.mode.split(", ")
    head = next((one.removesuffix(" head") for one in more if one.endswith(" head")), None)
    alpha = next((float(one.removeprefix("alpha ")) for one in more if one.startswith("alpha ")), 1.0)
    named = cell.registry.dataset(result.dataset)
    micro = _recorded(result, "training").get("micro_batch")
    shots: list[Shots] = [result.shots]
    request = Request(
        protocol=cell.registry.finetune_protocol(result.protocol),
        mode=mode,  # type: ignore[arg-type]
        head=(head or "zero") if mode in ("full", "linear") else None,  # type: ignore[arg-type]
        shots=shots,
        draws=len(result.trials),
        alphas=[alpha],
        input_size=result.input_size,
        options=TrainingOptions.resolve(
            dtype=result.dtype or "auto", micro_batch=micro if isinstance(micro, int) else None
        ),
    )
    if request.start == "probe":
        _extract(cell)
    dataset = open_named(named, cell.datasets)
    (task,) = tasks_of(request, cell.entry, [(dataset, named)], cell.home)
    _same_weights(result, task.key.weights_digest)
    task = dataclasses.replace(task, only=trial)
    finetune(task, cell.home / "results", cell.registry.protocol("default"), Silent())
    return task.path(cell.home / "results", alpha)


def _extract(cell: _Cell, name: str | None = None) -> Any:
    """Computes the features that a cell is of, or those of another data set, and returns their group."""
    from probebench.backbones.builders import build_backbone
    from probebench.cache.index import read_index
    from probebench.datasets.open import open_named
    from probebench.extraction import ExtractionOptions, extract

    result, entry = cell.result, cell.entry
    recorded, layer = _recorded(result, "extraction"), result.checkpoint.layer
    # With the layers of one pass, as they were computed.
    together = unpacked(str(recorded.get("layers", layer)))
    backbone = build_backbone(entry, cell.home, result.input_size, together if layer in together else (layer,))
    _same_weights(result, backbone.weights_digest)
    batch = recorded.get("batch_size")
    options = ExtractionOptions.resolve(
        dtype=result.dtype or "auto", batch_size=batch if isinstance(batch, int) else None, compile="off"
    )
    dataset = open_named(cell.registry.dataset(name or result.dataset), cell.datasets)
    extract(backbone, dataset, cell.home, options)
    setting = (entry.id, dataset.id, backbone.input.size, options.dtype, layer)
    return next(group for group in read_index(cell.home).groups if group.setting == setting)


def _same_weights(result: Result, digest: str) -> None:
    if digest != result.weights_digest:
        raise ProbebenchError(
            f"the weights of {result.model} on this machine are {digest[:12]}, not {str(result.weights_digest)[:12]}"
        )


def _recorded(result: Result, what: str) -> dict[str, Any]:
    recorded = result.environment.get(what)
    return recorded if isinstance(recorded, dict) else {}


if __name__ == "__main__":
    # The commit is asked of git, which is a program.
    environment()
    answer_request(Path(sys.argv[1]), rerun)
