"""Submissions that were mutated at random: none that changes a ranking may pass.

A mutation knows the schema (``mutating``): it changes the field that was changed least, of one file or of all alike, to
a value that fits; and it makes the manifest agree, so that this is not what gives it away.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from probebench.datasets.open import open_named
from probebench.leaderboard.check_data import DataHere
from probebench.leaderboard.page import page_data
from probebench.leaderboard.reproduction import Reproduction, read_reproduction
from probebench.leaderboard.verify import verify
from probebench.registry import Registry
from probebench.registry.checkpoint import CheckpointSpec
from probebench.registry.load import read_entry
from probebench.results.schema import Result
from probebench.results.store import read_predictions, read_result
from tests.faults.case import verdict
from tests.faults.mutations import KINDS, Mutations
from tests.leaderboard.hostile import make_newcomer
from tests.leaderboard.reproducing import reproduction_of, write_reproduction
from tests.leaderboard.tampering import MODEL, SHIPPED, Submission, make_submission

RANKED = ("efficientnet_lite1_in1k", "efficientnet_lite2_in1k")
# A checkpoint of the registry, and one that its author's entry alone describes.
NEWCOMER = "my_net"
SEEDS = (20, 21)
Ranks = dict[str, dict[tuple[Any, ...], list[tuple[Any, ...]]]]


class _Board:
    """Two checkpoints that somebody ran again, and the submission of a third, run again too."""

    def __init__(self, place: Path) -> None:
        self.registry = Registry.load(environ={})
        self.place, self.board = place, place / "leaderboard"
        self.reproductions = []
        for model in RANKED:
            folder = Path(shutil.copytree(SHIPPED / model, self.board / "results" / model))
            self.reproductions.append(reproduction_of(folder, self.registry))
            write_reproduction(self.board, self.reproductions[-1])
        known = make_submission(place / "made", self.registry)
        copy = Submission(Path(shutil.copytree(known, place / "copy" / known.name)))
        self.originals = {MODEL: known, NEWCOMER: make_newcomer(copy).folder}
        entries = [read_entry(folder / f"{name}.toml", CheckpointSpec) for name, folder in self.originals.items()]
        known_and_new = replace(
            self.registry, checkpoints={**self.registry.checkpoints, **{one.id: one for one in entries}}
        )
        self.own = {name: reproduction_of(folder, known_and_new) for name, folder in self.originals.items()}
        self.digits = open_named(self.registry.dataset("digits"), place)
        # What is ranked where the submission was run again, and where it was not.
        self.settled = {
            name: [self.ranks(folder, [self.own[name]]), self.ranks(folder, [])]
            for name, folder in self.originals.items()
        }

    def submission(self, name: str) -> Submission:
        shutil.rmtree(self.board / "submissions", ignore_errors=True)
        for old in (self.board / "reproductions").glob("*.json"):
            if old.name not in {one.file for one in self.reproductions}:
                old.unlink()
        write_reproduction(self.board, self.own[name])
        return Submission.copied(self.originals[name], self.board)

    def passes(self, folder: Path, kind: str, here: bool) -> bool:
        """Verifies the submission alone, and where that passes the whole board; with the images here or not."""

        def opened(_: object, name: str) -> object:
            return self.digits if here and name == "digits" else "its images are not here"

        with mock.patch.object(DataHere, "open", opened):
            alone = kind == "reproduction" or verify(folder, self.registry, self.place).ok
            return alone and verify(self.board, self.registry, self.place).ok

    def ranks(self, folder: Path, own: list[Reproduction]) -> Ranks:
        """Returns who is ranked where, in each tier."""
        held = list(_results(self.board / "results", folder))
        files = {id(result): path for path, result in held}
        data = page_data(
            [result for _, result in held],
            lambda one: read_predictions(files[id(one)], one),
            self.registry.checkpoints,
            self.registry.versions,
            self.registry.datasets,
            [*self.reproductions, *own],
        )
        found: Ranks = {"reproduced": {}, "all": {}}
        for view in data["views"]:
            setting = data["settings"][view["setting"]]["name"]
            lines = [(data["entrants"][line[0]]["id"], *line[1:6]) for line in view["rows"] if line[1] is not None]
            if lines:
                found[view["tier"]][setting, view["shots"], view["metric"]] = lines
        return found

    def changes(self, one: Submission, kind: str) -> Iterator[str]:
        """Yields the tiers whose ranking a mutation that passes changes.

        What was run again and is changed since may fall back to what is reported alone; so may what a reproduction no
        longer covers. Nobody but who runs them again can tell forged predictions, which change what is reported alone.
        """
        own = [read_reproduction(path) for path in (self.board / "reproductions").glob(f"{one.folder.name}-*.json")]
        now, settled = self.ranks(one.folder, own), self.settled[one.folder.name]
        for tier in ("reproduced",) if kind == "forged" else ("reproduced", "all"):
            views = {*now[tier], *settled[0][tier]}
            if any(now[tier].get(view) not in [ranks[tier].get(view) for ranks in settled] for view in views):
                yield tier


def _results(results: Path, folder: Path) -> Iterator[tuple[Path, Result]]:
    for path in sorted((*results.glob("*/*/*.json"), *folder.glob("*/*.json"))):
        yield path, read_result(path)


def mutations(place: Path, count: int, seed: int) -> list[str]:
    """Mutates a submission ``count`` times; returns a line for each that passes and changes a ranking."""
    board, faults, passed = _Board(place), list[str](), Counter[str]()
    own = Mutations(seed)
    for name in board.originals:
        one = board.submission(name)
        assert all(board.passes(one.folder, "none", here) for here in (True, False)), f"the honest {name} fails"
        assert not list(board.changes(one, "none"))
    for number in range(count):
        kind, name = KINDS[number % len(KINDS)], (MODEL, NEWCOMER)[number // len(KINDS) % 2]
        one = board.submission(name)
        own.apply(one, kind, board.board / "reproductions" / board.own[name].file)
        if board.passes(one.folder, kind, here=number // len(KINDS) % 4 < 2):
            passed[kind] += 1
            faults += [
                f"mutation {number} ({kind} of {name}) changes what is {tier}" for tier in board.changes(one, kind)
            ]
    told = ", ".join(f"{times} {kind}" for kind, times in sorted(passed.items())) or "none"
    print(f"submissions: {count} mutations of seed {seed}, of which pass: {told}; {verdict(faults)}")
    for name, mutator in own.of.items():
        print(f"  {name}: {len(mutator.fields) - len(mutator.untouched)} of {len(mutator.fields)} fields changed")
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
    from tests.leaderboard.test_hostile_submissions import ALL

    known = make_submission(place / "made", Registry.load(environ={}))
    copy = Submission(Path(shutil.copytree(known, place / "copy" / known.name)))
    originals = {"known": known, "new": make_newcomer(copy).folder}
    for number, (name, (tamper, _)) in enumerate(ALL.items()):
        tamper(Submission.copied(originals[name.split(":")[0]], place / "hostile" / f"{number:03d}"))
    ran = subprocess.run([sys.executable, "-c", _VERIFY, place / "hostile"], capture_output=True, text=True, check=True)
    passed, peak, wall, took = json.loads(ran.stdout)
    names = list(ALL)
    faults = [f"a tampered submission passes: {names[int(number)]}" for number in passed]
    faults += [f"verify takes {peak:.0f} MB"] if peak > memory else []
    faults += [f"verify takes {took:.0f} s"] if took > seconds else []
    times = f"{took:.0f} s of computing ({wall:.0f} in all)"
    print(f"submissions: {len(names)} tampered ones verified in {times} and {peak:.0f} MB, {verdict(faults)}")
    return faults


def run(place: Path, short: bool = False) -> list[str]:
    """Runs all mutations, or a few, and returns one line for each fault."""
    faults = hostile(place / "tampered")
    for seed in SEEDS[:1] if short else SEEDS:
        faults += mutations(place / str(seed), 28 if short else 1000, seed)
    return faults
