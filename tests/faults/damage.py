"""Complete files that were damaged: each is found, and none is served."""

import contextlib
import random
from pathlib import Path

from probebench.cache.index import read_index
from probebench.cache.store import FeatureFile
from probebench.cache.verify import verify
from probebench.errors import CacheError
from tests.faults.case import Case, verdict


def _flipped(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _truncated(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def _zeroed(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    stop = min(start + chance.randrange(1, 5000), len(content))
    content[start:stop] = bytes(stop - start)


def _swapped(content: bytearray, chance: random.Random) -> None:
    size = chance.choice((36, 72, 512, 1024, 4096))
    one, other = (chance.randrange((len(content) - size) // size) * size for _ in range(2))
    content[one : one + size], content[other : other + size] = (
        content[other : other + size],
        content[one : one + size],
    )


def _appended(content: bytearray, chance: random.Random) -> None:
    content += chance.randbytes(chance.randrange(1, 5000))


MUTATIONS = (_flipped, _truncated, _zeroed, _swapped, _appended)


def mutations(place: Path, count: int) -> list[str]:
    """Damages complete files in many ways: ``verify`` finds each, and none is served."""
    faults: list[str] = []
    cases = [Case(place / f"mutated-{skipping}", 400, 400, skipping) for skipping in (False, True)]
    chance = random.Random(0)
    for number in range(count):
        case, mutate = cases[number % 2], MUTATIONS[number % len(MUTATIONS)]
        content = bytearray(case.whole)
        while content == case.whole:
            mutate(content, chance)
        home = case.place / "mutated"
        path = case.path("mutated")
        path.write_bytes(content)
        faults += [f"mutation {number} ({mutate.__name__}): {wrong}" for wrong in _served(path, home)]
    print(f"store: {count} damaged copies, {verdict(faults)}")
    return faults


def _served(path: Path, home: Path) -> list[str]:
    """Says where a damaged file passes for a whole one."""
    found = [] if verify(path) else ["verify did not find it"]
    with contextlib.suppress(CacheError):
        with FeatureFile(path) as file:
            file.read()
        found.append("it was read")
    index = read_index(home)
    for named in (named for group in index.groups for named in group.paths.values()):
        with contextlib.suppress(CacheError):
            with FeatureFile(named) as file:
                file.read()
            found.append("the index served it")
    return found
