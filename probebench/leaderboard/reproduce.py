"""Runs cells of a leaderboard again, from the weights, each in a process of its own, and compares."""

import datetime
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probebench.errors import ProbebenchError, UsageError
from probebench.files import write_whole
from probebench.leaderboard.check_across import ResultFile
from probebench.leaderboard.confined import OPEN_NETWORK, run_confined
from probebench.leaderboard.findings import plain
from probebench.leaderboard.reproduction import (
    FreshDraw,
    Reproduction,
    RerunCell,
    fresh_seeds,
    is_public,
    moved_too_far,
    order_of,
    place_of,
)
from probebench.leaderboard.rules import REPRODUCTIONS, from_scratch, protocol_of
from probebench.leaderboard.verify import Verified
from probebench.registry.load import Registry
from probebench.registry.probes import OF_KIND
from probebench.registry.recipe_uri import SCHEME, RecipeUri
from probebench.registry.schema import CheckpointSpec
from probebench.results.environment import environment
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.store import read_predictions, read_result

_MODULE = "probebench.leaderboard.rerun"
_UNKEPT = "native code not kept from the network"


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """One cell that was run again.

    Attributes:
        entered: The cell.
        cell: What came of it; None where it could not be run here.
        device: On what.
        fault: What is wrong; None where nothing is.
        why_not: Why it could not be run here.
    """

    entered: ResultFile
    cell: RerunCell | None = None
    device: str = ""
    fault: str | None = None
    why_not: str | None = None


def reproduce(
    verified: Verified,
    count: int,
    seed: str,
    home: Path,
    note: Callable[[str], None] = lambda line: None,
    models: Sequence[str] = (),
) -> Iterator[Rerun]:
    """Runs ``count`` cells again, chosen by a text from those whose predictions could be read; at most all of them.

    Weights that a recipe makes are made again where they are not here.

    Features are computed into a temporary folder, never taken from the cache; weights and data sets are the home's.
    Of few-shot probes two draws beyond the published ones are run too; of fine-tunes one trial is trained again.

    Args:
        verified: What was verified.
        count: How many.
        seed: Chooses cells, draws and trials: the same on every machine, and known to nobody before it is said.
        home: The home folder.
        note: Called with a line before each.
        models: Checkpoints, of each of which so many cells are run; none: so many of all.
    """
    cells = sorted((one for one in verified.entered if one.sketch is not None), key=lambda one: _order(seed, one))
    chosen = [one for name in models for one in [each for each in cells if each.result.model == name][:count]]
    # One folder for all: cells of one extraction share it.
    with tempfile.TemporaryDirectory(prefix="probebench-") as name:
        folder = Path(name)
        (folder / "home").mkdir()
        (home / "weights").mkdir(parents=True, exist_ok=True)
        (folder / "home" / "weights").symlink_to(home / "weights")
        for one in chosen if models else cells[:count]:
            note(plain(f"running {'/'.join(one.path.parts[-3:])} again"))
            if why := _why_not(one.result, verified):
                yield Rerun(entered=one, why_not=plain(why))
                continue
            try:
                rerun = _compare(one, seed, *_run(one, seed, verified, home, folder))
            except (ProbebenchError, OSError) as error:
                rerun = Rerun(entered=one, why_not=plain(str(error)))
            if _UNKEPT in rerun.device:
                note(f"note: this system gives the process no network of its own: {rerun.device}")
            yield rerun


def _order(seed: str, one: ResultFile) -> tuple[str, Path]:
    return order_of(seed, one.result.model, place_of(one.path), _predictions(one.result)), one.path


def _predictions(result: Result) -> str:
    return (result.predictions or {}).get("sha256", "")


def _why_not(result: Result, verified: Verified) -> str | None:
    """Says what is not here, before anything is computed."""
    registry = verified.here.registry
    protocol = protocol_of(registry, result.protocol)
    if result.kind not in (*OF_KIND, "zeroshot", "finetune") or protocol is None:
        return "its protocol is not in the registry"
    if protocol.version != result.protocol_version:
        return f"version {result.protocol_version} of protocol {protocol.id} is no longer run"
    names = [result.dataset, *([result.test_dataset] if result.test_dataset else [])]
    if any(name not in registry.datasets for name in names):
        return "its data set is not in the registry"
    entry = verified.entries.get(result.model)
    if entry is None:
        return f"model {result.model} has no entry"
    if entry.weights.scheme == "file" and result.model not in registry.checkpoints:
        return "its entry names a file of its author's machine"
    if (
        entry.weights.scheme in ("hf", "https")
        and not is_public(entry.weights)
        and result.model not in registry.checkpoints
    ):
        return f"its entry names no public file with a sha256 ({entry.weights.uri})"
    return next((why for name in names if isinstance(why := verified.here.open(name), str)), None)


def _run(
    one: ResultFile, seed: str, verified: Verified, home: Path, folder: Path
) -> tuple[list[tuple[Result, Predictions]], str]:
    """Runs one cell in a process of its own; returns what it made, fresh draws last, and on what device."""
    from probebench.backbones.locate import locate
    from probebench.backbones.user_weights import UserWeights, require_weights

    result, entry = one.result, verified.entries[one.result.model]
    if entry.weights.scheme == SCHEME and UserWeights.find(home, entry.id) is None:
        _make(entry, verified.here.registry, home)
    require_weights(entry, home)
    if entry.weights.scheme in ("hf", "https") and UserWeights.find(home, entry.id) is None:
        # The process that runs the cell has no network.
        locate(entry, home)
    request = {
        "result": result.model_dump_json(),
        "entry": entry.model_dump_json(),
        "registry": [str(one) for one in verified.here.registry.folders],
        "home": str(folder / "home"),
        "datasets": str(verified.here.root),
        "trial": _trial(one, seed),
        "fresh": fresh_seeds(seed, result.model, place_of(one.path)) if _has_fresh(result) else (),
    }
    answer = run_confined(_MODULE, request, folder)
    found = [read_result(Path(path)) for path in answer["paths"]]
    made = [(again, read_predictions(Path(path), again)) for path, again in zip(answer["paths"], found, strict=True)]
    kept = f", {_UNKEPT} ({answer[OPEN_NETWORK]})" if OPEN_NETWORK in answer else ""
    return made, f"{answer['device']}{kept}"


