"""Submissions that were mutated at random: none that changes a ranking may pass.

A mutation knows the schema: it takes any value of any file, and puts one of the same kind, of another field, or of
another kind in its place; and it seals the manifest, so that this is not what gives it away.
"""

import json
import random
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from probebench.leaderboard.page import page_data
from probebench.leaderboard.reproduction import Reproduction
from probebench.leaderboard.verify import verify
from probebench.registry import Registry
from probebench.results.schema import Result
from probebench.results.store import read_predictions, read_result
from tests.faults.case import verdict
from tests.leaderboard.reproducing import reproduction_of, write_reproduction
from tests.leaderboard.tampering import MODEL, SHIPPED, Submission, make_submission

RANKED = ("efficientnet_lite1_in1k", "efficientnet_lite2_in1k")
SHOTS = (1, 5, 10, "full")
TEXTS = ("", "default", "logistic", "probe", "cosine", "knn", "torch", "sklearn", "fp32", "bf16", "digits", "default ")
# Kinds of mutation, of which the last forges predictions with all that follows from them.
KINDS = ("result", "result", "result", "manifest", "entry", "files", "forged")
Ranks = dict[tuple[Any, ...], list[tuple[Any, ...]]]


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every value, of lists and objects too."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _leaves(inner, (*path, key))


def _changed(value: Any, others: list[Any], chance: random.Random) -> Any:
    """Returns another value: of the same kind, or of some other field."""
    if chance.random() < 0.2:
        return chance.choice([None, *others])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return chance.choice([value + 1, value - 1, 0, -value, value * 10, 10**18, float(value)])
    if isinstance(value, float):
        return chance.choice([value * 1.01, value + 1e-4, min(value + 0.05, 1.0), 1.0, 0.0, -value, value * 1e9])
    if isinstance(value, str):
        near = value.replace("o", "о") if chance.random() < 0.3 else value.swapcase()
        return chance.choice([*TEXTS, near, f"{value} ", value[:-1], value[::-1]])
    if isinstance(value, list):
        return chance.choice([value[:-1], value + value[-1:], value[::-1], []])
    return {} if isinstance(value, dict) else chance.choice([0, 1, 0.5, "x", True])


def _mutate(values: Any, chance: random.Random) -> None:
    """Changes, removes or adds one value somewhere in an object."""
    paths = list(_leaves(values))
    path = chance.choice(paths)
    *above, last = path
    holder = values
    for key in above:
        holder = holder[key]
    everything = [_at(values, one) for one in chance.sample(paths, min(5, len(paths)))]
    if chance.random() < 0.1:
        del holder[last]
    elif chance.random() < 0.05 and isinstance(holder, dict):
        holder[chance.choice(TEXTS)] = chance.choice(everything)
    else:
        holder[last] = _changed(holder[last], everything, chance)


