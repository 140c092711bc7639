import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from probebench.datasets.captioned import subset as subsets
from probebench.datasets.captioned.captioned import Captioned
from probebench.datasets.captioned.open import open_source
from probebench.datasets.captioned.subset import distinct, subset
from probebench.errors import DatasetError, ProbebenchWarning, UsageError
from probebench.fingerprint import canonical_json
from probebench.registry import Registry
from tests.datasets.captioned.making import captioned_folder, pattern


@pytest.fixture
def source(tmp_path: Path, root: Path, shipped: Registry) -> Captioned:
    """Twenty pictures, a copy of one, and a brighter version of another."""
    pictures = [pattern(seed) for seed in range(20)]
    pictures += [pictures[3], ImageEnhance.Brightness(pictures[7]).enhance(1.05)]
    folder = captioned_folder(tmp_path / "mine", pictures, labels=["even" if n % 2 == 0 else "odd" for n in range(22)])
    return open_source(str(folder), shipped, root)


def test_the_order_is_that_of_a_hash_and_alike_images_count_once(source: Captioned, root: Path) -> None:
    def key(name: str) -> bytes:
        return hashlib.sha256(canonical_json([source.fingerprint]).encode() + name.encode()).digest()

    order = sorted(source.ids, key=key)
    kept = [source.ids[position] for position in distinct(source, root)]
    left = set(source.ids) - set(kept)
    assert len(kept) == 20 and kept == [name for name in order if name not in left]
    # Of two that look alike the earlier one is kept.
    for pair in (("003.png", "020.png"), ("007.png", "021.png")):
        assert max(pair, key=order.index) in left


def test_subsets_are_nested(source: Captioned, root: Path) -> None:
    whole = subset(source, 20, root)
    for samples in (1, 5, 13):
        some = subset(source, samples, root)
        assert some.ids == whole.ids[:samples] and len(some) == samples
    some = subset(source, 5, root)
    position = source.ids.index(some.ids[2])
    assert some.captions[2] == source.captions[position]
    assert some.labels is not None and source.labels is not None and some.labels[2] == source.labels[position]
    assert some.images.load(2).tobytes() == source.images.load(position).tobytes()


def test_more_than_there_are_is_one_line(source: Captioned, root: Path) -> None:
    with pytest.raises(UsageError, match="has 20 images, as 2 of its 22 look like others; ask for at most so many"):
        subset(source, 21, root)


def test_the_order_is_remembered(source: Captioned, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = distinct(source, root)
    monkeypatch.setattr(subsets, "hash_images", lambda *_: pytest.fail("images are read again"))
    assert np.array_equal(distinct(source, root), before)


def test_of_very_many_images_equal_files_count_once(
    source: Captioned, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subsets, "_LARGEST", 10)
    with pytest.warns(ProbebenchWarning, match="only equal files count once"):
        assert len(distinct(source, root)) == 21


def test_an_unreadable_image_is_named(tmp_path: Path, root: Path, shipped: Registry) -> None:
    folder = captioned_folder(tmp_path / "mine", [pattern(0), pattern(1), pattern(2)])
    (folder / "001.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"001\.png cannot be read"):
        subset(open_source(str(folder), shipped, root), 2, root)


def test_images_of_one_colour_alone_are_compared_by_their_pixels(tmp_path: Path, root: Path, shipped: Registry) -> None:
    plain = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "green", "blue")]
    source = open_source(str(captioned_folder(tmp_path / "mine", plain)), shipped, root)
    assert len(distinct(source, root)) == 3
