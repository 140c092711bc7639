import json
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Ran, make_images

Run = Callable[..., Ran]


def test_list(run: Run) -> None:
    assert "fashion_mnist" in run("datasets", "list").out
    assert {spec["id"] for spec in json.loads(run("datasets", "list", "--json").out)} >= {"digits", "cifar100"}


def test_show_opens_the_data_set(run: Run, tmp_path: Path) -> None:
    done = run("datasets", "show", "digits")
    assert "images: train 898, test 899" in done.out and "class names: 0, 1, 2" in done.out
    make_images(tmp_path / "mine", each=10)
    facts = json.loads(run("datasets", "show", "folder:mine", "--json").out)
    assert facts["images"] == {"train": 24, "test": 6} and facts["smallest_class"] == {"train": 8, "test": 2}
    assert run("datasets", "show", "folder:nowhere").code == 2
    assert "did you mean digits" in run("datasets", "show", "digit").error


def test_prepare(run: Run) -> None:
    assert "digits is ready: train 898, test 899" in run("datasets", "prepare", "digits").out
    assert run("datasets", "prepare", "nothing").code == 2
