"""Whole extractions that are killed, that meet, and that lose a Ray worker.

The parent imports torch once and forks light children from there, with one thread, so that a kill costs no new start.
"""

import functools
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from probebench.backbones.builders import build_backbone
from probebench.cache.store import stored_files
from probebench.datasets.base import ArrayImages, Dataset, Split
from probebench.datasets.open import open_dataset
from probebench.engine import Ray
from probebench.extraction import ExtractionOptions, extract, shards
from probebench.registry import Registry
from tests.conftest import make_entry, make_images
from tests.extraction.killing import Killing
from tests.faults.case import forked

OPTIONS = ExtractionOptions(device="cpu", dtype="fp32", batch_size=4, workers=0, compile="off")


class _Case:
    """A small network on a folder of images, and the bytes of an extraction that nothing disturbs."""

    def __init__(self, place: Path, each: int = 40) -> None:
        torch.set_num_threads(1)
        self.place = place
        self.backbone = build_backbone(make_entry(place), place)
        images = make_images(place / "images", each=each, size=96)
        self.dataset = open_dataset(f"folder:{images}", Registry.load(environ={}), place / "datasets")
        began = time.perf_counter()
        self.whole = self.extract(place / "whole")
        self.seconds = time.perf_counter() - began

    def extract(self, home: Path) -> dict[str, bytes]:
        """Extracts into a home folder and returns the bytes of its files by name."""
        extract(self.backbone, self.dataset, home, OPTIONS)
        return {path.name: path.read_bytes() for path in stored_files(home)}


def kills(place: Path, count: int) -> list[str]:
    """Kills an extraction at ``count`` random instants; each is resumed and compared with the undisturbed one."""
    case, chance, faults, landed = _Case(place), random.Random(0), [], 0
    for number in range(count):
        home = place / f"killed-{number}"
        child = forked(functools.partial(case.extract, home))
        time.sleep(chance.uniform(0, case.seconds))
        os.kill(child, signal.SIGKILL)
        landed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if case.extract(home) != case.whole or stored_files(home, partial=True):
            faults.append(f"extraction killed at instant {number} of {count}: other bytes after resuming")
    print(f"extraction: {landed} of {count} kills landed, {count - len(faults)} resumed to the same bytes")
    return faults


def concurrent(place: Path, count: int) -> list[str]:
    """Starts two extractions on one key at once, ``count`` times: both end well, with one correct file."""
    case, faults = _Case(place, 12), []
    for number in range(count):
        home = place / f"both-{number}"
        children = [forked(functools.partial(case.extract, home)) for _ in range(2)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        files = {path.name: path.read_bytes() for path in stored_files(home)}
        if codes != [0, 0] or files != case.whole or stored_files(home, partial=True):
            faults.append(f"two extractions at once, round {number}: exit codes {codes}, or other files")
    print(f"two extractions at once: {count - len(faults)} of {count} rounds gave one correct file")
    return faults


def lost_worker(place: Path) -> list[str]:
    """Kills a Ray worker in the middle of a shard; the file must not differ from the local engine's."""
    case = _Case(place, 4)
    pixels = torch.randint(0, 256, (400, 12, 12), generator=torch.Generator().manual_seed(0)).byte().numpy()
    labels, ids = torch.arange(400).numpy() % 2, tuple(f"image-{number}" for number in range(400))

    def dataset(images: ArrayImages) -> Dataset:
        halves = {"train": slice(0, 200), "test": slice(200, 400)}
        splits = {name: Split(ids[half], labels[half], images) for name, half in halves.items()}
        return Dataset("made", ("a", "b"), splits)

    mark = place / "mark"
    local = extract(case.backbone, dataset(ArrayImages(pixels[:200])), place / "local", OPTIONS)
    shards.SHARD = 32
    with Ray() as engine:
        lossy = dataset(Killing(pixels[:200], mark))
        spread = extract(case.backbone, lossy, place / "ray", OPTIONS, None, engine)
    same = [part.path.read_bytes() for part in spread] == [part.path.read_bytes() for part in local]
    print(f"Ray: a worker was {'killed' if mark.exists() else 'NOT killed'}, {'the same' if same else 'OTHER'} bytes")
    return [] if same and mark.exists() else ["a killed Ray worker changed the file, or was not killed"]


def run(place: Path, short: bool = False) -> list[str]:
    """Runs all parts, or a short form of those that need no Ray, and returns one line for each fault."""
    faults = kills(place / "kills", 4 if short else 20)
    faults += concurrent(place / "concurrent", 3 if short else 20)
    if not short:
        sys.stdout.flush()
        faults += lost_worker(place / "ray")
    return faults
