"""The way from images to a table, on the command line, and everything that can go wrong on it."""

import errno
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from probebench.cache.store import stored_files
from probebench.cache.writer import FeatureWriter
from tests.conftest import Ran, make_images, write_entry

Run = Callable[..., Ran]


pytestmark = pytest.mark.usefixtures("own")


@pytest.fixture
def images(tmp_path: Path) -> str:
    for part, each, seed in (("train", 12, 0), ("test", 10, 1)):
        make_images(tmp_path / "images" / part, each=each, seed=seed)
    return f"folder:{tmp_path / 'images'}"


def test_extract_then_eval_as_typed(run: Run, images: str, tmp_path: Path) -> None:
    first = run("extract", "--model", "tiny", "--dataset", images)
    assert first.code == 0 and "66 images in" in first.out
    assert "all cached already" in run("extract", "--model", "tiny", "--dataset", images).out
    done = run("eval", "--shots", "1,5,full", "--draws", "3")
    assert done.code == 0, done.err
    assert "1 shot" in done.out and "5 shots" in done.out and "full" in done.out
    results = sorted(path.name for path in (tmp_path / "results").rglob("*.json"))
    assert [name.rsplit("-", 1)[0] for name in results] == ["probe-default-1", "probe-default-5", "probe-default-full"]
    listed = json.loads(run("results", "list", "--json").out)
    assert [one["input_size"] for one in listed] == [32, 32, 32]
    assert "tiny" in run("results", "list").out
    page = run("leaderboard", "build")
    assert page.code == 0 and (tmp_path / "site" / "index.html").is_file()


def test_each_probe_has_its_own_protocol_and_results(run: Run, images: str, tmp_path: Path) -> None:
    assert run("extract", "--model", "tiny", "--dataset", images).code == 0
    for flags in (["--probe", "ridge"], ["--probe", "knn"], ["--protocol", "big_vision_lsr"], ["--probe", "logistic"]):
        done = run("eval", "--shots", "1,5", "--draws", "2", *flags)
        assert done.code == 0, done.err
    names = sorted(path.name.rsplit("-", 2)[0] for path in (tmp_path / "results").rglob("*.json"))
    assert names == sorted(["knn-knn", "probe-default", "ridge-big_vision_lsr", "ridge-ridge"] * 2)
    some = run(
        "eval", "--shots", "1", "--draws", "2", "--probe", "ridge", "--protocol", "*", "--out", tmp_path / "some"
    )
    assert some.code == 0 and "rank of each checkpoint" not in some.err
    found = {path.name.rsplit("-", 2)[0] for path in (tmp_path / "some").rglob("*.json")}
    assert found == {"ridge-big_vision_lsr", "ridge-ridge"}
    listed = json.loads(run("results", "list", "--json").out)
    assert {one["kind"] for one in listed} == {"probe", "ridge", "knn"}


def test_globs_comma_lists_and_sizes(run: Run, images: str) -> None:
    assert run("extract", "--model", "tiny*", "--dataset", images).code == 0
    assert run("extract", "--model", "tiny,tiny_other", "--dataset", images, "--input-size", "48").code == 0
    everything = run("eval", "--shots", "1", "--draws", "2")
    assert everything.out.count("folder:images") == 4
    some = run("eval", "--shots", "1", "--draws", "2", "--model", "tiny_*", "--input-size", "48", "--dataset", images)
    assert some.out.count("folder:images") == 1
    assert run("eval", "--shots", "1", "--draws", "2", "--dataset", "folder:im*").out.count("folder:images") == 4


