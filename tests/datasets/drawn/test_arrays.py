import json
from pathlib import Path

import numpy as np
import pytest

from probebench.datasets.drawn.arrays import mnist
from probebench.datasets.drawn.package import PackageError


def package(top: Path, images: int = 200) -> Path:
    """Images of each digit whose first pixel is the digit's, and whose second is the number's."""
    folder = top / "package" / "src" / "digits"
    folder.mkdir(parents=True)
    for digit in range(10):
        pixels = np.zeros((images, 784))
        pixels[:, 0], pixels[:, 1] = digit / 10, np.arange(images) / 255
        (folder / f"{digit}.json").write_text(json.dumps({"data": pixels.round(3).ravel().tolist()}), encoding="utf-8")
    return top


def test_so_many_of_each_digit_by_a_hash(tmp_path: Path) -> None:
    found = mnist([package(tmp_path)])
    assert {one.label: sum(other.label == one.label for other in found) for one in found} == {
        str(digit): 150 for digit in range(10)
    }
    assert len({one.series for one in found}) == 1500
    # By a hash: neither the first nor the last alone.
    numbers = {int(one.name.partition("/")[2]) for one in found if one.label == "3"}
    assert min(numbers) < 20 and max(numbers) >= 180
    one = next(one for one in found if one.label == "3")
    pixels = np.asarray(one.draw(28))
    assert pixels.shape == (28, 28, 3) and pixels[0, 0, 0] == round(255 * 0.3)
    assert pixels[0, 1, 0] == int(one.name.partition("/")[2]) and pixels[1:].max() == 0
    assert one.draw(64).size == (64, 64)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", '{"data": [0, 1]}', '{"data": "no"}', '{"data": []}', "[" * 100_000),
        *(json.dumps({"data": [value] * 784 * 150}) for value in (float("nan"), 200, -0.1, "0.5", 10**400)),
        json.dumps({"data": [0] * 784 * 149}),
    ],
    ids=range(13),
)
def test_a_damaged_package_is_named(tmp_path: Path, text: str) -> None:
    path = package(tmp_path, 150) / "package" / "src" / "digits" / "4.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PackageError, match=r"4\.json cannot be read .*; remove its package"):
        mnist([tmp_path])
    path.unlink()
    with pytest.raises(PackageError, match=r"4\.json cannot be read"):
        mnist([tmp_path])
