import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from probebench.datasets.drawn import pictures
from probebench.datasets.drawn.draw import split_of
from probebench.datasets.drawn.package import PackageError
from probebench.datasets.drawn.pictures import (
    CLIPART,
    OXYGEN,
    PAPIRUS,
    STAMPS,
    clipart,
    clipart_set,
    icon_set,
    oxygen,
    papirus,
    series_of,
    stamps,
)
from probebench.datasets.drawn.render import draw_picture, draw_svg
from tests.datasets.drawn.packages import icon_set as icon_files
from tests.datasets.drawn.packages import picture


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clip art in folders of folders, in variants, with links, stars and what was not sorted."""
    top = tmp_path_factory.mktemp("clipart")
    for folder in ("animals/birds", "animals", "food/fruit", "food", "unsorted"):
        for number in range(45):
            word = "".join(chr(97 + (number // 26**place) % 26) for place in range(3)) + folder[:3] + folder[-2:]
            for variant in ("", "_01", "_bw"):
                picture(top / CLIPART / folder / f"{word}{variant}.png", number, (6, 6))
    for number in range(100):
        picture(top / CLIPART / "shapes/stars" / f"star_{number:02d}pt.png", number, (6, 6))
    picture(top / CLIPART / "plants" / "one_alone.png", 0, (6, 6))
    (top / CLIPART / "plants" / "other_name.png").symlink_to("one_alone.png")
    return top


@pytest.mark.parametrize(
    ("names", "series"),
    [
        (("apple_01", "apple_02", "apple_bw", "apple", "Apple_2_outline"), "apple"),
        (("star_05pt02step", "star_99pt01step"), "star-pt-step"),
        (("crawfish1_bw_ganson", "crawfish2_ganson", "red_crawfish_ganson"), "crawfish-ganson"),
        (("ornamental_h_7", "ornamental_c_k"), "ornamental"),
        (("301", "301"), "301"),
    ],
)
def test_variants_are_of_one_series(names: tuple[str, ...], series: str) -> None:
    assert {series_of(name) for name in names} == {series}


def test_the_halves_share_no_series_and_no_picture(package: Path) -> None:
    source, other = clipart([package]), clipart_set([package])
    assert {one.series for one in source}.isdisjoint(one.series for one in other)
    assert {one.name for one in source}.isdisjoint(one.name for one in other)
    assert min(len(source), len(other)) > 100
    names = [one.name for one in (*source, *other)]
    assert "plants/other_name" not in names
    assert sum(name.startswith("shapes/stars") for name in names) < 10


def test_the_set_has_large_categories_alone(package: Path) -> None:
    assert {one.label for one in clipart_set([package])} == {"animals", "food"}
    labels = {one.label for one in clipart([package])}
    assert {"animals", "animals birds", "food fruit", "unsorted"} <= labels


def test_no_series_is_in_two_splits(package: Path) -> None:
    splits: dict[str, set[str]] = {}
    for one in clipart_set([package]):
        splits.setdefault(one.series, set()).add(split_of(one.series))
    assert all(len(found) == 1 for found in splits.values())
    assert {one for found in splits.values() for one in found} == {"train", "test"}


def test_captions_are_the_name_and_its_folders(package: Path) -> None:
    captions = {one.name: one.caption for one in (*clipart([package]), *clipart_set([package]))}
    assert captions["animals/birds/aaaanids_01"] == captions["animals/birds/aaaanids"] == "aaaanids, animals birds"


def test_huge_pictures_are_left_out(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(clipart([package]))
    monkeypatch.setattr(pictures, "_HUGE", 35)
    assert before and not clipart([package])


def test_a_picture_stands_in_the_middle_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 4), np.uint8)
    # Red at both ends; between them colours mean nothing because they are transparent.
    pixels[:] = (0, 255, 0, 0)
    pixels[:, :4] = pixels[:, 12:] = (255, 0, 0, 255)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "wide.png")
    drawn = np.asarray(draw_picture(tmp_path / "wide.png", 32))
    assert drawn.shape == (32, 32, 3)
    assert (drawn[:8] == 255).all() and (drawn[24:] == 255).all()
    # Scaling rings a little at the edge.
    red = drawn[9:23, [*range(6), *range(26, 32)]].astype(int)
    assert (drawn[8:24, 10:22] > 240).all() and (np.abs(red - (255, 0, 0)) < 15).all()
    # No green shines through at the edge.
    assert (drawn[..., 1] <= drawn[..., 0]).all()


def test_an_empty_border_is_cut_off(tmp_path: Path) -> None:
    pixels = np.zeros((100, 60, 4), np.uint8)
    pixels[10:20, 5:15] = (0, 0, 0, 255)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "page.png")
    Image.fromarray(0 * pixels, "RGBA").save(tmp_path / "empty.png")
    assert (np.asarray(draw_picture(tmp_path / "page.png", 16)) == 0).all()
    assert (np.asarray(draw_picture(tmp_path / "empty.png", 16)) == 255).all()


def test_an_icon_is_taken_in_the_size_that_is_nearest(tmp_path: Path) -> None:
    for size in ("128x128", "256x256", "48x48", "32x32"):
        (tmp_path / OXYGEN / size).mkdir(parents=True)
    for number in range(30):
        picture(tmp_path / OXYGEN / "22x22" / "actions" / f"a{chr(97 + number % 26) * 3}{number}.png", number, (22, 22))
    picture(tmp_path / OXYGEN / "64x64" / "actions" / "aaaa0.png", 99, (64, 64))
    picture(tmp_path / OXYGEN / "64x64" / "emblems" / "few.png", 98, (64, 64))
    found = {one.name: one for one in oxygen([tmp_path])}
    assert len(found) == 30 and {one.label for one in found.values()} == {"actions"}
    alone = draw_picture(tmp_path / OXYGEN / "64x64" / "actions" / "aaaa0.png", 64)
    assert found["actions/aaaa0"].draw(64).tobytes() == alone.tobytes()


def words_of(number: int) -> str:
    """A name that no other number has, without numbers in it."""
    return "".join(chr(97 + number // 26**place % 26) for place in range(3)) + "x"


def test_one_icon_of_a_series_and_at_most_so_many_of_a_context(tmp_path: Path) -> None:
    top = tmp_path / PAPIRUS
    for size in ("64x64", "48x48", "32x32", "24x24", "22x22", "16x16"):
        (top / size).mkdir(parents=True)
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="{}" height="8"/></svg>'
    for context, count in (("apps", 230), ("places", 40), ("emotes", 29)):
        (top / "64x64" / context).mkdir()
        for number in range(count):
            for variant in ("", "-blue", "-2"):
                path = top / "64x64" / context / f"{words_of(number)}{variant}.svg"
                path.write_text(svg.format(1 + number % 8), encoding="utf-8")
    (top / "64x64" / "apps" / "other.svg").symlink_to(f"{words_of(0)}.svg")
    (top / "24x24" / "apps").mkdir()
    (top / "24x24" / "apps" / f"{words_of(0)}.svg").write_text(svg.format(5), encoding="utf-8")
    found = papirus([tmp_path])
    assert {label: sum(one.label == label for one in found) for label in ("apps", "places")} == {
        "apps": 200,
        "places": 40,
    }
    assert len(found) == 240 == len({(one.label, one.series) for one in found})
    # The largest size that there is.
    assert all((top / "64x64" / f"{one.name}.svg").is_file() for one in found)
    one = found[0]
    drawn = draw_svg((top / "64x64" / f"{one.name}.svg").read_text(encoding="utf-8"), 32)
    assert one.draw(32).tobytes() == drawn.tobytes()


def test_stamps_are_by_their_upper_folders(tmp_path: Path) -> None:
    for number in range(30):
        picture(tmp_path / STAMPS / "animals" / "birds" / f"{words_of(number)}.png", number, (9, 6))
    picture(tmp_path / STAMPS / "sports" / "ball.png", 0, (6, 6))
    found = stamps([tmp_path])
    assert len(found) == 30 and {one.label for one in found} == {"animals"}
    assert found[0].caption == f"{found[0].name.rpartition('/')[2]}, animals birds"


def test_an_icon_set_has_large_categories_and_series(tmp_path: Path) -> None:
    named = {f"{words_of(number)}-{side}": "Arrows" for number in range(20) for side in ("left", "right")}
    named |= {words_of(number): "Others" for number in range(100, 150)} | {"alone": "Brand"}
    for name, value in icon_files(named).items():
        (tmp_path / name).write_text(json.dumps(value), encoding="utf-8")
    found = icon_set([tmp_path])
    assert len(found) == 40 and {one.label for one in found} == {"Arrows"}
    assert len({one.series for one in found}) == 20


def test_a_package_without_its_folder_is_named(tmp_path: Path) -> None:
    for read in (clipart, clipart_set, oxygen, papirus, stamps):
        with pytest.raises(PackageError, match="is missing; remove the package's folder"):
            read([tmp_path])


def test_a_damaged_picture_is_named(package: Path, tmp_path: Path) -> None:
    broken = tmp_path / CLIPART / "food" / "broken.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no picture")
    with pytest.raises(PackageError, match=r"broken\.png cannot be read"):
        clipart([tmp_path])
