"""Entries of sources: the schema, and what every shipped one must say."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from probebench.errors import RegistryError
from probebench.registry import Registry, SourceSpec
from probebench.registry.load import read_entry
from probebench.registry.source import Shared
from probebench.registry.write import write_shared

SOURCES = list(Registry.load(environ={}).sources.values())
SUITES = Registry.load(environ={}).suites
MINI, AGAIN = SUITES["mini"].datasets, SUITES["mini_again"].datasets
DRAWN = ("openclipart_categories", "openmoji_groups", "oxygen_contexts", "letters")


def test_the_seven_ship() -> None:
    emoji = ("emoji_emojione", "emoji_fluent", "emoji_noto", "emoji_twemoji")
    assert [spec.id for spec in SOURCES] == sorted([*emoji, "icons_mdi", "openclipart", "glyphs"])


@pytest.mark.parametrize("spec", SOURCES, ids=lambda spec: spec.id)
def test_every_fact_is_there(spec: SourceSpec) -> None:
    assert spec.fingerprint != "unknown" and spec.drawn.pixels != "unknown" and spec.distinct != "unknown"
    assert spec.labels != "none" and spec.classes > 1 and spec.quirks and not spec.unverified
    assert spec.drawn.side == 64 and spec.distinct >= 1300
    # Searched against every set of the suites, each with its whole test split.
    assert set(spec.shared) == {*MINI, *AGAIN}
    for name, shared in spec.shared.items():
        assert shared.test == Registry.load(environ={}).dataset(name).splits.test
        assert shared.exact + shared.near <= shared.test and shared.concepts <= shared.test


def test_no_package_of_letters_is_one_of_the_glyphs(shipped: Registry) -> None:
    letters = shipped.dataset("letters").drawn
    assert letters is not None
    fonts = {package.name for package in letters.packages}
    assert len(fonts) == len(letters.packages)
    assert fonts.isdisjoint(package.name for package in shipped.source("glyphs").drawn.packages)


def test_the_suites_hold_six_sets_each_that_can_be_verified(shipped: Registry) -> None:
    assert MINI == ("digits", "fashion_mnist", *DRAWN)
    assert len(AGAIN) == 6 and not {*AGAIN} & {*MINI}
    for name in (*DRAWN, *AGAIN):
        spec = shipped.dataset(name)
        assert spec.verifiable and spec.drawn is not None and spec.drawn.pixels != "unknown"
        assert spec.templates and len(spec.readable_classes) == len(spec.classes)


def values(**changes: Any) -> dict[str, Any]:
    return SOURCES[0].model_dump(mode="json", exclude={"shared"}) | {"id": "mine"} | changes


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"images": 0}, "images: "),
        ({"distinct": 10**6}, "distinct: 1000000 of"),
        ({"labels": "none"}, "classes: 9, where labels are 'none'"),
        ({"classes": 0}, "classes: 0, where labels are "),
        ({"colour": "red"}, "colour: unknown key"),
        ({"unverified": ["licence"]}, "this entry has no key 'licence'"),
        ({"fingerprint": "abc"}, "fingerprint: "),
    ],
)
def test_each_fault_is_named(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(values(**changes)))
    with pytest.raises(RegistryError, match=fault):
        read_entry(tmp_path / "mine.toml", SourceSpec)


@pytest.mark.parametrize(
    "package",
    [
        {"manager": "pip"},
        {"name": "../../etc"},
        {"name": "-o"},
        {"version": "1.0 --unsafe"},
        {"version": "../x"},
        {"sha256": "unknown"},
    ],
)
def test_packages_name_nothing_but_packages(tmp_path: Path, package: dict[str, str]) -> None:
    entry = values()
    entry["drawn"]["packages"][0] |= package
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(entry))
    with pytest.raises(RegistryError, match="drawn.packages.0"):
        read_entry(tmp_path / "mine.toml", SourceSpec)


def test_what_is_shared_is_written_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(values()))
    one, other = (Shared(exact=number, near=2, concepts=3, test=40) for number in (0, 1))
    write_shared(path, {"letters": one, "digits": one})
    write_shared(path, {"digits": other})
    read = read_entry(path, SourceSpec)
    assert read.shared == {"digits": other, "letters": one}
    assert read.model_dump(exclude={"shared"}) == SourceSpec.model_validate(values()).model_dump(exclude={"shared"})
