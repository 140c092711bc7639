import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from tests.conftest import Ran
from tests.datasets.captioned.making import captioned_folder, pattern
from tests.datasets.drawn.packages import emoji_set, npm_archive, npm_package, source_spec

Run = Callable[..., Ran]


@pytest.fixture
def entries(home: Path) -> Path:
    """A source of the home's own, whose package was placed by hand, and one whose package is nowhere."""
    packages = home / "datasets" / "packages"
    archive = npm_archive(packages / "iconify-json-tiny-1.0.0.tgz", emoji_set())
    folder = home / "registry" / "sources"
    folder.mkdir(parents=True)
    for name, package in (
        ("tiny", npm_package(archive)),
        ("lost", npm_package(archive).model_copy(update={"name": "@iconify-json/lost"})),
    ):
        spec = source_spec([package], 7, 4, id=name)
        (folder / f"{name}.toml").write_text(tomli_w.dumps(spec.model_dump(mode="json")))
    return folder


def test_list(run: Run, entries: Path) -> None:
    assert "emoji_noto" in run("sources", "list").out
    facts = {one["id"]: one for one in json.loads(run("sources", "list", "--json").out)}
    assert set(facts) >= {"openclipart", "glyphs", "icons_mdi", "tiny"} and not facts["tiny"]["prepared"]
    run("sources", "prepare", "tiny")
    facts = {one["id"]: one for one in json.loads(run("sources", "list", "--json").out)}
    assert facts["tiny"]["prepared"]


def test_prepare_and_show(run: Run, entries: Path, tmp_path: Path) -> None:
    assert "not on this machine: run probebench sources prepare tiny" in run("sources", "show", "tiny").out
    assert run("sources", "show", "tiny", "--sheet", "s.png").code == 1
    done = run("sources", "prepare", "tiny")
    assert done.code == 0 and "tiny is ready: 7 images, fingerprint " in done.out
    again = json.loads(run("sources", "prepare", "tiny", "--json").out)
    assert again[0]["fingerprint"].startswith(done.out.split()[-1])
    shown = run("sources", "show", "tiny", "--sheet", "s.png").out
    assert "license: CC0-1.0" in shown and "caption: " in shown and "sheet: s.png (7 images)" in shown
    assert "drawn: at 16 pixels by resvg-py 0.5.0 from @iconify-json/tiny 1.0.0 (npm)" in shown
    assert (tmp_path / "s.png").is_file()
    assert json.loads(run("sources", "show", "tiny", "--json").out)["images"] == 7


def test_what_cannot_be_had_says_the_mend_and_the_rest_is_done(
    run: Run, entries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    done = run("sources", "prepare", "lost,tin*")
    assert done.code == 1 and "tiny is ready: 7 images" in done.out
    assert "@iconify-json/lost needs npm, which is not on this machine; place the .tgz of `npm pack" in done.error
    assert run("sources", "prepare", "emoji_nato").code == 2


def test_a_folder_of_ones_own(run: Run, tmp_path: Path) -> None:
    captioned_folder(tmp_path / "mine", [pattern(seed) for seed in range(5)], ["a", "b", "a", "b", "b"])
    facts = json.loads(run("sources", "show", "mine", "--json", "--sheet", "mine.png").out)
    assert facts["images"] == 5 and facts["class_names"] == ["a", "b"] and facts["id"].startswith("folder:mine-")
    (tmp_path / "mine" / "captions.csv").write_text("file,caption\n000.png,\nnone.png,x\n")
    line = run("sources", "show", "mine").error
    assert line.endswith("captions.csv: row 2 has an empty caption; row 3 names 'none.png', which is not there")


def test_overlap_is_counted_and_written_into_the_entry(run: Run, entries: Path, home: Path, tmp_path: Path) -> None:
    run("sources", "prepare", "tiny")
    (found,) = json.loads(run("sources", "overlap", "tiny", "--dataset", "digits", "--commit", "--json").out)
    assert found == {"source": "tiny", "dataset": "digits", "exact": 0, "near": 0, "concepts": 0, "test": 899}
    facts = json.loads(run("sources", "show", "tiny", "--json").out)
    assert facts["shared"] == {"digits": {"exact": 0, "near": 0, "concepts": 0, "test": 899}}
    captioned_folder(tmp_path / "mine", [pattern(0), pattern(1)])
    assert "folder:mine" in run("sources", "overlap", "mine", "--dataset", "digits").out
    assert run("sources", "overlap", "mine", "--dataset", "digits", "--commit").code == 2


def test_a_sheet_of_a_data_set(run: Run, tmp_path: Path) -> None:
    done = run("datasets", "show", "digits", "--sheet", "digits.png")
    assert "sheet: digits.png (120 training images)" in done.out and (tmp_path / "digits.png").is_file()
    assert "end its name in .png" in run("datasets", "show", "digits", "--sheet", "digits.txt").error
