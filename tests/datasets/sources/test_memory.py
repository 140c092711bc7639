"""Images in memory as a data set."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from probebench.datasets.sources.memory import open_memory
from probebench.errors import DatasetError, ProbebenchError, UsageError
from tests.api.making import items


class Placed:
    """Has a length and places but no end of iteration, as a data set of torch."""

    def __init__(self, held: list[tuple[Any, int]]) -> None:
        self.held = held

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return self.held[place % len(self.held)]


def test_every_form_of_items_gives_the_same_data_set() -> None:
    held = items()
    same = [
        open_memory(held, "images"),
        open_memory(iter(held), "images"),
        open_memory(Placed(held), "images"),  # type: ignore[arg-type]
        open_memory([list(one) for one in held], "images"),
        open_memory([(Image.fromarray(image), np.int64(label)) for image, label in held], "images"),
        open_memory([(f"image-{place:06d}", *one) for place, one in enumerate(held)], "images"),
        open_memory(held, "images", ids=[f"image-{place:06d}" for place in range(len(held))]),
    ]
    assert len({one.id for one in same}) == 1 and same[0].id.startswith("memory:images-")
    assert same[0].class_names == ("0", "1", "2")
    train, test = same[0].splits["train"], same[0].splits["test"]
    assert not set(train.ids) & set(test.ids) and len(train) + len(test) == len(held)
    for split in (train, test):
        for place, name in enumerate(split.ids):
            image, label = held[int(name.removeprefix("image-"))]
            assert split.labels[place] == label and np.array_equal(np.asarray(split.images.load(place)), image)


def test_a_pixel_a_label_and_an_id_each_make_another_data_set() -> None:
    held = items()
    pixel = [(image.copy(), label) for image, label in held]
    pixel[0][0][0, 0, 0] ^= 1
    label = [(held[0][0], 1), *held[1:]]
    others = [
        open_memory(pixel, "images"),
        open_memory(label, "images"),
        open_memory(held, "images", ids=list(map(str, range(24)))),
    ]
    assert len({open_memory(held, "images").id, *(one.id for one in others)}) == 4


def test_names_of_classes_are_in_the_order_of_the_alphabet_and_numbers_in_theirs() -> None:
    held = items(2)
    named = open_memory([(image, "ant" if label else "bee") for image, label in held], "insects")
    assert named.class_names == ("ant", "bee")
    assert open_memory([(image, 10 if label else 9) for image, label in held], "n").class_names == ("9", "10")


def test_splits_keep_their_images_and_grey_ones_will_do() -> None:
    grey = [(image[:, :, 0], label) for image, label in items(each=4, seed=1)]
    opened = open_memory({"Train": items(), "validation": items(each=4, seed=2), "test": grey}, "s")
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 24, "val": 12, "test": 12}
    assert opened.splits["test"].images.load(0).mode in ("L", "RGB") and opened.splits["test"].ids[0] == "test-000000"


@pytest.mark.parametrize(
    ("held", "ids", "error", "line"),
    [
        (items(1), None, DatasetError, "at least two classes"),
        ([], None, DatasetError, "no images"),
        ({"train": items(), "test": []}, None, DatasetError, "test split has no images"),
        ({"train": items()}, None, DatasetError, "neither test nor val"),
        ({"trian": items()}, None, UsageError, "'trian' is no split"),
        ([1, 2], None, UsageError, "item 0 is no pair"),
        ([(np.zeros((4, 4)), 0)], None, UsageError, "float64"),
        ([(np.zeros((0, 4), np.uint8), 0)], None, UsageError, "it must be a PIL image"),
        ([(np.zeros((4, 4, 4), np.uint8), 0)], None, UsageError, r"\(4, 4, 4\)"),
        ([(np.zeros((4, 4), np.uint8), 0.5)], None, UsageError, "label 0.5"),
        ([(np.zeros((4, 4), np.uint8), True)], None, UsageError, "label True"),
        ([(image, "a" if label else 1) for image, label in items()], None, DatasetError, "use one kind"),
        ([("same", image, label) for image, label in items()], None, DatasetError, "ids repeat"),
        ([("a", image, label) for image, label in items()], ["b"], UsageError, "has an id of its own"),
        (items(), ["b"], UsageError, "1 ids for 24 images"),
        (items(), {"train": ["b"]}, UsageError, "must be one sequence"),
        ({"train": items(), "test": items(seed=1)}, ["b"], UsageError, "must be a mapping"),
        ({"train": items(), "test": items(seed=1)}, {"val": ["b"]}, UsageError, "none of its splits"),
    ],
)
def test_what_cannot_be_used_is_one_line(held: Any, ids: Any, error: type[ProbebenchError], line: str) -> None:
    with pytest.raises(error, match=line) as caught:
        open_memory(held, "images", ids)
    assert "\n" not in str(caught.value)
