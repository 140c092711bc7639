"""Sets that are drawn from packages: from a replica of a package to splits."""

from pathlib import Path

import pytest

from probebench.datasets.captioned.table import TABLE
from probebench.datasets.drawn.draw import split_of
from probebench.datasets.named.prepare import prepare
from probebench.datasets.open import open_dataset
from probebench.errors import DatasetError, ProbebenchWarning, RegistryError
from probebench.registry import Registry
from probebench.registry.dataset import ClassCounts, DatasetSpec
from probebench.registry.drawn import Drawn
from tests.datasets.drawn.packages import icon_set, npm_archive, npm_package
from tests.datasets.replicas import with_entries

NAMES = {
    f"{kind} {chr(97 + number)}".replace(" ", "-"): kind.title() for kind in ("cat", "dog") for number in range(20)
}
COUNTS = {
    split: tuple(
        sum(label == kind and split_of(name) == split for name, label in NAMES.items()) for kind in ("Cat", "Dog")
    )
    for split in ("train", "test")
}


@pytest.fixture
def spec(shipped: Registry, root: Path) -> DatasetSpec:
    package = npm_package(npm_archive(root / "packages" / "iconify-json-tiny-1.0.0.tgz", icon_set(NAMES)))
    drawn = Drawn(reader="emoji", side=16, renderer="resvg-py 0.5.0", packages=(package,))
    known = shipped.dataset("openmoji_groups")
    counts = {name: sum(each) for name, each in COUNTS.items()}
    return known.model_copy(
        update={
            "classes": ("Cat", "Dog"),
            "prompts": (),
            "splits": known.splits.model_copy(update=counts),
            "class_counts": ClassCounts(**COUNTS),
            "fingerprint": "unknown",
            "drawn": drawn,
        }
    )


def test_prepare_draws_and_opens(spec: DatasetSpec, shipped: Registry, root: Path) -> None:
    dataset = prepare(spec, root)
    assert {name: len(split) for name, split in dataset.splits.items()} == {k: sum(v) for k, v in COUNTS.items()}
    for name, split in dataset.splits.items():
        for one, label in zip(split.ids, split.labels.tolist(), strict=True):
            plain = one.removeprefix("images/")
            assert split_of(plain) == name and NAMES[plain] == dataset.class_names[label]
        assert split.images.load(0).size == (16, 16)
    # Prepared once, it opens without its package, and a change is told.
    again = open_dataset(spec.id, with_entries(shipped, spec), root)
    assert (again.fingerprint, again.content) == (dataset.fingerprint, dataset.content)
    split = dataset.splits["train"]
    file = root / spec.id / f"{split.ids[0]}.png"
    split.images.load(1).save(file)
    with pytest.raises(DatasetError, match="has changed since it was prepared .content."):
        open_dataset(spec.id, with_entries(shipped, spec), root)


def test_the_content_is_of_pixels_not_of_files(spec: DatasetSpec, root: Path) -> None:
    before = prepare(spec, root)
    split = before.splits["train"]
    split.images.load(0).save(root / spec.id / f"{split.ids[0]}.png", compress_level=0)
    assert prepare(spec, root).content == before.content


def test_what_is_half_unpacked_is_named_with_its_mend(spec: DatasetSpec, root: Path) -> None:
    counts = spec.splits.model_copy(update={"train": 99})
    with pytest.raises(DatasetError) as caught:
        prepare(spec.model_copy(update={"splits": counts, "class_counts": ClassCounts()}), root)
    line = str(caught.value)
    assert f"remove {root / spec.id} and {root / 'packages' / 'iconify-json-tiny'}, which may be half unpacked" in line
    assert "run probebench datasets prepare openmoji_groups" in line and "\n" not in line
    (root / spec.id / TABLE).unlink()
    with pytest.raises(DatasetError, match=r"captions\.csv is missing; remove"):
        open_dataset(spec.id, with_entries(Registry.load(environ={}), spec), root)


def test_moved_pixels_are_said(spec: DatasetSpec, root: Path) -> None:
    assert spec.drawn is not None
    other = spec.drawn.model_copy(update={"pixels": "0" * 64, "renderer": "resvg-py 0.4.9"})
    with pytest.warns(ProbebenchWarning, match="data set openmoji_groups: its pixels are not those of the entry"):
        prepare(spec.model_copy(update={"drawn": other}), root)


def test_an_entry_must_say_what_it_is_drawn_from(spec: DatasetSpec, root: Path) -> None:
    with pytest.raises(RegistryError, match=r"lacks \[drawn\]"):
        prepare(spec.model_copy(update={"drawn": None}), root)
