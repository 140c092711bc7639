import os
import re
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from probebench.datasets.base import FileImages
from probebench.datasets.open import open_dataset
from probebench.errors import DatasetError, UsageError
from probebench.fingerprint import file_sha256, fingerprint
from probebench.registry import Registry
from tests.conftest import make_images


@pytest.fixture
def root(home: Path) -> Path:
    return home / "datasets"


def counts(opened: object) -> dict[str, int]:
    return {name: len(split) for name, split in opened.splits.items()}  # type: ignore[attr-defined]


def test_class_folders_alone_get_a_fixed_test_split(shipped: Registry, tmp_path: Path, root: Path) -> None:
    place = make_images(tmp_path / "flowers", each=10)
    opened = open_dataset(f"folder:{place}", shipped, root)
    assert counts(opened) == {"train": 24, "test": 6}
    assert re.fullmatch(r"folder:flowers-[0-9a-f]{8}", opened.id)
    assert opened.class_names == ("class0", "class1", "class2")
    for split in opened.splits.values():
        assert isinstance(split.images, FileImages)
        for position, (name, label) in enumerate(zip(split.ids, split.labels, strict=True)):
            path = split.images.path(position)
            assert name == f"class{label}/{path.name}"
    assert open_dataset(f"folder:{place}", shipped, root).fingerprint == opened.fingerprint


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "test"), {"train": 9, "test": 9}),
        (("train", "val", "test"), {"train": 9, "val": 9, "test": 9}),
        (("train", "validation", "test"), {"train": 9, "val": 9, "test": 9}),
        # ImageNet's layout: val is what everybody reports.
        (("train", "val"), {"train": 9, "test": 9}),
    ],
)
def test_splits_where_they_exist(
    shipped: Registry, tmp_path: Path, root: Path, splits: tuple[str, ...], expected: dict[str, int]
) -> None:
    for number, split in enumerate(splits):
        make_images(tmp_path / "d" / split, each=3, seed=number)
    opened = open_dataset(f"folder:{tmp_path / 'd'}", shipped, root)
    assert counts(opened) == expected
    assert list(opened.splits) == [name for name in ("train", "val", "test") if name in expected]


def test_classes_are_those_of_all_splits_together(shipped: Registry, tmp_path: Path, root: Path) -> None:
    make_images(tmp_path / "d" / "train", classes=2, each=3)
    make_images(tmp_path / "d" / "test", classes=3, each=3)
    (tmp_path / "d" / "train" / ".hidden").mkdir()
    (tmp_path / "d" / "train" / "empty").mkdir()
    (tmp_path / "d" / "train" / "class0" / "notes.txt").write_text("not an image")
    opened = open_dataset(f"folder:{tmp_path / 'd'}", shipped, root)
    assert opened.class_names == ("class0", "class1", "class2", "empty")
    assert counts(opened) == {"train": 6, "test": 9}


def test_a_replaced_image_changes_the_content_and_not_the_fingerprint(
    shipped: Registry, tmp_path: Path, root: Path
) -> None:
    place = make_images(tmp_path / "d")
    before = open_dataset(f"folder:{place}", shipped, root)
    file = place / "class0" / "000.png"
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(file)
    after = open_dataset(f"folder:{place}", shipped, root)
    assert after.fingerprint == before.fingerprint and after.content != before.content
    assert after.id != before.id, "eval must not take one for the other"


