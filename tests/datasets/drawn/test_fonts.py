import string
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from probebench.datasets.drawn.draw import split_of
from probebench.datasets.drawn.fonts import FONTS, glyphs, letters, script_of, signs
from probebench.datasets.drawn.package import PackageError
from probebench.datasets.drawn.render import draw_character


def font(path: Path, characters: Iterable[str], height: int = 600) -> Path:
    """A font whose characters are rectangles, each of another width."""
    codes = sorted(map(ord, characters))
    names = [".notdef", *(f"u{code:04x}" for code in codes)]
    outlines = {}
    for number, name in enumerate(names):
        pen = TTGlyphPen(None)
        pen.moveTo((50, 0))
        for point in ((50, height), (150 + 7 * number, height), (150 + 7 * number, 0)):
            pen.lineTo(point)
        pen.closePath()
        outlines[name] = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({code: f"u{code:04x}" for code in codes})
    builder.setupGlyf(outlines)
    builder.setupHorizontalMetrics({name: (900, 50) for name in names})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path


THAANA = "".join(map(chr, range(0x780, 0x7A6)))
GREEK = "".join(map(chr, range(0x3B1, 0x3CA)))


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("scripts")
    folder = top / FONTS / "truetype"
    font(folder / "NotoSans-Regular.ttf", string.ascii_letters + string.digits + GREEK + "𝐀𝐁ａｂ")
    font(folder / "NotoSansThaana-Regular.ttf", THAANA + "א")
    font(folder / "NotoSansThaana-Bold.ttf", "ກຂຄ")
    font(folder / "NotoSansThaanaUI-Regular.ttf", "ກຂຄ")
    font(folder / "NotoSerif-Regular.ttf", GREEK, height=300)
    return top


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("DEVANAGARI LETTER KA", "devanagari"),
        ("OLD SOUTH ARABIAN LETTER HE", "old south arabian"),
        ("LATIN SMALL LETTER A WITH ACUTE", "latin"),
        ("LINEAR B SYLLABLE B008 A", "linear b"),
        ("CUNEIFORM SIGN A", "cuneiform"),
        ("EGYPTIAN HIEROGLYPH A001", "egyptian"),
    ],
)
def test_the_script_is_what_a_name_begins_with(name: str, script: str) -> None:
    assert script_of(name) == script


def test_letters_of_scripts_and_none_of_plain_latin(scripts: Path) -> None:
    found = glyphs([scripts])
    labels = {one.label for one in found}
    # One Hebrew letter is no script, digits are no letters, and mathematical and wide ones are Latin again.
    assert labels == {"greek", "thaana"}
    assert sum(one.label == "thaana" for one in found) == len(THAANA)
    alpha = next(one for one in found if one.name == "u03b1")
    assert alpha.caption == "greek small letter alpha" and alpha.concepts == ("u03b1",)
    # Of two fonts Sans comes first.
    assert (
        alpha.draw(32).tobytes()
        == draw_character(scripts / FONTS / "truetype" / "NotoSans-Regular.ttf", "α", 32).tobytes()
    )


def test_a_character_is_black_on_white_in_the_middle(scripts: Path) -> None:
    drawn = np.asarray(draw_character(scripts / FONTS / "truetype" / "NotoSans-Regular.ttf", "a", 40))
    assert drawn.shape == (40, 40, 3)
    rows, columns = np.nonzero(drawn[..., 0] < 128)
    assert abs(rows.min() - (39 - rows.max())) <= 1 and abs(columns.min() - (39 - columns.max())) <= 1


def test_what_is_too_large_is_drawn_smaller(tmp_path: Path) -> None:
    tall = font(tmp_path / "Tall.ttf", "ab", height=3000)
    drawn = np.asarray(draw_character(tall, "a", 40))[..., 0]
    rows = np.flatnonzero((drawn < 128).any(axis=1))
    assert 0 < rows.min() and rows.max() < 39 and len(rows) > 30


def test_one_font_of_each_package_the_plainest(tmp_path: Path) -> None:
    folders = []
    for package in ("one", "two"):
        for style in ("-Bold", "-LightItalic", "-Regular"):
            font(tmp_path / package / FONTS / f"{package}{style}.otf", string.ascii_letters)
        folders.append(tmp_path / package)
    found = letters(folders)
    assert {one.series for one in found} == {"one-Regular", "two-Regular"} and len(found) == 2 * 52
    assert {one.label for one in found} == set(string.ascii_uppercase)
    small = next(one for one in found if one.name == "one-Regular/lower_q")
    assert (small.label, small.caption, small.concepts) == ("Q", "small letter q", ("u0071",))
    # All letters of a font lie in one split.
    assert len({split_of(one.series) for one in found if one.series == "one-Regular"}) == 1


def test_letters_that_a_font_lacks_are_left_out(tmp_path: Path) -> None:
    font(tmp_path / FONTS / "Few.ttf", "abcXYZ")
    assert sorted(one.label for one in letters([tmp_path])) == ["A", "B", "C", "X", "Y", "Z"]


def test_signs_are_numerals_and_marks_of_the_plainest_font(tmp_path: Path) -> None:
    font(tmp_path / FONTS / "Few.ttf", "a7?€")
    font(tmp_path / FONTS / "Few-Bold.ttf", string.printable.strip())
    found = signs([tmp_path])
    assert [(one.label, one.name, one.series) for one in found] == [
        ("digit seven", "Few/u0037", "Few"),
        ("question mark", "Few/u003f", "Few"),
    ]
    assert found[0].draw(32).tobytes() == draw_character(tmp_path / FONTS / "Few.ttf", "7", 32).tobytes()


def test_packages_without_fonts_and_damaged_fonts_are_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="holds no fonts"):
        letters([tmp_path])
    broken = tmp_path / FONTS / "Broken.ttf"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"\0\1\0\0no font")
    with pytest.raises(PackageError, match=r"Broken\.ttf cannot be read"):
        letters([tmp_path])
