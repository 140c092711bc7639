"""Entries of data sets: the schema, and what every shipped one must say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.errors import RegistryError, UsageError
from probebench.registry import Registry
from probebench.registry.classes import matched
from probebench.registry.dataset import DatasetSpec
from probebench.registry.load import read_entry

SPECS = list(Registry.load(environ={}).datasets.values())
ENTRY = """
id = "mine"
title = "Mine"
paper = "none"
url = "none"
license = "CC0-1.0"
loader = "domainnet"
metric = "accuracy"
classes = ["a", "b"]

[splits]
rule = "mine"
train = 4
val = 0
test = 2
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], DatasetSpec]:
    def call(text: str) -> DatasetSpec:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return read_entry(path, DatasetSpec)

    return call


def with_top(line: str) -> str:
    return ENTRY.replace("\n[splits]", f"{line}\n\n[splits]")


def test_an_entry_of_before_still_reads(read: Callable[[str], DatasetSpec]) -> None:
    spec = read(ENTRY)
    assert (spec.citation, spec.fingerprint, spec.class_counts.train) == ("unknown", "unknown", "unknown")
    assert spec.readable_classes == ("a", "b") and spec.quirks == spec.files == spec.templates == ()


def test_readable_classes_are_the_prompts(read: Callable[[str], DatasetSpec]) -> None:
    assert read(with_top('prompts = ["an a", "a b"]')).readable_classes == ("an a", "a b")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('prompts = ["one"]', "prompts: 1 for 2 classes"),
        ('templates = ["a photo"]', "needs one {} for the class"),
        ('templates = ["{} {}"]', "needs one {} for the class"),
        ("class_counts = { train = 3 }", "class_counts.train: 6 images in 2 classes, where the entry says 4 in 2"),
        ("class_counts = { test = [1, 1, 0] }", "class_counts.test: 2 images in 3 classes"),
        ('unverified = ["splits.trains"]', "no key 'splits.trains'"),
        ('fingerprint = "abc"', "fingerprint"),
        ('metric = "median"', "metric"),
        ('archives = [{ url = "x", md5 = "short" }]', "archives.0.md5"),
        ("owner = 1", "owner: unknown key"),
    ],
)
def test_what_an_entry_must_not_say(read: Callable[[str], DatasetSpec], line: str, said: str) -> None:
    text = ENTRY.replace('metric = "accuracy"\n', "") if line.startswith("metric") else ENTRY
    with pytest.raises(RegistryError) as caught:
        read(text.replace("\n[splits]", f"{line}\n\n[splits]"))
    assert said in str(caught.value)


def test_classes_are_distinct(read: Callable[[str], DatasetSpec]) -> None:
    with pytest.raises(RegistryError, match="classes: a name repeats"):
        read(ENTRY.replace('["a", "b"]', '["a", "a"]'))
    with pytest.raises(RegistryError, match="classes"):
        read(ENTRY.replace('["a", "b"]', '["a"]'))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_a_shipped_entry_says_what_a_reader_needs(spec: DatasetSpec) -> None:
    assert spec.citation != "unknown" and spec.quirks and spec.templates and spec.obtain != "unknown"
    assert spec.files or spec.loader in ("digits", "fashion_mnist")
    assert not any(name.startswith("/") or "\\" in name or ".." in name for name in spec.files)


