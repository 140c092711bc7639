"""Reads packages of pictures by what folders they are in: clip art, stamps, icon themes; and icon sets by category."""

import functools
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from probebench.datasets.drawn.drawing import Drawing, hash_share, reader
from probebench.datasets.drawn.iconify import icons, words
from probebench.datasets.drawn.package import PackageError
from probebench.datasets.drawn.render import draw_picture, draw_svg
from probebench.errors import one_line

CLIPART, OXYGEN = "usr/share/openclipart/png", "usr/share/icons/oxygen/base"
STAMPS, PAPIRUS = "usr/share/tuxpaint/stamps", "usr/share/icons/Papirus"
# A fifth of all pictures are stars that differ in the number of their points alone: of these some are kept.
_STARS, _STARS_KEPT = "shapes/stars", 0.02
# Folders that say nothing of what is in them.
_NO_CATEGORY = ("unsorted", "special", "Other", "Others")
# Folders of variants of one thing, all of them in the part that is a source.
_VARIANTS = ("computer/icons", "computer/buttons", "recreation/games/cards", "signs_and_symbols/flags")
# Words by which a variant of a drawing is told from another.
_VARIANT = {
    *("bw", "small", "big", "large", "outline", "simple", "plain", "color", "colour", "colors", "dark", "light"),
    *("black", "white", "grey", "gray", "red", "green", "blue", "yellow", "orange", "purple", "cyan", "pink", "brown"),
    *("left", "right", "up", "down", "open", "new", "the", "by", "of", "clipart", "icon"),
}
# Pixels: seventeen drawings are so large that decoding them would take gigabytes.
_HUGE = 10_000_000
# What a category needs to be a class.
_FEWEST = 30
# Sizes of icons, the wanted one first, then the next to be scaled.
_SIZES = ("64x64", "128x128", "256x256", "48x48", "32x32", "22x22")
_SVG_SIZES = ("64x64", "48x48", "32x32", "24x24", "22x22", "16x16")
# Of thousands of applications and colours of folders: so many a context, each another thing.
_OF_CONTEXT = 200


def series_of(name: str) -> str:
    """Returns a name without numbers, single letters and words of variants: equal for variants of one drawing."""
    kept = [word for word in re.split(r"[^a-z]+", name.lower()) if len(word) > 1 and word not in _VARIANT]
    return "-".join(kept) or name.lower()


def _pictures(top: Path, ending: str = "png") -> Iterator[Path]:
    """Yields the pictures below a folder; links are other names of pictures that are there already."""
    if not top.is_dir():
        raise PackageError(f"{top} is missing; remove the package's folder and run the same command again")
    yield from (path for path in sorted(top.rglob(f"*.{ending}")) if not path.is_symlink() and path.is_file())


def _clipart(folders: Sequence[Path]) -> Iterator[tuple[Path, Path, str]]:
    """Yields each picture of Open Clip Art, its name below the top folder, and its series.

    The first word that is no variant's makes the series, because artists' names behind it are cut off anywhere.
    """
    top = folders[0] / CLIPART
    for path in _pictures(top):
        name = path.relative_to(top).with_suffix("")
        star = name.as_posix().startswith(_STARS) and hash_share("stars", name.as_posix()) >= _STARS_KEPT
        if not star and not _is_huge(path):
            yield path, name, series_of(path.stem).partition("-")[0]


