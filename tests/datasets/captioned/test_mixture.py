from pathlib import Path

import numpy as np
import pytest

from probebench.datasets.captioned.folder import open_captions
from probebench.datasets.captioned.mixture import mixture
from tests.datasets.captioned.making import captioned_folder, pattern


def test_a_mixture_is_its_parts_one_after_the_other(tmp_path: Path) -> None:
    one = open_captions(captioned_folder(tmp_path / "a", [pattern(1), pattern(2)], ["sun", "moon"]), tmp_path, "a")
    other = open_captions(captioned_folder(tmp_path / "b", [pattern(3)], ["sun"]), tmp_path, "b")
    both = mixture([one, other])
    assert both.id == "a+b" and both.ids == ("a/000.png", "a/001.png", "b/000.png")
    assert both.class_names == ("moon", "sun") and both.labels is not None and both.labels.tolist() == [1, 0, 1]
    assert both.images.load(2).tobytes() == other.images.load(0).tobytes()
    both.images.check(0)
    turned = both.take(np.array([2, 0]))
    assert turned.ids == ("b/000.png", "a/000.png")
    assert turned.images.load(0).tobytes() == other.images.load(0).tobytes()
    assert len({both.fingerprint, turned.fingerprint, mixture([other, one]).fingerprint}) == 3
    assert mixture([one]) is one


@pytest.mark.parametrize("bare", [0, 1])
def test_labels_are_where_all_parts_have_them(tmp_path: Path, bare: int) -> None:
    parts = [
        open_captions(
            captioned_folder(tmp_path / f"{n}", [pattern(n)], None if n == bare else ["sun"]), tmp_path, f"{n}"
        )
        for n in range(2)
    ]
    assert mixture(parts).labels is None and mixture(parts).class_names == ()
