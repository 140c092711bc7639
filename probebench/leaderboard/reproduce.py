"""Runs cells of a leaderboard again, from the weights, and compares.

What computes is imported where it is used: verifying without a re-run loads no torch.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probebench.errors import ProbebenchError
from probebench.leaderboard.check_across import ResultFile
from probebench.leaderboard.findings import plain
from probebench.leaderboard.verify import Verified
from probebench.registry.layers import unpacked
from probebench.registry.probes import OF_KIND
from probebench.results.schema import Result
from probebench.results.store import Predictions

# How far a mean may move when device, batch size or versions differ: fp32 features then agree to a relative 1e-5, so a
# prediction moves only where two classes all but tie, and a strength only where two validation losses do. 0.2 points of
# accuracy are ten times what was seen on digits, and a tenth of a small data set's interval. Of few test images, two
# may move. In half precision features agree to 1e-3, and the allowance is 1 point.
POINTS = {"fp32": 0.002, "bf16": 0.01, "fp16": 0.01}
IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """One cell that was run again.

    Attributes:
        entered: The cell.
        mean: Its mean now; None where it could not be run here.
        differs: What differs from the recorded setting; with nothing, predictions had to be equal.
        moved: Predictions that are other ones now.
        fault: What is wrong; None where nothing is.
        why_not: Why it could not be run here.
    """

    entered: ResultFile
    mean: float | None = None
    differs: tuple[str, ...] = ()
    moved: int = 0
    fault: str | None = None
    why_not: str | None = None


def reproduce(
    verified: Verified, count: int, seed: int, home: Path, note: Callable[[str], None] = lambda line: None
) -> Iterator[Rerun]:
    """Runs ``count`` cells again, drawn at random from those whose predictions could be read; at most all of them.

    Features are computed into a temporary folder, never taken from the cache; weights and data sets are the home's.

    Args:
        verified: What was verified.
        count: How many.
        seed: Names the choice: the same seed and files choose the same cells on every machine.
        home: The home folder.
        note: Called with a line before each.
    """
    cells = sorted((one for one in verified.entered if one.predictions is not None), key=lambda one: one.path)
    # One folder for all: cells of one extraction share it.
    with tempfile.TemporaryDirectory(prefix="probebench-") as folder:
        for one in random.Random(seed).sample(cells, min(count, len(cells))):
            note(plain(f"running {'/'.join(one.path.parts[-3:])} again"))
            if why := _why_not(one.result, verified):
                yield Rerun(entered=one, why_not=plain(why))
                continue
            try:
                yield _compare(one, *_run(one.result, verified, home, Path(folder)))
            except (ProbebenchError, OSError) as error:
                yield Rerun(entered=one, why_not=plain(str(error)))


def _why_not(result: Result, verified: Verified) -> str | None:
    """Says what is not here, before anything is computed."""
    if result.kind not in OF_KIND:
        return f"kind {result.kind} is not run again"
    if result.protocol not in verified.here.registry.protocols or result.dataset not in verified.here.registry.datasets:
        return "its protocol or data set is not in the registry"
    entry = verified.entries.get(result.model)
    if entry is None:
        return f"model {result.model} has no entry"
    if entry.weights.scheme == "file" and result.model not in verified.here.registry.checkpoints:
        return "its entry names a file of its author's machine"
    dataset = verified.here.open(result.dataset)
    return dataset if isinstance(dataset, str) else None


def _run(result: Result, verified: Verified, home: Path, folder: Path) -> tuple[Result, Predictions]:
    """Extracts and evaluates one cell, in the recorded setting as far as this machine has it."""
    from probebench.backbones.builders import build_backbone
    from probebench.backbones.user_weights import require_weights
    from probebench.cache.index import read_index
    from probebench.evaluation import ProbeTask, evaluate
    from probebench.evaluation.text_start import start_prompts
    from probebench.extraction import ExtractionOptions, extract
    from probebench.probes.backends import backend_name
    from probebench.results.store import read_predictions

    entry = verified.entries[result.model]
    require_weights(entry, home)
    recorded, layer = _extraction(result), result.checkpoint.layer
    # With the layers of one pass, as they were computed.
    together = unpacked(str(recorded.get("layers", layer)))
    backbone = build_backbone(entry, home, result.input_size, together if layer in together else (layer,))
    if backbone.weights_digest != result.weights_digest:
        raise ProbebenchError(
            f"the weights of {result.model} on this machine are {backbone.weights_digest[:12]}, "
            f"not {str(result.weights_digest)[:12]}"
        )
    batch = recorded.get("batch_size")
    options = ExtractionOptions.resolve(
        dtype=result.dtype or "auto", batch_size=batch if isinstance(batch, int) else None, compile="off"
    )
    dataset = verified.here.open(result.dataset)
    assert not isinstance(dataset, str)
    extract(backbone, dataset, folder, options)
    setting = (entry.id, dataset.id, backbone.input.size, options.dtype, layer)
    group = next(group for group in read_index(folder).groups if group.setting == setting)
    protocol = verified.here.registry.protocols[result.protocol]
    try:
        backend = backend_name(protocol, result.backend or "auto")
    except ProbebenchError:
        backend = backend_name(protocol, "auto")
    cell = ProbeTask(
        group=group,
        checkpoint=entry,
        protocol=protocol,
        shots=result.shots,
        draws=len(result.trials),
        backend=backend,
        metric=result.metric,
        prompts=start_prompts(protocol, entry, group.key.layer, verified.here.registry.datasets.get(result.dataset)),
    )
    again, _ = evaluate(cell, folder / "results")
    return again, read_predictions(cell.path(folder / "results"), again)


def _extraction(result: Result) -> dict[str, Any]:
    recorded = result.environment.get("extraction")
    return recorded if isinstance(recorded, dict) else {}


def _setting(result: Result) -> dict[str, object]:
    """Returns what must be equal for predictions to be: machine, versions, and how features were computed."""
    versions = result.environment.get("versions")
    return {
        "platform": result.environment.get("platform"),
        "backend": result.backend,
        **(versions if isinstance(versions, dict) else {}),
        **{f"extraction's {name}": value for name, value in _extraction(result).items()},
    }


def _differences(before: dict[str, object], now: dict[str, object]) -> tuple[str, ...]:
    return tuple(
        plain(f"{name} {now.get(name)}, not {before.get(name)}")
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )


def _compare(one: ResultFile, again: Result, predictions: Predictions) -> Rerun:
    before = one.predictions
    assert before is not None
    differs = _differences(_setting(one.result), _setting(again))
    if before.test_ids != predictions.test_ids or before.y_pred.shape != predictions.y_pred.shape:
        return Rerun(
            entered=one, mean=again.mean, differs=differs, fault="run again, it has other test images or draws"
        )
    moved = int(np.count_nonzero(before.y_pred != predictions.y_pred))
    told, found = one.result.mean or 0.0, again.mean or 0.0
    allowed = max(POINTS.get(one.result.dtype or "", 0.002), IMAGES / len(before.test_ids))
    fault = None
    if abs(told - found) > allowed:
        fault = f"mean is {told:.4f}, and run again {found:.4f}: further apart than {allowed:.4f}"
    elif moved and not differs:
        fault = f"{moved} predictions are other ones when run again in the same setting"
    return Rerun(entered=one, mean=again.mean, differs=differs, moved=moved, fault=fault)
