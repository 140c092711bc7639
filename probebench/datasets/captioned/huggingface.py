"""Opens tables of captioned images of the Hugging Face Hub, or local ones."""

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from probebench.datasets.captioned.captioned import Captioned, check_captioned, number_labels
from probebench.datasets.sources.huggingface.images import table_images
from probebench.datasets.sources.huggingface.load import HubSource, load
from probebench.datasets.sources.huggingface.open import choose, image_column
from probebench.errors import DatasetError, ProbebenchWarning, UsageError
from probebench.fingerprint import fingerprint
from probebench.registry.names import HF

# Names of columns of captions, the likeliest first.
_CAPTIONS = ("caption", "text", "captions", "txt", "alt_text", "title")


def open_hf_captions(text: str, root: Path) -> Captioned:
    """Opens a table as a source; of tables in splits, the one called train. Labels are taken where they are named.

    Args:
        text: As a data set's, with ``?image=COLUMN&caption=COLUMN&label=COLUMN`` behind it where columns are not clear;
            a source has labels only where ``label=`` names their column.
        root: The folder that holds data sets; digests are remembered below.

    Raises:
        UsageError: datasets is not installed, or the text or its columns do not fit.
        DatasetError: The data are out of reach or damaged, or a caption or label is missing.
    """
    if importlib.util.find_spec("datasets") is None:
        raise UsageError(f"source {HF}{text} needs datasets: pip install 'probebench[datasets]'")
    source = HubSource.parse(text)
    tables, commit = load(source)
    split = "train" if "train" in tables else next(iter(tables))
    if others := [name for name in tables if name != split]:
        warnings.warn(f"{source}: read as {split}, without {', '.join(others)}", ProbebenchWarning, stacklevel=2)
    rows = tables[split]
    features = rows.features
    image, caption = image_column(source, features), _caption_column(source, features)
    key = [source.place, source.config, split, image]
    ids, images = table_images(rows, image, "all", source, root / "hf" / f"{fingerprint(key)[:32]}.npz")
    class_names, labels = number_labels(_labels(source, rows)) if source.label else ((), None)
    title = Path(source.place).name if source.local else "-".join(filter(None, (source.place, commit[:8])))
    return check_captioned(
        Captioned(
            id=f"{HF}{title}",
            ids=ids,
            captions=tuple(value or "" for value in _column(rows, caption)),
            labels=labels,
            class_names=class_names,
            images=images,
        )
    )


def _caption_column(source: HubSource, features: Mapping[str, Any]) -> str:
    import datasets

    texts = [
        name
        for name, feature in features.items()
        if isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")
    ]
    return choose(source, "caption", source.caption, texts, texts, _CAPTIONS, features)


def _column(rows: Any, name: str) -> list[Any]:
    values: list[Any] = rows.select_columns([name]).with_format("arrow")[:].column(name).to_pylist()
    return values


def _labels(source: HubSource, rows: Any) -> list[str]:
    import datasets

    if source.label not in rows.features:
        raise UsageError(f"{source} has no column {source.label!r}; its columns: {', '.join(rows.features)}")
    feature, values = rows.features[source.label], _column(rows, source.label)
    if isinstance(feature, datasets.ClassLabel):
        values = [None if value is None or value < 0 else feature.names[value] for value in values]
    missing = np.flatnonzero([value is None or str(value) == "" for value in values])
    if len(missing):
        raise DatasetError(f"{source}: row {missing[0]} has no label in {source.label}; remove it")
    return [str(value) for value in values]
