import json
from pathlib import Path

import pytest
from torchvision import datasets

from probebench.datasets.named.layout import Layout, NotHereError
from probebench.datasets.named.prepare import fetch, placement, prepare
from probebench.datasets.open import default_suite, open_dataset, record_path
from probebench.errors import DatasetError
from probebench.registry import Registry
from tests.datasets.replicas import STUDY, Replica, with_entries


@pytest.fixture
def textures(shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replica:
    return STUDY["dtd"](shipped, tmp_path, monkeypatch)


def unreachable(*_: object, **__: object) -> None:
    raise OSError("<urlopen error [Errno -2] Name or service not known>")


def test_without_a_network_says_what_to_place_where(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.CIFAR100, "download", unreachable)
    with pytest.raises(DatasetError, match="could not be downloaded.*place cifar-100-python.tar.gz"):
        prepare(shipped.dataset("cifar100"), tmp_path)
    tree = placement(shipped.dataset("cifar100"), tmp_path).splitlines()
    assert tree[0] == f"{tmp_path}/cifar100/" and "  cifar-100-python/test  (missing)" in tree


def test_a_set_behind_an_account_is_placed_by_hand(shipped: Registry, tmp_path: Path) -> None:
    for name in ("cassava", "imagenet1k"):
        with pytest.raises(NotHereError, match="account"):
            prepare(shipped.dataset(name), tmp_path)
    with pytest.raises(DatasetError, match="its page is gone"):
        prepare(shipped.dataset("stanford_cars"), tmp_path)
    assert not any(tmp_path.rglob("prepared.json"))


def test_torchvision_fetches_every_split(shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Recorded:
        def __init__(self, root: str, split: str, download: bool) -> None:
            asked.append((Path(root), split, download))

    monkeypatch.setattr(datasets, "Country211", Recorded)
    fetch(Layout(shipped.dataset("country211"), tmp_path))
    assert asked == [(tmp_path / "country211", split, True) for split in ("train", "valid", "test")]


def test_archives_are_fetched_with_their_digests(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import utils

    asked = []

    def note(url: str, root: str, md5: str | None = None, **_: object) -> None:
        asked.append((url.rsplit("/", 1)[1], Path(root), md5))

    monkeypatch.setattr(utils, "download_and_extract_archive", note)
    monkeypatch.setattr(utils, "download_url", note)
    fetch(Layout(shipped.dataset("cct20"), tmp_path))
    fetch(Layout(shipped.dataset("domainnet_real"), tmp_path))
    assert asked[0] == ("eccv_18_annotations.tar.gz", tmp_path / "cct20", "66a1f481b44aa1edadf75c9cfbd27aba")
    assert [name for name, _, _ in asked[2:]] == ["real.zip", "real_train.txt", "real_test.txt"]
    assert {place for _, place, _ in asked[2:]} == {tmp_path / "domainnet"}


def test_what_is_there_is_not_fetched_again(textures: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.DTD, "_download", unreachable)
    opened = prepare(textures.spec, textures.root)
    known = json.loads(record_path("dtd", textures.root).read_text())
    assert known == {"fingerprint": opened.fingerprint, "counts": textures.images, "content": opened.content}


def test_a_change_after_preparation_is_an_error(textures: Replica, shipped: Registry) -> None:
    prepare(textures.spec, textures.root)
    registry = with_entries(shipped, textures.spec)
    open_dataset("dtd", registry, textures.root)
    place = textures.root / "dtd" / "dtd" / "dtd" / "images" / "banded"
    (place / "banded_0002.jpg").write_bytes((place / "banded_0004.jpg").read_bytes())
    with pytest.raises(DatasetError, match=r"data set dtd has changed since it was prepared \(content\)"):
        open_dataset("dtd", registry, textures.root)
    prepare(textures.spec, textures.root)
    open_dataset("dtd", registry, textures.root)
    listing = textures.root / "dtd" / "dtd" / "dtd" / "labels" / "test1.txt"
    listing.write_text("\n".join(reversed(listing.read_text().split())))
    with pytest.raises(DatasetError, match=r"changed since it was prepared \(fingerprint, content\)"):
        open_dataset("dtd", registry, textures.root)
    record_path("dtd", textures.root).write_text("{")
    with pytest.raises(DatasetError, match="prepared.json cannot be read; remove it"):
        open_dataset("dtd", registry, textures.root)


def test_the_study_is_the_default_once_all_its_sets_are_prepared(shipped: Registry, tmp_path: Path) -> None:
    assert default_suite(shipped, tmp_path) == "offline"
    names = shipped.suites["study"].datasets
    assert len(names) == 9
    for name in names[1:]:
        record_path(name, tmp_path).parent.mkdir()
        record_path(name, tmp_path).write_text("{}")
    assert default_suite(shipped, tmp_path) == "offline"
    record_path(names[0], tmp_path).parent.mkdir()
    record_path(names[0], tmp_path).write_text("{}")
    assert default_suite(shipped, tmp_path) == "study"
