"""The only feature-extraction loop: images through a backbone into the cache."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from probebench.backbones.base import Backbone
from probebench.cache.header import Settings
from probebench.cache.key import FeatureKey
from probebench.cache.store import FeatureFile, committed_rows, feature_path, mark_as_newest, partial_path
from probebench.cache.writer import FeatureWriter, Provenance, discard_leftovers, locked
from probebench.datasets.base import Dataset, Split
from probebench.datasets.check import check_images
from probebench.engine import Ray
from probebench.errors import DatasetError, FeatureError
from probebench.extraction.clock import Clock
from probebench.extraction.decode import LEAVE_OUT, OutOfReach
from probebench.extraction.forward import first_unusable
from probebench.extraction.options import ExtractionOptions, OnError
from probebench.extraction.shards import RayExecutor
from probebench.extraction.space import require_space, space_needed
from probebench.extraction.stream import Block, Executor, LocalExecutor
from probebench.progress import Progress, Silent


@dataclass(frozen=True)
class Extracted:
    """One split's file, and how it came to be.

    Attributes:
        path: The file.
        rows: Images with features.
        computed: How many of its images this call computed (0: it was all there).
        skipped: Images that could not be read and were left out.
        seconds: Time of this call by the stage that was waited for.
    """

    path: Path
    rows: int
    computed: int
    skipped: int
    seconds: dict[str, float]


def extract(
    backbone: Backbone,
    dataset: Dataset,
    home: Path,
    options: ExtractionOptions,
    progress: Progress | None = None,
    engine: Ray | None = None,
) -> list[Extracted]:
    """Fills the cache with a backbone's features of every split of a data set.

    A split whose file is complete is left alone; an interrupted one goes on at its last committed batch, in the same
    batches and with the settings that it began with, so its bytes are those of an uninterrupted run. With an engine,
    shards of a split are computed by its workers; the file is written here, and its bytes are the same.

    Raises:
        DatasetError: An image cannot be read (and is not to be skipped), or none can.
        FeatureError: Features are not finite, or one image does not fit into memory.
        CacheError: The interrupted file is damaged, or goes on elsewhere only.
        UsageError: Compilation was asked for and does not work here.
        OSError: The home folder is full or cannot be written; committed rows stay.
    """
    jobs = jobs_for(backbone, dataset, home, options)
    found = [job.found() for job in jobs]
    missing = [job for job, there in zip(jobs, found, strict=True) if there is None]
    if not missing:
        # No network need be handed to an engine.
        return [there for there in found if there is not None]
    if options.on_error == "stop":
        check_images([job.split for job in missing], LEAVE_OUT)
    require_space(sum(job.space(backbone.features) for job in missing), home)
    images = sum(len(job.split) for job in missing)
    executor = (
        LocalExecutor(backbone, options, images) if engine is None else RayExecutor(backbone, options, images, engine)
    )
    run = _Run(backbone, executor, options.on_error, progress or Silent())
    return [there or run.finish(job) for job, there in zip(jobs, found, strict=True)]


def jobs_for(backbone: Backbone, dataset: Dataset, home: Path, options: ExtractionOptions) -> list["Job"]:
    """Returns what there is to do for a data set, done or not, split by split."""
    return [Job.of(backbone, dataset, name, home, options) for name in dataset.splits]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One split: where its file is and what goes into it.

    Attributes:
        key: The features' key.
        path: The file, there or not.
        split: Ids, labels and images.
        splits: Names of all splits.
        model: Checkpoint id.
        dataset: Data set id.
    """

    key: FeatureKey
    path: Path
    split: Split
    splits: tuple[str, ...]
    model: str
    dataset: str

    @classmethod
    def of(cls, backbone: Backbone, dataset: Dataset, name: str, home: Path, options: ExtractionOptions) -> "Job":
        """Finds the file of one split."""
        key = FeatureKey.of(
            backbone.spec,
            weights_digest=backbone.weights_digest,
            preprocessing=backbone.input,
            dtype=options.dtype,
            dataset_fingerprint=dataset.fingerprint,
            content=dataset.content,
            split=name,
        )
        return cls(
            key=key,
            path=feature_path(home, backbone.spec.id, dataset.id, key),
            split=dataset.splits[name],
            splits=tuple(dataset.splits),
            model=backbone.spec.id,
            dataset=dataset.id,
        )

    def found(self) -> Extracted | None:
        """Describes the file where it is complete already.

        Raises:
            CacheError: It is damaged; told before anything is computed twice.
        """
        if not self.path.exists():
            return None
        with FeatureFile(self.path) as file:
            mark_as_newest(self.path)
            return Extracted(self.path, file.rows, 0, len(file.skipped), {})

    def committed(self) -> int:
        """Returns how many rows an interrupted file has."""
        return committed_rows(self.path)

    def space(self, width: int) -> int:
        """Returns the bytes that the file still takes on the disk."""
        return space_needed(self.path, self.split.ids, width, self.key.dtype)


