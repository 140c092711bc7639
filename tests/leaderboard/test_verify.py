import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probebench.errors import UsageError
from probebench.leaderboard.verify import Verified, verify
from probebench.registry import Registry
from probebench.results.packed import read_pack, write_pack
from probebench.results.store import pack_results, result_files
from tests.conftest import Ran
from tests.leaderboard.hostile import KNOWN
from tests.leaderboard.tampering import LEADERBOARD, MODEL, SHIPPED, Submission, make_submission


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, shipped: Registry) -> Path:
    return make_submission(tmp_path_factory.mktemp("submissions"), shipped)


@pytest.fixture
def submission(original: Path, tmp_path: Path) -> Submission:
    return Submission.copied(original, tmp_path)


@pytest.fixture
def check(shipped: Registry, tmp_path: Path) -> Callable[[Path], Verified]:
    return lambda path: verify(path, shipped, tmp_path / "datasets")


def said(verified: Verified) -> str:
    return "\n".join(map(str, verified.findings.failures))


def test_what_is_shipped_passes(check: Callable[[Path], Verified]) -> None:
    verified = check(LEADERBOARD)
    assert verified.ok, said(verified)
    assert verified.scored == len(list(result_files(LEADERBOARD / "results"))) >= 16
    assert not any("digits" in one.file for one in verified.findings.unchecked)


def test_packed_results_are_checked_like_others(
    original: Path, check: Callable[[Path], Verified], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    shutil.copytree(original, results / MODEL, ignore=shutil.ignore_patterns("*.toml", "manifest.json"))
    assert [why for _, why in pack_results(results)] == [None]
    verified = check(results)
    (pack,) = results.glob("*/*.zip")
    # Its weights are of no entry of the registry: that is all.
    before = {line.partition(": ")[2] for line in said(verified).splitlines()}
    assert verified.scored == 4 and all("is not in the registry" in line for line in before)

    texts = read_pack(pack).texts
    said_of = {name: json.loads(text) for name, text in texts.items()}
    runs = [
        (name, one, read_pack(pack).predictions(name, one["predictions"]["sha256"])) for name, one in said_of.items()
    ]
    write_pack(pack, [(name, said | {"mean": 0.999}, predictions) for name, said, predictions in runs])
    assert said(check(results)).count("mean is 0.999") == 4
    write_pack(pack, [(name, said | {"model": "lite\u202eo"}, predictions) for name, said, predictions in runs])
    assert said(check(results)).count("which its folder is not") == 4
    pack.rename(pack.with_name("other.zip"))
    assert "of data set 'digits', which its folder is not" in said(check(results))
    (results / MODEL / "other.zip").write_bytes(b"PK\x03\x04")
    assert "no .zip file" in said(check(results))


def test_a_submission_holds_no_pack(submission: Submission, check: Callable[[Path], Verified]) -> None:
    (submission.folder / "digits.zip").write_bytes(b"PK\x03\x04")
    assert "digits.zip: does not belong here" in said(check(submission.folder))


def test_a_fresh_submission_passes_from_every_folder(
    submission: Submission, check: Callable[[Path], Verified], tmp_path: Path
) -> None:
    (tmp_path / "submissions" / "README.md").write_text("Submissions.")
    for path in (submission.folder, submission.folder.parent, tmp_path):
        verified = check(path)
        assert verified.ok, said(verified)
        assert (verified.submissions, verified.scored) == (1, 4)


def test_several_tamperings_are_all_told(run: Callable[..., Ran], submission: Submission) -> None:
    reasons = []
    for name in ("an extra file", "a changed mean", "another weights digest", "a link outside"):
        tamper, reason = KNOWN[name]
        tamper(submission)
        reasons.append(reason)
    submission.edit("full", protocol_version=99)
    ran = run("leaderboard", "verify", submission.folder.parent)
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert ran.code == 1
    for reason in [*reasons, "unknown version 99"]:
        assert sum(reason in line for line in errors) == 1, ran.err
    assert ran.out.splitlines()[-1].startswith(f"4 results (1 submissions), 4 scored again: {len(errors)} failures")
    told = json.loads(run("leaderboard", "verify", submission.folder.parent, "--json").out)
    assert not told["ok"] and len(told["failures"]) == len(errors)
    assert {"file", "what"} == set(told["failures"][0])


def test_test_selection_is_shown_only_where_the_protocol_says_so(
    submission: Submission, check: Callable[[Path], Verified], shipped: Registry
) -> None:
    """The recipe that selects on test may not say validation, and what it makes is told apart."""
    version = shipped.finetune_protocol("entezari2023@test-selected").version
    finetune: dict[str, Any] = {"kind": "finetune", "mode": "full", "protocol_version": version, "feature_key": None}
    name = "finetune-entezari2023@test-selected-1-00000000"
    for selection, faulty in (("validation", True), ("test", False)):
        for suffix in (".json", ".npz"):
            shutil.copy(submission.json().with_suffix(suffix), submission.folder / "digits" / f"{name}{suffix}")
        values = submission.values() | finetune | {"protocol": "entezari2023@test-selected", "selection": selection}
        values["predictions"]["file"] = f"{name}.npz"
        for trial in values["trials"]:
            trial["selection"] = selection
        (submission.folder / "digits" / f"{name}.json").write_text(json.dumps(values))
        submission.seal()
        verified = check(submission.folder)
        assert (
            "selection is validation, and protocol entezari2023@test-selected selects on test" in said(verified)
        ) == (faulty)
        assert any("never ranked" in note.what for note in verified.findings.notes) != faulty
        # The probe's draws are held-out ones, which this recipe has not.
        assert "draw 0 is not the registry's" in said(verified)


def test_an_older_version_is_a_note_and_its_numbers_are_checked(
    shipped: Registry, tmp_path: Path, check: Callable[[Path], Verified]
) -> None:
    """Under rules of its own time, which are no longer known; what its predictions say still is."""
    folder = Path(shutil.copytree(SHIPPED / MODEL, tmp_path / "results" / MODEL)) / "digits"
    paths = sorted(folder.glob("*.json"))
    for path in paths:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"protocol_version": 1}))
    verified = check(tmp_path)
    assert verified.ok and verified.scored == len(paths), said(verified)
    notes = [note.what for note in verified.findings.notes if "older" in note.what or "version" in note.what]
    now = shipped.protocol("default").version
    assert notes == [f"is of version 1 of protocol default, now {now}: shown, never ranked"] * len(paths)
    paths[0].write_text(json.dumps(json.loads(paths[0].read_text()) | {"mean": 0.9}))
    assert "mean is 0.900000, and the predictions give" in said(check(tmp_path))


