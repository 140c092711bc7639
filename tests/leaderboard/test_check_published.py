"""Data that the verifier lacks: what is invented of them is found by published digests, and else is not ranked."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probebench.leaderboard.check_published import not_verifiable
from probebench.leaderboard.page import page_data
from probebench.leaderboard.verify import Verified, verify
from probebench.registry import Registry
from probebench.results.store import read_predictions, read_result
from tests.leaderboard.tampering import MODEL, SHIPPED, Submission, make_submission


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, shipped: Registry) -> Path:
    return make_submission(tmp_path_factory.mktemp("submissions"), shipped)


@pytest.fixture
def elsewhere(shipped: Registry) -> Registry:
    """Digits whose images are on no machine: the loader looks for files that are not there."""
    digits = shipped.dataset("digits").model_copy(update={"files": ("images.zip",)})
    return replace(shipped, datasets={**shipped.datasets, "digits": digits})


@pytest.fixture
def submission(original: Path, tmp_path: Path) -> Submission:
    return Submission.copied(original, tmp_path)


def said(verified: Verified) -> str:
    return "\n".join(map(str, verified.findings.failures))


def invent_labels(one: Submission) -> None:
    arrays = one.arrays()
    arrays["y_true"][0] = (arrays["y_true"][0] + 1) % 10
    one.save(arrays)


def invent_ids(one: Submission) -> None:
    arrays = one.arrays()
    arrays["test_ids"] = np.array([f"invented-{number}" for number in range(len(arrays["test_ids"]))])
    one.save(arrays)


def another_order(one: Submission) -> None:
    arrays = one.arrays()
    one.save({name: array[..., ::-1] for name, array in arrays.items()})


def full_draw(one: Submission) -> None:
    one.trial("full", draw_digest="ab" * 32)


INVENTED: dict[str, tuple[Callable[[Submission], None], str]] = {
    "a label": (invent_labels, "its test ids or labels are not those of digits: another digest"),
    "all ids": (invent_ids, "its test ids or labels are not those of digits: another digest"),
    "another order": (another_order, "its test ids or labels are not those of digits: another digest"),
    "a draw": (lambda one: one.trial(number=2, draw_digest="ab" * 32), "draw 2 is not the one that the registry"),
    "the full draw": (full_draw, "the one draw is not the one that the registry publishes of digits"),
    "a draw of another rule": (
        lambda one: one.trial(10, number=0, draw_digest=one.values(5)["trials"][0]["draw_digest"]),
        "draw 0 is not the one that the registry publishes",
    ),
    "the training part": (
        lambda one: one.edit(train_fingerprint="12" * 32),
        "its train fingerprint is not the one that the registry publishes of digits",
    ),
}


@pytest.mark.parametrize("name", INVENTED)
def test_invented_data_are_found_without_the_images(
    name: str, submission: Submission, elsewhere: Registry, tmp_path: Path
) -> None:
    assert verify(submission.folder, elsewhere, tmp_path).ok
    tamper, reason = INVENTED[name]
    tamper(submission)
    assert reason in said(verify(submission.folder, elsewhere, tmp_path))


def test_honest_results_on_data_that_are_elsewhere_pass(
    submission: Submission, elsewhere: Registry, tmp_path: Path
) -> None:
    verified = verify(submission.folder, elsewhere, tmp_path)
    assert (
        verified.ok and [one.what.split(":")[0] for one in verified.findings.unchecked] == ["images and features"] * 4
    )


def leave_out(one: Submission, count: int) -> None:
    arrays = one.arrays()
    gone = arrays["test_ids"][:count].tolist()
    one.save({name: array[..., count:] for name, array in arrays.items()})
    one.edit(n_test=len(arrays["test_ids"]) - count, skipped_ids=gone)


def test_images_that_were_left_out_leave_digests_nothing_to_say(
    submission: Submission, elsewhere: Registry, tmp_path: Path
) -> None:
    """One skipped image would otherwise let all others be invented."""
    leave_out(submission, 1)
    verified = verify(submission.folder, elsewhere, tmp_path)
    assert any("not verifiable without the data: 1 images" in one.what for one in verified.findings.unchecked)


def test_a_set_without_digests_is_not_verifiable(shipped: Registry, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED / MODEL / "digits", tmp_path / "board" / MODEL / "eurosat"))
    for path in folder.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "eurosat"}))
    verified = verify(tmp_path / "board", shipped, tmp_path)
    assert all(one.what.startswith("not verifiable, so not ranked: ") for one in verified.findings.unchecked)
    assert "datasets show eurosat --commit" in verified.findings.unchecked[0].what


def test_draws_that_nobody_publishes_may_have_been_chosen(submission: Submission, shipped: Registry) -> None:
    result, digits = read_result(submission.json()), shipped.dataset("digits")
    assert not_verifiable(result, digits) is None
    told = not_verifiable(result.model_copy(update={"shots": 3}), digits)
    assert "publishes no draws of 3 shots of digits" in str(told)


@pytest.mark.parametrize(("left_out", "share"), [(0, 1.0), (8, 1.0), (90, 809 / 899), (889, 10 / 899)])
def test_images_left_out_count_as_wrong_above_one_in_a_hundred(
    left_out: int, share: float, submission: Submission, shipped: Registry
) -> None:
    leave_out(submission, left_out)
    path = submission.json()
    found = read_result(path)
    predictions = read_predictions(path, found)
    data = page_data([found], lambda _: predictions, None, None, shipped.datasets)
    own = float((predictions.y_pred == predictions.y_true).mean())
    assert data["views"][0]["rows"][0][2] == pytest.approx(1_000_000 * share * own, abs=1)
