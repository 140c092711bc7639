from pathlib import Path

import h5py
import numpy as np
import pytest

from probebench.datasets.base import FileImages
from probebench.datasets.named import listed
from probebench.datasets.named.listed import HDF5Images, ListedImages
from probebench.errors import DatasetError
from probebench.fingerprint import file_sha256
from tests.datasets.replicas import pictures


@pytest.fixture
def images(tmp_path: Path) -> ListedImages:
    names = pictures(tmp_path / "images", [f"{number}.jpg" for number in range(4)])
    return ListedImages.of(tmp_path / "images", names, tmp_path / "content" / "digests.json")


def test_content_is_that_of_files_hashed_one_by_one(images: ListedImages) -> None:
    names = [f"{number}.jpg" for number in range(4)]
    reference = FileImages.below(images.root, names, [file_sha256(images.root / name) for name in names])
    assert images.content() == reference.content()


def test_files_are_read_once_and_again_only_after_a_change(
    images: ListedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def noted(path: Path) -> str:
        read.append(path)
        return file_sha256(path)

    monkeypatch.setattr(listed, "file_sha256", noted)
    before = images.content()
    assert len(read) == 4 and images.content() == before and len(read) == 4
    (images.root / "2.jpg").write_bytes((images.root / "1.jpg").read_bytes())
    assert images.content() != before and len(read) == 8


def test_a_damaged_digest_cache_or_a_home_that_cannot_be_written_only_costs_time(
    images: ListedImages, tmp_path: Path
) -> None:
    known = images.content()
    images.digest_cache.write_text("{")
    assert images.content() == known
    (tmp_path / "file").touch()
    names = [f"{number}.jpg" for number in range(4)]
    assert ListedImages.of(images.root, names, tmp_path / "file" / "digests.json").content() == known


def test_a_file_that_is_gone_is_named(images: ListedImages) -> None:
    (images.root / "3.jpg").unlink()
    with pytest.raises(DatasetError, match=r"image .*3.jpg cannot be read"):
        images.content()


def test_images_of_an_hdf5_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    file = tmp_path / "x.h5"
    with h5py.File(file, "w") as opened:
        opened["x"] = pixels
    images = HDF5Images(file, "x", tmp_path / "digests.json")
    assert np.array_equal(np.asarray(images.load(2)), pixels[2])
    images.check(0)
    assert images.content() == images.content() == file_sha256(file)
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(DatasetError, match=r"image 1 of .*x.h5 cannot be read"):
        images.load(1)
