import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.errors import UsageError
from probebench.leaderboard import reproduce
from probebench.leaderboard.submit import SubmissionRequest, submit
from probebench.registry import Registry
from probebench.results.environment import environment
from tests.conftest import Ran
from tests.leaderboard.tampering import MODEL, SHIPPED, make_submission

Run = Callable[..., Ran]
CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The shipped results of one checkpoint on digits."""
    shutil.copytree(SHIPPED / MODEL, tmp_path / "results" / MODEL)
    return tmp_path / "results"


def edit(results: Path, shots: int | str, **changes: object) -> Path:
    (path,) = (results / MODEL / "digits").glob(f"probe-default-{shots}-*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_real_submission_is_the_same_bytes_every_time(shipped: Registry, tmp_path: Path) -> None:
    first = make_submission(tmp_path / "a", shipped)
    second = make_submission(tmp_path / "b", shipped)
    assert files(first) == files(second)
    assert {path.suffix for path in first.rglob("*") if path.is_file()} == {".json", ".npz", ".toml"}
    again = make_submission(tmp_path / "a", shipped)
    assert files(again) == files(second) and len(list((tmp_path / "a").iterdir())) == 1
    shots = {name.split("-")[2] for name in files(first) if name.startswith("digits/")}
    assert shots == {"1", "5", "10", "full"}


def test_submit_then_verify_as_typed(run: Run, results: Path) -> None:
    done = run("submit", "--model", MODEL, "--dataset", "digits")
    assert done.code == 0 and "leaderboard/submissions/efficientnet_lite0_in1k: 4 results, complete" in done.out
    assert "0 failures" in run("leaderboard", "verify").out


def test_everything_missing_is_told_at_once_with_its_mend(run: Run, results: Path) -> None:
    """A damaged file, a stale one, one of other weights, one of another entry, too few draws, and a whole data set."""
    folder = results / MODEL / "digits"
    edit(results, 5, protocol_version=1)
    edit(results, 10, weights_digest="ab" * 32)
    full = edit(results, "full")
    values = json.loads(full.read_text())
    edit(results, "full", checkpoint=values["checkpoint"] | {"labels": "none"})
    (one,) = folder.glob("probe-default-1-*.npz")
    one.write_bytes(b"cut off")
    done = run("submit", "--model", MODEL, "--dataset", "offline")
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 1 and not Path("leaderboard").exists()
    for part in (
        f"predictions {one.relative_to(results.parent)} are missing or not those of",
        f"is stale: version 1 of protocol default is not the one now; run: probebench eval --model {MODEL} "
        "--dataset digits --shots 5",
        "are of weights abababababab, and others of other weights",
        "labels is 'none', and the entry",
        f"digits at 1 shot is missing; run: probebench eval --model {MODEL} --dataset digits --shots 1",
        f"fashion_mnist has no results; run: probebench extract --model {MODEL} --dataset fashion_mnist && "
        f"probebench eval --model {MODEL} --dataset fashion_mnist",
    ):
        assert sum(part in line for line in errors) == 1, done.err
    assert all("run: " in line or "run eval again" in line or "rm " in line for line in errors), done.err


def test_too_few_draws_and_failures_are_refused(run: Run, results: Path) -> None:
    values = json.loads(edit(results, 5).read_text())
    edit(results, 5, trials=values["trials"][:3])
    edit(results, 10, mean=None, ci95=None)
    done = run("submit", "--model", MODEL, "--dataset", "digits", "--input-size", "96")
    assert "digits at 5 shots has 3 of 5 draws; run: " in done.err and "--input-size 96" in done.err
    assert "has a trial that failed; run: rm " in done.err


def test_an_older_result_beside_a_current_one_does_not_matter(shipped: Registry, results: Path, tmp_path: Path) -> None:
    (path,) = (results / MODEL / "digits").glob("probe-default-5-*.json")
    older = path.with_name("probe-default-5-00000000.json")
    values = json.loads(path.read_text()) | {"protocol_version": 1, "predictions": {"file": "x", "sha256": "0" * 64}}
    shutil.copy(path.with_suffix(".npz"), older.with_suffix(".npz"))
    values["predictions"] = json.loads(path.read_text())["predictions"] | {"file": older.with_suffix(".npz").name}
    older.write_text(json.dumps(values))
    asked = SubmissionRequest(shipped.checkpoint(MODEL), ("digits",))
    folder, gathered = submit(asked, results, tmp_path / "out", shipped, tmp_path)
    assert folder is not None and not gathered.problems
    assert older.name not in {path.name for path in folder.rglob("*")}


def test_of_two_sizes_one_must_be_named_and_of_two_backends_one_counts(
    shipped: Registry, results: Path, tmp_path: Path
) -> None:
    (path,) = (results / MODEL / "digits").glob("probe-default-5-*.json")
    for digest, changes in (("00000000", {"input_size": 224}), ("11111111", {"backend": "sklearn"})):
        other = path.with_name(f"probe-default-5-{digest}.json")
        shutil.copy(path.with_suffix(".npz"), other.with_suffix(".npz"))
        values = json.loads(path.read_text())
        values["predictions"]["file"] = other.with_suffix(".npz").name
        other.write_text(json.dumps(values | changes))
    asked = SubmissionRequest(shipped.checkpoint(MODEL), ("digits",))
    _, gathered = submit(asked, results, tmp_path / "out", shipped, tmp_path)
    assert any("has results at 224 and 96 px; say which with --input-size" in one for one in gathered.problems)
    asked = SubmissionRequest(shipped.checkpoint(MODEL), ("digits",), input_size=96)
    _, gathered = submit(asked, results, tmp_path / "out", shipped, tmp_path)
    assert gathered.problems == [] and path in gathered.results
    assert any("1 other result of cells that are shown once" in note for note in gathered.notes)
    # Results that differ in more than their solver are for their author to choose from.
    other.write_text(json.dumps(values | {"dtype": "bf16"}))
    _, gathered = submit(asked, results, tmp_path / "out", shipped, tmp_path)
    assert any("has several results; keep one: rm " in one for one in gathered.problems)


def test_what_verify_finds_is_found_before_anything_is_written(
    shipped: Registry, results: Path, tmp_path: Path
) -> None:
    edit(results, 5, mean=0.99)
    asked = SubmissionRequest(shipped.checkpoint(MODEL), ("digits",))
    folder, gathered = submit(asked, results, tmp_path / "out", shipped, tmp_path)
    assert folder is None and not list((tmp_path / "out").iterdir())
    (problem,) = gathered.problems
    assert "mean is 0.990000, and the predictions give" in problem and problem.endswith("make that result again")


def test_a_folder_that_is_no_submission_is_not_replaced(shipped: Registry, results: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / MODEL).mkdir(parents=True)
    (tmp_path / "out" / MODEL / "thesis.txt").write_text("all of it")
    asked = SubmissionRequest(shipped.checkpoint(MODEL), ("digits",))
    with pytest.raises(UsageError, match="is no submission; move it away"):
        submit(asked, results, tmp_path / "out", shipped, tmp_path)
    assert (tmp_path / "out" / MODEL / "thesis.txt").is_file()


def test_changed_code_is_told_and_no_failure(run: Run, results: Path) -> None:
    environment = json.loads(edit(results, 5).read_text())["environment"]
    edit(results, 5, environment=environment | {"dirty": True})
    edit(results, 10, environment=environment | {"dirty": True})
    done = run("submit", "--model", MODEL, "--dataset", "digits")
    assert done.code == 0 and len(done.err.splitlines()) == 1
    assert " and 1 more: was made by code with changes that no commit holds" in done.err


def test_wrong_names(run: Run, results: Path) -> None:
    assert run("submit", "--model", "efficientnet_lite0").code == 2
    assert "did you mean" in run("submit", "--model", MODEL, "--dataset", "digit").error
    assert "does not exist" in run("submit", "--model", MODEL, "--results", "nowhere").error
    assert run("submit", "--model", MODEL, "--dataset", "folder:/tmp").code == 2


def newcomer_commands() -> list[str]:
    """The commands of CONTRIBUTING's section, as written."""
    section = CONTRIBUTING.read_text().split("## Submit a checkpoint", 1)[1].split("\n## ", 1)[0]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return block.group(1).splitlines()


