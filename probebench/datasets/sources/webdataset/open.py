"""Opens webdatasets: shards on this machine, or streamed from elsewhere, so that the whole need not fit on a disk."""

import importlib.util
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from probebench.arrays import Labels, Positions
from probebench.datasets.base import Dataset, Split, decode, digests_fingerprint
from probebench.datasets.sources.assemble import assemble, cut
from probebench.datasets.sources.webdataset.index import Beside, ShardIndex, index_shard
from probebench.datasets.sources.webdataset.shards import class_names, named_shards
from probebench.datasets.sources.webdataset.store import Shard, ShardStore
from probebench.errors import DatasetError, UsageError
from probebench.registry.names import WDS

# Shards that are read at once to index them.
_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class ShardImages:
    """Images that lie in shards: arrays only, so that a million take little room and decoding processes share them.

    Attributes:
        store: Reads the shards.
        shards: The shards.
        which: (N,) the shard of each image, as a position in ``shards``.
        keys: (N,) webdataset's key of each image.
        offsets: (N,) where its bytes begin in the shard.
        sizes: (N,) how many they are.
        digests: (N,) their sha256 in hexadecimal.
        whole: (N,) whether they were found to be an image.
    """

    store: ShardStore
    shards: tuple[Shard, ...]
    which: npt.NDArray[np.int32]
    keys: npt.NDArray[np.bytes_]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    digests: npt.NDArray[np.bytes_]
    whole: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, indices: Sequence[ShardIndex], store: ShardStore) -> "ShardImages":
        """Takes the samples of shards, in their order."""
        counts = [len(index.samples["keys"]) for index in indices]
        columns = {
            name: np.concatenate([index.samples[name] for index in indices])
            for name in ("keys", "offsets", "sizes", "digests", "whole")
        }
        which = np.repeat(np.arange(len(indices), dtype=np.int32), counts)
        return cls(store=store, shards=tuple(index.shard for index in indices), which=which, **columns)

    def name(self, position: int) -> str:
        """Returns what an error calls an image."""
        return f"{self.keys[position].decode()} in shard {self.shards[self.which[position]].url}"

    def load(self, position: int) -> Image.Image:
        """Decodes one image; the shard of a streamed one is fetched first where the cache lacks it."""
        if not self.sizes[position]:
            raise DatasetError(
                f"sample {self.name(position)} has no image, such as a .jpg or .png; repair or remove it"
            )
        shard, offset, size = self.shards[self.which[position]], self.offsets[position], self.sizes[position]
        return decode(BytesIO(self.store.read(shard, int(offset), int(size))), self.name(position))

    def check(self, position: int) -> None:
        """Decodes an image only if it was found damaged when its shard was first read; streams nothing otherwise."""
        if not self.whole[position]:
            self.load(position)

    def content(self) -> str:
        """Returns the sha256 over the images' digests."""
        return digests_fingerprint(self.digests)

    def take(self, positions: Positions) -> "ShardImages":
        """Returns some of the images."""
        columns = ("which", "keys", "offsets", "sizes", "digests", "whole")
        return replace(self, **{name: getattr(self, name)[positions] for name in columns})


def open_wds(text: str, root: Path) -> Dataset:
    """Opens a webdataset: images beside class numbers (.cls, or label in a .json), in tar files.

    Args:
        text: ``train=PATTERN;test=PATTERN`` with ``;val=PATTERN`` where there is one, a folder of shards named after
            their splits (``train-000000.tar``, ``train/000.tar``), or one pattern, which is cut by the committed rule.
            A pattern is a path or an address with braces (``train-{000..099}.tar``), as webdataset takes it.
        root: The folder that holds data sets; what is learnt of shards, and the newest streamed ones, are kept below.

    Raises:
        UsageError: webdataset is not installed, or the text cannot be understood.
        DatasetError: A shard is missing, out of reach or damaged, or a sample in it is.
    """
    if importlib.util.find_spec("webdataset") is None:
        raise UsageError(f"{WDS}{text} needs webdataset: pip install 'probebench[datasets]'")
    name, urls = named_shards(text)
    store, index_folder = ShardStore(root / "wds" / "shards"), root / "wds" / "index"
    indices = index_shards(urls, store, index_folder)
    names = name_classes(indices, class_names(next(iter(urls.values()))[0], index_folder))
    splits = {split: _split(split, found, store) for split, found in indices.items()}
    return assemble(f"{WDS}{text}", name, names, splits if "all" not in splits else cut(splits["all"]))


def index_shards(
    urls: Mapping[str, Sequence[str]], store: ShardStore, index_folder: Path, *, beside: Beside = "label"
) -> dict[str, list[ShardIndex]]:
    """Returns the samples of all shards of each split.

    Raises:
        DatasetError: A shard is missing, out of reach or damaged, a sample in it is, or one is there twice.
    """
    every = [(split, url) for split, names in urls.items() for url in names]
    indices: dict[str, list[ShardIndex]] = {split: [] for split in urls}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda one: index_shard(one[1], store, index_folder, beside=beside), every)
        for (split, _), index in zip(every, found, strict=True):
            indices[split].append(index)
    for shards in indices.values():
        _refuse_repeated_keys(shards)
    return indices


def _refuse_repeated_keys(indices: Sequence[ShardIndex]) -> None:
    keys = np.concatenate([index.samples["keys"] for index in indices])
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if len(again):
        which = np.repeat(np.arange(len(indices)), [len(index.samples["keys"]) for index in indices])
        first, second = (indices[which[order[place]]].shard.url for place in (again[0], again[0] + 1))
        raise DatasetError(
            f"shard {second}: sample {keys[order[again[0]]].decode()} is in {first} too; "
            "each sample of a split needs a key of its own"
        )


def name_classes(indices: Mapping[str, Sequence[ShardIndex]], names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the classes; without a list of them, the numbers that occur, which then count from 0."""
    every = [index for shards in indices.values() for index in shards]
    if not names:
        numbers = np.unique(np.concatenate([index.samples["labels"] for index in every]))
        for index in every:
            index.samples["labels"] = np.searchsorted(numbers, index.samples["labels"])
        return tuple(str(number) for number in numbers)
    for index in every:
        labels = index.samples["labels"]
        if labels.max() >= len(names):
            sample = int(labels.argmax())
            raise DatasetError(
                f"shard {index.shard.url}: sample {index.samples['keys'][sample].decode()} has the label "
                f"{labels[sample]}, and the list of class names beside the shards has {len(names)} lines"
            )
    return tuple(names)


def _split(name: str, indices: Sequence[ShardIndex], store: ShardStore) -> Split:
    images = ShardImages.of(indices, store)
    before = "" if name == "all" else f"{name}/"
    labels: Labels = np.concatenate([index.samples["labels"] for index in indices])
    return Split(tuple(before + key.decode() for key in images.keys), labels, images)
