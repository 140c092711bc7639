"""What of a folder is an image of a class: each file once, none that a system left behind, and the rest said aloud."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from probebench.datasets.base import Dataset
from probebench.datasets.formats import image_endings
from probebench.datasets.sources.folder import open_folder
from probebench.errors import DatasetError, ProbebenchWarning
from tests.conftest import make_images


@pytest.fixture
def root(home: Path) -> Path:
    return home / "datasets"


def opened(place: Path, root: Path, layout: str | None = None) -> tuple[Dataset, str]:
    """The data set, and all that was said of it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        dataset = open_folder(place, root, layout)  # type: ignore[arg-type]
    assert all(issubclass(one.category, ProbebenchWarning) for one in said)
    return dataset, "\n".join(str(one.message) for one in said)


def images(dataset: Dataset) -> int:
    return sum(map(len, dataset.splits.values()))


def loop_to_itself(cat: Path) -> None:
    (cat / "self").symlink_to(".")


def loop_of_two(cat: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        (cat / one).mkdir(exist_ok=True)
        (cat / one / "to").symlink_to(cat / other)


def loop_by_name(cat: Path) -> None:
    (cat / "deep" / "er").mkdir(parents=True)
    (cat / "deep" / "er" / "up").symlink_to(cat.absolute())


def link_to_a_file(cat: Path) -> None:
    (cat / "again.png").symlink_to("000.png")


def hard_link(cat: Path) -> None:
    (cat / "zzz.png").hardlink_to(cat / "000.png")


@pytest.mark.parametrize("make", [loop_to_itself, loop_of_two, loop_by_name, link_to_a_file, hard_link])
def test_a_file_counts_once_in_its_class(tmp_path: Path, root: Path, make: object) -> None:
    place = make_images(tmp_path / "d")
    before, _ = opened(place, root)
    make(place / "class0")  # type: ignore[operator]
    after, said = opened(place, root)
    assert after.id == before.id and after.splits["train"].ids == before.splits["train"].ids
    assert "what its class holds already" in said


def test_a_link_to_a_folder_or_class_elsewhere_is_followed(tmp_path: Path, root: Path) -> None:
    place, elsewhere = make_images(tmp_path / "d"), make_images(tmp_path / "e", classes=2, seed=1)
    (place / "class0" / "more").symlink_to(elsewhere / "class0")
    (place / "class7").symlink_to(elsewhere / "class1")
    dataset, said = opened(place, root)
    assert images(dataset) == 40 and said == ""
    assert {"class0/more/000.png", "class7/000.png"} <= {name for one in dataset.splits.values() for name in one.ids}


def test_a_link_that_holds_its_own_class_is_refused(tmp_path: Path, root: Path) -> None:
    for target in ("..", "/", str(tmp_path)):
        place = make_images(tmp_path / "d")
        link = place / "class0" / "up"
        link.symlink_to(target)
        with pytest.raises(DatasetError, match="class0/up is a link to a folder that holds its own class; remove it"):
            opened(place, root)
        link.unlink()


def test_a_class_that_is_another_is_refused(tmp_path: Path, root: Path) -> None:
    place = make_images(tmp_path / "d")
    (place / "copy").symlink_to("class0")
    with pytest.raises(DatasetError, match=r"copy/000.png and .*class0/000.png are one file in two classes"):
        opened(place, root)


def test_a_split_that_is_another_or_shares_its_files_is_refused(tmp_path: Path, root: Path) -> None:
    place = tmp_path / "d"
    make_images(place / "train")
    (place / "val").symlink_to("train")
    with pytest.raises(DatasetError, match=r"d/train and .*d/val are one folder, which would be two splits"):
        opened(place, root)
    (place / "val").unlink()
    make_images(place / "test", seed=1)
    (place / "test" / "class1" / "t.png").hardlink_to(place / "train" / "class1" / "000.png")
    with pytest.raises(DatasetError, match=r"test/class1/t.png and .*train/class1/000.png are one file in two splits"):
        opened(place, root)
    (place / "test" / "class1" / "t.png").unlink()
    (place / "val").mkdir()
    for name in ("class0", "class1"):
        (place / "val" / name).symlink_to(place / "train" / name)
    with pytest.raises(DatasetError, match=r"one file in two splits \(15 more are shared\)"):
        opened(place, root)


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints", "@eaDir", "__MACOSX", ".thumbnails", "$RECYCLE.BIN", "#recycle", "Lost+Found"]
)
@pytest.mark.parametrize("where", [".", "class0", "class0/deep", "class0/deep/er"])
def test_folders_of_a_system_are_left_out_at_every_depth(tmp_path: Path, root: Path, name: str, where: str) -> None:
    place = make_images(tmp_path / "d")
    make_images(place / "class0" / "deep" / "er", classes=1, each=2)
    before, said = opened(place, root)
    assert said == ""
    make_images(place / where / name, classes=2, each=3)
    after, said = opened(place, root)
    assert after.id == before.id
    assert f"left out: 6 images in hidden or system folders ({name})" in said


