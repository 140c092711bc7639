import os
import re
from pathlib import Path

import pytest

from probebench.errors import RegistryError, UsageError
from probebench.registry import CheckpointSpec, FinetuneProtocol, Registry, validate_path
from probebench.registry.checkpoint import Source
from probebench.registry.load import KINDS, checked, read_entry, read_file, shipped_registry
from probebench.registry.names import expand
from tests.conftest import entry_text, write_entry


def test_shipped_entries_are_those_of_the_issue(shipped: Registry) -> None:
    assert {
        "efficientnet_lite0_in1k",
        "efficientnet_lite1_in1k",
        "efficientnet_lite2_in1k",
        "efficientnet_lite0_random",
        "resnet50_a1_in1k",
        "openai_clip_rn50",
        "yfcc15m_clip_rn50",
        "cc12m_clip_rn50",
        "laion2b_clip_vit_b_32",
        "laion_clip_rn50",
    } <= set(shipped.checkpoints)
    assert {"digits", "fashion_mnist", "cifar100"} <= set(shipped.datasets)
    assert shipped.suites["offline"].datasets == ("digits", "fashion_mnist")
    assert shipped.protocol("default").version == 3


def test_own_folders_add_entries(tmp_path: Path) -> None:
    write_entry(tmp_path / "one")
    write_entry(tmp_path / "two", id="second")
    write_entry(tmp_path / "three", id="third")
    environ = {"PROBEBENCH_REGISTRY": os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")])}
    registry = Registry.load([tmp_path / "three"], environ)
    assert {"tiny", "second", "third", "efficientnet_lite0_in1k"} <= set(registry.checkpoints)


def test_shipped_entries_are_read_once_and_again_when_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_entry(tmp_path)
    monkeypatch.setattr("probebench.registry.load.shipped_registry", lambda: tmp_path)
    first = Registry.load(environ={}).checkpoint("tiny")
    assert Registry.load(environ={}).checkpoint("tiny") is first
    write_entry(tmp_path, size=64)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert Registry.load(environ={}).checkpoint("tiny").input.size == 64
    path.write_text("no entry")
    os.utime(path, ns=(0, 1))
    for _ in range(2):
        with pytest.raises(RegistryError, match="not TOML"):
            Registry.load(environ={})


def test_collision_is_an_error_that_names_both(tmp_path: Path) -> None:
    write_entry(tmp_path, id="efficientnet_lite0_in1k")
    with pytest.raises(RegistryError, match="already taken by .*efficientnet_lite0_in1k.toml"):
        Registry.load([tmp_path], {})


def test_file_name_must_be_the_id(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(entry_text())
    with pytest.raises(RegistryError, match="must be called tiny.toml"):
        read_entry(path, CheckpointSpec)


@pytest.mark.parametrize("content", [b"id = ", b"\xff\xfe", b'id = "a"\nid = "a"\n'])
def test_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tiny.toml"
    path.write_bytes(content)
    with pytest.raises(RegistryError, match="tiny.toml: not TOML"):
        read_entry(path, CheckpointSpec)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("title = 2024-01-01", "title: Input should be a valid string"),
        ("title = 2024-01-01T07:32:00Z", "title: Input should be a valid string"),
        ("version = 0x1" + 5000 * "0", "version: an integer of more than 64 bits"),
        (f"draws = {10**30}", "draws: an integer of more than 64 bits"),
        ("shots = [1, [9223372036854775808]]", "shots.1.0: an integer of more than 64 bits"),
        ("shots = " + 100 * "[" + 100 * "]", "nested too deeply"),
        ("shots = " + 400 * "[" + 400 * "]", "nested too deeply"),
        ('refit = "yes"', 'refit: Input should be a valid boolean (or "full")'),
        ('shots = [1, "5"]', "shots.1: '5' is no number (or \"full\")"),
    ],
)
def test_what_toml_has_and_no_entry_is_one_line_with_file_and_key(line: str, said: str, tmp_path: Path) -> None:
    whole = (shipped_registry() / "protocols" / "default.toml").read_text()
    key = line.partition(" = ")[0]
    path = tmp_path / "protocols" / "default.toml"
    path.parent.mkdir()
    path.write_text(line + "\n" + re.sub(rf"(?m)^{key} = .*\n", "", whole))
    with pytest.raises(RegistryError, match=re.escape(said)) as caught:
        read_file(path, KINDS["protocols"])
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    # Of a folder the problem is kept, and nothing else stops.
    assert any(said in problem for problem in Registry.load_leniently([tmp_path]).problems)


