"""Shards are read once, and what cannot be used in them is named."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from probebench.datasets.sources.webdataset.open import open_wds
from probebench.errors import DatasetError
from tests.datasets.shards import GOOD, assert_same, png, write_files, write_shards


def test_a_local_shard_that_changed_is_read_anew(tmp_path: Path, root: Path) -> None:
    for split, numbers in (("train", range(20)), ("test", range(20, 30))):
        write_shards(tmp_path / "d" / f"{split}-%03d.tar", numbers)
    before = open_wds(str(tmp_path / "d"), root)
    write_shards(tmp_path / "d" / "test-%03d.tar", range(30, 40))
    after = open_wds(str(tmp_path / "d"), root)
    assert_same(after, {"train": range(20), "test": range(30, 40)})
    assert after.id != before.id


def test_a_second_look_reads_no_shard(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, numbers in (("train", range(20)), ("test", range(20, 30))):
        write_shards(tmp_path / "d" / f"{split}-%03d.tar", numbers)
    before = open_wds(str(tmp_path / "d"), root)
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("a shard was read again"))
    assert open_wds(str(tmp_path / "d"), root).id == before.id


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


def test_a_sample_without_an_image_is_one_that_cannot_be_read(tmp_path: Path, root: Path) -> None:
    """So that --on-error skip leaves it out, and the rest of the set is there."""
    write_files(tmp_path / "d" / "train-0.tar", GOOD | {"2.cls": b"1", "2.txt": b"x"})
    write_files(tmp_path / "d" / "test-0.tar", GOOD)
    for _ in range(2):
        train = open_wds(str(tmp_path / "d"), root).splits["train"]
        place = train.ids.index("train/2")
        for look in (train.images.check, train.images.load):
            with pytest.raises(DatasetError, match=r"sample 2 in shard .*train-0.tar has no image, such as"):
                look(place)
        train.images.check(0)


def test_an_image_in_another_format_beside_a_usual_one(tmp_path: Path, root: Path) -> None:
    """The usual one is the image, as ever; alone the other is."""
    gif = io.BytesIO()
    Image.new("RGB", (9, 7)).save(gif, "GIF")
    for split in ("train", "test"):
        more = {"2.png": png(), "2.gif": gif.getvalue(), "2.cls": b"1", "3.gif": gif.getvalue(), "3.cls": b"1"}
        write_files(tmp_path / "d" / f"{split}-0.tar", GOOD | more)
    train = open_wds(str(tmp_path / "d"), root).splits["train"]
    assert train.images.load(train.ids.index("train/2")).size == (12, 12)
    assert train.images.load(train.ids.index("train/3")).size == (9, 7)


def test_a_link_in_a_shard_is_not_followed(tmp_path: Path, root: Path) -> None:
    write_files(tmp_path / "d" / "test-0.tar", GOOD)
    path = write_files(tmp_path / "d" / "train-0.tar", GOOD | {"2.cls": b"1"})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("2.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    train = open_wds(str(tmp_path / "d"), root).splits["train"]
    with pytest.raises(DatasetError, match=r"sample 2 in shard .*train-0.tar has no image"):
        train.images.load([one.rpartition("/")[2] for one in train.ids].index("2"))


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


@pytest.mark.parametrize("content", [b"no image", png()[:200]])
def test_an_image_that_cannot_be_read_is_named_when_it_is_looked_at(tmp_path: Path, root: Path, content: bytes) -> None:
    write_files(tmp_path / "d" / "test-0.tar", GOOD)
    write_files(tmp_path / "d" / "train-0.tar", GOOD | {"a/2.png": content, "a/2.cls": b"1"})
    images = open_wds(str(tmp_path / "d"), root).splits["train"].images
    images.check(0)
    for look in (images.check, images.load):
        with pytest.raises(DatasetError, match=r"image a/2 in shard .*train-0.tar cannot be read \(.+\); repair or"):
            look(2)
