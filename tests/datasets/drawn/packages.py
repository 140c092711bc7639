"""Small packages in the exact layout of npm's @iconify-json and Debian's, with pictures of our own."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from probebench.registry.drawn import Package
from probebench.registry.source import SourceSpec

CIRCLE = '<circle cx="{x}" cy="8" r="{r}" fill="{fill}"/>'
# Names as the emoji packages write them: tones, genders, families, hidden old names, flags.
EMOJI = {
    "grinning-face": "Smileys & Emotion",
    "winking-face": "Smileys & Emotion",
    "man-farmer": "People & Body",
    "woman-farmer-dark-skin-tone": "People & Body",
    "farmer": "People & Body",
    "farmer-medium-light-skin-tone": "People & Body",
    "family-man-woman-boy": "People & Body",
    "family": "People & Body",
    "two-men-holding-hands": "People & Body",
    "flag-isle-of-man": "Flags",
    "police-car-light": "Travel & Places",
}


def icon_set(names: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    """icons.json, metadata.json and chars.json of a set whose drawings are circles, each another."""
    icons: dict[str, dict[str, Any]] = {
        name: {
            "body": CIRCLE.format(
                x=2 + number % 12, r=2 + number % 5, fill=f"#{(number * 81649 + 4096) % 0x1000000:06x}"
            )
        }
        for number, name in enumerate(names)
    }
    icons["old-drawing"] = {"body": "<path d='M0 0h9v9z'/>", "hidden": True}
    categories: dict[str, list[str]] = {}
    for name, category in names.items():
        categories.setdefault(category, []).append(name)
    files: dict[str, Any] = {
        "icons.json": {"prefix": "tiny", "icons": icons, "aliases": {}, "width": 16, "height": 16},
        "metadata.json": {"categories": categories},
        "chars.json": {},
        "package.json": {"name": "@iconify-json/tiny", "version": "1.0.0"},
    }
    for file, change in changes.items():
        files[f"{file}.json"].update(change)
    return files


def npm_archive(path: Path, files: Mapping[str, Any]) -> Path:
    """What ``npm pack`` writes: all files below package/."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, value in files.items():
            content = json.dumps(value).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def emoji_set() -> dict[str, Any]:
    return icon_set(
        EMOJI,
        icons={
            "aliases": {
                "happy-face": {"parent": "grinning-face"},
                "mirrored-face": {"parent": "winking-face", "hFlip": True},
            }
        },
        chars={"1f600": "grinning-face", "1f468-200d-1f33e": "man-farmer", "1f9d1-1f3fc-200d-1f33e": "farmer"},
    )


def npm_package(archive: Path, version: str = "1.0.0") -> Package:
    return Package(
        manager="npm",
        name="@iconify-json/tiny",
        version=version,
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
    )


def source_spec(packages: Sequence[Package], images: int, classes: int, **changes: Any) -> SourceSpec:
    drawn = {
        "reader": "emoji",
        "side": 16,
        "renderer": "resvg-py 0.5.0",
        "packages": [one.model_dump() for one in packages],
    }
    drawn |= changes.pop("drawn", {})
    values = {
        "id": "tiny",
        "title": "Tiny",
        "url": "none",
        "license": "CC0-1.0",
        "captions": "names",
        "labels": "categories",
        "images": images,
        "classes": classes,
        "drawn": drawn,
    }
    return SourceSpec.model_validate(values | changes)


def picture(path: Path, seed: int, size: tuple[int, int] = (20, 12)) -> Path:
    """A picture with a transparent border, as clip art has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    pixels[:, :3, 3] = 0
    Image.fromarray(pixels, "RGBA").save(path)
    return path


def program(folder: Path, name: str, script: str) -> None:
    """Puts a program of that name on the path, in place of npm or apt-get."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