def _make(entry: CheckpointSpec, registry: Registry, home: Path) -> None:
    """Makes the weights of an entry by its recipe."""
    from probebench.pretraining.pretrain import pretrain
    from probebench.pretraining.task import make_task
    from probebench.progress import Silent
    from probebench.training.options import TrainingOptions

    asked = RecipeUri.parse(entry.weights.uri)
    recipe = registry.recipe(asked.recipe)
    task = make_task(
        registry,
        recipe,
        asked.sources,
        **asked.options,
        home=home,
        options=TrainingOptions.resolve("auto", "auto", None, 0 if recipe.store is not None else None),
    )
    pretrain(task, entry, home / "registry", Silent())


def _has_fresh(result: Result) -> bool:
    return result.kind in OF_KIND and result.shots not in (0, "full")


def _trial(one: ResultFile, seed: str) -> int | None:
    if one.result.kind != "finetune":
        return None
    return int(_order(seed, one)[0][:8], 16) % len(one.result.trials)


def _setting(result: Result) -> dict[str, object]:
    """Returns what must be equal for predictions to be: machine, versions, and how features were computed."""
    versions, extraction = (result.environment.get(name) for name in ("versions", "extraction"))
    return {
        "platform": result.environment.get("platform"),
        "backend": result.backend,
        **(versions if isinstance(versions, dict) else {}),
        **{f"extraction's {name}": value for name, value in _items(extraction).items()},
    }


def _items(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _differences(before: dict[str, object], now: dict[str, object]) -> list[str]:
    return [
        plain(f"{name} {now.get(name)}, not {before.get(name)}")[:200]
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _compare(one: ResultFile, seed: str, made: Sequence[tuple[Result, Predictions]], device: str) -> Rerun:
    before, trial = read_predictions(one.path, one.result), _trial(one, seed)
    (again, predictions), *more = made
    told = before.y_pred if trial is None else before.y_pred[[trial]]
    if before.test_ids != predictions.test_ids or told.shape != predictions.y_pred.shape:
        return Rerun(entered=one, fault="run again, it has other test images or draws")
    recorded = one.result.mean if trial is None else one.result.trials[trial].test_score
    cell = RerunCell(
        predictions=_predictions(one.result),
        trial=trial,
        recorded=recorded or 0.0,
        found=again.mean or 0.0,
        moved=int(np.count_nonzero(told != predictions.y_pred)),
        differs=_differences(_setting(one.result), _setting(again)),
        fresh=[
            FreshDraw(seed=draw.draw_seed or 0, digest=draw.draw_digest, score=draw.test_score or 0.0)
            for fresh, _ in more
            for draw in fresh.trials
        ],
    )
    return Rerun(entered=one, cell=cell, device=device, fault=moved_too_far(one.result, cell))


@dataclass(frozen=True)
class Author:
    """Who runs cells again, with which probebench, where."""

    name: str
    commit: str
    platform: str
    versions: dict[str, str]


def clean_clone() -> Author:
    """Returns who runs cells again, from what commit.

    Raises:
        UsageError: What runs is not what a commit holds, or git does not know who runs it.
    """
    here = environment()
    if here["dirty"] or here["commit"] == "unknown":
        raise UsageError("--write takes a clean clone of probebench: what runs must be what a commit holds")
    try:
        done = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError("--write says who ran it: git config user.name 'YOUR NAME'") from error
    return Author(done.stdout.strip(), here["commit"], here["platform"], here["versions"])


def write_reproductions(
    verified: Verified, reruns: Sequence[Rerun], seed: str, author: Author, board: Path
) -> Iterator[tuple[Path | None, str]]:
    """Writes a file for each checkpoint of which cells were run again without a fault, and yields it, or why not."""
    ran: dict[str, list[Rerun]] = defaultdict(list)
    for rerun in reruns:
        if rerun.cell is not None or rerun.fault:
            ran[rerun.entered.result.model].append(rerun)
    for model, cells in sorted(ran.items()):
        entry = verified.entries[model]
        if any(one.fault for one in cells):
            yield None, f"{model}: a cell that was run again is not what it was, so nothing is written"
        elif not is_public(entry.weights):
            yield None, f"{model}: its weights are not public ({entry.weights.uri}), so nothing is written"
        else:
            not_here = {place_of(one.entered.path) for one in reruns if one.why_not}
            covers = {
                place_of(one.path): _predictions(one.result)
                for one in verified.entered
                if one.result.model == model and one.sketch and place_of(one.path) not in not_here
                if _why_not(one.result, verified) is None
            }
            own = [one.entered.result.weights_digest for one in cells if not from_scratch(one.entered.result)]
            found = Reproduction(
                model=model,
                weights_digest=own[0] if own else None,
                weights=entry.weights,
                by=author.name,
                when=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                commit=author.commit,
                device=f"{cells[0].device}, {author.platform}",
                versions=author.versions,
                seed=seed,
                cells={place_of(one.entered.path): one.cell for one in cells if one.cell is not None},
                covers=covers,
            )
            path = board / REPRODUCTIONS / found.file
            write_whole(path, found.model_dump_json(indent=1) + "\n")
            yield path, f"{len(found.cells)} cells, {len(covers)} covered"
