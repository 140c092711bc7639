"""Layers from the command line: listed, extracted in one pass, evaluated, drawn and verified."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ran, make_images, write_entry

Run = Callable[..., Ran]
CPU = ("--device", "cpu", "--workers", 0, "--compile", "off")


def test_layers_are_listed_with_their_widths(run: Run) -> None:
    listed = json.loads(run("layers", "--model", "clip_vit_b_32_random", "--json").out)
    widths = {one["layer"]: one["features"] for one in listed}
    assert (widths["pooled"], widths["projected"], widths["cls+mean"], widths["last4"]) == (768, 512, 1536, 3072)
    assert [one["layer"] for one in listed if one["stands_for_checkpoint"]] == ["projected"]
    assert "block:11:mean" in widths and "block:12" not in widths
    shown = run("layers", "--model", "efficientnet_lite0_in1k").out
    assert "block:3" in shown and "112" in shown and "cls" not in shown


def test_layers_of_an_architecture_outside_the_table(run: Run, tmp_path: Path) -> None:
    write_entry(tmp_path / "own")
    listed = json.loads(run("layers", "--model", "tiny", "--registry", tmp_path / "own", "--json").out)
    assert [one["layer"] for one in listed][:3] == ["pooled", "block:0", "block:0:mean"]
    write_entry(tmp_path / "own", id="vision", library="torchvision", name="resnet18", features=512)
    listed = json.loads(run("layers", "--model", "vision", "--registry", tmp_path / "own", "--json").out)
    assert listed == [{"layer": "pooled", "features": 512, "stands_for_checkpoint": True}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("layers", "--model", "clip_vit_b_32_rando"), "unknown model 'clip_vit_b_32_rando'; did you mean clip_vit_b"),
        (("extract", "--model", "clip_rn50_random", "--layer", "pooled"), "clip_rn50_random has no layer 'pooled'"),
        (("extract", "--model", "clip_rn50_random", "--layer", "poled"), "'poled' is no layer; did you mean pooled"),
        (("eval", "--layer", "block:x"), "'block:x' is no layer"),
        (("eval", "--layer", ","), "',' names nothing"),
        (("eval", "--protocol", ""), "names no protocol"),
        (("extract", "--model", ","), "',' names nothing"),
        (("layers", "--model", ","), "',' names nothing"),
        (("layers", "--model", "clip_*"), "checkpoints; name one"),
        (("plot", "depth", "--out", "x.gif"), "name a file that ends in .png, .svg or .pdf"),
        (("plot", "depth", "--out", "x.png"), "results folder results does not exist"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ran = run(*arguments)
    assert ran.code == 2 and said in ran.error


def test_one_pass_then_eval_of_all_of_one_and_of_what_a_protocol_takes(run: Run, tmp_path: Path) -> None:
    own, images = ("--registry", tmp_path / "own"), f"folder:{make_images(tmp_path / 'images')}"
    write_entry(tmp_path / "own")
    shutil.copytree(tmp_path / "own", tmp_path / "own2")
    (tmp_path / "own" / "protocols").mkdir()
    ridge = (Path(__file__).parents[2] / "registry/protocols/ridge.toml").read_text()
    takes = ridge.replace('id = "ridge"', 'id = "takes"').replace(
        'probe = "ridge"', 'layer = "block:1"\nprobe = "ridge"'
    )
    (tmp_path / "own" / "protocols" / "takes.toml").write_text(takes)
    told = run(
        "extract", "--model", "tiny", "--dataset", images, *own, *CPU, "--layer", "pooled,block:1", "--layer", "block:0"
    )
    assert "px, pooled, block:0, block:1: 24 images in" in told.out, told.err
    again = run("extract", "--model", "tiny", "--dataset", images, *own, *CPU, "--layer", "block:*")
    assert "px, block:0, block:1, block:2, block:3, block:4: 24 images in" in again.out
    planned = run(
        "extract", "--model", "tiny", "--dataset", images, *own, *CPU, "--layer", "block:0,pooled", "--dry-run"
    )
    assert "96 + 32 float32" in planned.out and " bytes to write to" in planned.out
    few = (*own, "--shots", 1, "--draws", 1)
    run("eval", "--probe", "ridge", *few, "--layer", "block:1,block:2")
    assert layers(tmp_path) == ["block:1", "block:2"]
    ran = run("eval", "--probe", "ridge", *few)
    assert layers(tmp_path) == ["block:0", "block:1", "block:2", "block:3", "block:4", "pooled"]
    assert all(f"tiny ({layer})" in ran.out for layer in layers(tmp_path))
    missing = run("eval", "--model", "tiny", "--probe", "ridge", *few, "--layer", "pooled,block:0:mean")
    assert missing.code == 1 and "layer block:0:mean, are cached in" in missing.err
    assert "extract --model tiny --layer block:0:mean" in missing.error
    run("eval", "--protocol", "takes", *few)
    assert [one["checkpoint"]["layer"] for one in results(tmp_path) if one["protocol"] == "takes"] == ["block:1"]
    drawn = run("plot", "depth", "--protocol", "ridge", "--out", "depth.png")
    assert "tiny" in drawn.out and "block:4" in drawn.out and (tmp_path / "depth.png").read_bytes()[:4] == b"\x89PNG"
    rows = json.loads(run("plot", "depth", "--protocol", "ridge", "--out", "depth.svg", "--json").out)
    assert [(one["layer"], one["block"], one["features"]) for one in rows][-2:] == [
        ("block:4", 4, 96),
        ("pooled", None, 96),
    ]
    (one,) = [path for path in (tmp_path / "results").glob("*/*/ridge-*.json") if "block:4" in path.read_text()]
    later = json.loads(one.read_text())
    one.write_text(json.dumps(later | {"protocol_version": later["protocol_version"] + 1}))
    newest = run("plot", "depth", "--protocol", "ridge", "--out", "depth.png")
    assert "older versions of ridge are left out" in newest.err and "block:3" not in newest.out
    one.write_text(json.dumps(later))
    none = run("plot", "depth", "--out", "depth.png")
    assert none.code == 2 and "no results on intermediate blocks under protocol default" in none.error
    compared = run("results", "compare", "tiny", "tiny", "--json")
    assert ["pooled", "block:1"] in [one["layers"] for one in json.loads(compared.out)]


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (folder / "results").glob("*/*/*.json")]


def layers(folder: Path) -> list[str]:
    return sorted(one["checkpoint"]["layer"] for one in results(folder))


def test_results_on_any_layer_verify_and_can_be_submitted(run: Run, tmp_path: Path) -> None:
    model = ("--model", "efficientnet_lite0_random", "--dataset", "digits", "--input-size", 8)
    run("extract", *model, *CPU, "--layer", "pooled,block:0,block:1")
    run("eval", *model, "--probe", "ridge", "--shots", 1)
    verified = run("leaderboard", "verify", tmp_path / "results")
    assert verified.code == 0, verified.err
    assert "3 results" in verified.out