def _is_huge(path: Path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as picture:
                return picture.width * picture.height > _HUGE
        except Image.DecompressionBombError:
            return True
        except OSError as error:
            raise PackageError(
                f"{path} cannot be read ({one_line(error, 80)}); remove its package and run the same command again"
            ) from error


def _cut_clipart(folders: Sequence[Path], *, source: bool) -> list[tuple[Path, Path, str]]:
    """Returns the pictures of one of the two parts; those named as one in a folder of variants go with that."""
    found = list(_clipart(folders))
    variants = {name.name for _, name, _ in found if name.as_posix().startswith(_VARIANTS)}
    return [one for one in found if source == (one[1].name in variants or hash_share("openclipart half", one[2]) < 0.5)]


@reader("clipart")
def clipart(folders: Sequence[Path]) -> list[Drawing]:
    """Reads the part of Open Clip Art that is a source; the rule goes by series of names."""
    return [
        _drawing(path, name, series, " ".join(words(one) for one in name.parent.parts[:2]))
        for path, name, series in _cut_clipart(folders, source=True)
    ]


@reader("clipart_set")
def clipart_set(folders: Sequence[Path]) -> list[Drawing]:
    """Reads the other part of Open Clip Art, by its upper folders."""
    return _large_classes(
        [
            _drawing(path, name, series, words(name.parts[0]))
            for path, name, series in _cut_clipart(folders, source=False)
            if name.parts[0] not in _NO_CATEGORY
        ]
    )


def _drawing(path: Path, name: Path, series: str, label: str) -> Drawing:
    said = re.sub(r"\s*\d+[a-z]?$", "", words(name.name)) or words(name.name)
    folders = " ".join(words(one) for one in name.parent.parts)
    return Drawing(
        name=name.as_posix(),
        caption=f"{said}, {folders}" if folders else said,
        label=label,
        series=series,
        concepts=(series,),
        draw=functools.partial(draw_picture, path),
    )


def _large_classes(drawings: Sequence[Drawing]) -> list[Drawing]:
    counts = Counter(one.label for one in drawings)
    return [one for one in drawings if counts[one.label] >= _FEWEST]


@reader("oxygen")
def oxygen(folders: Sequence[Path]) -> list[Drawing]:
    """Reads the icons of Oxygen by their contexts, each in the size that is nearest to the wanted one."""
    top, found = folders[0] / OXYGEN, dict[str, Drawing]()
    if not top.is_dir():
        raise PackageError(f"{top} is missing; remove the package's folder and run the same command again")
    for size in _SIZES:
        for path in _pictures(top / size):
            name = Path(path.parent.name) / path.stem
            if name.as_posix() not in found:
                found[name.as_posix()] = _drawing(path, name, series_of(path.stem), words(path.parent.name))
    return _large_classes(list(found.values()))


@reader("papirus")
def papirus(folders: Sequence[Path]) -> list[Drawing]:
    """Reads the icons of Papirus by their contexts: one of each series, and at most 200 of a context."""
    found: dict[tuple[str, str], Drawing] = {}
    for size in _SVG_SIZES:
        for path in _pictures(folders[0] / PAPIRUS / size, "svg"):
            series = series_of(path.stem)
            name = Path(path.parent.name) / path.stem
            drawing = _drawing(path, name, series, words(path.parent.name))
            found.setdefault((drawing.label, series), replace(drawing, draw=functools.partial(_draw_file, path)))
    contexts: dict[str, list[Drawing]] = {}
    for one in sorted(found.values(), key=lambda one: hash_share("papirus", one.series)):
        contexts.setdefault(one.label, []).append(one)
    return _large_classes([one for listed in contexts.values() for one in listed[:_OF_CONTEXT]])


def _draw_file(path: Path, side: int) -> Image.Image:
    return draw_svg(path.read_text(encoding="utf-8"), side)


@reader("stamps")
def stamps(folders: Sequence[Path]) -> list[Drawing]:
    """Reads Tux Paint's stamps, photographs most of them, by their upper folders."""
    top = folders[0] / STAMPS
    names = ((path, path.relative_to(top).with_suffix("")) for path in _pictures(top))
    return _large_classes([_drawing(path, name, series_of(name.name), words(name.parts[0])) for path, name in names])


@reader("icon_set")
def icon_set(folders: Sequence[Path]) -> list[Drawing]:
    """Reads a set of icons by category; names that differ in numbers, colours or directions are one series."""
    kept = [one for one in icons(folders) if one.label not in _NO_CATEGORY]
    return _large_classes([replace(one, series=series_of(one.name)) for one in kept])