def test_the_newcomers_path_as_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of CONTRIBUTING, on a tiny network and at 32 px, in a clone with somewhere to push to."""
    import timm
    import torch

    commands = newcomer_commands()
    assert len(commands) <= 6
    git = {
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@b.c",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@b.c",
    }
    for name, value in git.items():
        monkeypatch.setenv(name, value)
    start = "git checkout -q -b main && git commit -q --allow-empty -m start && git push -q origin main"
    made = f"git init -q --bare origin && git clone -q origin clone && cd clone && {start}"
    subprocess.run(made, shell=True, check=True, cwd=tmp_path)
    monkeypatch.chdir(tmp_path / "clone")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), "my_net.pt")
    # What makes it quick: a tiny architecture and a small input.
    published = ["--uri", "https://example.org/my_net.pt"]
    smaller = {"models": ["--size", "32", *published], "extract": ["--device", "cpu"]}
    for command in commands:
        tool, *rest = shlex.split(command.replace("--arch resnet50", "--arch test_resnet"))
        if tool == "git":
            subprocess.run(command, shell=True, check=True, capture_output=True)
            continue
        assert tool == "probebench"
        done = run(*rest, *smaller.get(rest[0], []))
        assert done.code == 0, f"{command}: {done.err}"
    pushed = subprocess.run(
        ["git", "-C", tmp_path / "origin", "ls-tree", "-r", "--name-only", "my_net"], capture_output=True
    )
    names = pushed.stdout.decode().split()
    assert "leaderboard/submissions/my_net/manifest.json" in names and len(names) == 10
    _judged(run, tmp_path, monkeypatch)


def _judged(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes of it: verified against the branch that it is for, run again by somebody else, and ranked."""
    done = run("leaderboard", "verify", "--base", "origin/main")
    assert done.code == 0 and "(1 submissions)" in done.out, done.err
    Path("README.md").write_text("Mine is best.")
    subprocess.run(["git", "add", "README.md"], check=True)
    assert "README.md: changes beside a submission" in run("leaderboard", "verify", "--base", "origin/main").error
    subprocess.run(["git", "rm", "-qf", "README.md"], check=True)
    here = environment() | {"dirty": False, "commit": "0" * 40}
    monkeypatch.setattr(reproduce, "environment", lambda: here)
    subprocess.run(["git", "config", "user.name", "Somebody Else"], check=True)
    typed = ("leaderboard", "verify", "--reproduce", "1", "--seed", "a headline", "--write")
    done = run(*typed)
    # From the weights that models add kept; in the same setting the predictions are the same.
    assert done.code == 0 and done.out.count("reproduced: ") == 1 and "1 run again" in done.out, done.out
    assert done.out.count("0 predictions moved, in the recorded setting") == 1
    (written,) = Path("leaderboard/reproductions").glob("my_net-*.json")
    done = run("leaderboard", "verify")
    assert done.code == 0 and "1 reproductions" in done.out, done.err
    build = ("leaderboard", "build", "--results", "leaderboard/submissions")
    assert run(*build).code == 0
    data = json.loads(re.search(r'id="data">(.*?)</script>', Path("site/index.html").read_text()).group(1))  # type: ignore[union-attr]
    assert data["tiers"][0] == "reproduced" and "Somebody Else" in data["entrants"][0]["again"]
    view = next(one for one in data["views"] if one["tier"] == "reproduced" and one["shots"] == "full")
    assert view["rows"][0][1] == 1
    # Whoever writes that weights are public without saying which is found.
    values = json.loads(written.read_text())
    written.write_text(json.dumps(values | {"weights": {"uri": "user", "sha256": "unknown"}}))
    assert "are not public" in run("leaderboard", "verify").err
    (path,) = Path("leaderboard/submissions/my_net/digits").glob("probe-default-full-*.json")
    values = json.loads(path.read_text())
    assert 0.2 < values["mean"] <= 1
