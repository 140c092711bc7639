"""Reads Debian's font packages: characters of many scripts, and letters, numerals and marks in many fonts."""

import functools
import hashlib
import logging
import re
import string
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from probebench.datasets.drawn.drawing import Drawing, reader
from probebench.datasets.drawn.package import PackageError
from probebench.datasets.drawn.render import draw_character
from probebench.errors import one_line

FONTS = "usr/share/fonts"
# Characters of a script that are drawn, the first in the order of a hash.
_EACH = 64
# Where the name of the script ends in a character's name.
_KINDS = re.compile(
    r" (?:CAPITAL|SMALL|LETTER|SYLLABLE|SIGN|VOWEL|CONSONANT|INDEPENDENT|IDEOGRAM|IDEOGRAPH|CHARACTER|HIEROGLYPH|"
    r"LIGATURE|MODIFIER|CURSIVE|FINAL|LOGOGRAM|NUMBER|AKSARA|SYMBOL|LETTERLIKE|SUBSCRIPT|PHARYNGEAL|GLOTTAL|HALF)\b.*"
)
# Letters of other scripts made of Latin ones, and symbols.
_NO_SCRIPT = (
    "MATHEMATICAL",
    "MODIFIER",
    "FULLWIDTH",
    "DOUBLE-STRUCK",
    "BLACK-LETTER",
    "SCRIPT",
    "FEMININE",
    "MASCULINE",
)
_STYLES = re.compile(
    r"bold|italic|oblique|light|thin|black|heavy|hairline|medium|cond|semi|demi|extra|mono", re.IGNORECASE
)


def _fonts(folder: Path) -> list[Path]:
    found = sorted(path for ending in ("ttf", "otf") for path in (folder / FONTS).rglob(f"*.{ending}"))
    if not found:
        raise PackageError(f"{folder / FONTS} holds no fonts; remove {folder} and run the same command again")
    return found


def _characters(font: Path) -> set[int]:
    """Returns the code points that a font draws."""
    from fontTools.ttLib import TTFont

    # It remarks upon oddities that no user can mend.
    logging.getLogger("fontTools").setLevel(logging.CRITICAL)
    try:
        with TTFont(font, lazy=True) as opened:
            return set(opened.getBestCmap() or ())
    # Damaged tables make the library raise whatever it stumbles over.
    except Exception as error:
        raise PackageError(
            f"font {font} cannot be read ({one_line(error, 80)}); remove its package and run the same command again"
        ) from error


def script_of(name: str) -> str:
    """Returns the script that a character's Unicode name begins with, such as ``old turkic``."""
    return _KINDS.sub("", name).lower()


@reader("glyphs")
def glyphs(folders: Sequence[Path]) -> list[Drawing]:
    """Reads letters of all scripts but the 52 of plain Latin, each in the first font that has it, Sans before Serif."""
    fonts = [font for font in _fonts(folders[0]) if font.stem.endswith("-Regular") and "UI-" not in font.stem]
    fonts.sort(key=lambda font: ("Sans" not in font.stem, len(font.stem), font.stem))
    by_script: dict[str, dict[int, Path]] = defaultdict(dict)
    for font in fonts:
        for code in sorted(_characters(font)):
            name = unicodedata.name(chr(code), "")
            if unicodedata.category(chr(code)).startswith("L") and name and not name.startswith(_NO_SCRIPT):
                by_script[script_of(name)].setdefault(code, font)
    return [
        _glyph(code, font, script)
        for script, codes in by_script.items()
        for code, font in _some(codes.items())
        if len(codes) >= _EACH // 4
    ]


def _some(codes: Iterable[tuple[int, Path]]) -> list[tuple[int, Path]]:
    plain = set(map(ord, string.ascii_letters))
    ordered = sorted(codes, key=lambda one: hashlib.sha256(f"{one[0]:x}".encode()).digest())
    return [one for one in ordered if one[0] not in plain][:_EACH]


def _glyph(code: int, font: Path, script: str) -> Drawing:
    return Drawing(
        name=f"u{code:04x}",
        caption=unicodedata.name(chr(code)).lower(),
        label=script,
        series=f"u{code:04x}",
        concepts=(f"u{code:04x}",),
        draw=functools.partial(draw_character, font, chr(code)),
    )


@reader("letters")
def letters(folders: Sequence[Path]) -> list[Drawing]:
    """Reads A to Z and a to z in one font of each package, the plainest; fonts are the series."""
    return [
        _in_font(
            font,
            letter,
            name=f"{'upper' if letter.isupper() else 'lower'}_{letter.lower()}",
            caption=f"{'capital' if letter.isupper() else 'small'} letter {letter}",
            label=letter.upper(),
        )
        for font, letter in _in_fonts(folders, string.ascii_letters)
    ]


@reader("signs")
def signs(folders: Sequence[Path]) -> list[Drawing]:
    """Reads the numerals and the marks of ASCII in the same fonts, each a class of its own."""
    named = {sign: unicodedata.name(sign).lower() for sign in string.digits + string.punctuation}
    return [
        _in_font(font, sign, name=f"u{ord(sign):04x}", caption=named[sign], label=named[sign])
        for font, sign in _in_fonts(folders, "".join(named))
    ]


def _in_fonts(folders: Sequence[Path], characters: str) -> Iterator[tuple[Path, str]]:
    """Yields the characters that the plainest font of each package draws."""
    for folder in folders:
        font = min(_fonts(folder), key=lambda path: (len(_STYLES.findall(path.stem)), len(path.stem), path.name))
        known = _characters(font)
        yield from ((font, one) for one in characters if ord(one) in known)


def _in_font(font: Path, character: str, *, name: str, caption: str, label: str) -> Drawing:
    return Drawing(
        name=f"{font.stem.replace(' ', '_')}/{name}",
        caption=caption,
        label=label,
        series=font.stem,
        concepts=(f"u{ord(character):04x}",),
        draw=functools.partial(draw_character, font, character),
    )
