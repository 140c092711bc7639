"""The only feature-extraction loop: images through a backbone into the cache.

A backbone gives several layers side by side, so one pass over the images fills a file for each of them.
"""

import contextlib
import itertools
import warnings
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from probebench.backbones.base import Backbone
from probebench.cache.header import Settings
from probebench.cache.store import partial_path
from probebench.cache.writer import FeatureWriter, Provenance, discard_leftovers, locked
from probebench.datasets.base import Dataset
from probebench.datasets.check import check_images
from probebench.engine import Ray
from probebench.errors import ProbebenchWarning
from probebench.extraction.clock import Clock
from probebench.extraction.decode import LEAVE_OUT
from probebench.extraction.jobs import Extracted, Job, jobs_for
from probebench.extraction.options import ExtractionOptions
from probebench.extraction.shards import RayExecutor
from probebench.extraction.space import require_space
from probebench.extraction.stream import Block, Executor, LocalExecutor, check_block
from probebench.fingerprint import canonical_json
from probebench.progress import Progress, Silent
from probebench.registry.layers import packed, unpacked

# What settings name the layers of one pass by; a file that was filled alone does not say so.
LAYERS = "layers"


def extract(
    backbone: Backbone,
    dataset: Dataset,
    home: Path,
    options: ExtractionOptions,
    progress: Progress | None = None,
    engine: Ray | None = None,
) -> list[Extracted]:
    """Fills the cache with a backbone's features of every split of a data set, all its layers in one pass.

    A file that is complete is left alone; an interrupted one goes on at its last committed batch, in the same batches
    and with the settings that it began with, so its bytes are those of an uninterrupted run. With an engine, shards of
    a split are computed by its workers; the files are written here, and their bytes are the same.

    Returns:
        Layer by layer, in the backbone's order, and of each split by split.

    Raises:
        DatasetError: An image cannot be read (and is not to be skipped), or none can.
        FeatureError: Features are not finite, or one image does not fit into memory.
        CacheError: The interrupted file is damaged, or goes on elsewhere only.
        UsageError: Compilation was asked for and does not work here.
        OSError: The home folder is full or cannot be written; committed rows stay.
    """
    jobs = jobs_for(backbone, dataset, home, options)
    done = {job.path: there for job in jobs if (there := job.found()) is not None}
    splits = [own for name in dataset.splits if (own := [job for job in jobs if _waits(job, name, done)])]
    if splits:
        # Without any, no network need be handed to an engine.
        missing = [job for own in splits for job in own]
        if options.on_error == "stop":
            check_images([own[0].split for own in splits], LEAVE_OUT)
        require_space(sum(job.space() for job in missing), home)
        run = _Run(backbone, options, sum(len(own[0].split) for own in splits), engine, progress or Silent())
        for own in splits:
            done |= run.finish(own)
    return [done[job.path] for job in jobs]


def _waits(job: Job, split: str, done: dict[Path, Extracted]) -> bool:
    return job.key.split == split and job.path not in done


@dataclass(frozen=True)
class _Open:
    """A file that is being filled, and its columns in what the network gives."""

    job: Job
    writer: FeatureWriter
    columns: slice