def test_default_data_sets_are_the_offline_suite(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("probebench.datasets.open.open_dataset", lambda name, *_: name)
    monkeypatch.setattr("probebench.cli.extract.run_extract", lambda one, **_: asked.append(one))
    run("extract", "--model", "tiny")
    run("extract", "--model", "tiny", "--dataset", "offline,digits")
    assert [extractions.datasets for extractions in asked] == [("digits", "fashion_mnist")] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extract", "--model", "efficientnet_lite1"], "did you mean efficientnet_lite1_in1k"),
        (["extract", "--model", "tiny", "--dataset", "digts"], "did you mean digits"),
        (["extract", "--model", "tiny", "--dataset", "folder:/nowhere"], "does not exist"),
        (["extract", "--model", "tiny,tiny_other", "--weights", "w.pt"], "--weights is for one model"),
        (["extract", "--model", "laion_clip_rn50", "--dataset", "digits"], "extract --model laion_clip_rn50 --weights"),
        (["extract", "--model", "tiny", "--dataset", "digits", "--weights", "w.pt"], "takes no weights file"),
        (["eval", "--model", "efficientnet_lite"], "did you mean efficientnet_lite"),
        (["eval", "--dataset", "digts"], "did you mean digits"),
        (["eval", "--shots", "1,ten"], "--shots takes positive numbers and full"),
        (["eval", "--shots", "0"], "--shots takes positive numbers and full"),
        (["eval", "--protocol", "defualt"], "did you mean default"),
        (["eval", "--protocol", "mieb", "--backend", "torch"], "prescribes its own solver (lbfgs)"),
        (["eval", "--probe", "knn", "--backend", "torch"], "knn is computed exactly"),
        (
            ["eval", "--probe", "knn", "--protocol", "default"],
            "protocol default is for the logistic probe, not for knn",
        ),
        (["eval", "--probe", "logistic", "--protocol", "kn*"], "--protocol default"),
        (["results", "compare", "a", "b"], "run probebench eval first"),
        (["leaderboard", "build"], "run probebench eval first"),
        (["cache", "remove"], "say what to remove"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_line_with_the_mend(run: Run, arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.code == 2 and said in done.error


def test_nothing_cached_says_what_to_run(run: Run, images: str) -> None:
    done = run("eval")
    assert done.code == 1 and "run: probebench extract --model ID" in done.error
    run("extract", "--model", "tiny", "--dataset", images)
    done = run("eval", "--model", "tiny,tiny_other", "--shots", "1", "--draws", "2")
    assert done.code == 1 and "probebench extract --model tiny_other" in done.err
    assert "folder:images" in done.out, "what is there is evaluated all the same"


def test_what_was_named_outright_and_is_not_there_is_told(run: Run, images: str, tmp_path: Path) -> None:
    run("extract", "--model", "tiny", "--dataset", images)
    done = run("eval", "--dataset", f"digits,{images}", "--shots", "1", "--draws", "2")
    assert done.code == 1 and "no features on digits are cached" in done.error
    assert done.out.count("folder:images") == 1
    done = run("eval", "--model", "tiny, tiny_other", "--shots", "1", "--draws", "2")
    assert done.code == 1 and "no features of tiny_other are cached" in done.error


def test_a_folder_is_never_taken_for_another_of_the_same_name(run: Run, tmp_path: Path) -> None:
    for place, seed in (("clean", 0), ("blurred", 5)):
        for number, part in enumerate(("train", "test")):
            make_images(tmp_path / place / "data" / part, each=6, seed=seed + number)
        assert run("extract", "--model", "tiny", "--dataset", f"folder:{place}/data").code == 0
    keys: list[dict[str, str]] = []
    for place in ("clean", "blurred", "clean"):
        out = tmp_path / f"results-{len(keys)}"
        done = run("eval", "--dataset", f"folder:{place}/data", "--shots", "1", "--draws", "2", "--out", out)
        assert done.code == 0 and done.err.count("warning") == 0
        keys.append(json.loads(next(out.rglob("*.json")).read_text())["feature_key"])
    assert keys[0] == keys[2] != keys[1]


def test_going_back_to_earlier_weights_is_followed_by_eval(run: Run, images: str, own: Path, tmp_path: Path) -> None:
    digests: list[str] = []
    for seed in (0, 1, 0):
        write_entry(own, uri=f"random:{seed}")
        assert run("extract", "--model", "tiny", "--dataset", images).code == 0
        out = tmp_path / f"results-{len(digests)}"
        assert run("eval", "--shots", "1", "--draws", "2", "--out", out).code == 0
        digests.append(json.loads(next(out.rglob("*.json")).read_text())["weights_digest"])
    assert digests[0] == digests[2] != digests[1]


def cut_in_the_middle(path: Path) -> Path:
    """Damages an image in a way that only decoding finds."""
    path.write_bytes(path.read_bytes()[:300] + b"\0\0\0\0IEND\xaeB`\x82")
    return path


def test_an_interrupted_data_set_does_not_stand_in_the_way_of_others(run: Run, images: str, tmp_path: Path) -> None:
    bad = cut_in_the_middle(tmp_path / "images" / "test" / "class1" / "003.png")
    assert run("extract", "--model", "tiny", "--dataset", images).code == 1
    bad.unlink()
    assert run("extract", "--model", "tiny", "--dataset", images).code == 0
    done = run("eval", "--shots", "1", "--draws", "2")
    assert done.code == 0 and "lacks the test split and is passed over" in done.err


def test_user_weights_are_registered_once(run: Run, images: str, own: Path, tmp_path: Path) -> None:
    import timm

    write_entry(own, id="mine", uri="user")
    before = run("extract", "--model", "mine", "--dataset", images)
    assert before.code == 2 and "--weights PATH" in before.error
    state = timm.create_model("test_resnet").state_dict()
    file = tmp_path / "epoch_16.pt"
    torch.save({"epoch": 16, "state_dict": {f"module.{name}": value for name, value in state.items()}}, file)
    given = run("extract", "--model", "mine", "--dataset", images, "--weights", file)
    assert given.code == 0 and "is registered" in given.out
    file.unlink()
    assert "all cached already" in run("extract", "--model", "mine", "--dataset", images).out
    # Other weights under the same id: new features, and eval takes those.
    state = {name: value * 0.9 if value.is_floating_point() else value for name, value in state.items()}
    torch.save(state, file)
    assert "66 images in" in run("extract", "--model", "mine", "--dataset", images, "--weights", file).out
    done = run("eval", "--shots", "1", "--draws", "2")
    assert done.code == 0 and "older features" in done.err and done.out.count("folder:images") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        (b"PK\x03\x04 cut short", "damaged or truncated"),
        ({"conv.weight": torch.ones(3)}, "keys missing (conv1.0.weight"),
    ],
    ids=["missing", "truncated", "wrong architecture"],
)
def test_weights_that_cannot_be_used(run: Run, own: Path, tmp_path: Path, home: Path, content: Any, said: str) -> None:
    write_entry(own, id="mine", uri="user")
    file = tmp_path / "w.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    done = run("extract", "--model", "mine", "--dataset", "digits", "--weights", file)
    assert done.code == 1 and said in done.error and str(file) in done.error
    assert not (home / "weights").exists()


def test_one_model_that_fails_does_not_stop_the_others(run: Run, own: Path, images: str, home: Path) -> None:
    write_entry(own, id="mine", uri="user")
    done = run("extract", "--model", "mine,tiny", "--dataset", images)
    assert done.code == 2 and "1 of 2 models failed" in done.err
    assert len(stored_files(home)) == 2


@pytest.mark.parametrize("how", ["truncated", "foreign", "flipped"])
def test_a_damaged_feature_file_is_named_and_the_rest_evaluated(run: Run, images: str, home: Path, how: str) -> None:
    run("extract", "--model", "tiny,tiny_other", "--dataset", images)
    path = next(path for path in stored_files(home) if "tiny_other" in str(path) and path.name.startswith("train"))
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:2000])
    elif how == "foreign":
        with h5py.File(path, "w") as file:
            file["x"] = np.zeros(3)
    else:
        content = bytearray(path.read_bytes())
        with h5py.File(path) as file:
            place = file["features"].id.get_offset()
        for row in range(36):
            content[place + row * 96 * 4] ^= 1
        path.write_bytes(content)
    done = run("eval", "--shots", "1", "--draws", "2")
    assert done.code == 1 and str(path) in done.err
    assert done.out.count("folder:images") == 1, "the other checkpoint is evaluated"
    assert "lacks the" not in done.err, "one damage, one line"
    named = run("eval", "--model", "tiny_other", "--dataset", images, "--shots", "1", "--draws", "2")
    assert named.code == 1 and str(path) in named.error and named.err.count("\n") == 1, named.err
    again = run("extract", "--model", "tiny_other", "--dataset", images)
    if how != "flipped":
        assert again.code == 1 and str(path) in again.error
    assert run("cache", "verify").code == 1
    assert run("cache", "remove", "--model", "tiny_other").code == 0
    assert run("extract", "--model", "tiny_other", "--dataset", images).code == 0
    assert run("cache", "verify").code == 0
    assert run("eval", "--shots", "1", "--draws", "2").code == 0


