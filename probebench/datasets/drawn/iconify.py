"""Reads packages of Iconify: SVG bodies with names, aliases, categories and code points, as npm's @iconify-json has."""

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from probebench.datasets.drawn.drawing import Drawing, reader
from probebench.datasets.drawn.package import PackageError
from probebench.datasets.drawn.render import draw_svg
from probebench.errors import one_line

_TONE = r"(?:medium-light|medium-dark|light|medium|dark)"
_TONES = re.compile(rf"(?:-{_TONE}-skin-tone)+")
# One set writes farmer-dark for farmer-dark-skin-tone.
_BARE_TONES = re.compile(rf"(?:-{_TONE})+$")
_GENDERED = {"man", "woman", "person", "men", "women", "people", "adult"}
_CHILDREN = {"boy", "girl", "child"}
# Words that only join the people of a name.
_JOINING = {"and", "two"}
# Skin tones, presentation, female and male signs; man, woman and person.
_CODES_LEFT_OUT = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff", "fe0f", "2640", "2642"}
_PERSON, _PERSONS = "1f9d1", {"1f468", "1f469", "1f9d1"}
_JOINER = "200d"
# Other names that a caption adds.
_ALIASES = 3


def _read(folder: Path, name: str, needed: bool = True) -> dict[str, Any]:
    path = folder / "package" / name if (folder / "package").is_dir() else folder / name
    if not needed and not path.exists():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({one_line(error, 80)})"
        raise PackageError(f"{path} {reason}; remove {folder} and run the same command again") from error
    if not isinstance(value, dict):
        raise PackageError(f"{path} is no icon set; remove {folder} and run the same command again")
    return value


class _IconSet:
    """The icons of one package that it shows, each with its categories, other names and code points."""

    def __init__(self, folder: Path) -> None:
        data, categories = _read(folder, "icons.json"), _read(folder, "metadata.json").get("categories", {})
        try:
            self._side = (data.get("width", 16), data.get("height", 16))
            # Hidden ones are old drawings, kept for who named them.
            self.icons = {name: icon for name, icon in data["icons"].items() if not icon.get("hidden")}
            aliases = {name: alias for name, alias in data.get("aliases", {}).items() if set(alias) == {"parent"}}
            self.category: dict[str, str] = {}
            for category, names in categories.items():
                for name in names:
                    self.category.setdefault(name, category)
            self.aliases = _gathered((alias["parent"], name) for name, alias in aliases.items())
            self.codes = _gathered((name, code) for code, name in _read(folder, "chars.json", needed=False).items())
            self._bodies = {name: (icon["body"], self._box(icon)) for name, icon in self.icons.items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise PackageError(
                f"{folder} is no icon set ({one_line(error, 80)}); remove it and run the same command again"
            ) from error

    def _box(self, icon: Mapping[str, Any]) -> str:
        """Returns the square around an icon, which would be stretched to one."""
        width, height = (icon.get(name, side) for name, side in zip(("width", "height"), self._side, strict=True))
        side = max(width, height)
        left, top = icon.get("left", 0) - (side - width) / 2, icon.get("top", 0) - (side - height) / 2
        return f"{left:g} {top:g} {side:g} {side:g}"

    def svg(self, name: str) -> str:
        """Returns the whole SVG of an icon."""
        body, box = self._bodies[name]
        spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        return f'<svg {spaces} viewBox="{box}">{body}</svg>'

    def drawing(self, name: str, caption: str, series: str, concepts: Iterable[str]) -> Drawing:
        """Returns an icon as a drawing."""
        return Drawing(
            name=name,
            caption=caption,
            label=self.category.get(name, "Other"),
            series=series,
            concepts=tuple(sorted(set(concepts))),
            draw=functools.partial(draw_svg, self.svg(name)),
        )


def _gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def words(name: str) -> str:
    """Returns a name such as grinning-face in words."""
    return " ".join(re.split(r"[-_\s]+", name)).strip()


def concept_of(name: str, names: Iterable[str] = ()) -> str:
    """Returns a name of an emoji without skin tone and gender; ``names`` are all others of its set."""
    plain = _TONES.sub("", name)
    bare = _BARE_TONES.sub("", plain)
    if bare != plain and f"{bare}-medium-light" in names:
        plain = bare
    plain = plain.replace("flag-for-", "flag-").replace("flag-flag-", "flag-")
    if plain.startswith("flag-"):
        return plain
    if plain.startswith("family"):
        return "family"
    tokens = plain.split("-")
    if set(tokens) & _CHILDREN and not set(tokens) - _CHILDREN:
        return "child"
    kept = [token for token in tokens if token not in _GENDERED]
    if len(kept) == len(tokens):
        return plain
    return "-".join(token for token in kept if token not in _JOINING) or "person"


def code_of(code: str) -> str:
    """Returns code points such as 1f468-1f3fe-200d-1f393 without skin tone and gender, as ``u1f9d1-1f393``."""
    kept = [_PERSON if one in _PERSONS else one for one in code.lower().split("-") if one not in _CODES_LEFT_OUT]
    return "u" + "-".join(one for one in kept if one != _JOINER)


@reader("emoji")
def emoji(folders: Sequence[Path]) -> list[Drawing]:
    """Reads an emoji set: one drawing for all skin tones and genders of a concept, the most neutral of them."""
    icons = _IconSet(folders[0])
    concepts = _gathered((concept_of(name, icons.icons), name) for name in icons.icons)
    drawings = []
    for concept, names in concepts.items():
        name = min(names, key=lambda one: (_toned(one, icons), _gender(one), len(one), one))
        others = [alias for one in names for alias in icons.aliases.get(one, ()) if not _TONES.search(alias)]
        keys = {concept, *(concept_of(alias) for alias in others)}
        keys |= {code_of(code) for one in names for code in icons.codes.get(one, ())}
        drawings.append(icons.drawing(name, _caption(name, icons.aliases.get(name, ())), concept, keys))
    return drawings


def _toned(name: str, icons: _IconSet) -> bool:
    return concept_of(name, icons.icons) != concept_of(name) or _TONES.search(name) is not None


def _gender(name: str) -> int:
    tokens = set(name.split("-"))
    return len(tokens & {"man", "woman", "men", "women", "boy", "girl"})


def _caption(name: str, aliases: Iterable[str]) -> str:
    said = [words(one) for one in [name, *sorted(aliases)[:_ALIASES]]]
    return ", ".join(dict.fromkeys(said))


@reader("icons")
def icons(folders: Sequence[Path]) -> list[Drawing]:
    """Reads a set of icons in one colour."""
    found = _IconSet(folders[0])
    return [
        found.drawing(name, _caption(name, found.aliases.get(name, ())), name, [name, *found.aliases.get(name, ())])
        for name in found.icons
    ]
