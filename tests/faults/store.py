"""The feature store under kills, full disks and losses of power; damaged files are in ``damage.py``."""

import errno
import functools
import itertools
import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from probebench.cache import layout
from probebench.cache.store import committed_rows, partial_path
from tests.faults.case import Case, ended, forked, verdict
from tests.faults.damage import mutations

# Every call by which a file changes or gets its name; what HDF5 writes while it lays a file out counts as well.
CALLS = ("pwrite", "ftruncate", "fsync", "replace", "unlink")
SECTOR = 512


def _stage(case: Case, path: Path) -> str:
    """Says how far a file is."""
    if path.exists():
        return "named"
    if not partial_path(path).exists():
        return "laying out"
    return "filling" if committed_rows(path) < len(case.rows) else "finishing"


def random_kills(place: Path, count: int) -> list[str]:
    """Kills a writer at random instants of its life."""
    faults: list[str] = []
    for skipping in (False, True):
        case = Case(place / f"random-{skipping}", 1600, 4, skipping)
        chance, stages, found = random.Random(0), Counter[str](), []
        seconds = statistics.median(_lifetime(case, number) for number in range(5))
        for number in range(count // 2):
            path = case.path(str(number))
            case.told[:] = bytes(8)
            child = forked(functools.partial(case.fill, path))
            time.sleep(chance.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
            stages["ended before" if ended(child) == 0 else _stage(case, path)] += 1
            lost = case.lost(path)
            wrong = f"{lost} rows lost" if lost else case.go_on([path])[0]
            found += [f"{case.name}, random kill {number}: {wrong}"] if wrong else []
        where = ", ".join(f"{times} {stage}" for stage, times in sorted(stages.items()))
        print(f"store, {case.name}: {count // 2} kills at random instants ({where}), {verdict(found)}")
        faults += found
    return faults


def _lifetime(case: Case, number: int) -> float:
    path, began = case.path(f"timed-{number}"), time.perf_counter()
    ended(forked(functools.partial(case.fill, path)))
    return time.perf_counter() - began


def _kill(torn: Callable[[], object]) -> None:
    torn()
    os.kill(os.getpid(), signal.SIGKILL)


def _full(torn: Callable[[], object]) -> None:
    torn()
    raise OSError(errno.ENOSPC, "No space left on device")


def _disturbed(case: Case, path: Path, stop: int, how: Callable[[Callable[[], object]], None], torn: bool) -> list[str]:
    """Fills a file until the call of a number, which ``how`` disturbs; returns the names of all calls.

    Files are not synced here: a kill takes nothing from the system, and the disk is slow.
    """
    calls: list[str] = []

    def watched(name: str, true_call: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            if len(calls) == stop:
                how(lambda: torn and true_call(arguments[0], arguments[1][: len(arguments[1]) // 8], arguments[2]))
            return None if name == "fsync" else true_call(*arguments)

        return call

    for name in CALLS:
        setattr(os, name, watched(name, getattr(os, name)))
    if how is _kill:
        memory: Any = layout._Memory
        memory.write = watched("HDF5", memory.write)
    case.fill(path)
    return calls


def _calls(case: Case, path: Path, how: Callable[[Callable[[], object]], None]) -> list[str]:
    """Names the calls of a whole run, in a child, as the watching cannot be undone."""
    names = case.place / "calls"
    assert not ended(forked(lambda: names.write_text(" ".join(_disturbed(case, path, 0, how, False)))))
    return names.read_text().split()


def every_call(place: Path, rows: int, how: Callable[[Callable[[], object]], None]) -> list[str]:
    """Kills a writer, or gives it a full disk, at every single call that writes: before it, and when part is done."""
    faults: list[str] = []
    what, wanted = ("killed", -signal.SIGKILL) if how is _kill else ("a full disk", errno.ENOSPC)
    for skipping in (False, True):
        case = Case(place / f"{wanted}-{skipping}", rows, 4, skipping)
        calls, ends = _calls(case, case.path("counted"), how), dict[Path, str]()
        for stop, torn in itertools.product(range(1, len(calls) + 1), (False, True)):
            if torn and calls[stop - 1] != "pwrite":
                continue
            path = case.path(f"call {stop}{' half done' if torn else ''}")
            case.told[:] = bytes(8)
            code = ended(forked(functools.partial(_disturbed, case, path, stop, how, torn)))
            lost = case.lost(path)
            ends[path] = f"ended with {code}" if code != wanted else f"{lost} rows lost" if lost else ""
        found = [
            f"{case.name}, {what} at {path.relative_to(case.place).parts[0]}: {before or after}"
            for (path, before), after in zip(ends.items(), case.go_on(list(ends)), strict=True)
            if before or after
        ]
        print(f"store, {case.name}: {what} at each of {len(calls)} calls, {len(ends)} times in all, {verdict(found)}")
        faults += found
    return faults


def power_losses(place: Path, count: int) -> list[str]:
    """Resumes files of which each sector is as it was after some commit, as a loss of power may leave them."""
    faults: list[str] = []
    case = Case(place / "power", 40, 4, True)
    path, chance, rolled_back = case.path("states"), random.Random(0), 0
    states = _states(case, path)
    for number in range(count):
        path = case.path(str(number))
        last = chance.randrange(2, len(states))
        mixed = b"".join(
            states[chance.randrange(last)][start : start + SECTOR] for start in range(0, len(states[0]), SECTOR)
        )
        partial_path(path).write_bytes(mixed)
        claimed = committed_rows(path)
        with case.opened(path) as writer:
            rolled_back += writer.rolled_back > 0
            if writer.committed + writer.rolled_back != claimed:
                faults.append(f"loss of power {number}: counts differ")
        if wrong := case.go_on([path])[0]:
            faults.append(f"loss of power {number}: {wrong}")
    print(f"store: {count} losses of power ({rolled_back} went back some rows), {verdict(faults)}")
    return faults


def _states(case: Case, path: Path) -> list[bytes]:
    """Returns the bytes of an interrupted file after it was laid out and after each commit."""
    states: list[bytes] = []
    with case.opened(path) as writer:
        states.append(partial_path(path).read_bytes())
        while writer.committed < len(case.rows):
            case.append(writer)
            states.append(partial_path(path).read_bytes())
    return states


def run(place: Path, short: bool = False) -> list[str]:
    """Runs all parts, or a short form of them, and returns one line for each fault."""
    faults = random_kills(place, 20 if short else 200)
    for how in (_kill, _full):
        faults += every_call(place, 8 if short else 40, how)
    faults += power_losses(place, 30 if short else 300)
    return faults + mutations(place, 60 if short else 300)
