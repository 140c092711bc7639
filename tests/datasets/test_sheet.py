from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from probebench.datasets.base import ArrayImages, FileImages
from probebench.datasets.sheet import write_sheet
from probebench.errors import ProbebenchWarning, UsageError

COLOURS = np.array([[255, 0, 0], [0, 160, 0], [0, 0, 255]], np.uint8)


def images(count: int) -> ArrayImages:
    """Images of one colour each, that of their class."""
    return ArrayImages(
        np.ascontiguousarray(np.broadcast_to(COLOURS[np.arange(count) % 3, None, None], (count, 9, 9, 3)))
    )


def ids(count: int) -> list[str]:
    return [f"image {number}" for number in range(count)]


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_row_is_a_class(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"sheet.{ending}"
    assert write_sheet(file, images(30), ids(30), np.arange(30) % 3, ["red", "green", "blue"]) == 30
    sheet = np.asarray(Image.open(file).convert("RGB")).astype(int)
    assert sheet.shape[0] == 3 * 52 + 4
    for row, colour in enumerate(COLOURS):
        line = sheet[4 + row * 52 + 24, 190 + 8 :: 52][:10]
        assert (np.abs(line - colour) < 60).all()
    # A name stands beside the row.
    assert (sheet[:52, :180] < 128).any()


def test_of_many_classes_and_images_some_are_shown(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(100), 20)
    names = [f"class number {number} with a name that is far too long to fit" for number in range(100)]
    assert write_sheet(tmp_path / "s.png", images(2000), ids(2000), labels, names) == 16 * 12
    assert (tmp_path / "s.png").stat().st_size < 150_000


def test_without_labels_there_are_rows_of_images(tmp_path: Path) -> None:
    assert write_sheet(tmp_path / "s.png", images(30), ids(30), None, ()) == 30
    assert write_sheet(tmp_path / "s.png", images(500), ids(500), None, ()) == 16 * 12


def test_the_same_sheet_every_time_whatever_the_order(tmp_path: Path) -> None:
    names = ["red", "green", "blue"]
    write_sheet(tmp_path / "a.png", images(60), ids(60), np.arange(60) % 3, names)
    order = np.random.default_rng(0).permutation(60)
    turned = ArrayImages(images(60).pixels[order])
    write_sheet(tmp_path / "b.png", turned, [ids(60)[one] for one in order], order % 3, names)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_unreadable_image_is_crossed_out_and_told(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    files = FileImages.below(tmp_path, ["0.png", "1.png", "2.png"], ["", "", ""])
    with pytest.warns(ProbebenchWarning, match=r"1\.png cannot be read .* \(crossed out\)"):
        write_sheet(tmp_path / "sheet.png", files, ["0", "1", "2"], None, ())


def test_shapes_and_transparency(tmp_path: Path) -> None:
    Image.new("RGBA", (90, 3), (255, 0, 0, 0)).save(tmp_path / "wide.png")
    Image.new("I;16", (3, 90)).save(tmp_path / "deep.png")
    Image.new("1", (1, 1)).save(tmp_path / "one.png")
    files = FileImages.below(tmp_path, ["wide.png", "deep.png", "one.png"], ["", "", ""])
    assert write_sheet(tmp_path / "sheet.png", files, ["a", "b", "c"], None, ()) == 3


def test_a_file_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--sheet .*sheet\.txt: end its name in \.png, \.jpg, \.jpeg, \.webp"):
        write_sheet(tmp_path / "sheet.txt", images(3), ids(3), None, ())