class _Run:
    """Finishes the splits of one data set, one after the other."""

    def __init__(
        self, backbone: Backbone, options: ExtractionOptions, images: int, engine: Ray | None, progress: Progress
    ) -> None:
        self._backbone, self._options, self._images = backbone, options, images
        self._engine, self._progress = engine, progress
        self._executors: dict[tuple[str, ...], Executor] = {}

    def finish(self, jobs: Sequence[Job]) -> dict[Path, Extracted]:
        """Computes what is missing of the files of one split, all of one setting in one pass."""
        what = f"{jobs[0].model} on {jobs[0].dataset} ({jobs[0].key.split})"
        note = f"{what}: another process is at it; waiting for it"
        done: dict[Path, Extracted] = {}
        with contextlib.ExitStack() as stack:
            # In an order that all processes share, so that none waits for one that waits for it.
            for job in sorted(jobs, key=lambda one: one.path):
                stack.enter_context(locked(job.path, lambda: self._progress.note(note)))
                # Another process may have finished it while this one waited.
                if (found := job.found()) is not None:
                    discard_leftovers(job.path)
                    done[job.path] = found
            passes: dict[str, list[_Open]] = defaultdict(list)
            for file in self._opened([job for job in jobs if job.path not in done], stack):
                passes[canonical_json(dict(file.writer.settings))].append(file)
            for files in passes.values():
                done |= self._fill(files, what)
        return done

    def _opened(self, jobs: Sequence[Job], stack: contextlib.ExitStack) -> Iterator[_Open]:
        """Opens the files of one split; those that were begun have their settings, and others begin together."""
        new = [job for job in jobs if not partial_path(job.path).exists()]
        settings: Settings = {}
        if new:
            names = tuple(job.key.layer for job in new)
            together = {LAYERS: packed(names)} if len(names) > 1 else {}
            settings = {**self._executor(names).settings(len(new[0].split)), **together}
        for job in jobs:
            provenance = Provenance(job.key, job.model, job.dataset, job.splits, settings if job in new else {})
            writer = stack.enter_context(
                FeatureWriter(job.path, provenance, job.split.ids, job.split.labels, job.width)
            )
            yield _Open(job, writer, self._columns(job, writer.settings))

    def _columns(self, job: Job, settings: Settings) -> slice:
        widths = self._backbone.at(_layers(job, settings)).layers
        before = [width for _, width in itertools.takewhile(lambda one: one[0] != job.key.layer, widths.items())]
        return slice(sum(before), sum(before) + job.width)

    def _executor(self, layers: tuple[str, ...]) -> Executor:
        if layers not in self._executors:
            backbone = self._backbone.at(layers)
            self._executors[layers] = (
                LocalExecutor(backbone, self._options, self._images)
                if self._engine is None
                else RayExecutor(backbone, self._options, self._images, self._engine)
            )
        return self._executors[layers]

    def _fill(self, files: Sequence[_Open], what: str) -> dict[Path, Extracted]:
        """Fills files that share their settings."""
        job, writers, settings = files[0].job, [file.writer for file in files], files[0].writer.settings
        for writer in writers:
            if writer.rolled_back:
                self._progress.note(f"{what}: {writer.rolled_back} rows had not reached the disk whole; computed again")
        batch = int(settings["batch_size"])
        # An interrupted run goes on where a batch began: in other company a row could be rounded otherwise.
        start = position = min(writer.committed for writer in writers) // batch * batch
        for writer in writers:
            if start < writer.committed:
                writer.rewind(start)
        names = [file.job.key.layer for file in files]
        self._progress.start(what if len(names) == 1 else f"{what}, {len(names)} layers", len(job.split), start)
        clock, executor, deep = Clock(), self._executor(_layers(job, settings)), 0
        with _Commits(files, clock, self._progress) as commits:
            for block in executor.blocks(settings, job.split.images, start, len(job.split), clock):
                self._check(block, job, position)
                if block.batch_size < batch:
                    batch = block.batch_size
                    commits.record(_halved(writers[0].settings, batch, position))
                commits.append(block)
                position += len(block.rows)
                deep += block.deep
        for writer in writers:
            writer.finish()
        self._progress.finish()
        if deep:
            warnings.warn(
                f"{what}: {deep} images have 16 bits a value or more; those above 255 come out white, as in PIL; "
                "scale them to 8 bits first",
                ProbebenchWarning,
                stacklevel=2,
            )
        done: dict[Path, Extracted] = {}
        for file in files:
            skipped = len(file.writer.skipped)
            rows, computed = len(job.split) - skipped, len(job.split) - start
            done[file.job.path] = file.job.extracted(rows, computed, skipped, clock.seconds)
        return done

    def _check(self, block: Block, job: Job, position: int) -> None:
        """Refuses what must not be cached: features that are not finite, and images that were not read if so asked."""
        names = job.split.ids
        check_block(block, self._options, job.model, names[position : position + len(block.rows)])
        for row, why in block.failed.items():
            self._progress.note(f"{names[position + row]} is left out: {why}")


def _layers(job: Job, settings: Settings) -> tuple[str, ...]:
    """Returns the layers that a file was begun with: what is compiled for them may round otherwise than for others."""
    return unpacked(str(settings.get(LAYERS, job.key.layer)))


def _halved(settings: Settings, batch: int, row: int) -> Settings:
    """Returns settings that say from which row on memory allowed smaller batches only."""
    before = str(settings.get("batch_sizes_before", ""))
    history = f"{before}{settings['batch_size']} to row {row}; "
    return {**settings, "batch_size": batch, "batch_sizes_before": history}


class _Commits:
    """Commits blocks in a thread of its own, a few behind, so that the network does not wait for the disk."""

    _BEHIND = 2

    def __init__(self, files: Sequence[_Open], clock: Clock, progress: Progress) -> None:
        self._files, self._clock, self._progress = files, clock, progress
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._failed = False

    def append(self, block: Block) -> None:
        """Commits a block after those before it, each file its columns."""
        self._waiting.append((len(block.rows), self._thread.submit(self._write, block)))
        self._wait(self._BEHIND)

    def _write(self, block: Block) -> None:
        # What comes after a block that failed would take its place in the file.
        if self._failed:
            return
        self._failed = True
        for file in self._files:
            file.writer.append(block.rows[:, file.columns], tuple(sorted(block.failed)))
        self._failed = False

    def record(self, settings: Settings) -> None:
        """Replaces the settings, from the next block on."""
        self._wait(0)
        for file in self._files:
            file.writer.record(settings)

    def _wait(self, left: int) -> None:
        while len(self._waiting) > left:
            count, future = self._waiting.popleft()
            with self._clock.waiting_for("disk"):
                future.result()
            self._progress.advance(count, self._clock.limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._wait(0)
        finally:
            # After an error, what is under way is committed all the same.
            self._thread.shutdown()