def test_a_protocol_that_reports_one_metric_does_so_on_every_data_set(
    tmp_path: Path, shipped: Registry, check: Callable[[Path], Verified]
) -> None:
    model = LEADERBOARD / "results" / MODEL / "digits"
    folder = tmp_path / "results" / MODEL / "digits"
    folder.mkdir(parents=True)
    for path in model.glob("knn-knn-5-*"):
        shutil.copy(path, folder)
    by_class = {"digits": shipped.datasets["digits"].model_copy(update={"metric": "mean-per-class"})}
    registry = replace(shipped, datasets={**shipped.datasets, **by_class})
    assert verify(tmp_path, registry, tmp_path / "datasets").ok
    for path in folder.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"metric": "mean-per-class"}))
    found = said(verify(tmp_path, shipped, tmp_path / "datasets"))
    assert "metric is mean-per-class, and protocol knn reports accuracy" in found
    # An older version may have reported each set's own.
    older = shipped.protocols["knn"].model_copy(update={"version": 2, "older": {1: "by each set's metric"}})
    registry = replace(registry, protocols={**shipped.protocols, "knn": older})
    found = said(verify(tmp_path, registry, tmp_path / "datasets"))
    assert "metric is" not in found


@pytest.mark.parametrize("version", ["true", '"3"', "3.0", "-1", "0", "99"])
def test_a_version_that_is_none_is_no_result(tmp_path: Path, check: Callable[[Path], Verified], version: str) -> None:
    folder = Path(shutil.copytree(SHIPPED / MODEL, tmp_path / "results" / MODEL)) / "digits"
    path = sorted(folder.glob("*.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"protocol_version": json.loads(version)}))
    verified = check(tmp_path)
    told = "unknown version 99" if version == "99" else "protocol_version"
    assert not verified.ok and told in said(verified)


def test_rows_shipped_already_are_duplicates(original: Path, tmp_path: Path, check: Callable[[Path], Verified]) -> None:
    shutil.copytree(SHIPPED / MODEL, tmp_path / "results" / MODEL)
    shutil.copytree(original, tmp_path / "submissions" / MODEL)
    assert said(check(tmp_path)).count("is a duplicate") == 4


def test_data_that_are_not_here_are_compared_with_one_another(
    original: Path, tmp_path: Path, check: Callable[[Path], Verified], shipped: Registry
) -> None:
    """Under the id of a set that is not on this machine, so that nothing but the other results can tell."""
    assert "not on this machine" in str(verify(original, shipped, tmp_path).here.open("eurosat"))
    for model in ("efficientnet_lite0_in1k", "efficientnet_lite1_in1k", "efficientnet_lite2_in1k"):
        folder = Path(shutil.copytree(SHIPPED / model / "digits", tmp_path / "board" / model / "eurosat"))
        for path in folder.glob("*.json"):
            values = json.loads(path.read_text()) | {"dataset": "eurosat"}
            if model == "efficientnet_lite1_in1k":
                values |= {"dataset_fingerprint": "12" * 32}
                values["trials"][0]["draw_digest"] = "34" * 32
            path.write_text(json.dumps(values))
    verified = check(tmp_path / "board")
    assert (
        len(verified.findings.unchecked) == 12
        and "eurosat is not on this machine" in verified.findings.unchecked[0].what
    )
    odd = [str(one) for one in verified.findings.failures if "differs from that of 8 other" in one.what]
    assert len(odd) == 4 and all("lite1" in one and "fingerprint" in one for one in odd)
    draws = [str(one) for one in verified.findings.failures if "differs from that of 2 other" in one.what]
    assert len(draws) == 4 and all("lite1" in one and "draw" in one for one in draws)


def test_hostile_names_neither_break_the_lines_nor_reach_the_terminal(
    run: Callable[..., Ran], submission: Submission
) -> None:
    for name in ("a\nerror: forged", "\x1b[2Jgone", "\u202etxt.nosj", os.fsdecode(b"\xff\xfe")):
        (submission.folder / f"{name}.json").write_text("{}")
    submission.edit(checkpoint=submission.values()["checkpoint"] | {"title": "::error::\n\x1b[31m" + "x" * 10_000})
    ran = run("leaderboard", "verify", submission.folder)
    lines = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == len(ran.err.splitlines()) == int(ran.out.split(" failures")[0].rsplit(" ", 1)[1])
    assert "\x1b" not in ran.err + ran.out and "\u202e" not in ran.err
    assert max(map(len, lines)) < 1000


def test_pipes_and_stray_files_are_refused_unread(submission: Submission, check: Callable[[Path], Verified]) -> None:
    os.mkfifo(submission.folder / "digits" / "pipe.json")
    (submission.folder.parent / "run.sh").write_text("#!/bin/sh\n")
    (submission.folder.parent / "away").symlink_to("/etc")
    failures = said(check(submission.folder.parent))
    assert "pipe.json: is no plain file" in failures
    assert "run.sh: does not belong here" in failures and "away: is a symbolic link to /etc" in failures


def test_a_checkpoint_of_nobody_is_refused_among_results(tmp_path: Path, check: Callable[[Path], Verified]) -> None:
    shutil.copytree(SHIPPED / MODEL, tmp_path / "board" / "nobody")
    assert "which its folder is not" in said(check(tmp_path / "board"))
    for path in (tmp_path / "board").glob("*/*/*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "nobody"}))
    assert said(check(tmp_path / "board")).count("model 'nobody' is not in the registry") == 4


def test_no_folder_or_a_link_is_wrong_usage(check: Callable[[Path], Verified], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        check(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(SHIPPED)
    with pytest.raises(UsageError, match="is a symbolic link"):
        check(tmp_path / "link")