def test_an_unreadable_image_is_named_and_finished_data_stay(run: Run, images: str, tmp_path: Path, home: Path) -> None:
    bad = tmp_path / "images" / "test" / "class1" / "003.png"
    good = bad.read_bytes()
    cut_in_the_middle(bad)
    done = run("extract", "--model", "tiny", "--dataset", images)
    assert done.code == 1 and f"image {bad} cannot be read" in done.error
    assert [path.name.split("-")[0] for path in stored_files(home)] == ["train"]
    bad.write_bytes(good)
    assert run("extract", "--model", "tiny", "--dataset", images).code == 0


def test_too_few_samples_are_warned_about_and_recorded(run: Run, images: str, tmp_path: Path) -> None:
    run("extract", "--model", "tiny", "--dataset", images)
    done = run("eval", "--shots", "10,50", "--draws", "2")
    assert done.code == 1 and "no class has 50 training images, and the largest has 12" in done.error
    (path,) = (tmp_path / "results").rglob("*.json")
    stored = json.loads(path.read_text())
    assert path.name.startswith("probe-default-10-") and len(stored["trials"]) == 2


def test_classes_that_lack_images_give_what_they_have_and_are_recorded(run: Run, images: str, tmp_path: Path) -> None:
    for path in sorted((tmp_path / "images" / "train" / "class0").iterdir())[:6]:
        path.unlink()
    run("extract", "--model", "tiny", "--dataset", images)
    done = run("eval", "--shots", "10", "--draws", "2")
    assert done.code == 0 and "10 shots: 3 classes have too few training images" in done.err
    (path,) = (tmp_path / "results").rglob("*.json")
    assert json.loads(path.read_text())["short_classes"][0] == {"label": 0, "train": 6, "validation": 0}


