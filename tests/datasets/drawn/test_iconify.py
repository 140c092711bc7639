from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probebench.datasets.drawn.iconify import code_of, concept_of, emoji, icons
from probebench.datasets.drawn.package import PackageError
from tests.datasets.drawn.packages import emoji_set, icon_set
from tests.trees import write_files


@pytest.mark.parametrize(
    ("name", "concept"),
    [
        ("man-farmer-medium-dark-skin-tone", "farmer"),
        ("woman-farmer", "farmer"),
        ("farmer", "farmer"),
        ("man", "person"),
        ("woman-dark-skin-tone", "person"),
        ("girl", "child"),
        ("boy-light-skin-tone", "child"),
        ("two-men-holding-hands", "holding-hands"),
        ("woman-and-man-holding-hands", "holding-hands"),
        ("kiss-woman-man-dark-skin-tone-light-skin-tone", "kiss"),
        ("family-man-woman-girl-boy", "family"),
        ("flag-isle-of-man", "flag-isle-of-man"),
        ("flag-for-isle-of-man", "flag-isle-of-man"),
        # No skin tones, though the words are there.
        ("black-medium-square", "black-medium-square"),
        ("police-car-light", "police-car-light"),
        ("salt-and-pepper", "salt-and-pepper"),
    ],
)
def test_concepts_are_names_without_tone_and_gender(name: str, concept: str) -> None:
    assert concept_of(name) == concept


def test_bare_tones_are_tones_where_their_siblings_are() -> None:
    names = {"artist", "artist-dark", "artist-medium-light", "moon-dark"}
    assert concept_of("artist-dark", names) == concept_of("artist-medium-light", names) == "artist"
    assert concept_of("moon-dark", names) == "moon-dark"


def test_code_points_of_one_concept_are_equal() -> None:
    assert code_of("1f468-1f3fe-200d-1f393") == code_of("1f9d1-200d-1f393") == "u1f9d1-1f393"
    assert code_of("1f926-200d-2642-fe0f") == code_of("1F926") == "u1f926"


def test_one_drawing_a_concept_the_most_neutral(tmp_path: Path) -> None:
    write_files(tmp_path / "package", emoji_set())
    found = {one.name: one for one in emoji([tmp_path])}
    assert set(found) == {
        *("grinning-face", "winking-face", "farmer", "family", "two-men-holding-hands"),
        *("flag-isle-of-man", "police-car-light"),
    }
    assert found["farmer"].label == "People & Body" and found["farmer"].series == "farmer"
    # The code points of all its variants, without tone and gender.
    assert set(found["farmer"].concepts) == {"farmer", "u1f9d1-1f33e"}
    assert found["grinning-face"].caption == "grinning face, happy face"
    assert set(found["grinning-face"].concepts) == {"grinning-face", "happy-face", "u1f600"}
    # What is mirrored shows something else, and hidden drawings are outdated.
    assert "mirrored" not in found["winking-face"].caption


def test_drawings_are_on_white_at_the_side_asked_for(tmp_path: Path) -> None:
    write_files(tmp_path / "package", emoji_set())
    for side in (16, 40):
        image = emoji([tmp_path])[0].draw(side)
        pixels = np.asarray(image)
        assert image.mode == "RGB" and pixels.shape == (side, side, 3)
        assert (pixels[0, -1] == 255).all() and (pixels != 255).any()


def test_icons_of_one_colour_keep_all_names(tmp_path: Path) -> None:
    names = {"home": "Places", "home-outline": "Places", "odd": "Places"}
    files = icon_set(names, icons={"aliases": {"house": {"parent": "home"}}})
    files["metadata.json"]["categories"] = {"Places": ["home", "home-outline"], "Other places": ["home"]}
    files["icons.json"]["icons"]["home"]["body"] = '<path fill="currentColor" d="M0 0h8v16H0z"/>'
    write_files(tmp_path / "package", files)
    found = {one.name: one for one in icons([tmp_path])}
    assert [found[name].label for name in ("home", "home-outline", "odd")] == ["Places", "Places", "Other"]
    assert found["home"].caption == "home, house" and found["home"].concepts == ("home", "house")
    drawn = np.asarray(found["home"].draw(16))
    assert (drawn[:, :8] == 0).all() and (drawn[:, 8:] == 255).all()


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        ("icons.json", None, "icons.json is missing"),
        ("metadata.json", None, "metadata.json is missing"),
        ("icons.json", '{"icons": {"a": {"bo', "icons.json cannot be read"),
        ("icons.json", "[]", "icons.json is no icon set"),
        ("icons.json", '{"icons": {"a": {}}}', "is no icon set"),
    ],
)
def test_a_half_unpacked_package_is_named(tmp_path: Path, file: str, content: str | None, line: str) -> None:
    write_files(tmp_path / "package", emoji_set())
    path = tmp_path / "package" / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(PackageError, match=line) as caught:
        emoji([tmp_path])
    assert f"remove {tmp_path}" in str(caught.value) or "remove it" in str(caught.value)


def test_boxes_of_icons_are_their_own_or_the_sets(tmp_path: Path) -> None:
    files: dict[str, Any] = icon_set({"wide": "A", "usual": "A"})
    files["icons.json"]["icons"]["wide"] = {"body": '<path d="M0 0h32v16H0z"/>', "width": 32}
    files["icons.json"]["icons"]["usual"] = {"body": '<path d="M0 0h16v16H0z"/>'}
    write_files(tmp_path / "package", files)
    usual, wide = (np.asarray(one.draw(16)) for one in sorted(icons([tmp_path]), key=lambda one: one.name))
    assert (usual == 0).all() and (wide[5:11] == 0).all() and (wide[:3] == 255).all()