@pytest.mark.parametrize(
    ("name", "classes", "images"),
    [
        ("cifar100", 100, (50000, 0, 10000)),
        ("dtd", 47, (1880, 1880, 1880)),
        # 8,677 images without the background class, 30 of each class for training.
        ("caltech101", 101, (3030, 0, 5647)),
        ("oxford_pets", 37, (3680, 0, 3669)),
        ("domainnet_real", 345, (120906, 0, 52041)),
        ("domainnet_clipart", 345, (33525, 0, 14604)),
        ("eurosat", 10, (21600, 0, 5400)),
        ("cassava", 5, (17118, 0, 4279)),
        ("cct20", 16, (13553, 3484, 15827)),
        ("cct20_trans", 16, (13553, 1725, 23275)),
        ("imagenet1k", 1000, (1281167, 0, 50000)),
        ("imagenet_v2", 1000, (0, 0, 10000)),
        ("imagenet_sketch", 1000, (0, 0, 50889)),
        ("imagenet_a", 200, (0, 0, 7500)),
        ("imagenet_r", 200, (0, 0, 30000)),
        ("flowers102", 102, (1020, 1020, 6149)),
        ("food101", 101, (75750, 0, 25250)),
        ("stanford_cars", 196, (8144, 0, 8041)),
        ("fgvc_aircraft", 100, (3334, 3333, 3333)),
        ("sun397", 397, (19850, 0, 19850)),
        ("stl10", 10, (5000, 0, 8000)),
        ("svhn", 10, (73257, 0, 26032)),
        ("gtsrb", 43, (26640, 0, 12630)),
        ("pcam", 2, (262144, 32768, 32768)),
        ("country211", 211, (31650, 10550, 21100)),
    ],
)
def test_published_sizes(shipped: Registry, name: str, classes: int, images: tuple[int, int, int]) -> None:
    spec = shipped.dataset(name)
    assert len(spec.classes) == classes
    assert (spec.splits.train, spec.splits.val, spec.splits.test) == images


def test_mean_per_class_where_the_convention_says_so() -> None:
    by_class = {spec.id for spec in SPECS if spec.metric == "mean-per-class"}
    assert by_class == {
        *("caltech101", "oxford_pets", "flowers102", "fgvc_aircraft"),
        *("openclipart_categories", "openmoji_groups", "oxygen_contexts"),
        *("fxemoji_groups", "iconpark_categories", "papirus_contexts", "tuxpaint_stamps"),
    }


def test_imagenet_is_in_the_order_that_libraries_use(shipped: Registry) -> None:
    import open_clip
    from timm.data.imagenet_info import ImageNetInfo

    spec = shipped.dataset("imagenet1k")
    assert list(spec.classes) == ImageNetInfo("imagenet1k").label_names()  # type: ignore[no-untyped-call]
    assert list(spec.prompts) == list(open_clip.IMAGENET_CLASSNAMES)


def test_sets_to_test_imagenet_on_are_of_its_classes(shipped: Registry) -> None:
    """The lists of 200 are those that timm ships, which are those of the authors' own evaluations."""
    import timm.data

    words = dict(zip(shipped.dataset("imagenet1k").classes, shipped.dataset("imagenet1k").prompts, strict=True))
    for name in ("imagenet_v2", "imagenet_sketch", "imagenet_a", "imagenet_r"):
        spec = shipped.dataset(name)
        assert list(spec.prompts) == [words[one] for one in spec.classes]
        assert list(spec.classes) == sorted(spec.classes) and spec.templates == shipped.dataset("imagenet1k").templates
        if len(spec.classes) == 200:
            known = Path(timm.data.__file__).parent / "_info" / f"{name}_synsets.txt"
            assert list(spec.classes) == known.read_text().split()
    assert shipped.dataset("domainnet_real").classes == shipped.dataset("domainnet_clipart").classes


def test_classes_are_matched_by_name() -> None:
    assert matched(("a", "b", "c"), ("c", "a"), ("one", "two")) == (2, 0)
    with pytest.raises(UsageError, match="two cannot test probes of one, which has no class x, y, z and 1 more; both"):
        matched(("a",), ("a", "x", "y", "z", "w"), ("one", "two"))


def test_suites(shipped: Registry) -> None:
    assert shipped.suites["offline"].datasets == ("digits", "fashion_mnist")
    assert shipped.suites["study"].datasets == (
        *("cifar100", "dtd", "caltech101", "oxford_pets", "domainnet_real", "domainnet_clipart"),
        *("eurosat", "cassava", "cct20"),
    )