def test_missing_folder_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        Registry.load([tmp_path / "nowhere"], {})


def test_suite_with_unknown_data_set(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "mine.toml").write_text('id = "mine"\ntitle = "x"\ndatasets = ["nothing"]\n')
    assert any("no data set 'nothing'" in line for line in Registry.load_leniently([tmp_path], {}).problems)


def test_unknown_names_give_the_nearest(shipped: Registry) -> None:
    with pytest.raises(UsageError, match="did you mean efficientnet_lite1_in1k"):
        shipped.checkpoint("efficientnet_lite1")
    with pytest.raises(UsageError, match="did you mean fashion_mnist"):
        shipped.dataset("fashion-mnist")
    with pytest.raises(UsageError, match="unknown protocol"):
        shipped.protocol("other")


def test_expand_takes_globs_and_comma_lists_in_order() -> None:
    known = ["a1", "a2", "b1"]
    assert expand("model", ["b1,a*", "a1"], known, "list") == ["b1", "a1", "a2"]
    with pytest.raises(UsageError, match="unknown model 'c"):
        expand("model", ["a1,c*"], known, "list")


def test_validate_path_lists_every_problem(tmp_path: Path) -> None:
    write_entry(tmp_path)
    (tmp_path / "checkpoints" / "bad.toml").write_text("id = ")
    (tmp_path / "checkpoints" / "worse.toml").write_text(entry_text(id="worse", size=-1))
    problems = validate_path(tmp_path)
    assert len(problems) == 2
    assert validate_path(tmp_path / "checkpoints" / "tiny.toml") == []
    with pytest.raises(UsageError, match="does not exist"):
        validate_path(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no .toml"):
        validate_path(tmp_path / "empty")


# A number, or true or false, as a line's value or the first of its list.
VALUE = re.compile(r"(?m)^(\w+ = \[?)(true|false|-?\d[\d_.e+-]*)(?=[,\]\n])")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("checkpoints", "mini_clip-icons_mdi-1355-noise0.75-run0"),
        ("datasets", "fashion_mnist"),
        *(("protocols", name) for name in ("default", "elevater", "clip_benchmark", "mieb", "quick")),
        *(("recipes", name) for name in ("mini_supervised", "mini_clip", "mini_simclr")),
        ("sources", "icons_mdi"),
    ],
)
def test_no_value_stands_for_one_of_another_type(kind: str, name: str, tmp_path: Path) -> None:
    """``"3"``, ``true`` and ``3.0`` are no 3, and ``"no"`` and 0 are not false; 1 for 1.0 is the one exception."""
    path = shipped_registry() / kind / f"{name}.toml"
    whole, entry = path.read_text(), FinetuneProtocol if name == "quick" else KINDS[kind]
    held = read_file(path, entry)
    found = list(VALUE.finditer(whole))
    assert found
    copy = tmp_path / path.name
    for match in found:
        said = match[2]
        others = ['"no"', "1", "0.0", f'"{said}"'] if said in ("true", "false") else [f'"{said}"', "true"]
        others += [f"{said}.0"] if said.isdigit() else []
        for other in others:
            copy.write_text(whole[: match.start(2)] + other + whole[match.end(2) :])
            try:
                assert read_file(copy, entry) == held and other == f"{said}.0", (match[0], other)
            except RegistryError as error:
                assert str(copy) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    ("samples", "said"), [(True, "True is no number"), ("3", "'3' is no number"), (1.28e6, "whole")]
)
def test_nor_does_one_that_is_given_in_python(samples: object, said: str) -> None:
    with pytest.raises(UsageError, match=f'samples: .*{said}.* \\(or "unknown"\\)'):
        checked(Source, name="a source", samples=samples)
