from pathlib import Path

import pytest

from probebench.datasets.captioned.table import TABLE, read_table
from probebench.datasets.drawn import draw as drawing
from probebench.datasets.drawn.draw import draw, split_of
from probebench.datasets.drawn.drawing import read_drawings
from probebench.errors import DatasetError, RegistryError, UsageError
from probebench.registry.drawn import Drawn
from tests.datasets.drawn.packages import emoji_set, npm_archive, npm_package, source_spec


@pytest.fixture
def drawn(root: Path) -> Drawn:
    """A package that lies where it is to be placed by hand."""
    archive = npm_archive(root / "packages" / "iconify-json-tiny-1.0.0.tgz", emoji_set())
    return source_spec([npm_package(archive)], 7, 4).drawn


def test_a_folder_of_images_and_a_table(drawn: Drawn, root: Path) -> None:
    place = root / "sources" / "tiny"
    draw(drawn, place, root, splits=False)
    rows = read_table(place)
    assert [row.file for row in rows] == sorted(f"images/{row.id.removeprefix('images/')}.png" for row in rows)
    assert all((place / row.file).is_file() and row.split is None for row in rows)
    before = (place / TABLE).read_bytes()
    # What lay there is replaced, and the same comes out.
    (place / "images" / "left-over.png").write_bytes(b"")
    draw(drawn, place, root, splits=False)
    assert (place / TABLE).read_bytes() == before and not (place / "images" / "left-over.png").exists()


def test_drawings_that_the_entry_leaves_out_are_not_drawn(drawn: Drawn, root: Path) -> None:
    draw(drawn, root / "whole", root, splits=False)
    whole = [row.id for row in read_table(root / "whole")]
    name = whole[2].removeprefix("images/")
    draw(drawn.model_copy(update={"without": (name,)}), root / "less", root, splits=False)
    assert [row.id for row in read_table(root / "less")] == [one for one in whole if one != whole[2]]


def test_splits_go_by_series(drawn: Drawn, root: Path) -> None:
    draw(drawn, root / "tiny", root, splits=True)
    assert {row.split for row in read_table(root / "tiny")} <= {"train", "test"}
    names = [f"series {number}" for number in range(1000)]
    assert 450 < sum(split_of(name) == "test" for name in names) < 550


@pytest.mark.parametrize("error", [KeyboardInterrupt, DatasetError, OSError])
def test_an_interrupted_drawing_leaves_nothing(
    drawn: Drawn, root: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    place = root / "sources" / "tiny"
    whole, done = drawing._drawn, list[int]()

    def stops(*arguments: object) -> object:
        if len(done) == 3:
            raise error("stop")
        done.append(1)
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(drawing, "_drawn", stops)
    with pytest.raises(error):
        draw(drawn, place, root, splits=False)
    assert [path.name for path in place.parent.iterdir()] == [".tiny.lock"]


def test_what_a_killed_drawing_left_goes_with_the_next(drawn: Drawn, root: Path) -> None:
    left = root / ".tiny~abc" / "tiny" / "images"
    left.mkdir(parents=True)
    other = root / ".tiny~abc".replace("tiny", "tinytoo")
    other.mkdir()
    draw(drawn, root / "tiny", root, splits=False)
    assert not left.exists() and other.exists() and read_table(root / "tiny")


def test_a_drawing_that_cannot_be_drawn_is_named(root: Path) -> None:
    files = emoji_set()
    files["icons.json"]["icons"]["police-car-light"]["body"] = "<circle"
    archive = npm_archive(root / "packages" / "iconify-json-tiny-1.0.0.tgz", files)
    with pytest.raises(DatasetError, match="police-car-light cannot be drawn"):
        draw(source_spec([npm_package(archive)], 7, 4).drawn, root / "tiny", root, splits=False)


def test_readers_are_known_by_name(drawn: Drawn) -> None:
    with pytest.raises(RegistryError, match="unknown 'emojis'; did you mean emoji"):
        read_drawings(drawn.model_copy(update={"reader": "emojis"}), [])


def test_without_the_renderer_it_says_what_to_install(
    drawn: Drawn, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'probebench\[pretrain\]'"):
        draw(drawn, root / "tiny", root, splits=False)