class _Run:
    """Finishes the splits of one data set, one after the other."""

    def __init__(self, backbone: Backbone, executor: Executor, on_error: OnError, progress: Progress) -> None:
        self._backbone, self._executor, self._on_error, self._progress = backbone, executor, on_error, progress

    def finish(self, job: Job) -> Extracted:
        """Computes what is missing of the split's file."""
        what = f"{job.model} on {job.dataset} ({job.key.split})"
        with locked(job.path, lambda: self._progress.note(f"{what}: another process is at it; waiting for it")):
            # Another process may have finished it while this one waited.
            if (found := job.found()) is not None:
                discard_leftovers(job.path)
                return found
            # An interrupted file has its settings, and the network need not be made ready to choose some.
            settings = {} if partial_path(job.path).exists() else self._executor.settings(len(job.split))
            provenance = Provenance(job.key, job.model, job.dataset, job.splits, settings)
            with FeatureWriter(
                job.path, provenance, job.split.ids, job.split.labels, self._backbone.features
            ) as writer:
                return self._fill(writer, job, what)

    def _fill(self, writer: FeatureWriter, job: Job, what: str) -> Extracted:
        if writer.rolled_back:
            self._progress.note(f"{what}: {writer.rolled_back} rows had not reached the disk whole; computed again")
        batch = int(writer.settings["batch_size"])
        # An interrupted run goes on where a batch began: in other company a row could be rounded otherwise.
        start = position = writer.committed // batch * batch
        if start < writer.committed:
            writer.rewind(start)
        self._progress.start(what, len(job.split), start)
        clock = Clock()
        with _Commits(writer, clock, self._progress) as commits:
            for block in self._executor.blocks(writer.settings, job.split.images, start, len(job.split), clock):
                self._check(block, job, position)
                if block.batch_size < batch:
                    batch = block.batch_size
                    commits.record(_halved(writer.settings, batch, position))
                commits.append(block)
                position += len(block.rows)
        path = writer.finish()
        self._progress.finish()
        skipped = len(writer.skipped)
        return Extracted(path, len(job.split) - skipped, len(job.split) - start, skipped, clock.seconds)

    def _check(self, block: Block, job: Job, position: int) -> None:
        """Refuses what must not be cached: features that are not finite, and images that were not read if so asked."""
        for line in block.failed.values():
            if self._on_error == "stop" or isinstance(line, OutOfReach):
                raise DatasetError(line)
        for row, why in block.failed.items():
            self._progress.note(f"{job.split.ids[position + row]} is left out: {why}")
        if (wrong := first_unusable(block.rows)) is not None:
            hint = "" if job.key.dtype == "fp32" else "; try --dtype fp32"
            raise FeatureError(
                f"{job.model} gave NaN or infinite features for image {job.split.ids[position + wrong]}: "
                f"its weights or its preprocessing may be wrong{hint}"
            )


def _halved(settings: Settings, batch: int, row: int) -> Settings:
    """Returns settings that say from which row on memory allowed smaller batches only."""
    before = str(settings.get("batch_sizes_before", ""))
    history = f"{before}{settings['batch_size']} to row {row}; "
    return {**settings, "batch_size": batch, "batch_sizes_before": history}


class _Commits:
    """Commits blocks in a thread of its own, a few behind, so that the network does not wait for the disk."""

    _BEHIND = 2

    def __init__(self, writer: FeatureWriter, clock: Clock, progress: Progress) -> None:
        self._writer, self._clock, self._progress = writer, clock, progress
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[int, Future[None]]] = deque()

    def append(self, block: Block) -> None:
        """Commits a block after those before it."""
        future = self._thread.submit(self._writer.append, block.rows, tuple(sorted(block.failed)))
        self._waiting.append((len(block.rows), future))
        self._wait(self._BEHIND)

    def record(self, settings: Settings) -> None:
        """Replaces the settings, from the next block on."""
        self._wait(0)
        self._writer.record(settings)

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
