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
from tests.conftest import Ran
from tests.leaderboard import tampering
from tests.leaderboard.tampering import LEADERBOARD, MODEL, SHIPPED, Submission, Tamper, make_submission


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
    assert verified.scored == len(list(LEADERBOARD.glob("*/*/*/*.json"))) >= 16
    assert not any("digits" in one.file for one in verified.findings.unchecked)


def test_a_fresh_submission_passes_from_every_folder(
    submission: Submission, check: Callable[[Path], Verified], tmp_path: Path
) -> None:
    (tmp_path / "submissions" / "README.md").write_text("Submissions.")
    for path in (submission.folder, submission.folder.parent, tmp_path):
        verified = check(path)
        assert verified.ok, said(verified)
        assert (verified.submissions, verified.scored) == (1, 4)


TAMPERED: dict[str, tuple[Tamper, str]] = {
    "a changed score": (tampering.change_score, "draw 0: test_score is 0.990000, and the predictions give 0.460512"),
    "every number improved": (tampering.improve_everything, "mean is 0.970000, and the predictions give"),
    "a changed mean": (lambda one: one.edit(mean=0.9), "mean is 0.900000, and the predictions give 0.530812"),
    "a narrower interval": (lambda one: one.edit(ci95=[0.53, 0.54]), "the interval's low end is 0.530000"),
    "an interval that covers less": (lambda one: one.edit(ci95_covers="test images only"), "5 draws cover draws and"),
    "swapped predictions": (tampering.swap_predictions, "draw 0: test_score"),
    "changed predictions": (lambda one: one.npz().write_bytes(one.npz(5).read_bytes()), "its sha256 is not the one in"),
    "missing predictions": (tampering.without_predictions, "is missing, so nothing can be scored again"),
    "a foreign draw": (tampering.a_foreign_draw, "draw 2 is not the registry's: its digest is abababab"),
    "a test id in a draw": (tampering.a_test_id_in_a_draw, "draw 0 is not the registry's"),
    "the same draw twice": (
        lambda one: one.trial(number=1, draw_digest=one.values()["trials"][0]["draw_digest"]),
        "two draws are the same",
    ),
    "another weights digest": (tampering.another_weights_digest, "its weights digest differs from that of 3 other"),
    "other weights in the manifest": (lambda one: one.manifest(weights_digest="ef" * 32), "its weights digest is not"),
    "a version that never was": (lambda one: one.edit(protocol_version=0), "unknown version 0 of protocol default"),
    "an older protocol": (lambda one: one.edit(protocol_version=1), "incomplete: digits at 1 shot is missing"),
    "a future protocol": (lambda one: one.edit(protocol_version=99), "unknown version 99 of protocol default"),
    "an unknown protocol": (lambda one: one.edit(protocol="mine"), "protocol 'mine' is not in the registry"),
    "a layer that there is not": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"layer": "cls"}),
        "layer is 'cls', and efficientnet_lite0_in1k offers pooled, block:0 to block:4",
    ),
    "what is no layer": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"layer": "head"}),
        "layer is 'head', and efficientnet_lite0_in1k offers pooled",
    ),
    "a layer of another width": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"layer": "block:3"}),
        "features is 1280, and layer block:3 of efficientnet_lite0_in1k says 112",
    ),
    "a layer whose features these are not": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"layer": "block:3", "features": 112}),
        "train features are not those of the entry efficientnet_lite0_in1k on these images",
    ),
    "a duplicated row": (tampering.a_duplicate, "is a duplicate: the same cell as"),
    "a member outside": (tampering.a_member_outside, "its member '../../outside.npy' points outside"),
    "a link outside": (tampering.a_link_outside, "is a symbolic link to /etc/passwd"),
    "a linked folder": (tampering.a_linked_folder, "digits: is a symbolic link"),
    "a pickle": (tampering.a_pickle, "holds pickled objects, which could run code"),
    "a bomb": (tampering.a_bomb, "is not as long as its header says"),
    "a truncated file": (tampering.truncated, "is damaged or no .npz file"),
    "a huge file": (tampering.a_huge_file, "is too large: 34.6 MB"),
    "wrong test labels": (tampering.other_labels, "test labels are not the data set's"),
    "easy test images": (tampering.an_easy_part_of_the_test_images, "test images and 0 skipped, of 899"),
    "skipped hard images": (tampering.skipping_hard_images, "was left out, and can be read here"),
    "a missing draw": (tampering.a_trial_less, "draws [1, 2, 3, 4], where 0, 1, ... belong"),
    "a missing cell": (
        tampering.without_a_cell,
        "incomplete: digits at 1 shot is missing",
    ),
    "an edited entry": (tampering.an_edited_entry, "differs from the registry's entry in pretraining"),
    "edited facts": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"method": "image-image"}),
        "method is 'image-image', and the entry",
    ),
    "an extra file": (tampering.an_extra_file, "does not belong here: only .json, .md, .npz, .toml files do"),
    "a file not in the manifest": (lambda one: (one.folder / "README.md").write_text("hi"), "is not in the manifest"),
    "a file the manifest has otherwise": (
        lambda one: one.json().write_text(json.dumps(one.values())),
        "its sha256 is not the manifest's",
    ),
    "no manifest": (lambda one: (one.folder / "manifest.json").unlink(), "is missing: make submissions with"),
    "a manifest of an older evaluator": (lambda one: one.manifest(evaluator_version=1), "gathered under evaluator 1"),
    "a manifest with a path outside": (
        lambda one: one.manifest(model="../efficientnet"),
        "manifest.json: is damaged or of another schema (model",
    ),
    "results of an older evaluator": (tampering.an_older_evaluator, "made by an older evaluator or otherwise"),
    "features of other preprocessing": (tampering.another_key, "its test features are not those of the entry"),
    "NaN": (tampering.not_a_number, "mean: "),
    "a score above 1": (lambda one: one.edit(mean=1.5), "less than or equal to 1"),
    "a class that is none": (tampering.out_of_range, "predictions run from 0 to 12, and the data set has 10 classes"),
    "a model outside": (lambda one: one.edit(model="../x"), "is of model '../x', which its folder is not"),
    "predictions outside": (
        lambda one: one.edit(predictions=one.values()["predictions"] | {"file": "../../x.npz"}),
        "names the predictions '../../x.npz'",
    ),
    "a published row": (lambda one: one.edit(provenance="published"), "the leaderboard holds measured results only"),
    "another metric": (lambda one: one.edit(metric="mean-per-class"), "metric is mean-per-class, and digits is scored"),
    "another data set": (lambda one: one.edit(dataset_fingerprint="12" * 32), "fingerprint is not that of the"),
    "a data set of one's own": (lambda one: one.edit(dataset="folder:mine"), "is not in the registry"),
    "other training images": (lambda one: one.edit(train_fingerprint="12" * 32), "its train fingerprint is not that"),
    "selection on test": (lambda one: one.edit(selection="test"), "selection is test, and protocol default selects"),
    "unchosen called chosen": (lambda one: one.trial(validation=0), "selection is validation with 0 validation images"),
    "fewer labels told": (lambda one: one.edit(labels_spent=10), "10 labels spent, and draw 0 has 10 + 10"),
    "a failed trial": (lambda one: one.trial(test_score=None, error="x"), "draw 0 failed, so there is no score"),
    "arguments that run": (tampering.arguments_that_run, "an entry may not give timm 'pretrained_image_path': only"),
    "a README that runs": (tampering.a_readme_that_runs, "README.md: is a pickle by its content"),
    "an entry of dots": (tampering.an_entry_of_dots, "nested too deeply: a key of 30001 parts"),
    "a pipe as the entry": (tampering.a_pipe_as(f"{MODEL}.toml"), f"{MODEL}.toml: is no plain file"),
    "a pipe as the manifest": (tampering.a_pipe_as("manifest.json"), "manifest.json: is no plain file"),
    "a pipe as a result": (tampering.a_pipe_as(".json"), "json: is no plain file"),
    "a pipe as predictions": (tampering.a_pipe_as(".npz"), "npz: is no plain file"),
    "many small predictions": (tampering.many_small_predictions, "has 899 ids, 899 labels and 20000000 images"),
    "many wrong values": (tampering.many_wrong_values, "500,000 values, where 50,000 are the most"),
    "a newer schema": (tampering.of_a_newer_schema, "is of schema 2, and this version of probebench knows 1: upgrade"),
    "a newer manifest": (lambda one: one.manifest(schema_version=3), "is of schema 3, and this version of"),
    "an empty mode": (lambda one: one.edit(mode=""), "mode is '', and protocol default has logistic"),
    "a choice beside the grid": (
        lambda one: one.trial(chosen={"C": 2.0}),
        "draw 0: C = 2 is not on the grid of protocol default",
    ),
    "a gap above the tolerance": (lambda one: one.trial(gap=0.1), "draw 0: converged with a gap of 0.1"),
    "TOML folded deeply": (tampering.folded_deeply, "nested too deeply"),
    "JSON folded deeply": (tampering.json_folded_deeply, "is damaged or of another schema"),
}


def test_several_tamperings_are_all_told(run: Callable[..., Ran], submission: Submission) -> None:
    reasons = []
    for name in ("an extra file", "a changed mean", "another weights digest", "a link outside"):
        tamper, reason = TAMPERED[name]
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
