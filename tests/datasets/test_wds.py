"""Webdatasets, written by webdataset itself: what comes out is what went in, from the disk and from a server."""

import gzip
import importlib.util
import io
import json
import multiprocessing
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from probebench.backbones.builders import build_backbone
from probebench.cache.store import FeatureFile
from probebench.datasets.base import ArrayImages, Dataset, Split
from probebench.datasets.wds import ShardImages, open_wds
from probebench.errors import DatasetError, UsageError
from probebench.extract import Options, extract
from tests.conftest import Ran, make_entry, write_entry

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
LABELS = np.arange(40) % 3


@pytest.fixture
def root(home: Path) -> Path:
    return home / "datasets"


def sample(number: int, suffix: str = "png") -> dict[str, Any]:
    return {"__key__": f"{number:06d}", suffix: Image.fromarray(PIXELS[number]), "cls": int(LABELS[number])}


def write_shards(pattern: Path, numbers: Sequence[int], each: int = 10) -> None:
    pattern.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.ShardWriter(str(pattern), maxcount=each, verbose=0) as writer:
        for number in numbers:
            writer.write(sample(number))


def write_files(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def png(number: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(buffer, "PNG")
    return buffer.getvalue()


def assert_same(opened: Dataset, expected: dict[str, Sequence[int]]) -> None:
    """Ids, labels and pixels are those of the arrays, part by part and in order."""
    assert {name: len(split) for name, split in opened.splits.items()} == {k: len(v) for k, v in expected.items()}
    for part, numbers in expected.items():
        split = opened.splits[part]
        assert [int(name.rsplit("/", 1)[-1]) for name in split.ids] == list(numbers)
        assert np.array_equal(split.labels, LABELS[list(numbers)])
        for position, number in enumerate(numbers):
            split.images.check(position)
            assert np.array_equal(np.asarray(split.images.load(position)), PIXELS[number])


class Host:
    """A server of files on this machine, which says what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(
            ("127.0.0.1", 0), lambda *arguments: Handler(*arguments, directory=str(folder))
        )
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def tars(self) -> list[str]:
        return [path for path in self.asked if path.endswith(".tar")]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    folder = tmp_path / "served"
    write_shards(folder / "cars" / "train" / "%03d.tar", range(30))
    write_shards(folder / "cars" / "test" / "%03d.tar", range(30, 40))
    (folder / "cars" / "classnames.txt").write_text("red\ngreen\nblue\n")
    served = Host(folder)
    yield served
    served.stop()


def remote(host: Host) -> str:
    return f"train={host.url}/cars/train/{{000..002}}.tar;test={host.url}/cars/test/000.tar"


@pytest.mark.parametrize("layout", ["flat", "named", "below", "patterns", "glob", "file"])
def test_every_way_to_name_shards_gives_what_was_written(tmp_path: Path, root: Path, layout: str) -> None:
    place = tmp_path / "my cars"
    names = {"below": "{0}/%05d.tar", "named": "cars_{0}-%06d.tar"}.get(layout, "{0}-%06d.tar")
    write_shards(place / names.format("train"), range(25))
    write_shards(place / names.format("test"), range(25, 40))
    text = {
        "patterns": f"test={place}/test-{{000000..000001}}.tar;train={place}/train-{{000000..000002}}.tar",
        "glob": f"train={place}/train-*.tar;test={place}/test-*.tar",
        "file": f"train=file:{place}/train-{{000000..000002}}.tar;test={place}/test-{{000000,000001}}.tar",
    }.get(layout, str(place))
    opened = open_wds(text, root)
    assert_same(opened, {"train": range(25), "test": range(25, 40)})
    assert list(opened.splits) == ["train", "test"] and opened.class_names == ("0", "1", "2")
    assert opened.splits["test"].ids[0] == "test/000025"
    assert opened.id.startswith("wds:my_cars-") and len(opened.id) == len("wds:my_cars-") + 8


def test_samples_in_other_shards_are_the_same_data_set(tmp_path: Path, root: Path) -> None:
    for each in (7, 20):
        write_shards(tmp_path / str(each) / "d" / "train-%03d.tar", range(30), each)
        write_shards(tmp_path / str(each) / "d" / "test-%03d.tar", range(30, 40), each)
    few, many = (open_wds(str(tmp_path / each / "d"), root) for each in ("7", "20"))
    assert few.id == many.id and few.fingerprint == many.fingerprint


def test_parts_as_people_have_them(tmp_path: Path, root: Path) -> None:
    write_shards(tmp_path / "Training" / "%03d.tar", range(20))
    write_shards(tmp_path / "valid" / "%03d.tar", range(20, 30))
    # ImageNet's layout: val is what everybody reports.
    assert_same(open_wds(str(tmp_path), root), {"train": range(20), "test": range(20, 30)})
    write_shards(tmp_path / "test" / "%03d.tar", range(30, 40))
    opened = open_wds(str(tmp_path), root)
    assert list(opened.splits) == ["train", "val", "test"]
    assert_same(opened, {"train": range(20), "val": range(20, 30), "test": range(30, 40)})


@pytest.mark.parametrize("text", ["{0}/all-{{000..003}}.tar", "{0}"])
def test_shards_without_parts_get_a_fixed_test_part(tmp_path: Path, root: Path, text: str) -> None:
    write_shards(tmp_path / "d" / "all-%03d.tar", range(40))
    opened = open_wds(text.format(tmp_path / "d"), root)
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 31, "test": 9}
    numbers = {name: [int(one) for one in split.ids] for name, split in opened.splits.items()}
    assert sorted(numbers["train"] + numbers["test"]) == list(range(40))
    assert_same(opened, numbers)  # type: ignore[arg-type]


def test_labels_in_json_and_names_of_classes(tmp_path: Path, root: Path) -> None:
    for part, numbers in (("train", range(6)), ("test", range(6, 9))):
        files = {}
        for number in numbers:
            files[f"a/{number}.photo.PNG"] = png(number)
            files[f"a/{number}.json"] = json.dumps({"label": int(LABELS[number]), "caption": "é"}).encode()
            files[f"a/{number}.txt"] = b"a caption"
        files["__meta__/7.jpg"] = files["README"] = b"which webdataset skips"
        write_files(tmp_path / "d" / f"{part}-0.tar", files)
    assert open_wds(str(tmp_path / "d"), root).class_names == ("0", "1", "2")
    (tmp_path / "d" / "classes.txt").write_text("red\r\ngreen\r\n\r\nblue car\r\nnobody\r\n\r\n")
    opened = open_wds(str(tmp_path / "d"), root)
    assert opened.class_names == ("red", "green", "", "blue car", "nobody")
    assert_same(opened, {"train": range(6), "test": range(6, 9)})
    (tmp_path / "d" / "classes.txt").write_text("red\ngreen\n")
    with pytest.raises(DatasetError, match="train-0.tar: sample a/2 has the label 2, and .* has 2 lines"):
        open_wds(str(tmp_path / "d"), root)


def test_numbers_of_classes_that_do_not_occur_are_no_classes(tmp_path: Path, root: Path) -> None:
    for part in ("train", "test"):
        files: dict[str, bytes] = {}
        for number, label in enumerate((900, 7, 7, 900, 30)):
            files |= {f"{number}.png": png(number), f"{number}.cls": b"%d\n" % label}
        write_files(tmp_path / f"{part}.tar", files)
    opened = open_wds(str(tmp_path), root)
    assert opened.class_names == ("7", "30", "900") and opened.splits["train"].labels.tolist() == [2, 0, 0, 2, 1]


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


def test_streamed_and_local_shards_are_the_same_data_set(host: Host, tmp_path: Path, root: Path) -> None:
    assert open_wds(remote(host), root).id == open_wds(str(tmp_path / "served" / "cars"), root).id


def kept(root: Path) -> list[Path]:
    return sorted((root / "wds" / "shards").glob("*.tar"))


def emptied(opened: Dataset) -> ShardImages:
    """The training images, with a cache that is empty and has room for one shard."""
    images = opened.splits["train"].images
    assert isinstance(images, ShardImages)
    for place in images.store.folder.glob("*.tar"):
        place.unlink()
    return replace(images, store=replace(images.store, limit=0))


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


def test_an_image_takes_little_memory(tmp_path: Path, root: Path) -> None:
    content = png()
    files: dict[str, bytes] = {}
    for number in range(3000):
        files |= {f"{number:08d}.png": content, f"{number:08d}.cls": b"%d" % (number % 2)}
    write_files(tmp_path / "d" / "train-0.tar", files)
    write_shards(tmp_path / "d" / "test-%03d.tar", range(4))
    opened = open_wds(str(tmp_path / "d"), root)
    assert len(pickle.dumps(opened.splits["train"].images)) / 3000 < 120
    assert len(pickle.dumps(opened.splits["train"])) / 3000 < 200


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


def test_a_local_shard_that_changed_is_read_anew(tmp_path: Path, root: Path) -> None:
    for part, numbers in (("train", range(20)), ("test", range(20, 30))):
        write_shards(tmp_path / "d" / f"{part}-%03d.tar", numbers)
    before = open_wds(str(tmp_path / "d"), root)
    write_shards(tmp_path / "d" / "test-%03d.tar", range(30, 40))
    after = open_wds(str(tmp_path / "d"), root)
    assert_same(after, {"train": range(20), "test": range(30, 40)})
    assert after.id != before.id


def test_a_second_look_reads_no_shard(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, numbers in (("train", range(20)), ("test", range(20, 30))):
        write_shards(tmp_path / "d" / f"{part}-%03d.tar", numbers)
    before = open_wds(str(tmp_path / "d"), root)
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("a shard was read again"))
    assert open_wds(str(tmp_path / "d"), root).id == before.id


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


GOOD = {"0.png": png(0), "0.cls": b"0", "1.png": png(1), "1.cls": b"1"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"2.png": png()}, "sample 2 has no label: give it a .cls"),
        ({"2.png": png(), "2.json": b'{"lable": 1}'}, "sample 2: its label None is not a class number"),
        ({"2.png": png(), "2.json": b'{"label": "cat"}'}, "sample 2: its label 'cat' is not a class number"),
        ({"2.png": png(), "2.json": b'{"label": true}'}, "sample 2: its label True is not a class number"),
        ({"2.png": png(), "2.json": b"[" * 100_000}, "sample 2: its json cannot be read"),
        ({"2.png": png(), "2.json": b"{"}, "sample 2: its json cannot be read"),
        ({"2.png": png(), "2.cls": b"cat"}, "sample 2: its label 'cat' is not a class number"),
        ({"2.png": png(), "2.cls": b"1.0"}, "sample 2: its label '1.0' is not a class number"),
        ({"2.png": png(), "2.cls": b"-1"}, "sample 2: its label '-1' is not a class number"),
        ({"2.png": png(), "2.cls": b"9" * 5000}, "sample 2: its label '99999"),
        ({"2.png": png(), "2.cls": b"9" * 2_000_000}, "sample 2: its label file has 2000000 bytes"),
        ({"2.png": png(), "2.cls": b""}, "sample 2: its label '' is not a class number"),
        ({"2.cls": b"1"}, "sample 2 has no image among its files \\(cls\\)"),
        ({"2.a.png": png(), "2.b.jpg": png(), "2.cls": b"1"}, "sample 2 has several images"),
        ({"2.png": png(), "2.PNG": png(), "2.cls": b"1"}, "has a sample twice \\(2.PNG: duplicate"),
        ({"2.png": png(), "2.cls": b"1", "0.png": png(), "0.cls": b"0"}, "sample 0 is in .*train-0.tar too"),
        ({"../2.png": png(), "../2.cls": b"1"}, "file '../2.png' has a name or form that is refused"),
        ({"/2.png": png(), "/2.cls": b"1"}, "file '/2.png' has a name or form that is refused"),
        ({"a/../2.png": png()}, "refused"),
        ({"2\n.png": png()}, r"file '2\\n.png' has a name"),
        ({"2\udcff.png": png()}, r"file '2\\udcff.png' has a name"),
    ],
)
def test_samples_that_cannot_be_used_are_named(tmp_path: Path, root: Path, files: dict[str, bytes], said: str) -> None:
    write_files(tmp_path / "d" / "train-0.tar", GOOD | files)
    with tarfile.open(tmp_path / "d" / "train-0.tar", "a") as tar:
        # Keys that come back after others.
        for name in [one for one in files if one.startswith("0.")]:
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            tar.addfile(member, io.BytesIO(files[name]))
    write_files(tmp_path / "d" / "test-0.tar", GOOD)
    with pytest.raises(DatasetError, match=f"^shard .*train-0.tar.*{said}") as stopped:
        open_wds(str(tmp_path / "d"), root)
    assert "\n" not in str(stopped.value)


def test_a_link_in_a_shard_is_not_followed(tmp_path: Path, root: Path) -> None:
    write_files(tmp_path / "d" / "test-0.tar", GOOD)
    path = write_files(tmp_path / "d" / "train-0.tar", GOOD | {"2.cls": b"1"})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("2.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DatasetError, match="sample 2 has no image"):
        open_wds(str(tmp_path / "d"), root)


def test_keys_repeat_between_shards(tmp_path: Path, root: Path) -> None:
    for name in ("train-0", "train-1", "test-0"):
        write_files(tmp_path / "d" / f"{name}.tar", GOOD)
    with pytest.raises(DatasetError, match="shard .*train-1.tar: sample 0 is in .*train-0.tar too; each sample"):
        open_wds(str(tmp_path / "d"), root)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"<html>not found</html>" * 100,
        # In a header, in an image, after the last image, and between samples.
        lambda whole: whole[: 3 * 512 + 100],
        lambda whole: whole[: 512 + 100],
        lambda whole: whole.rstrip(b"\0"),
        lambda whole: whole[: (len(whole.rstrip(b"\0")) + 511) // 512 * 512],
        lambda whole: whole[: whole.index(b"1.png")],
        lambda whole: whole.replace(b"1.png", b"\xff.png", 1),
        lambda whole: gzip.compress(whole),
    ],
)
def test_damaged_shards_are_named(tmp_path: Path, root: Path, damage: Callable[[bytes], bytes]) -> None:
    write_files(tmp_path / "d" / "test-0.tar", GOOD)
    path = write_files(tmp_path / "d" / "train-0.tar", GOOD)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        DatasetError, match=r"shard .*train-0.tar is damaged \(.+\); fetch or write it again"
    ) as stopped:
        open_wds(str(tmp_path / "d"), root)
    assert "\n" not in str(stopped.value)


def test_a_shard_of_nothing(tmp_path: Path, root: Path) -> None:
    write_files(tmp_path / "d" / "test-0.tar", GOOD)
    write_files(tmp_path / "d" / "train-0.tar", {})
    with pytest.raises(DatasetError, match="train-0.tar holds no samples"):
        open_wds(str(tmp_path / "d"), root)


@pytest.mark.parametrize("content", [b"", b"no image", png()[:200]])
def test_an_image_that_cannot_be_read_is_named_when_it_is_looked_at(tmp_path: Path, root: Path, content: bytes) -> None:
    write_files(tmp_path / "d" / "test-0.tar", GOOD)
    write_files(tmp_path / "d" / "train-0.tar", GOOD | {"a/2.png": content, "a/2.cls": b"1"})
    images = open_wds(str(tmp_path / "d"), root).splits["train"].images
    images.check(0)
    for look in (images.check, images.load):
        with pytest.raises(DatasetError, match=r"image a/2 in shard .*train-0.tar cannot be read \(.+\); repair or"):
            look(2)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("pipe:touch {0}/ran", UsageError, "not by pipe:"),
        ("train=pipe:touch {0}/ran;test=a.tar", UsageError, "not by pipe:"),
        ("train=ftp://host/a.tar;test=b.tar", UsageError, "not by ftp:"),
        ("train={0}/a.tar;tset={0}/b.tar", UsageError, "'tset={0}/b.tar' is not PART=PATTERN"),
        ("train={0}/a.tar;", UsageError, "'' is not PART=PATTERN"),
        ("val={0}/a.tar", UsageError, "has no train part"),
        ("train={0}/a.tar", DatasetError, "has train but neither test nor val"),
        ("test={0}/a.tar", DatasetError, "has test but no train beside it"),
        ("{0}/a-{{0..1}}.tar", DatasetError, "a-0.tar cannot be read: No such file"),
        ("{0}/a-*.tar", DatasetError, "names no shards"),
        ("{0}/a-${{NOWHERE}}.tar", UsageError, "is not a pattern of shards"),
        ("{0}", DatasetError, "holds no shards"),
    ],
)
def test_texts_that_name_nothing(tmp_path: Path, root: Path, text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said.format(tmp_path)):
        open_wds(text.format(tmp_path), root)
    assert not (tmp_path / "ran").exists()


def test_a_shard_without_a_part_beside_those_that_have_one(tmp_path: Path, root: Path) -> None:
    for name in ("train-0", "test-0", "more-0"):
        write_files(tmp_path / f"{name}.tar", GOOD)
    with pytest.raises(DatasetError, match="more-0.tar has no part in its name"):
        open_wds(str(tmp_path), root)


def test_without_webdataset(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs webdataset: pip install 'probebench\[datasets\]'"):
        open_wds(str(tmp_path), root)


def test_features_of_streamed_images_are_those_of_the_arrays(host: Host, root: Path, tmp_path: Path) -> None:
    backbone = build_backbone(make_entry(tmp_path), tmp_path)
    opened = open_wds(remote(host), root)
    emptied(opened)
    arrays = {"train": ArrayImages(PIXELS[:30]), "test": ArrayImages(PIXELS[30:])}
    splits = {name: Split(split.ids, split.labels, arrays[name]) for name, split in opened.splits.items()}
    options = Options("cpu", "fp32", 8, 2)
    found = extract(backbone, opened, tmp_path / "streamed", options)
    expected = extract(backbone, Dataset("arrays", opened.class_names, splits), tmp_path / "arrays", options)
    for one, other in zip(found, expected, strict=True):
        with FeatureFile(one.path) as file, FeatureFile(other.path) as reference:
            assert file.ids == reference.ids and np.array_equal(file.read(), reference.read())


def test_from_a_server_to_results_as_typed(
    host: Host, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_entry(tmp_path / "own")
    monkeypatch.setenv("PROBEBENCH_REGISTRY", str(tmp_path / "own"))
    done = run("extract", "--model", "tiny", "--dataset", f"wds:{remote(host)}")
    assert done.code == 0 and "40 images in" in done.out, done.err
    host.stop()
    assert "all cached already" in run("extract", "--model", "tiny", "--dataset", f"wds:{remote(host)}").out
    done = run("eval", "--shots", "1", "--draws", "2", "--dataset", f"wds:{remote(host)}")
    assert done.code == 0 and "wds:cars-" in done.out, done.err
