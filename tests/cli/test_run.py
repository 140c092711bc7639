"""Experiments: what is missing is done once, what fails stops nothing, and the file of what is cached finds no work."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from probebench.cache.store import stored_files
from probebench.errors import DatasetError
from probebench.registry import Registry
from tests.cli.test_finetune import RECIPE
from tests.conftest import Ran, make_images, write_entry
from tests.pretraining.making import two_sources

Run = Callable[..., Ran]


pytestmark = pytest.mark.usefixtures("own")


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    for name, seed in (("reds", 0), ("blues", 5)):
        for part, each in (("train", 8), ("test", 6)):
            make_images(tmp_path / name / part, each=each, seed=seed + each)
    return ["folder:reds", "blues"]


def write(path: Path, **keys: Any) -> Path:
    import tomli_w

    facts = {"models": ["tiny*"], "datasets": ["digits"], "shots": [1, 2], "draws": 2, **keys}
    path.write_text(tomli_w.dumps({name: value for name, value in facts.items() if value is not None}))
    return path


def test_what_is_missing_is_done_once_and_ends_in_table_study_and_page(
    run: Run, tmp_path: Path, home: Path, images: list[str]
) -> None:
    """Also resumed by shards, and printed again as the file that finds nothing to do."""
    whole = write(tmp_path / "whole.toml", datasets=images, protocols=["default"], probes=["knn"])
    dry = json.loads(run("run", whole, "--dry-run", "--json").out)
    assert dry["images"] == 2 * 2 * (24 + 18) and dry["bytes"] == dry["images"] * 96 * 4 and len(dry["pairs"]) == 4
    parts = [run("run", whole, "--shard", f"{one}/3", "--json") for one in (1, 2, 3)]
    facts = [json.loads(one.out) for one in parts]
    assert [one.code for one in parts] == [0, 0, 0] and [one["extracted"] for one in facts] == [2, 1, 1]
    assert [one["page"] for one in facts] == [None] * 3 and not Path("study").exists()
    assert [one["computed"] for one in facts] == [8, 4, 4]
    done = run("run", whole)
    assert done.code == 0 and "nothing to do: all features and 16 results were there" in done.out, done.err
    assert "tiny_other" in done.out and "2 shots" in done.out
    assert Path("study/study.html").is_file() and Path("site/index.html").is_file()
    assert json.loads(run("run", whole, "--dry-run", "--json").out)["fits"] == 0
    files = {path: path.stat().st_mtime_ns for path in [*stored_files(home), *Path("results").rglob("*.json")]}
    printed = run("run", "--print")
    (tmp_path / "printed.toml").write_text(printed.out)
    found = tomllib.loads(printed.out)
    assert found["protocols"] == ["default", "knn"] and found["shots"] == [1, 2] and found["draws"] == 2
    assert "nothing to do" in run("run", "printed.toml").out
    assert files == {path: path.stat().st_mtime_ns for path in [*stored_files(home), *Path("results").rglob("*.json")]}


def test_what_is_cached_unevenly_is_printed_as_it_is(run: Run, tmp_path: Path, images: list[str]) -> None:
    run("extract", "--model", "tiny", "--dataset", "reds")
    run("extract", "--model", "tiny_other", "--dataset", "reds", "--dataset", "blues")
    run("extract", "--model", "tiny", "--dataset", "blues", "--input-size", 48)
    run("extract", "--model", "tiny", "--dataset", "blues", "--limit", 6)
    printed = run("run", "--print")
    found = tomllib.loads(printed.out)
    assert [one["model"] for one in found["left_out"]] == ["tiny"] and found["protocols"] == []
    assert "48 px" in printed.err and "@6, which no other call can name" in printed.err
    (tmp_path / "printed.toml").write_text(printed.out)
    done = run("run", "printed.toml")
    assert done.code == 0 and "nothing to do" in done.out


def test_a_cell_that_fails_does_not_stop_the_others(run: Run, tmp_path: Path, own: Path, images: list[str]) -> None:
    write_entry(own, id="tiny_mine", uri="user")
    damaged = next((tmp_path / "blues" / "test").rglob("*.png"))
    damaged.write_bytes(b"no image")
    done = run("run", write(tmp_path / "all.toml", datasets=["blues", "nowhere", "reds"]))
    assert done.code == 2 and "unknown data set 'nowhere'" in done.error
    done = run("run", write(tmp_path / "all.toml", datasets=["blues", "folder:nowhere", "reds"], shots=[1, 50]))
    assert done.code == 1
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 4, done.err
    for said in ("nowhere does not exist", "tiny_mine were never published", "tiny: image blues/test/", "tiny_other"):
        assert any(said in line for line in lines), said
    assert "passed over" in done.err
    results = sorted(path.parts[1:] for path in Path("results").rglob("*.json"))
    assert len(results) == 2 and {one[0] for one in results} == {"tiny", "tiny_other"}
    assert Path("site/index.html").is_file()


def test_cached_features_are_enough_where_the_images_are_gone(run: Run, tmp_path: Path, images: list[str]) -> None:
    (facts,) = json.loads(run("extract", "--model", "tiny", "--dataset", "reds", "--json").out)
    (tmp_path / "reds").rename(tmp_path / "elsewhere")
    done = run("run", write(tmp_path / "a.toml", models=["tiny", "tiny_other"], datasets=[facts["dataset"]]), "--json")
    found = json.loads(done.out)
    assert done.code == 1 and found["extracted"] == 0 and len(found["problems"]) == 1
    assert [(one["model"], one["shots"]) for one in found["results"]] == [("tiny", 1), ("tiny", 2)]
    done = run("run", write(tmp_path / "a.toml", models=["tiny"], datasets=[facts["dataset"]]))
    assert done.code == 0 and "nothing to do" in done.out


def test_layers_fine_tunes_and_quick(run: Run, tmp_path: Path, own: Path, images: list[str]) -> None:
    (own / "protocols").mkdir()
    (own / "protocols" / "brief.toml").write_text(RECIPE.format(id="brief"))
    training = {"protocol": "brief", "mode": "linear", "shots": [1], "draws": 2}
    quick = {"datasets": ["folder:reds"], "models": ["tiny"], "finetune": []}
    whole = write(
        tmp_path / "layers.toml",
        datasets=images,
        models=["tiny"],
        layers=["pooled", "block:0"],
        shots=[1],
        finetune=training,
        quick=quick,
    )
    first = json.loads(run("run", whole, "--quick", "--json").out)
    assert {one["checkpoint"]["layer"] for one in first["results"]} == {"pooled", "block:0"} and first["computed"] == 2
    assert json.loads(run("run", whole, "--dry-run", "--json").out)["trainings"] > 0
    second = run("run", whole, "--json")
    facts = json.loads(second.out)
    assert second.code == 0 and facts["extracted"] == 1 and facts["computed"] == 4
    assert {one["kind"] for one in facts["results"]} == {"probe", "finetune"}
    assert json.loads(run("run", whole, "--dry-run", "--json").out)["trainings"] == 0
    printed = tomllib.loads(run("run", "--print").out)
    assert printed["layers"] == ["block:0", "pooled"]
    assert printed["finetune"] == [training]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"model": ["a"]}, "model: unknown key"),
        ({"models": None}, "models: name one, or make some by a table pretrain"),
        ({"shots": [1, "all"]}, "'all' is neither a positive whole number nor 'full'"),
        ({"shots": [0]}, "0 is neither"),
        ({"probes": ["svm"]}, "'svm' is not one of logistic"),
        ({"datasets": []}, "datasets: "),
        ({"draws": 0}, "draws: "),
        ({"finetune": {"mode": "all"}}, "finetune.0.mode: "),
        ({"quick": {"shots": [5]}}, "quick.shots: 5 is not among shots"),
        ({"quick": {"shot": [1]}}, "quick.shot: unknown key"),
        ({"models": ["nothing"]}, "unknown model 'nothing'"),
        ({"protocols": ["nothing"]}, "unknown protocol 'nothing'"),
        ({"protocols": ["quick"]}, "fine-tunes"),
        ({"finetune": {"protocol": "default"}}, "is for probes"),
        ({"layers": ["projected"]}, "has no layer 'projected'"),
        ({"left_out": {"model": "*", "dataset": "*"}}, "leaves out every pair"),
        ({"left_out": {"model": "tine", "dataset": "*"}}, "left_out.model: tine is not among models"),
        ({"left_out": {"model": "*", "dataset": "blues"}}, "left_out.dataset: blues is not among"),
        ({"finetune": {"models": ["tine"]}}, "finetune.models: tine is not among models"),
        ({"finetune": {"datasets": "blue*"}}, "finetune.datasets: blue* is not among"),
        ({"draws": True}, "draws: True is no number"),
        ({"draws": "3"}, "draws: '3' is no number"),
        ({"input_size": "96"}, "input_size: '96' is no number"),
    ],
)
def test_a_file_that_is_wrong_is_told_in_one_line(run: Run, tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    for flags in ((), ("--dry-run",)):
        done = run("run", write(tmp_path / "wrong.toml", **keys), *flags)
        assert done.code in (1, 2) and said in done.error and 'unknown")' not in done.err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["nothing"], "unknown experiment 'nothing'"),
        (["nowhere.toml"], "nowhere.toml does not exist"),
        ([], "name an experiment"),
        (["offline", "--shard", "0/50"], "--array=1-50"),
        (["offline", "--shard", "51/50"], "--array=1-50"),
        (["offline", "--shard", "1"], "--shard takes I/N"),
        (["offline", "--shard", "1/0"], "counted from 1"),
        (["offline", "--print"], "--print takes no experiment"),
        (["--print"], "no features that an experiment could name"),
    ],
)
def test_a_call_that_is_wrong_is_told_in_one_line(run: Run, typed: list[str], said: str) -> None:
    done = run("run", *typed)
    assert done.code == 2 and said in done.error


def test_quick_is_less_of_the_same(run: Run, tmp_path: Path) -> None:
    assert "no [quick] table" in run("run", write(tmp_path / "a.toml"), "--quick").error
    more = write(tmp_path / "a.toml", models=["tiny"], quick={"models": ["tiny_other"]})
    assert "quick.models: tiny_other is not among models" in run("run", more, "--quick").error


def test_processes_side_by_side_give_the_same(run: Run, tmp_path: Path, images: list[str]) -> None:
    whole = write(
        tmp_path / "whole.toml", datasets=images, shots=[1], shots_of={"knn": [2]}, probes=["logistic", "knn"]
    )
    together = run("run", whole, "--jobs", "2", "--out", "together", "--json")
    assert together.code == 0, together.err
    assert json.loads(together.out)["extracted"] == 4 and "of 2 checkpoints" not in together.out
    alone = run("run", whole, "--jobs", "1", "--out", "alone", "--json")
    assert json.loads(alone.out)["extracted"] == 0
    found = [[{**one, "timings": 0} for one in json.loads(done.out)["results"]] for done in (together, alone)]
    kinds = [(one["model"], one["dataset"], one["protocol"], one["shots"]) for one in found[0]]
    assert len(kinds) == 8 and {(protocol, shots) for _, _, protocol, shots in kinds} == {("default", 1), ("knn", 2)}
    assert {json.dumps(one) for one in found[0]} == {json.dumps(one) for one in found[1]}
    assert "leave it or engine out" in run("run", whole, "--jobs", "2", "--engine", "ray").error
    assert "ridge is not among the protocols" in run("run", write(whole, shots_of={"ridge": [1]})).error


def test_a_process_that_is_killed_is_told_in_one_line(
    run: Run, tmp_path: Path, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    class Killed:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __call__(self, tasks: Any) -> Iterator[None]:
            yield from ()
            raise TerminatedWorkerError("a worker was killed")

    monkeypatch.setattr("joblib.Parallel", Killed)
    done = run("run", write(tmp_path / "whole.toml", datasets=images, shots=[1]), "--jobs", "2")
    assert done.code == 1 and "was killed, for want of memory mostly; what is done is kept" in done.error


def test_some_pairs_are_trained(run: Run, tmp_path: Path, own: Path, images: list[str]) -> None:
    (own / "protocols").mkdir()
    (own / "protocols" / "brief.toml").write_text(RECIPE.format(id="brief"))
    some = {"protocol": "brief", "mode": "scratch", "shots": [1], "models": ["tiny"], "datasets": ["*reds"]}
    whole = write(tmp_path / "some.toml", datasets=images, protocols=[], finetune=some)
    planned = json.loads(run("run", whole, "--dry-run", "--json").out)["pairs"]
    assert [one["dataset"] for one in planned if one["trainings"]] == ["folder:reds"]
    done = run("run", whole, "--json")
    assert [one["model"] for one in json.loads(done.out)["results"]] == ["tiny"], done.err


@pytest.mark.usefixtures("sources")
def test_a_checkpoint_that_is_made_is_in_one_part(tmp_path: Path) -> None:
    from probebench.api.declared import declare

    table = {"recipes": "few_*", "sources": ["drawn"], "samples": 4, "runs": [0, 1]}
    whole = write(tmp_path / "made.toml", datasets=["digits", "letters", "fashion_mnist"], pretrain=[table])
    parts = [declare(whole, shard=f"{part}/4") for part in range(1, 5)]
    made = [[one.checkpoint for one in part.made] for part in parts]
    assert sorted(map(len, made)) == [1, 1, 1, 1] and len({name for names in made for name in names}) == 4
    for names, part in zip(made, parts, strict=True):
        assert [spec.id for spec, _ in part.pairs if spec.id in names] == names * 3


def test_shards_divide_the_whole_whatever_is_on_the_machine(run: Run, tmp_path: Path) -> None:
    from probebench.api.declared import declare

    whole = write(tmp_path / "all.toml", datasets=["folder:reds", "fashion_mnist", "digits", "study"])
    pairs = [(one.id, name) for one, name in declare(whole).pairs]
    assert len(pairs) == 2 * 12
    parts = [[(one.id, name) for one, name in declare(whole, shard=f"{part}/5").pairs] for part in range(1, 6)]
    assert sorted(pair for part in parts for pair in part) == sorted(pairs)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    large = [sum(name in ("domainnet_real", "fashion_mnist", "cifar100") for _, name in part) for part in parts]
    assert max(large) - min(large) <= 1
    assert parts == [[(one.id, name) for one, name in declare(whole, shard=f"{part}/5").pairs] for part in range(1, 6)]


def test_fifty_checkpoints_on_nine_sets_are_planned_without_torch_and_data(tmp_path: Path, home: Path) -> None:
    models = [name for name, spec in Registry.load(environ={}).checkpoints.items() if spec.weights.scheme != "user"][
        :50
    ]
    write(tmp_path / "fifty.toml", models=models, datasets=["study"], shots=[1, 5, 10, 20, "full"], draws=None)
    code = (
        "import sys; sys.modules['torch'] = None; from probebench.cli.main import main; "
        "sys.argv = ['probebench', 'run', 'fifty.toml', '--dry-run', '--json']; main()"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environ, check=False
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    specs = Registry.load(environ={})
    splits = [specs.datasets[name].splits for name in specs.suites["study"].datasets]
    images = sum(one.train + one.val + one.test for one in splits)
    assert len(plan["pairs"]) == 450 and plan["images"] == 50 * images
    widths = sum(specs.checkpoints[name].output.features for name in models)
    assert plan["bytes"] == 4 * widths * images
    assert plan["fits"] == 450 * (4 * 5 * 17 + 18)


@pytest.fixture
def sources(run: Run, home: Path) -> None:
    two_sources(run, home)


@pytest.mark.usefixtures("sources")
def test_a_source_of_a_package_is_fetched_where_it_is_not_here(run: Run, tmp_path: Path, images: list[str]) -> None:
    table = {"recipes": ["few_clip"], "sources": ["lost"], "samples": 4}
    whole = write(tmp_path / "made.toml", models=None, datasets=images[:1], shots=[1], pretrain=[table])
    done = run("run", whole, "--study", "s", "--site", "p")
    assert done.code == 0 and "1 checkpoint made" in done.out, done.err
    assert run("sources", "prepare", "lost").code == 0


@pytest.mark.usefixtures("sources")
def test_checkpoints_are_made_first_and_what_cannot_be_made_stops_nothing(
    run: Run, tmp_path: Path, own: Path, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_to_be_had(spec: Any, root: Path) -> None:
        raise DatasetError(f"packages of {spec.id} cannot be had")

    monkeypatch.setattr("probebench.datasets.captioned.prepare.prepare_source", nothing_to_be_had)
    tables: list[dict[str, Any]] = [
        {"recipes": "few_*", "sources": ["drawn"], "samples": [4, 99], "label_noise": [0, 0.5]},
        {"recipes": ["few_clip"], "sources": ["lost"], "samples": 4, "runs": 7},
    ]
    whole = write(tmp_path / "made.toml", models=None, datasets=images[:1], shots=[1], zeroshot=True, pretrain=tables)
    plan = run("run", whole, "--dry-run")
    # Permuted captions are nothing to a method that reads none; 99 images, which nobody has counted, are tried.
    assert "7 checkpoints to pre-train; 7 pairs, 0 cached" in plan.out, plan.err
    assert "probebench pretrain --recipe few_clip --source drawn --samples 4 --label-noise 0.5 --run 0" in plan.out
    assert not list(own.rglob("few_*.toml"))
    done = run("run", whole, "--study", "s", "--site", "p")
    assert done.code == 1 and "3 checkpoints made" in done.out, done.err
    told = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert (
        len(told) == 5
        and "packages of lost cannot be had" in told[0]
        and sum("ask for at most so many" in line for line in told) == 3
    )
    assert any("few_clip-lost-4-run7: source lost is not on this machine" in line for line in told)
    names = {path.stem for path in (own / "checkpoints").glob("few_*.toml")}
    assert names == {"few_clip-drawn-4-run0", "few_clip-drawn-4-noise0.5-run0", "few_simclr-drawn-4-run0"}
    results = {path.parts[-3:][0] + path.name[:5] for path in Path("results").rglob("*.json")}
    assert {name.removesuffix("zeros") for name in results if name.endswith("zeros")} == names - {
        "few_simclr-drawn-4-run0"
    }
    tables = [{**tables[0], "samples": [4]}]
    write(whole, models=None, datasets=images[:1], shots=[1], zeroshot=True, pretrain=tables)
    assert "nothing to do" in run("run", whole, "--study", "s", "--site", "p").out


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"recipes": ["few_clop"], "sources": ["drawn"], "samples": 4}, "few_clop"),
        ({"recipes": ["few_clip"], "sources": ["nowhere"], "samples": 4}, "unknown source 'nowhere'"),
        ({"recipes": ["few_clip"], "sources": [["drawn", "lost"]], "samples": 1}, "one of each source"),
        ({"recipes": ["few_simclr"], "sources": ["drawn"], "samples": 4, "label_noise": 2}, "pretrain.0.label_noise"),
        ({"recipes": ["few_simclr"], "sources": ["drawn"]}, "pretrain.0.samples: missing"),
        ({"recipes": ["few_simclr"], "sources": ["drawn"], "samples": 1}, "pretrain.samples 1: take two"),
        ({"recipes": ["few_simclr"], "sources": ["drawn"], "samples": True}, "True is no number"),
        ({"recipes": ["few_clip"], "sources": ["drawn"], "samples": 4, "label_noise": True}, "True is no number"),
        ({"recipes": ["few_clip"], "sources": ["drawn"], "samples": 4, "label_noise": "0.5"}, "'0.5' is no number"),
        ({"recipes": ["few_clip"], "sources": ["drawn"], "samples": 4, "runs": "0"}, "'0' is no number"),
        (
            {"recipes": ["few_clip"], "sources": ["drawn"], "samples": 4, "runs": 10**22},
            "pretrain.0.runs: an integer of more",
        ),
        ({"recipes": ["few_clip"], "sources": [["drawn", "drawn"]], "samples": 4}, "drawn is named twice"),
        ({"recipes": ["few_simclr"], "sources": ["drawn"], "samples": 4, "label_noise": 0.5}, "pretrain.label_noise"),
    ],
)
def test_a_table_of_pre_training_that_is_wrong(run: Run, tmp_path: Path, table: dict[str, Any], said: str) -> None:
    for flags in ((), ("--dry-run",)):
        assert said in run("run", write(tmp_path / "wrong.toml", pretrain=[table]), *flags).error


@pytest.mark.usefixtures("sources")
def test_quick_makes_nothing_that_the_whole_does_not(run: Run, tmp_path: Path) -> None:
    table = {"recipes": ["few_clip"], "sources": ["drawn"], "samples": 4}
    whole = write(tmp_path / "wrong.toml", pretrain=[table], quick={"pretrain": [{**table, "runs": 1}]})
    assert "quick.pretrain: few_clip-drawn-4-run1 is not among" in run("run", whole, "--quick", "--dry-run").error


def test_every_shipped_experiment_is_whole(shipped: Registry) -> None:
    from probebench.api.declared import declare

    assert "offline" in shipped.experiments
    for name, spec in shipped.experiments.items():
        assert spec.title and declare(name).pairs
        assert spec.quick is None or declare(name, quick=True).pairs


def test_the_file_on_the_page_is_one() -> None:
    from probebench.registry import ExperimentSpec

    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
    (text,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    spec = ExperimentSpec.model_validate(tomllib.loads(text))
    assert spec.all_protocols == ("default", "knn") and spec.quicker is not None and spec.quicker.finetune == ()
    keys = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", page, re.MULTILINE))))
    assert keys == set(ExperimentSpec.model_fields)


def test_what_is_no_file_is_called_what_it_is(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    assert "is a pipe, and no file" in run("run", tmp_path / "pipe.toml").error
    assert "is a folder, and no file" in run("run", tmp_path / "folder.toml").error
