"""The only feature-extraction loop: images through a backbone into the cache."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from probebench.backbones.base import Backbone
from probebench.backbones.preprocess import build_transform
from probebench.cache.key import FeatureKey
from probebench.cache.store import FeatureFile, Features, feature_path, mark_as_newest
from probebench.cache.writer import FeatureWriter, Header, locked
from probebench.datasets.base import Dataset, Images
from probebench.errors import CacheError, DatasetError, FeatureError, UsageError

Dtype = Literal["fp32", "fp16", "bf16"]
_TORCH = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Progress(Protocol):
    """Hears how far the extraction is."""

    def start(self, what: str, total: int, done: int) -> None:
        """One split begins, ``done`` of its ``total`` images being there already."""

    def advance(self, count: int) -> None:
        """``count`` more images are committed."""

    def finish(self) -> None:
        """The split is complete."""


@dataclass(frozen=True)
class Options:
    """How to extract. Only ``dtype`` can change features beyond a relative 1e-5, so only it is in the key.

    Attributes:
        device: "cpu" or "cuda".
        dtype: Arithmetic of the forward pass.
        batch_size: Images a batch; the last one is padded to it.
        workers: Processes that decode; 0 decodes in this one.
    """

    device: str
    dtype: Dtype
    batch_size: int
    workers: int

    @classmethod
    def resolve(cls, device: str, dtype: str, batch_size: int | None, workers: int | None) -> "Options":
        """Fills in what was left to choose.

        Raises:
            UsageError: The device is not there, or cannot compute in that dtype.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("no CUDA device on this machine; use --device cpu")
        if dtype == "auto":
            dtype = "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
        if workers is None:
            # Two cores decode as fast as they compute; more cores can spare some.
            workers = 0 if (os.cpu_count() or 1) <= 2 else min(8, (os.cpu_count() or 1) // 2)
        return cls(device, cast(Dtype, dtype), batch_size or (64 if device == "cpu" else 256), workers)


@dataclass(frozen=True)
class Extracted:
    """One split's file, and how many of its images this call computed (0: it was all there)."""

    path: Path
    rows: int
    computed: int


def extract(
    backbone: Backbone, dataset: Dataset, home: Path, options: Options, progress: Progress | None = None
) -> list[Extracted]:
    """Fills the cache with a backbone's features of every split of a data set.

    A split whose file is complete is left alone; an interrupted one goes on at its last committed row, in the same
    batches and with the settings that it began with, so its bytes are those of an uninterrupted run.

    Raises:
        DatasetError: An image cannot be read.
        FeatureError: Features are not finite.
        CacheError: The interrupted file is damaged.
        OSError: The home folder is full or cannot be written; committed rows stay.
    """
    return [_extract_split(backbone, dataset, split, home, options, progress) for split in dataset.splits]


def feature_key(backbone: Backbone, dataset: Dataset, split: str, dtype: Dtype) -> FeatureKey:
    """Returns the key of one split's features."""
    return FeatureKey(
        architecture=backbone.spec.architecture,
        weights_digest=backbone.weights_digest,
        layer=backbone.spec.output.layer,
        preprocessing=backbone.input,
        dtype=dtype,
        dataset_fingerprint=dataset.fingerprint,
        split=cast(Literal["train", "val", "test"], split),
        content=dataset.content,
    )


def _extract_split(
    backbone: Backbone, dataset: Dataset, name: str, home: Path, options: Options, progress: Progress | None
) -> Extracted:
    split = dataset.splits[name]
    key = feature_key(backbone, dataset, name, options.dtype)
    path = feature_path(home, backbone.spec.id, dataset.id, key)
    if _complete(path):
        return Extracted(path, len(split), 0)
    with locked(path):
        # Another process may have finished it while this one waited.
        if _complete(path):
            return Extracted(path, len(split), 0)
        header = Header(key, backbone.spec.id, dataset.id, tuple(dataset.splits), _settings(options, len(split)))
        with FeatureWriter(path, header, split.ids, split.labels, backbone.features) as writer:
            start = writer.committed
            if progress:
                progress.start(f"{backbone.spec.id} on {dataset.id} ({name})", len(split), start)
            for rows in _features(backbone, split.images, split.ids, start, options, writer.settings):
                writer.append(rows)
                if progress:
                    progress.advance(len(rows))
            writer.finish()
            if progress:
                progress.finish()
    return Extracted(path, len(split), len(split) - start)


def _complete(path: Path) -> bool:
    """Says whether the file is there; a damaged one is an error here, before anything is computed twice."""
    if not path.exists():
        return False
    with FeatureFile(path):
        mark_as_newest(path)
        return True


def _settings(options: Options, images: int) -> dict[str, str | int | bool]:
    return {
        "device": options.device,
        # A last batch is padded, so a batch larger than the split would only compute padding.
        "batch_size": min(options.batch_size, images),
        "threads": torch.get_num_threads(),
        "channels_last": True,
        "torch": str(torch.__version__),
    }


class _Decoded(torch.utils.data.Dataset["torch.Tensor | DatasetError"]):
    """Decoded and transformed images from a position on; an unreadable one is handed over as its error.

    Raising in a decoding process would wrap the error in that process's traceback.
    """

    def __init__(self, images: Images, transform: Callable[[Image.Image], torch.Tensor], start: int, stop: int) -> None:
        self._images, self._transform, self._start, self._stop = images, transform, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> torch.Tensor | DatasetError:
        try:
            return self._transform(self._images.load(self._start + index))
        except DatasetError as error:
            return error


def _collate(batch: Sequence[torch.Tensor | DatasetError]) -> torch.Tensor | DatasetError:
    for item in batch:
        if isinstance(item, DatasetError):
            return item
    return torch.stack(cast(list[torch.Tensor], batch))


def _features(
    backbone: Backbone,
    images: Images,
    ids: Sequence[str],
    start: int,
    options: Options,
    settings: Mapping[str, str | int | bool],
) -> Iterator[Features]:
    """Yields the features (B, D) of the images from ``start`` on, in batches of the recorded size."""
    device, batch_size = str(settings["device"]), int(settings["batch_size"])
    if device == "cuda" and not torch.cuda.is_available():
        raise CacheError(
            "this extraction began on a CUDA device, which is not here; finish it there or delete its .partial file"
        )
    torch.set_num_threads(int(settings["threads"]))
    transform = build_transform(backbone.input)
    decoded = _Decoded(images, transform, start, len(ids))
    loader = DataLoader(
        decoded, batch_size=batch_size, num_workers=options.workers, collate_fn=_collate, pin_memory=device == "cuda"
    )
    module = backbone.module.to(device).to(memory_format=torch.channels_last)
    autocast = torch.autocast(device, dtype=_TORCH[options.dtype], enabled=options.dtype != "fp32")
    position = start
    for batch in loader:
        if isinstance(batch, DatasetError):
            raise batch
        count = len(batch)
        with torch.inference_mode(), autocast:
            inputs = _padded(batch, batch_size).to(device, memory_format=torch.channels_last, non_blocking=True)
            rows: Features = module(inputs)[:count].float().cpu().numpy()
        with np.errstate(over="ignore"):
            stored = rows if options.dtype == "fp32" else rows.astype(np.float16)
        wrong = np.flatnonzero(~np.isfinite(stored).all(axis=1))
        if len(wrong):
            hint = "" if options.dtype == "fp32" else "; try --dtype fp32"
            raise FeatureError(
                f"{backbone.spec.id} gave NaN or infinite features for image {ids[position + int(wrong[0])]}: "
                f"its weights or its preprocessing may be wrong{hint}"
            )
        yield stored
        position += count


def _padded(batch: torch.Tensor, size: int) -> torch.Tensor:
    """Repeats the last image up to the batch size: another shape could take another kernel and other roundings."""
    if len(batch) == size:
        return batch
    return torch.cat([batch, batch[-1:].expand(size - len(batch), *batch.shape[1:])])
