"""Duplicates: planted ones are found, in real photos and real digits, and little else."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from probebench.datasets.base import ArrayImages, Dataset, FileImages, Split
from probebench.datasets.duplicates import image_hash, near_duplicates, search
from probebench.datasets.duplicates.search import Duplicates, find_duplicates
from probebench.progress import Silent

DIGITS = load_digits()
PIXELS, NUMBERS = np.round(DIGITS.images * (255 / 16)).astype(np.uint8), DIGITS.target


def tiles() -> list[Image.Image]:
    """Photos that have nothing in common: tiles of the two that scikit-learn ships, without those of mere sky."""
    photos = [Image.fromarray(array) for array in load_sample_images().images]
    boxes = [(x, y, x + 128, y + 105) for x in range(0, 640, 128) for y in range(0, 420, 105)]
    every = [photo.crop(box) for photo in photos for box in boxes]
    return [tile for tile in every if np.asarray(tile.convert("L")).std() > 10]


TILES = tiles()


@dataclass(frozen=True)
class Photos:
    """Images that are there already."""

    images: Sequence[Image.Image]

    def load(self, position: int) -> Image.Image:
        return self.images[position]

    def check(self, position: int) -> None:
        pass

    def content(self) -> str:
        return ""


def arrays(**given: tuple[np.ndarray, np.ndarray]) -> Dataset:
    splits = {
        name: Split(tuple(f"{name}-{n}" for n in range(len(labels))), labels.astype(np.int64), ArrayImages(pixels))
        for name, (pixels, labels) in given.items()
    }
    return Dataset("made", tuple("abcdefghij"), splits)


def photos(train: Sequence[Image.Image], test: Sequence[Image.Image]) -> Dataset:
    splits = {
        name: Split(tuple(f"{name}-{n}" for n in range(len(images))), np.arange(len(images)) % 10, Photos(images))
        for name, images in (("train", train), ("test", test))
    }
    return Dataset("photos", tuple("abcdefghij"), splits)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def brighter(image: Image.Image, factor: float) -> Image.Image:
    return Image.fromarray((np.asarray(image) * factor).clip(0, 255).astype(np.uint8))


def cut(image: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    return image.crop((left, top, image.width - right, image.height - bottom))


def pairs(found: search.Found) -> set[tuple[str, str]]:
    return {(pair.first.id, pair.second.id) for pair in found.pairs}


def test_equal_pixels_in_two_splits_or_under_two_labels(tmp_path: Path) -> None:
    train, test, val = PIXELS[:600].copy(), PIXELS[600:900].copy(), PIXELS[900:1000].copy()
    numbers = NUMBERS.copy()
    test[7] = test[8] = train[3]
    val[1], val[2] = train[3], test[50]
    train[500] = train[10]
    numbers[500], numbers[10], numbers[608] = 1, 2, numbers[607]
    # The same image twice under one label is nobody's mistake.
    train[501], numbers[501] = train[11], numbers[11]
    opened = arrays(train=(train, numbers[:600]), test=(test, numbers[600:900]), val=(val, numbers[900:1000]))
    found = find_duplicates(opened)
    assert found.images == {"train": 600, "val": 100, "test": 300}
    assert found.exact.between == {"val in train": 1, "test in train": 2, "test in val": 3}
    assert found.exact.within == {"train": 2, "val": 0, "test": 0}
    assert pairs(found.exact) == {
        *(("train-3", "val-1"), ("train-3", "test-7"), ("train-3", "test-8"), ("val-1", "test-7"), ("val-1", "test-8")),
        *(("val-2", "test-50"), ("train-10", "train-500")),
    }
    assert {(pair.first.split, pair.second.split) for pair in found.exact.pairs} >= {("train", "val"), ("val", "test")}
    (relabelled,) = (pair for pair in found.exact.pairs if pair.second.id == "train-500")
    assert (relabelled.first.label, relabelled.second.label, relabelled.distance) == ("c", "b", 0.0)
    assert found.near.pairs == () and found.unreadable == () and found.unsearched == ()
    assert Duplicates(**json.loads(json.dumps(asdict(found)))).images == found.images


def test_the_digits_have_no_near_duplicates() -> None:
    """Small, grey and much alike: a hash alone would report hundreds of them."""
    found = find_duplicates(arrays(train=(PIXELS[:898], NUMBERS[:898]), test=(PIXELS[898:], NUMBERS[898:])))
    assert sum(found.near.between.values()) == sum(found.exact.between.values()) == 0
    assert found.near.within == {"train": 0, "test": 0}
    assert 0.1 < found.threshold < 0.15


@pytest.mark.parametrize(
    "change",
    [
        lambda image: jpeg(image, 75),
        lambda image: jpeg(image, 40),
        lambda image: image.resize((224, 224), Image.Resampling.BICUBIC),
        lambda image: image.resize((64, 52), Image.Resampling.BILINEAR),
        lambda image: brighter(image, 1.05),
        lambda image: cut(image, 1, 1, 1, 1),
        lambda image: cut(image, 2, 0, 0, 0),
        lambda image: jpeg(cut(brighter(image, 1.05), 1, 0, 1, 1), 75),
        lambda image: image.convert("L"),
    ],
)
def test_photos_that_were_changed_a_little_are_found(change: Callable[[Image.Image], Image.Image]) -> None:
    found = find_duplicates(photos(TILES, [change(tile) for tile in TILES[::2]]))
    assert found.exact.between == {"test in train": 0}
    count = len(TILES[::2])
    assert pairs(found.near) == {(f"train-{2 * number}", f"test-{number}") for number in range(count)}
    assert found.near.between == {"test in train": count}


def test_photos_that_were_cropped_are_mostly_found() -> None:
    found = find_duplicates(photos(TILES, [cut(tile, 3, 2, 3, 2) for tile in TILES]))
    assert all(pair.first.id[6:] == pair.second.id[5:] for pair in found.near.pairs)
    assert len(found.near.pairs) >= 0.8 * len(TILES)


def test_photos_that_have_nothing_in_common_are_not_found() -> None:
    for train, test in (
        (TILES[::2], TILES[1::2]),
        (TILES, [tile.transpose(Image.Transpose.ROTATE_180) for tile in TILES]),
    ):
        found = find_duplicates(photos(train, test))
        assert found.near.between == {"test in train": 0} and found.near.within == {"train": 0, "test": 0}


def test_near_duplicates_under_two_labels_in_one_split() -> None:
    # Labels are the last digits of positions.
    train = [*TILES[:30], jpeg(TILES[3], 75), jpeg(TILES[25], 75), jpeg(TILES[2], 75)]
    found = find_duplicates(photos(train, TILES[30:32]))
    assert found.near.within == {"train": 4, "test": 0} and found.near.between == {"test in train": 0}
    assert pairs(found.near) == {("train-3", "train-30"), ("train-25", "train-31")}
    for pair in found.near.pairs:
        assert 0 < pair.distance < found.threshold and pair.first.label != pair.second.label


def test_images_of_one_colour_are_counted_and_not_compared() -> None:
    shades = np.arange(0, 200, 10, dtype=np.uint8)
    blank = np.broadcast_to(shades[:, None, None], (20, 16, 16)).copy()
    blank[0, 0, 0] = 3
    found = find_duplicates(arrays(train=(blank[:10], np.arange(10)), test=(blank[5:], np.arange(15) % 10)))
    assert found.flat == 25 and found.near.between == {"test in train": 0}
    assert found.exact.between == {"test in train": 5}


def test_what_cannot_be_decoded_is_listed(tmp_path: Path) -> None:
    for number, tile in enumerate([*TILES[:4], TILES[0]]):
        tile.save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:300])

    def split(*names: str) -> Split:
        return Split(names, np.arange(len(names)), FileImages.below(tmp_path, names, names))

    found = find_duplicates(
        Dataset("d", ("a", "b"), {"train": split("0.png", "1.png"), "test": split("2.png", "4.png")})
    )
    assert [Path(line.split()[1]).name for line in found.unreadable] == ["1.png", "2.png"]
    assert all("cannot be read" in line for line in found.unreadable)
    assert pairs(found.exact) == {("0.png", "4.png")}
    assert len(find_duplicates(Dataset("d", ("a",), {"train": split("1.png", "gone.png")})).unreadable) == 2


def test_other_sizes_of_blocks_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = photos(TILES, [jpeg(tile, 75) for tile in TILES])
    expected = find_duplicates(opened)
    for module, name, size in (
        *((near_duplicates, "_ROWS", 3), (near_duplicates, "_COLUMNS", 7)),
        *((near_duplicates, "_PAIRS", 2), (near_duplicates, "_BLOCK", 5)),
        *((image_hash, "_TOGETHER", 3), (image_hash, "_BLOCK", 6), (search, "_ROWS", 4)),
    ):
        monkeypatch.setattr(module, name, size)
    assert find_duplicates(opened) == expected


def test_many_copies_are_counted_and_few_pairs_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LISTED", 5)
    monkeypatch.setattr(near_duplicates, "_CANDIDATES", 3)
    found = find_duplicates(photos([TILES[9]] * 60 + TILES, [jpeg(TILES[9], 75)] * 70 + [TILES[9]] * 30))
    assert found.near.between == {"test in train": 70} and found.exact.between == {"test in train": 30}
    assert len(found.near.pairs) == len(found.exact.pairs) == 5
    assert found.exact.within == {"train": 61, "test": 100}


def test_splits_too_large_are_not_searched_within(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_LARGEST", len(TILES) - 1)
    found = find_duplicates(photos(TILES, [jpeg(TILES[n], 75) for n in (9, 10, 9)]))
    assert found.unsearched == ("train",) and found.near.between == {"test in train": 3}


def test_progress_hears_of_every_image() -> None:
    heard: list[tuple[str, int]] = []

    class Ear(Silent):
        def start(self, what: str, total: int, done: int) -> None:
            heard.append((what, total - done))

        def advance(self, count: int, limit: str | None = None) -> None:
            heard[-1] = heard[-1][0], heard[-1][1] - count

        def finish(self) -> None:
            heard[-1] = heard[-1][0], -heard[-1][1]

    find_duplicates(photos(TILES[:20], TILES[20:]), Ear())
    assert heard == [("decoding", 0), ("comparing", 0)]