def test_a_full_disk_in_extract(run: Run, images: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = FeatureWriter.append

    def full(self: FeatureWriter, rows: Any, skipped: Any = ()) -> None:
        if self._path.name.startswith("test"):
            raise OSError(errno.ENOSPC, "No space left on device", str(self._path))
        append(self, rows, skipped)

    monkeypatch.setattr(FeatureWriter, "append", full)
    done = run("extract", "--model", "tiny", "--dataset", images)
    assert done.code == 1 and "no room left to write" in done.error and str(home) in done.error
    assert len(stored_files(home)) == 1
    monkeypatch.undo()


def test_a_full_disk_in_eval_keeps_earlier_results(
    run: Run, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("extract", "--model", "tiny", "--dataset", images)
    write = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if "-5-" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    done = run("eval", "--shots", "1,5", "--draws", "2")
    assert done.code == 1 and "no room left to write" in done.error
    files = [path.name for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(files) == 2 and all("-1-" in name for name in files)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs Linux's /sys, which not even root may write")
def test_a_home_or_results_folder_that_cannot_be_written(
    run: Run, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("extract", "--model", "tiny", "--dataset", images).code == 0
    done = run("eval", "--shots", "1", "--draws", "2", "--out", "/sys/probebench")
    assert done.code == 1 and "/sys/probebench" in done.error and "--out" in done.error
    monkeypatch.setenv("PROBEBENCH_HOME", "/sys/probebench")
    done = run("extract", "--model", "tiny", "--dataset", images)
    assert done.code == 1 and "/sys/probebench" in done.error and "PROBEBENCH_HOME" in done.error


def test_a_home_that_is_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROBEBENCH_HOME", str(tmp_path / "file"))
    done = run("cache", "list")
    assert done.code == 2 and "is a file" in done.error


def test_cache_list_and_remove(run: Run, images: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("extract", "--model", "tiny,tiny_other", "--dataset", images)
    facts = json.loads(run("cache", "list", "--json").out)
    assert [fact["rows"] for fact in facts] == [30, 36, 30, 36] and {fact["state"] for fact in facts} == {"complete"}
    stored_files(home)[0].write_text("")
    whole = stored_files(home)[1]
    whole.rename(whole.with_name(whole.name + ".partial"))
    states = sorted(fact["state"] for fact in json.loads(run("cache", "list", "--json").out))
    assert states == ["complete", "complete", "damaged", "interrupted"]
    assert "interrupted" in run("cache", "list").out
    assert "removed 2 files" in run("cache", "remove", "--model", "tiny", "--dataset", "folder:*").out
    assert len(stored_files(home)) == 2


def test_damaged_results_are_warned_about(run: Run, images: str, tmp_path: Path) -> None:
    run("extract", "--model", "tiny", "--dataset", images)
    run("eval", "--shots", "1,5", "--draws", "2")
    path = sorted((tmp_path / "results").rglob("*.json"))[0]
    path.write_text("{")
    assert "warning: result" in run("results", "list").err
    assert run("leaderboard", "build").code == 0
    done = run("eval", "--shots", "1,5", "--draws", "2")
    assert done.code == 1 and str(path.name) in done.err and "5 shots" in done.out


def test_protocols_side_by_side_on_one_cache(run: Run, images: str, tmp_path: Path) -> None:
    run("extract", "--model", "tiny,tiny_other", "--dataset", images)
    done = run("eval", "--protocol", "default,dinov2_logreg,mieb", "--shots", "2,5", "--draws", "2")
    assert done.code == 0, done.err
    assert "rank of each checkpoint under each protocol" in done.out and done.out.count("Kendall's tau") == 2
    assert {path.name.rsplit("-", 2)[0] for path in (tmp_path / "results").rglob("*.json")} == {
        "probe-default", "probe-dinov2_logreg", "probe-mieb"
    }  # fmt: skip
    stored = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("*mieb*.json")]
    assert {one["selection"] for one in stored} == {"fixed"} and {one["backend"] for one in stored} == {"sklearn-lbfgs"}
    assert "no validation image" not in done.err, "a strength that the protocol fixes is no accident"


def test_a_protocol_brings_its_own_shots_and_draws(run: Run, images: str, tmp_path: Path) -> None:
    run("extract", "--model", "tiny", "--dataset", images)
    # No class has the 16 images that the protocol names: it is passed over with a word, not refused.
    assert "16" in run("eval", "--protocol", "mieb").err and not list((tmp_path / "results").rglob("*.json"))
    make_images(tmp_path / "images" / "train", each=16)
    run("extract", "--model", "tiny", "--dataset", images)
    assert run("eval", "--protocol", "mieb", "--dataset", images).code == 0
    (path,) = (tmp_path / "results").rglob("*.json")
    assert path.name.startswith("probe-mieb-16-") and len(json.loads(path.read_text())["trials"]) == 5


def test_choosing_inside_one_shot_is_refused_and_all_else_done(run: Run, images: str, tmp_path: Path) -> None:
    run("extract", "--model", "tiny", "--dataset", images)
    done = run("eval", "--protocol", "dinov2_logreg", "--shots", "1,2", "--draws", "2")
    assert done.code == 1 and "needs 2 shots or more" in done.error
    assert [path.name.split("-")[2] for path in (tmp_path / "results").rglob("*.json")] == ["2"]


def test_two_checkpoints_are_compared_on_the_same_draws(run: Run, images: str) -> None:
    run("extract", "--model", "tiny,tiny_other", "--dataset", images)
    run("eval", "--shots", "1,5,full", "--draws", "3")
    (one, *_) = rows = json.loads(run("results", "compare", "tiny", "tiny_other", "--json").out)
    assert {row["shots"] for row in rows} == {1, 5, "full"}
    assert one["means"][0] - one["means"][1] == pytest.approx(one["difference"])
    assert all(
        row["ci95"][0] <= row["difference"] <= row["ci95"][1] and row["p_holm"] >= row["p_value"] for row in rows
    )
    shown = run("results", "compare", "tiny", "tiny_other")
    assert shown.code == 0 and "difference [95% interval]" in shown.out
    done = run("results", "compare", "tiny", "tiny_othr")
    assert done.code == 2 and "did you mean tiny" in done.error


def test_checkpoints_without_common_draws_are_not_compared(run: Run, images: str) -> None:
    run("extract", "--model", "tiny,tiny_other", "--dataset", images)
    run("eval", "--model", "tiny", "--shots", "1", "--draws", "2")
    run("eval", "--model", "tiny_other", "--shots", "5", "--draws", "2")
    done = run("results", "compare", "tiny", "tiny_other")
    assert done.code == 2 and "share no draws" in done.error


def test_ctrl_c_keeps_finished_cells_and_a_rerun_does_the_rest(
    run: Run, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from probebench.probes import torch_

    run("extract", "--model", "tiny", "--dataset", images)
    fit, calls = torch_.fit_paths, list[int]()

    def stopped(trains: Any, *rest: Any) -> Any:
        calls.append(len(trains))
        if len(trains[0]) == 15:
            raise KeyboardInterrupt
        return fit(trains, *rest)

    monkeypatch.setattr(torch_, "fit_paths", stopped)
    done = run("eval", "--shots", "1,5", "--draws", "2")
    assert done.code == 1 and "the same command goes on from there" in done.error
    (kept,) = (tmp_path / "results").rglob("*.json")
    monkeypatch.setattr(torch_, "fit_paths", fit)
    before = kept.stat().st_mtime_ns
    assert run("eval", "--shots", "1,5", "--draws", "2").code == 0
    assert kept.stat().st_mtime_ns == before and len(list((tmp_path / "results").rglob("*.json"))) == 2


def test_a_dry_run_says_what_it_takes_and_writes_nothing(run: Run, images: str, home: Path) -> None:
    done = run("extract", "--model", "tiny*", "--dataset", images, "--dry-run")
    assert done.code == 0, done.err
    assert "36 train + 30 test" in done.out and "96 float32" in done.out and "GB free" in done.out
    assert stored_files(home) == stored_files(home, partial=True) == []
    run("extract", "--model", "tiny", "--dataset", images)
    assert "in all 0 bytes to write" in run("extract", "--model", "tiny", "--dataset", images, "--dry-run").out


def test_a_disk_too_small_is_refused_by_the_dry_run_and_by_the_run(
    run: Run, images: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    for more in (["--dry-run"], []):
        done = run("extract", "--model", "tiny", "--dataset", images, *more)
        assert done.code == 1 and "free some disk space, or set PROBEBENCH_HOME to a larger disk" in done.error
    assert stored_files(home, partial=True) == []


def test_skipped_images_are_in_every_result(run: Run, images: str, tmp_path: Path) -> None:
    bad = ["train/class0/003.png", "test/class1/002.png"]
    for name in bad:
        (tmp_path / "images" / name).write_bytes(b"no image")
    stopped = run("extract", "--model", "tiny", "--dataset", images)
    assert stopped.code == 1 and "003.png cannot be read (not an image)" in stopped.error
    assert "1 more cannot be read (--on-error skip leaves them out" in stopped.error
    done = run("extract", "--model", "tiny", "--dataset", images, "--on-error", "skip")
    assert done.code == 0 and "2 images could not be read and are left out" in done.out
    assert all(f"{name} is left out: image " in done.err for name in bad)
    again = run("extract", "--model", "tiny", "--dataset", images)
    assert "64 images, all cached already" in again.out and "2 images could not be read" in again.out
    done = run("eval", "--shots", "1,full", "--draws", "2")
    assert done.code == 0 and "2 images could not be read and were left out; the result lists them" in done.err
    for path in (tmp_path / "results").rglob("*.json"):
        result = json.loads(path.read_text())
        assert result["skipped_ids"] == bad and result["n_test"] == 29


def test_the_draws_of_other_images_stay_where_some_are_skipped(run: Run, images: str, tmp_path: Path) -> None:
    run("extract", "--model", "tiny", "--dataset", images)
    (tmp_path / "images" / "train" / "class0" / "003.png").write_bytes(b"no image")
    run("extract", "--model", "tiny_other", "--dataset", images, "--on-error", "skip")
    run("eval", "--shots", "1", "--draws", "5")
    fingerprints, draws = set(), []
    for path in (tmp_path / "results").rglob("*.json"):
        result = json.loads(path.read_text())
        fingerprints.add(result["train_fingerprint"])
        draws.append([trial["draw_digest"] for trial in result["trials"]])
    assert len(draws) == 2 and len(fingerprints) == 1
    assert any(one == other for one, other in zip(*draws, strict=True)), "draws without the image are the same"


def test_ray_that_is_not_there_is_one_line(run: Run, images: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for command in (["extract", "--model", "tiny", "--dataset", images], ["eval"]):
        done = run(*command, "--engine", "ray")
        assert done.code == 2 and "pip install 'probebench[ray]'" in done.error


def test_the_last_line_says_what_was_waited_for(run: Run, images: str) -> None:
    done = run("extract", "--model", "tiny", "--dataset", images, "--workers", "0")
    assert re.search(r"\(\d+ images/s; waited for decode \d+%, forward \d+%, disk \d+%\)", done.out)


def test_more_draws_than_count_are_scored_on_the_first_five_with_their_interval(
    run: Callable[..., Ran], home: Path, tmp_path: Path
) -> None:
    """From the predictions beside the result: the interval that it tells is of all its draws."""
    from probebench.results.scores import score_of
    from probebench.results.store import read_predictions, read_result, result_files
    from tests.evaluation.conftest import store

    for split, each in (("train", 12), ("test", 10)):
        store(home, split, np.tile(np.arange(3), each), ("train", "test"), len(split))
    said = run("eval", "--shots", "2", "--draws", "7").out
    (path,) = result_files(tmp_path / "results")
    result = read_result(path)
    score = score_of(result, read_predictions(path, result))
    assert len(result.trials) == 7 and score.mean is not None and score.ci95 is not None
    low, high = score.ci95
    assert f"{100 * score.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in said
    assert "1 cell with more draws, scored on draws 0 to 4" in said
    assert score.ci95 != result.ci95
