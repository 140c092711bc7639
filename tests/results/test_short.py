"""Results whose classes lack the images that their shots say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import probebench as pb
from probebench.datasets.draws import require_shots
from probebench.errors import ProbebenchWarning, TooFewImagesError
from probebench.leaderboard.ranking import why_unranked
from probebench.registry.entry import ShortClass
from probebench.results.compare import rank_shifts
from probebench.results.short import lacks_images, with_shots
from tests.conftest import make_images, write_entry
from tests.results.make import result, trial


def test_shots_that_no_class_has_are_refused() -> None:
    labels = np.repeat([0, 1], [3, 36])
    for shots in (1, 36, "full"):
        require_shots("d", labels, shots)
    with pytest.raises(TooFewImagesError, match="d: no class has 37 training images, and the largest has 36; ask for"):
        require_shots("d", labels, 37)


@pytest.mark.parametrize(
    ("short", "classes", "expected", "unranked"),
    [
        ([], None, None, False),
        # These have all ten, and lack validation images only.
        ([(0, 10, 2), (1, 10, 0)], None, None, False),
        ([(0, 4, 0)], 4, (3, 4), False),
        ([(0, 4, 0), (1, 9, 0)], 4, (2, 4), False),
        ([(0, 4, 0), (1, 9, 0), (2, 0, 0)], 4, (1, 4), True),
        # A protocol that validates inside the shots lists every class.
        ([(0, 8, 2), (1, 8, 2), (2, 7, 1), (3, 8, 2)], 4, (3, 4), False),
    ],
)
def test_half_of_the_classes_must_have_the_images(
    short: list[tuple[int, int, int]], classes: int | None, expected: tuple[int, int] | None, unranked: bool
) -> None:
    made = result(shots=10, short_classes=[ShortClass(*one) for one in short], classes=classes)
    assert with_shots(made) == expected
    assert lacks_images(made) is unranked
    assert why_unranked(made, {"default": 1}) == ("too few images" if unranked else "")
    assert not lacks_images(result(shots="full", short_classes=made.short_classes))


def test_of_older_results_the_draw_tells_how_many_classes_there_are() -> None:
    """Of four classes two have ten images, and two gave four and nine."""
    made = result(shots=10, short_classes=[ShortClass(0, 4, 0), ShortClass(1, 9, 0)], trials=[trial(train=33)])
    assert with_shots(made) == (2, 4)


def test_a_long_tail_is_measured_and_marked(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    write_entry(registry)
    (tmp_path / "d").mkdir()
    for label, each in enumerate((15, 5, 5, 5)):
        made = make_images(tmp_path / "made", classes=1, each=each, seed=label) / "class0"
        made.rename(tmp_path / "d" / f"class{label}")
    features = pb.extract("tiny", tmp_path / "d", registry=registry)
    options: dict[str, Any] = {"draws": 1, "registry": registry, "out": tmp_path / "out"}
    with pytest.warns(ProbebenchWarning, match="1 of 4 classes have 10 images: shown, never ranked"):
        (few,) = pb.evaluate(features, shots=10, **options)
    assert lacks_images(few) and few.classes == 4
    (enough,) = pb.evaluate(features, shots=4, **options)
    assert with_shots(enough) is None and enough.classes is not None
    with pytest.raises(TooFewImagesError, match="no class has 1000 training images, and the largest has 12"):
        pb.evaluate(features, shots=1000, **options)
    assert not list((tmp_path / "out").rglob("*-1000-*"))
    assert rank_shifts([few, few.model_copy(update={"model": "b"})], ["default"]) == []


def test_shots_of_a_protocol_that_no_class_has_are_passed_over(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    write_entry(registry)
    features = pb.extract("tiny", make_images(tmp_path / "d"), registry=registry)
    with pytest.warns(ProbebenchWarning, match="no class has 10 training images.*; passed over"):
        found = pb.evaluate(features, draws=1, registry=registry, out=tmp_path / "out")
    assert [one.shots for one in found] == [1, 5, "full"]
