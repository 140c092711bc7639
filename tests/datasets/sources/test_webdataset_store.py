"""Shards from a server: streamed through a cache that never holds the whole."""

import gzip
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probebench.backbones.builders import build_backbone
from probebench.cache.store import FeatureFile
from probebench.datasets.base import ArrayImages, Dataset, Split
from probebench.datasets.sources.webdataset.open import ShardImages, open_wds
from probebench.errors import DatasetError
from probebench.extraction import ExtractionOptions, extract
from tests.conftest import make_entry
from tests.datasets.shards import PIXELS, Host, assert_same, remote, write_shards


def kept(root: Path) -> list[Path]:
    return sorted((root / "wds" / "shards").glob("*.tar"))


def emptied(opened: Dataset) -> ShardImages:
    """The training images, with a cache that is empty and has room for one shard."""
    images = opened.splits["train"].images
    assert isinstance(images, ShardImages)
    for place in images.store.folder.glob("*.tar"):
        place.unlink()
    return replace(images, store=replace(images.store, limit=0))


def test_streamed_shards_give_what_was_written_and_are_remembered(host: Host, root: Path) -> None:
    opened = open_wds(remote(host), root)
    assert opened.class_names == ("red", "green", "blue") and opened.id.startswith("wds:cars-")
    assert_same(opened, {"train": range(30), "test": range(30, 40)})
    assert len(host.tars()) == 4, "each shard was streamed once"
    before = len(host.asked)
    again = open_wds(remote(host), root)
    assert again.id == opened.id and again.class_names == opened.class_names
    assert_same(again, {"train": range(30), "test": range(30, 40)})
    assert len(host.asked) == before, "a second look asks the server for nothing"


def test_the_whole_is_never_on_the_disk(host: Host, root: Path) -> None:
    images = emptied(open_wds(remote(host), root))
    asked = len(host.tars())
    for position in range(30):
        assert np.array_equal(np.asarray(images.load(position)), PIXELS[position])
        assert len(kept(root)) == 1
    assert len(host.tars()) == asked + 3, "each shard is streamed once in one pass"
    assert not list((root / "wds" / "shards").glob("*.partial"))


def test_an_evicted_shard_stays_readable_where_it_is_open(host: Host, root: Path) -> None:
    images = emptied(open_wds(remote(host), root))
    asked = len(host.tars())
    for position in (0, 10, 20, 1, 11, 21, 2):
        assert np.array_equal(np.asarray(images.load(position)), PIXELS[position])
    assert len(kept(root)) == 1 and len(host.tars()) <= asked + 3


def test_several_processes_share_the_cache(host: Host, root: Path) -> None:
    images = emptied(open_wds(remote(host), root))
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for position, found in enumerate(pool.map(images.load, range(30), chunksize=5)):
            assert np.array_equal(np.asarray(found), PIXELS[position])


def test_a_look_at_streamed_images_streams_nothing(host: Host, root: Path) -> None:
    images = emptied(open_wds(remote(host), root))
    asked = len(host.asked)
    for position in range(30):
        images.check(position)
    assert len(host.asked) == asked


def test_a_streamed_shard_that_changed_is_refused(host: Host, tmp_path: Path, root: Path) -> None:
    opened = open_wds(remote(host), root)
    images = emptied(opened)
    write_shards(tmp_path / "served" / "cars" / "train" / "%03d.tar", range(10, 40))
    with pytest.raises(DatasetError, match="train/000.tar is not what it was when it was first read; restore it"):
        images.load(0)


@pytest.mark.parametrize("where", ["host", "disk"])
def test_packed_shards(host: Host, tmp_path: Path, root: Path, where: str) -> None:
    cars = tmp_path / "served" / "cars"
    before = open_wds(str(cars), root).id
    for path in list(cars.rglob("*.tar")):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    text = remote(host).replace(".tar", ".tar.gz") if where == "host" else str(cars)
    opened = open_wds(text, root)
    assert opened.id == before
    assert_same(opened, {"train": range(30), "test": range(30, 40)})


def test_a_server_that_lacks_a_shard_or_does_not_answer(host: Host, root: Path) -> None:
    with pytest.raises(DatasetError, match=r"cars/none.tar cannot be read \(its server has no such file"):
        open_wds(f"train={host.url}/cars/none.tar;test={host.url}/cars/test/000.tar", root)
    opened = open_wds(remote(host), root)
    host.stop()
    assert_same(open_wds(remote(host), root), {"train": range(30), "test": range(30, 40)})
    with pytest.raises(DatasetError, match=r"002.tar cannot be read \(the network cannot be reached\); mend that and"):
        emptied(opened).load(29)


def test_a_transfer_that_is_cut_off(host: Host, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(self: SimpleHTTPRequestHandler, source: Any, output: Any) -> None:
        output.write(source.read()[:-6000])

    monkeypatch.setattr(SimpleHTTPRequestHandler, "copyfile", cut)
    with pytest.raises(DatasetError, match=r"\.tar cannot be read \(the transfer was cut off\)"):
        open_wds(remote(host), root)
    assert not list((root / "wds" / "shards").iterdir())


def test_features_of_streamed_images_are_those_of_the_arrays(host: Host, root: Path, tmp_path: Path) -> None:
    backbone = build_backbone(make_entry(tmp_path), tmp_path)
    opened = open_wds(remote(host), root)
    emptied(opened)
    arrays = {"train": ArrayImages(PIXELS[:30]), "test": ArrayImages(PIXELS[30:])}
    splits = {name: Split(split.ids, split.labels, arrays[name]) for name, split in opened.splits.items()}
    options = ExtractionOptions(device="cpu", dtype="fp32", batch_size=8, workers=2)
    found = extract(backbone, opened, tmp_path / "streamed", options)
    expected = extract(backbone, Dataset("arrays", opened.class_names, splits), tmp_path / "arrays", options)
    for one, other in zip(found, expected, strict=True):
        with FeatureFile(one.path) as file, FeatureFile(other.path) as reference:
            assert file.ids == reference.ids and np.array_equal(file.read(), reference.read())
