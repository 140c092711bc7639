"""Mistypes are told before libraries load; what people ask of results and trial runs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran, make_images, write_entry

Run = Callable[..., Ran]

# Each is wrong in one way, and what its line names.
WRONG = {
    "extract --model nothing --dataset digits": "unknown model 'nothing'",
    "extract --model efficientnet_lite0_in1k --dataset folder:nowhere": "nowhere does not exist",
    "extract --model efficientnet_lite0_in1k --dataset nothing": "unknown data set 'nothing'",
    "extract --model laion_clip_rn50 --dataset digits --weights nowhere.pt": "nowhere.pt does not exist",
    "extract --model nowhere/model_best.pth.tar --dataset digits": "model_best.pth.tar does not exist",
    "extract --model timm/resnet50.a1_in1 --dataset digits": "timm has no weights",
    "extract --model ViT-B-33/openai --dataset digits": "open_clip has no architecture",
    "extract --model torchvision/resnet51 --dataset digits": "torchvision has no architecture",
    "extract --model efficientnet_lite0_in1k --dataset digits --layer nothing": "nothing",
    "eval --model nothing": "unknown model 'nothing'",
    "eval --shots some": "--shots takes positive numbers",
    "finetune --model nothing --dataset digits": "unknown model 'nothing'",
    "finetune --model efficientnet_lite0_in1k --dataset folder:nowhere": "nowhere does not exist",
    "zeroshot --model nothing": "unknown model 'nothing'",
    "models add nowhere.pt --arch x --library timm --method supervised --source x": "nowhere.pt does not exist",
    "datasets show folder:nowhere": "nowhere does not exist",
    "results list --out nowhere": "results folder nowhere does not exist",
    "submit --model efficientnet_lite0_in1k --dataset folder:photos": "stays off the public board",
    "plot depth --out figure.doc": "name a file that ends in",
    "leaderboard verify nowhere": "nowhere",
    "run nothing": "unknown experiment 'nothing'",
    "run offline --shard 0/50": "parts are counted from 1 to N",
}
PROGRAM = """
import json, sys, time
from probebench.cli.main import main
found = {}
for typed in json.loads(sys.argv[1]):
    sys.argv = ["probebench", *typed.split()]
    began = time.process_time()
    try:
        main()
    except SystemExit as stopped:
        found[typed] = [stopped.code, time.process_time() - began]
print(json.dumps([found, [one for one in ("torch", "timm", "torchvision", "open_clip") if one in sys.modules]]))
"""


def test_mistypes_are_told_before_libraries_load(home: Path, tmp_path: Path) -> None:
    """In one process, so that what one call loads would show; benchmarks/README.md has the seconds of each alone."""
    call = [sys.executable, "-c", PROGRAM, json.dumps(list(WRONG))]
    done = subprocess.run(call, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    found, loaded = json.loads(done.stdout.splitlines()[-1])
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == len(WRONG), done.stderr
    for line, (typed, said) in zip(lines, WRONG.items(), strict=True):
        assert said in line and found[typed][0] in (1, 2), (typed, line)
    assert loaded == []


def test_a_trial_run_is_never_ranked(run: Run, tmp_path: Path) -> None:
    write_entry(tmp_path / "registry")
    own = ("--registry", tmp_path / "registry")
    make_images(tmp_path / "d", each=30)
    done = run("extract", "--model", "tiny", "--dataset", "folder:d", "--limit", 12, "--json", *own)
    (facts,) = json.loads(done.out)
    assert facts["dataset"].endswith("@12") and sorted(one["rows"] for one in facts["files"]) == [12, 12]
    again = json.loads(run("extract", "--model", "tiny", "--dataset", "folder:d", "--limit", 12, "--json", *own).out)
    assert [one["computed"] for one in again[0]["files"]] == [0, 0]
    results = json.loads(run("eval", "--dataset", facts["dataset"], "--shots", "2", "--json", *own).out)
    assert [one["dataset"] for one in results] == [facts["dataset"]]
    from probebench.leaderboard.ranking import why_unranked
    from probebench.results.schema import Result

    assert why_unranked(Result.model_validate(results[0]), {}) == "trial run"
    assert run("extract", "--model", "tiny", "--dataset", "folder:d", "--limit", 1, *own).code == 2


def test_results_are_narrowed_and_told_apart(run: Run, tmp_path: Path) -> None:
    from probebench.results.store import result_path, write_result
    from tests.results.make import result

    for model in ("alpha", "beta"):
        for shots in (10, 1, 5, "full"):
            for mode in ("full", "lp-ft"):
                made = result(model=model, shots=shots, kind="finetune", mode=mode, protocol="quick")
                path = result_path(Path("results"), model, "digits", "finetune", f"quick-{mode}", shots, "0" * 8)
                write_result(path, made)
    table = run("results", "list", "--model", "al*", "--shots", "1,10").out
    assert "beta" not in table and table.splitlines()[1].split()[-4:] == ["1", "shot", "10", "shots"]
    assert [line.split()[5] for line in table.splitlines()[2:4]] == ["full", "lp-ft"]
    found = json.loads(run("results", "list", "--json", "--model", "beta", "--protocol", "quick").out)
    assert [one["shots"] for one in found if one["mode"] == "full"] == [1, 5, 10, "full"]
    assert "unknown model 'gamma'" in run("results", "list", "--model", "gamma").error


def test_models_of_an_architecture(run: Run) -> None:
    found = json.loads(run("models", "list", "--arch", "vit-b-32", "--json").out)
    assert found and all("ViT-B-32" in one["architecture"]["name"] for one in found)


@pytest.mark.parametrize("name", ["folder:photos", "wds:x", "digits,hf:a/b"])
def test_own_data_stay_off_the_public_board(run: Run, name: str) -> None:
    said = run("submit", "--model", "efficientnet_lite0_in1k", "--dataset", name)
    assert said.code == 2 and "probebench leaderboard build --results results --out board" in said.error