def test_hidden_files_are_left_out(tmp_path: Path, root: Path) -> None:
    place = make_images(tmp_path / "d")
    before, _ = opened(place, root)
    for name in ("._000.png", ".000.png"):
        shutil.copy(place / "class0" / "000.png", place / "class0" / name)
    (place / "class0" / "Thumbs.db").write_bytes(b"x")
    (place / "class0" / ".DS_Store").write_bytes(b"x")
    after, said = opened(place, root)
    assert after.id == before.id and said.endswith("left out: 2 hidden images")


@pytest.mark.parametrize("ending", [".jfif", ".gif", ".jp2", ".GIF", ".tga", ".ico"])
def test_whatever_pillow_reads_is_an_image(tmp_path: Path, root: Path, ending: str) -> None:
    place = make_images(tmp_path / "d")
    Image.new("RGB", (32, 32)).save(place / "class0" / f"more{ending}")
    dataset, said = opened(place, root)
    assert images(dataset) == 25 and said == ""
    (split,) = [one for one in dataset.splits.values() if f"class0/more{ending}" in one.ids]
    assert split.images.load(split.ids.index(f"class0/more{ending}")).size == (32, 32)


def test_what_was_read_before_is_read_still() -> None:
    assert {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"} <= image_endings()
    # Pillow knows these, and decodes none of them.
    assert not {".h5", ".mpg", ".eps", ".pdf", ".wmf"} & image_endings()


def test_files_that_are_no_images_are_counted_by_ending(tmp_path: Path, root: Path) -> None:
    place = make_images(tmp_path / "d")
    before, _ = opened(place, root)
    for name in ("a.heic", "b.HEIC", "c.mp4", "note"):
        (place / "class1" / name).write_bytes(b"x")
    shutil.copy(place / "class0" / "000.png", place / "beside.png")
    after, said = opened(place, root)
    assert after.id == before.id
    assert "left out: 2 .heic files, " in said and "1 .mp4 files" in said and "1 files without an ending" in said
    assert "1 images that lie beside the class folders" in said
    for name in ("class0", "class1", "class2"):
        for file in (place / name).glob("*.png"):
            file.rename(file.with_suffix(".heic"))
    with pytest.raises(DatasetError, match=r"holds no images \(left out: 26 .heic files"):
        opened(place, root)


def test_what_is_no_file_or_cannot_be_entered_is_named(tmp_path: Path, root: Path) -> None:
    place = make_images(tmp_path / "d")
    os.mkfifo(place / "class0" / "pipe.png")
    with pytest.raises(DatasetError, match="pipe.png is a pipe, and no file; remove it"):
        opened(place, root)
    (place / "class0" / "pipe.png").unlink()
    (place / "class0" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(DatasetError, match="gone.png cannot be read"):
        opened(place, root)
    (place / "class0" / "gone.png").unlink()
    (place / "class0" / "itself.png").symlink_to("itself.png")
    with pytest.raises(DatasetError, match="itself.png cannot be read"):
        opened(place, root)


def test_folders_come_in_the_order_of_ever(tmp_path: Path, root: Path) -> None:
    """The order of ids is in the fingerprint: that of ``sorted(os.walk(...))``, worked out anew."""
    place = make_images(tmp_path / "d")
    for name in ("b", "a-b", "a", "a/c", "B"):
        make_images(place / "class0" / name, classes=1, each=2).joinpath("class0").rename(place / "class0" / name / "x")
    for split in ("train", "test"):
        shutil.copytree(place, tmp_path / "s" / split)
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "s" / split / "class0" / f"{split}.png")
    expected = [
        f"{folder.removeprefix(str(tmp_path / 's') + '/')}/{name}"
        for label in range(3)
        for folder, _, names in sorted(os.walk(tmp_path / "s" / "test" / f"class{label}"))
        for name in sorted(names)
    ]
    assert list(opened(tmp_path / "s", root)[0].splits["test"].ids) == expected