def _at(values: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def _apply(one: Submission, kind: str, chance: random.Random) -> None:
    shots = chance.choice(SHOTS)
    if kind == "result":
        values = one.values(shots)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            _mutate(values, chance)
        one.write(values, shots)
    elif kind == "manifest":
        path = one.folder / "manifest.json"
        values = json.loads(path.read_text())
        _mutate(values, chance)
        path.write_text(json.dumps(values))
    elif kind == "entry":
        path = one.folder / f"{MODEL}.toml"
        values = tomllib.loads(path.read_text())
        _mutate(values, chance)
        path.write_text(tomli_w.dumps(values))
        one.seal()
    elif kind == "files":
        names = sorted(path for path in one.folder.rglob("*") if path.is_file())
        first, second = chance.sample(names, 2)
        chance.choice((lambda: first.unlink(), lambda: shutil.copy(first, second)))()
        one.seal()
    else:
        arrays = one.arrays(shots)
        part = chance.choice(("y_pred", "y_pred", "y_pred", "y_true", "test_ids"))
        if part == "y_pred":
            better = np.random.default_rng(chance.randrange(10**6)).random(arrays["y_pred"].shape) < 0.1
            arrays["y_pred"] = np.where(better, arrays["y_true"], arrays["y_pred"])
        else:
            arrays[part] = np.roll(arrays[part], chance.randrange(1, 50), axis=-1)
        one.save(arrays, shots)


class _Board:
    """Two checkpoints that somebody ran again, and the submission of a third."""

    def __init__(self, place: Path) -> None:
        self.registry = Registry.load(environ={})
        self.place, self.board = place, place / "leaderboard"
        self.reproductions: list[Reproduction] = []
        for model in RANKED:
            folder = Path(shutil.copytree(SHIPPED / model, self.board / "results" / model))
            self.reproductions.append(reproduction_of(folder, self.registry))
            write_reproduction(self.board, self.reproductions[-1])
        self.original = make_submission(place / "made", self.registry)
        self.settled = self.ranks(place / "made" / MODEL)

    def submission(self) -> Submission:
        shutil.rmtree(self.board / "submissions", ignore_errors=True)
        return Submission.copied(self.original, self.board)

    def ranks(self, folder: Path) -> dict[str, Ranks]:
        """Returns who is ranked where, in each tier."""
        held = list(_results(self.board / "results", folder))
        files = {id(result): path for path, result in held}
        data = page_data(
            [result for _, result in held],
            lambda one: read_predictions(files[id(one)], one),
            self.registry.checkpoints,
            self.registry.versions,
            self.registry.datasets,
            self.reproductions,
        )
        found: dict[str, Ranks] = {}
        for view in data["views"]:
            setting = data["settings"][view["setting"]]["name"]
            lines = [(data["entrants"][line[0]]["id"], *line[1:6]) for line in view["rows"] if line[1] is not None]
            found.setdefault(view["tier"], {})[setting, view["shots"], view["metric"]] = lines
        return {tier: {name: lines for name, lines in views.items() if lines} for tier, views in found.items()}


def _results(results: Path, folder: Path) -> Iterator[tuple[Path, Result]]:
    for path in sorted((*results.glob("*/*/*.json"), *folder.glob("*/*.json"))):
        yield path, read_result(path)


def mutations(place: Path, count: int) -> list[str]:
    """Mutates a submission ``count`` times; returns a line for each that passes and changes a ranking."""
    board, chance, faults, passed = _Board(place), random.Random(0), list[str](), Counter[str]()
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        one = board.submission()
        _apply(one, kind, chance)
        if not verify(board.board, board.registry, place / "datasets").ok:
            continue
        passed[kind] += 1
        now = board.ranks(one.folder)
        # Nobody but who runs them again can tell forged predictions; they change what is reported alone.
        tiers = ("reproduced",) if kind == "forged" else ("reproduced", "all")
        faults += [f"mutation {number} ({kind}) changes what is {t}" for t in tiers if now[t] != board.settled[t]]
    told = ", ".join(f"{times} {kind}" for kind, times in sorted(passed.items())) or "none"
    print(f"submissions: {count} mutations, of which pass without a change of rank: {told}; {verdict(faults)}")
    return faults


_VERIFY = """
import json, resource, sys, time
from pathlib import Path
from probebench.leaderboard.verify import verify
from probebench.registry import Registry
registry, place, began = Registry.load(environ={}), Path(sys.argv[1]), time.perf_counter()
passed = [one.name for one in sorted(place.iterdir()) if verify(one / "submissions", registry, place / "none").ok]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([passed, peak / 1e6, time.perf_counter() - began, time.process_time()]))
"""


def hostile(place: Path, memory: float = 500.0, seconds: float = 60.0) -> list[str]:
    """Verifies every tampered submission of the tests in one process of its own; none passes, in these limits.

    Args:
        place: A folder.
        memory: Of the process at its largest, in MB.
        seconds: Of computing, for all of them: other processes of this machine do not count.
    """
    from tests.leaderboard.test_verify import TAMPERED

    original = make_submission(place / "made", Registry.load(environ={}))
    for number, (tamper, _) in enumerate(TAMPERED.values()):
        tamper(Submission.copied(original, place / "hostile" / f"{number:03d}"))
    ran = subprocess.run([sys.executable, "-c", _VERIFY, place / "hostile"], capture_output=True, text=True, check=True)
    passed, peak, wall, took = json.loads(ran.stdout)
    names = list(TAMPERED)
    faults = [f"a tampered submission passes: {names[int(number)]}" for number in passed]
    faults += [f"verify takes {peak:.0f} MB"] if peak > memory else []
    faults += [f"verify takes {took:.0f} s"] if took > seconds else []
    times = f"{took:.0f} s of computing ({wall:.0f} in all)"
    print(f"submissions: {len(names)} tampered ones verified in {times} and {peak:.0f} MB, {verdict(faults)}")
    return faults


def run(place: Path, short: bool = False) -> list[str]:
    """Runs all mutations, or a few, and returns one line for each fault."""
    return hostile(place / "tampered") + mutations(place, 35 if short else 2000)