def test_a_second_look_reads_no_image(
    shipped: Registry, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from probebench.datasets.sources import folder

    place = make_images(tmp_path / "d")
    before = open_dataset(f"folder:{place}", shipped, root)
    monkeypatch.setattr(folder, "file_sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert open_dataset(f"folder:{place}", shipped, root).content == before.content


def test_a_home_that_cannot_be_written_only_costs_time(shipped: Registry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = make_images(tmp_path / "d")
    assert counts(open_dataset(f"folder:{place}", shipped, tmp_path / "file")) == {"train": 18, "test": 6}


@pytest.mark.parametrize(
    ("splits", "error", "said"),
    [
        (None, UsageError, "does not exist"),
        ((), DatasetError, "holds no class folders"),
        (("train",), DatasetError, "neither test nor val"),
        (("test", "val"), DatasetError, "no train beside it"),
        (("test", "cats"), DatasetError, "no train beside it; where it is a class: --layout classes"),
    ],
)
def test_layouts_that_cannot_be_read(
    shipped: Registry, tmp_path: Path, root: Path, splits: tuple[str, ...] | None, error: type[Exception], said: str
) -> None:
    place = tmp_path / "d"
    if splits is not None:
        place.mkdir()
        for split in splits:
            make_images(place / split)
    with pytest.raises(error, match=said):
        open_dataset(f"folder:{place}", shipped, root)


def test_a_test_folder_alone_is_a_set_to_test_on(shipped: Registry, tmp_path: Path, root: Path) -> None:
    make_images(tmp_path / "d" / "Test", each=3)
    for layout in ("", "?layout=splits"):
        opened = open_dataset(f"folder:{tmp_path / 'd'}{layout}", shipped, root)
        assert counts(opened) == {"test": 9} and opened.class_names == ("class0", "class1", "class2")
    one = shutil.copytree(tmp_path / "d" / "Test" / "class0", tmp_path / "e" / "test" / "class0")
    with pytest.raises(DatasetError, match="a test takes at least two classes with test images"):
        open_dataset(f"folder:{one.parents[1]}", shipped, root)


def test_splits_are_found_in_any_case(shipped: Registry, tmp_path: Path, root: Path) -> None:
    for number, split in enumerate(("Training", "Validation", "TEST")):
        make_images(tmp_path / "d" / split, each=3, seed=number)
    assert counts(open_dataset(f"folder:{tmp_path / 'd'}", shipped, root)) == {"train": 9, "val": 9, "test": 9}


def test_a_link_that_relabels_images_is_refused(shipped: Registry, tmp_path: Path, root: Path) -> None:
    for split, seed in (("train", 0), ("test", 1)):
        make_images(tmp_path / "d" / split, each=3, seed=seed)
    (tmp_path / "d" / "train" / "class0" / "loop").symlink_to(tmp_path / "d" / "train" / "class1")
    with pytest.raises(DatasetError, match="one file in two classes"):
        open_dataset(f"folder:{tmp_path / 'd'}", shipped, root)


def test_a_replaced_image_with_its_old_date_is_noticed(shipped: Registry, tmp_path: Path, root: Path) -> None:
    place = make_images(tmp_path / "d")
    file = place / "class0" / "000.bmp"
    Image.new("RGB", (24, 24), "red").save(file)
    status = file.stat()
    before = open_dataset(f"folder:{place}", shipped, root)
    Image.new("RGB", (24, 24), "blue").save(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    assert open_dataset(f"folder:{place}", shipped, root).content != before.content


def test_a_file_name_that_is_not_utf8_is_named(shipped: Registry, tmp_path: Path, root: Path) -> None:
    place = make_images(tmp_path / "d")
    (place / "class0" / "000.png").rename(Path(os.fsdecode(os.fsencode(place / "class0") + b"/\xff.png")))
    with pytest.raises(DatasetError, match="is not UTF-8; rename it"):
        open_dataset(f"folder:{place}", shipped, root)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_image_is_named(shipped: Registry, tmp_path: Path, root: Path, content: bytes) -> None:
    place = make_images(tmp_path / "d")
    (place / "class1" / "bad.png").write_bytes(content)
    opened = open_dataset(f"folder:{place}", shipped, root)
    for split in opened.splits.values():
        if "class1/bad.png" in split.ids:
            with pytest.raises(DatasetError, match=r"class1/bad.png cannot be read \(.+\); repair or remove it"):
                split.images.load(split.ids.index("class1/bad.png"))
            return
    pytest.fail("the image is in no split")


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DatasetError, match="cut.jpg cannot be read"):
        FileImages.below(tmp_path, [path.name], ["x"]).load(0)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.webp", "photo.bmp"])
def test_a_look_at_a_file_finds_one_that_is_cut_off_empty_or_gone(tmp_path: Path, name: str) -> None:
    array = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / name)
    images = FileImages.below(tmp_path, [name], ["x"])
    images.check(0)
    whole = (tmp_path / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>", None):
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=f"{name} cannot be read"):
            images.check(0)


def test_a_look_at_a_whole_file_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("photo.jpg", "photo.png"):
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / name)
    images = FileImages.below(tmp_path, ["photo.jpg", "photo.png"], ["x", "y"])
    monkeypatch.setattr(Image, "open", lambda _: pytest.fail("decoded"))
    images.check(0)
    images.check(1)


def test_an_id_is_for_ever(shipped: Registry, tmp_path: Path, root: Path) -> None:
    """Worked out anew from what is on the disk: results of years ago carry these ids."""
    place = make_images(tmp_path / "my data")
    opened = open_dataset(f"folder:{place}", shipped, root)
    listed = {name: {"ids": list(split.ids), "labels": split.labels.tolist()} for name, split in opened.splits.items()}
    content = {
        name: fingerprint([file_sha256(place / one) for one in split.ids]) for name, split in opened.splits.items()
    }
    identity = fingerprint([fingerprint(listed), fingerprint(content)])[:8]
    assert opened.id == f"folder:my_data-{identity}"


def test_a_damaged_digest_cache_only_costs_time(shipped: Registry, tmp_path: Path, root: Path) -> None:
    place = make_images(tmp_path / "d")
    before = open_dataset(f"folder:{place}", shipped, root)
    (cached,) = (root / "content").iterdir()
    whole = cached.read_bytes()
    for damaged in (b"", b"no digests", whole[: len(whole) // 2]):
        cached.write_bytes(damaged)
        assert open_dataset(f"folder:{place}", shipped, root).id == before.id
        assert cached.read_bytes() == whole


def test_a_folder_opens_as_the_one_that_it_is_seen_from(
    shipped: Registry, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_images(tmp_path / "d" / "train", seed=1).parent
    make_images(place / "test", seed=2)
    before = open_dataset(f"folder:{place}", shipped, root)
    monkeypatch.chdir(place)
    after = open_dataset("folder:.", shipped, root)
    assert after.id == before.id and after.splits["train"].ids == before.splits["train"].ids
    assert after.splits["test"].images.load(4) == before.splits["test"].images.load(4)


def test_opening_takes_little_memory_an_image(shipped: Registry, tmp_path: Path, root: Path) -> None:
    def peak(classes: int) -> int:
        place = tmp_path / str(classes)
        for label in range(classes):
            folder = place / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(100):
                (folder / f"{number:06d}.png").write_bytes(b"%d %d" % (label, number))
        open_dataset(f"folder:{place}", shipped, root)
        tracemalloc.start()
        opened = open_dataset(f"folder:{place}", shipped, root)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(counts(opened).values()) == 100 * classes
        return most

    few = peak(10)
    assert (peak(50) - few) / 4000 < 700
