"""Opens webdataset shards of captioned images: .txt beside each image, and .cls where there are labels."""

import importlib.util
from pathlib import Path

import numpy as np

from probebench.datasets.captioned.captioned import Captioned, check_captioned
from probebench.datasets.sources.webdataset.index import UNLABELLED, ShardIndex
from probebench.datasets.sources.webdataset.open import ShardImages, index_shards, name_classes
from probebench.datasets.sources.webdataset.shards import class_names, named_shards
from probebench.datasets.sources.webdataset.store import ShardStore
from probebench.errors import DatasetError, UsageError
from probebench.registry.names import WDS


def open_wds_captions(text: str, root: Path) -> Captioned:
    """Opens shards as a source; of shards in splits, those of train.

    Args:
        text: A pattern of shards or a folder of them, as a data set's is named.
        root: The folder that holds data sets; what is learnt of shards is kept below.

    Raises:
        UsageError: webdataset is not installed, or the text cannot be understood.
        DatasetError: A shard is missing or damaged; a sample lacks a caption, or a label where others have one.
    """
    if importlib.util.find_spec("webdataset") is None:
        raise UsageError(f"{WDS}{text} needs webdataset: pip install 'probebench[datasets]'")
    name, urls = named_shards(text)
    split = "all" if "all" in urls else "train"
    store, index_folder = ShardStore(root / "wds" / "shards"), root / "wds" / "index"
    indices = index_shards({split: urls[split]}, store, index_folder, beside="caption")
    images = ShardImages.of(indices[split], store)
    numbers = np.concatenate([index.samples["labels"] for index in indices[split]])
    labelled = bool((numbers != UNLABELLED).any())
    if labelled and (bare := np.flatnonzero(numbers == UNLABELLED)).size:
        raise DatasetError(f"{len(bare)} samples have no .cls where others have one, first {images.name(int(bare[0]))}")
    names = name_classes(indices, class_names(urls[split][0], index_folder)) if labelled else ()
    labels = np.concatenate([index.samples["labels"] for index in indices[split]]) if labelled else None
    return check_captioned(
        Captioned(
            id=f"{WDS}{name}",
            ids=tuple(key.decode() for key in images.keys),
            captions=tuple(caption for index in indices[split] for caption in _captions(index, store)),
            labels=labels,
            class_names=names,
            images=images,
        )
    )


def _captions(index: ShardIndex, store: ShardStore) -> list[str]:
    found = []
    columns = (index.samples[name].tolist() for name in ("keys", "text_offsets", "text_sizes"))
    for key, offset, size in zip(*columns, strict=True):
        try:
            found.append(store.read(index.shard, offset, size).decode("utf-8-sig").strip())
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"shard {index.shard.url}: the .txt of sample {key.decode()} is not UTF-8; write it again"
            ) from error
    return found
