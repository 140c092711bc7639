"""Opens data sets of the Hugging Face Hub, and local ones in any layout that its ``datasets`` library takes."""

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.datasets.base import Dataset, Split
from probebench.datasets.sources.assemble import ANY_SPLIT_NAME, SPLIT_NAMES, assemble, cut, find_splits
from probebench.datasets.sources.huggingface.images import table_images
from probebench.datasets.sources.huggingface.load import HubSource, load
from probebench.errors import DatasetError, ProbebenchWarning, UsageError
from probebench.fingerprint import fingerprint
from probebench.registry.names import HF

# Names of columns, the likeliest first.
_IMAGES = ("image", "img", "images", "jpg", "png")
_LABELS = ("label", "labels", "fine_label", "class", "target", "cls")


def open_hf(text: str, root: Path) -> Dataset:
    """Opens a data set of the Hub, or a local one in a layout that ``datasets`` takes; none of its code is run.

    Its splits are train, validation and test. Without a labelled test split validation is the test split, and a train
    split alone is cut by the committed rule.

    Args:
        text: ``owner/name[@revision][:config]``, or a folder (class folders, parquet, arrow, or what save_to_disk
            writes); behind it ``?image=COLUMN&label=COLUMN`` where the columns are not clear.
        root: The folder that holds data sets; digests are remembered below. The data stay in the library's own cache.

    Raises:
        UsageError: datasets is not installed, or the text or its columns do not fit.
        DatasetError: The data are out of reach or damaged.
    """
    if importlib.util.find_spec("datasets") is None:
        raise UsageError(f"data set {HF}{text} needs datasets: pip install 'probebench[datasets]'")
    source = HubSource.parse(text)
    if source.caption:
        raise UsageError(f"{source}: captions are for sources of pre-training; leave caption= out")
    tables, commit = load(source)
    features = next(iter(tables.values())).features
    image, label = image_column(source, features), _label_column(source, features)
    found = {name: _labels(source, name, rows, features[label], label) for name, rows in tables.items()}
    named = _splits(source, [name for name, labels in found.items() if labels is not None])
    names, numbers = _number(features[label], {split: found[name] for split, name in named.items()})
    splits = {}
    for split, name in named.items():
        key = [source.place, source.config, name, image]
        digest_cache = root / "hf" / f"{fingerprint(key)[:32]}.npz"
        ids, images = table_images(tables[name], image, split, source, digest_cache)
        splits[split] = Split(ids, numbers[split], images)
    title = "-".join(
        filter(None, (Path(source.place).name if source.local else source.place, source.config, commit[:8]))
    )
    return assemble(f"{HF}{text}", title, names, cut(splits["all"]) if "all" in splits else splits)


def image_column(source: HubSource, features: Mapping[str, Any]) -> str:
    """Returns the column of images.

    Raises:
        UsageError: There is none, or it is not clear which.
    """
    import datasets

    known = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    return choose(source, "image", source.image, known, known, _IMAGES, features)


def _label_column(source: HubSource, features: Mapping[str, Any]) -> str:
    import datasets

    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    plain = [
        name
        for name, feature in features.items()
        if isinstance(feature, datasets.Value)
        and feature.dtype.lstrip("u").startswith(("int", "string", "large_string"))
    ]
    likely = classes or [name for name in plain if name in _LABELS]
    return choose(source, "label", source.label, classes + plain, likely, _LABELS, features)


def choose(
    source: HubSource,
    kind: str,
    asked: str,
    known: Sequence[str],
    likely: Sequence[str],
    names: Sequence[str],
    features: Mapping[str, Any],
) -> str:
    """Returns the column that was asked for, else the only likely one, else the only one with a usual name.

    Raises:
        UsageError: There is none, or it is not clear which; the line says how to name one.
    """
    if asked in known:
        return asked
    usual = [name for name in likely if name in names]
    for choice in (likely, usual):
        if len(choice) == 1 and not asked:
            return choice[0]
    where = f"hf:{source.text.partition('?')[0]}?{kind}=COLUMN"
    if asked:
        raise UsageError(f"{source}: column {asked!r} holds no {kind}s; of its columns these may: {', '.join(known)}")
    if likely:
        raise UsageError(f"{source} has several columns of {kind}s ({', '.join(likely)}): name one as {where}")
    raise UsageError(f"{source} has no column of {kind}s among {', '.join(features)}; name one as {where}")


def _labels(source: HubSource, name: str, rows: Any, feature: Any, column: str) -> npt.NDArray[Any] | None:
    """Returns the labels of a split; None where all are kept back, which they are in many a test split."""
    import datasets

    if column not in rows.features:
        return None
    if rows.features[column] != feature:
        raise DatasetError(f"{source}: column {column} of {name} has another kind or other classes than elsewhere")
    values = rows.select_columns([column]).with_format("arrow")[:].column(column)
    missing = np.array(values.is_null())
    if isinstance(feature, datasets.ClassLabel):
        missing |= np.array(values.fill_null(-1)) < 0
    if missing.all():
        return None
    if missing.any():
        raise DatasetError(f"{source}: row {missing.argmax()} of {name} has no label in {column}; remove it")
    return np.array(values)


def _splits(source: HubSource, names: Sequence[str]) -> dict[str, str]:
    """Returns what the data call train, val and test, or the only split as ``all``."""
    named = [name for name in names if name.lower() in ANY_SPLIT_NAME]
    if len(names) == 1 and (not named or named[0].lower() in SPLIT_NAMES["train"]):
        return {"all": names[0]}
    splits = find_splits({name: name for name in named}, str(source))
    if not splits:
        raise DatasetError(f"{source} has no labelled train split; those with labels are: {', '.join(names) or 'none'}")
    if others := [name for name in names if name not in named]:
        warnings.warn(
            f"{source}: read as splits ({', '.join(named)}), without {', '.join(others)}",
            ProbebenchWarning,
            stacklevel=2,
        )
    return splits


def _number(feature: Any, labels: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Labels]]:
    """Returns the names of the classes and the labels as numbers of them."""
    import datasets

    every = np.unique(np.concatenate(list(labels.values())))
    if isinstance(feature, datasets.ClassLabel) and every[-1] < len(feature.names):
        return tuple(feature.names), {split: values.astype(np.int64) for split, values in labels.items()}
    return tuple(map(str, every)), {split: np.searchsorted(every, values) for split, values in labels.items()}
