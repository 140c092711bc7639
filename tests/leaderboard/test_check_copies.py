"""Copies: under another id, in another arithmetic, or one draw's predictions under several."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from probebench.leaderboard.check_across import ResultFile
from probebench.leaderboard.check_copies import check_copies, check_names, check_repeats, reads_as
from probebench.leaderboard.sketch import Errors, Sketch
from probebench.leaderboard.verify import verify
from probebench.registry import CheckpointSpec, Registry
from probebench.results.predictions import Predictions
from tests.leaderboard.tampering import MODEL, SHIPPED, Submission, make_submission
from tests.results.make import result, trial

TRUE = np.arange(1000) % 10
IDS = tuple(map(str, range(1000)))


def guesses(right: float, seed: int, draws: int = 5) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Predictions that are wrong on images of chance."""
    random = np.random.default_rng(seed)
    wrong = (TRUE + random.integers(1, 10, (draws, 1000))) % 10
    return np.where(random.random((draws, 1000)) < right, TRUE, wrong)


def sketch(predicted: np.ndarray[Any, np.dtype[np.int64]]) -> Sketch:
    return Sketch.of(Predictions(IDS, TRUE, predicted))


def entered(model: str, predicted: np.ndarray[Any, np.dtype[np.int64]], **changes: Any) -> ResultFile:
    digest = changes.pop("weights_digest", f"{sum(map(ord, model)):064x}")
    found = result(model=model, weights_digest=digest, trials=[trial(n) for n in range(len(predicted))], **changes)
    return ResultFile(Path(model, "digits", "a.json"), found, sketch(predicted))


def improved(predicted: np.ndarray[Any, np.dtype[np.int64]], share: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A copy in which so many errors became right."""
    return np.where(np.random.default_rng(9).random(predicted.shape) < share, TRUE, predicted)


def jittered(predicted: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    moved = np.random.default_rng(8).random(predicted.shape) < 0.02
    return np.where(moved, (predicted + 1) % 10, predicted)


OWN = guesses(0.7, 1)
COPIES: dict[str, Callable[[], np.ndarray[Any, np.dtype[np.int64]]]] = {
    "to the letter": lambda: OWN.copy(),
    "one prediction changed": lambda: np.where(np.arange(1000) == 3, 0, OWN),
    "one in fifty changed": lambda: jittered(OWN),
    "a tenth of the errors mended": lambda: improved(OWN, 0.1),
    "half of the errors mended": lambda: improved(OWN, 0.5),
}


@pytest.mark.parametrize("name", COPIES)
def test_predictions_of_another_are_known(name: str) -> None:
    found = list(check_copies([entered("one", OWN), entered("two", COPIES[name]())]))
    assert [path.parts[0] for path, _ in found] == ["two"] and "its predictions are those of one" in found[0][1]


def test_networks_that_err_on_the_same_hard_images_are_no_copies() -> None:
    """Two thirds of their errors in common, more than any two that ship; and two that say one class of everything."""
    other = np.where(np.random.default_rng(5).random(OWN.shape) < 0.7, OWN, guesses(0.7, 6))
    assert not list(check_copies([entered("one", OWN), entered("two", other)]))
    constant = np.zeros((5, 1000), dtype=np.int64)
    assert not list(check_copies([entered("one", constant), entered("two", constant)]))
    perfect = np.tile(TRUE, (5, 1))
    assert not list(check_copies([entered("one", perfect), entered("two", perfect)]))


def test_networks_that_take_rare_classes_for_the_common_one_are_no_copies() -> None:
    """Untrained, or hardly trained, on classes of unequal size: nearly all errors are forced, and say nothing."""
    truth = np.where(np.arange(1000) < 850, 0, 1 + np.arange(1000) % 4)

    def lazy(seed: int, finds: float = 0.08) -> Sketch:
        random = np.random.default_rng(seed)
        found = random.random((3, 1000)) < np.where(truth == 0, 0.99, finds)
        return Sketch.of(Predictions(IDS, truth, np.where(found, truth, (truth == 0).astype(int))))

    one, other = lazy(1), lazy(2)
    assert one.errors.shared(other.errors) > 0.85 and one.errors.beyond_chance(other.errors) < 0.4
    held = [replace(entered(name, OWN[:3]), sketch=sketch) for name, sketch in (("one", one), ("two", other))]
    assert not list(check_copies(held))
    same = [replace(held[0], sketch=one), replace(held[1], sketch=lazy(1))]
    assert len(list(check_copies(same))) == 1


def test_among_many_a_copy_is_found(seed: int = 3) -> None:
    nets = [guesses(0.5 + number / 250, number) for number in range(100)]
    held = [entered(f"net-{place}", one, weights_digest=f"{place:064x}") for place, one in enumerate(nets)]
    copy = np.where(np.random.default_rng(seed).random(OWN.shape) < 0.03, TRUE, nets[50])
    assert [path.parts[0] for path, _ in check_copies([*held, entered("copy", copy)])] == ["copy"]


def test_other_weights_and_another_arithmetic() -> None:
    same = [entered("one", OWN), entered("two", guesses(0.7, 2), weights_digest=f"{sum(map(ord, 'one')):064x}")]
    assert [what for _, what in check_copies(same)] == ["its weights are those of one, under another id"]
    twins = [entered("one", OWN), replace(entered("one", OWN, dtype="bf16"), path=Path("one/digits/b.json"))]
    assert ["one arithmetic a cell" in what for _, what in check_copies(twins)] == [True]
    # A fine-tune from scratch is of the untrained twin, whoever's it is.
    scratch = {"kind": "finetune", "mode": "scratch", "weights_digest": "1" * 64}
    assert not list(check_copies([entered("one", OWN, **scratch), entered("two", OWN, **scratch)]))


def test_the_share_of_common_errors_is_estimated_well() -> None:
    random = np.random.default_rng(0)
    for share in (0.4, 0.7, 0.9):
        one = random.random((5, 1000)) < 0.4
        other = one & (random.random((5, 1000)) < share)
        a, b = (sketch(np.where(wrong, (TRUE + 1) % 10, TRUE)) for wrong in (one, other))
        assert a.errors.shared(b.errors) == pytest.approx(1.0, abs=0.12)
        alone = (random.random((5, 1000)) < 0.4 * share) & ~one | other & (random.random((5, 1000)) < 0.5)
        c = sketch(np.where(alone, (TRUE + 1) % 10, TRUE))
        true = (one & alone).sum() / min(one.sum(), alone.sum())
        assert a.errors.shared(c.errors) == pytest.approx(true, abs=0.12)


def test_labels_that_no_class_has_make_no_errors_common() -> None:
    """A label of 2^24 is, to the sketch, another label of the next image."""
    large = 1 << 24
    one, other = (np.full((2, len(TRUE)), 0) for _ in range(2))
    one[:, ::2], one[:, 1::2] = large + 3, 3
    other[:] = (TRUE + 1) % 10
    a, b = sketch(one).errors, sketch(other).errors
    assert a.shared(a) > 0.4 and a.shared(b) < 0.1


REPEATS: dict[str, Callable[[], np.ndarray[Any, np.dtype[np.int64]]]] = {
    "one row under all five": lambda: np.tile(OWN[0], (5, 1)),
    "one row under two": lambda: np.vstack([OWN[:4], OWN[:1]]),
    "one row, and a few changes in each": lambda: np.vstack([jittered(OWN[:1]), OWN[1:4], OWN[:1]]),
    "one row, mended in each": lambda: np.vstack([OWN[:1], improved(OWN[:1], 0.3), OWN[2:]]),
}


@pytest.mark.parametrize("name", REPEATS)
def test_one_row_under_several_draws_is_known(name: str) -> None:
    predicted = REPEATS[name]()
    (said,) = check_repeats(result(trials=[trial(n) for n in range(5)]).trials, sketch(predicted))
    assert "has the predictions of draw 0" in said


def test_draws_that_take_nearly_all_images_may_be_alike() -> None:
    trials = result(trials=[trial(n) for n in range(5)]).trials
    predicted = np.vstack([jittered(OWN[:1]), OWN[1:4], OWN[:1]])
    assert not list(check_repeats(trials, sketch(predicted), 840 / 868))
    assert list(check_repeats(trials, sketch(predicted), 0.7)) and list(check_repeats(trials, sketch(predicted)))


def test_draws_that_say_one_class_are_no_copies() -> None:
    # As at one shot, where validation may say that nothing beats a guess: each draw its class, whatever the network.
    constant = np.repeat(np.arange(4)[:, None], 1000, axis=1)
    found = [
        entered(name, np.vstack([constant, guesses(0.3, seed, 1)])) for name, seed in (("first", 1), ("second", 2))
    ]
    assert not list(check_copies(found))
    same = [entered(name, np.vstack([constant, guesses(0.3, 1, 1)])) for name in ("first", "second")]
    assert len(list(check_copies(same))) == 1
    assert not list(check_copies([entered(name, constant) for name in ("first", "second")]))


def test_draws_of_one_network_are_no_repeats() -> None:
    trials = result(trials=[trial(n) for n in range(5)]).trials
    assert not list(check_repeats(trials, sketch(OWN)))
    assert not list(check_repeats(trials, sketch(np.tile(TRUE, (5, 1)))))
    assert not list(check_repeats(trials, sketch(np.ones((5, 1000), dtype=np.int64))))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": "efficientnet_1ite0_in1k"}, "its id reads like efficientnet_lite0_in1k"),
        ({"id": "efficientnet_liteo_in1k"}, "its id reads like efficientnet_lite0_in1k"),
        ({"id": "efficientnet-lite0-in1k"}, "its id reads like efficientnet_lite0_in1k"),
        ({"id": "efficientnetlite0inlk"}, "its id reads like efficientnet_lite0_in1k"),
        ({"id": "efficientnet_lite0_in1k."}, "its id reads like efficientnet_lite0_in1k"),
        ({"title": "EfficientNet-Lite0, ImageNet-1k, supervised"}, "its title reads like that of efficientnet_lite0"),
        ({"title": "efficientnet lite0: imagenet 1k (SUPERVISED)"}, "its title reads like that of efficientnet_lite0"),
        ({"title": "ЕfficientNet-Litе0, ImаgeNet-1k, suрervised"}, "its title reads like that of efficientnet_lite0"),
        ({"title": "Ｅfficient\u200bNet-Lite0, ImageNet-1k, supervised"}, "its title reads like that of efficientnet"),
    ],
)
def test_names_that_read_like_anothers(changes: dict[str, str], reason: str, shipped: Registry) -> None:
    spec = shipped.checkpoint(MODEL).model_copy(update={"id": "mine", "title": "Mine"} | changes)
    faults = list(check_names(spec, shipped.checkpoints))
    assert any(reason in fault for fault in faults), faults


def test_what_ships_reads_like_nothing_else(shipped: Registry) -> None:
    assert not [fault for spec in shipped.checkpoints.values() for fault in check_names(spec, shipped.checkpoints)]
    assert reads_as("DINOv3 ViT-S+/16") != reads_as("DINOv3 ViT-S/16")


@pytest.mark.parametrize("name", ["Efficientnet_lite0_in1k", "efficientnet_litе0_in1k", "ｅfficientnet_lite0_in1k"])
def test_ids_of_other_scripts_and_cases_are_no_ids(name: str, shipped: Registry) -> None:
    with pytest.raises(ValidationError, match="should match pattern"):
        CheckpointSpec.model_validate(shipped.checkpoint(MODEL).model_dump() | {"id": name})


def test_the_same_results_under_another_id_are_refused_beside_the_first(shipped: Registry, tmp_path: Path) -> None:
    """The whole of somebody's submission, renamed: id, title and entry are the copyist's own."""
    board = tmp_path / "leaderboard"
    shutil.copytree(SHIPPED / MODEL, board / "results" / MODEL)
    original = make_submission(tmp_path / "made", shipped)
    one = Submission(Path(shutil.copytree(original, board / "submissions" / "mine")))
    entry = (one.folder / f"{MODEL}.toml").read_text()
    (one.folder / f"{MODEL}.toml").unlink()
    entry = entry.replace(f'"{MODEL}"', '"mine"').replace("EfficientNet-Lite0, ImageNet-1k, supervised", "My own net")
    (one.folder / "mine.toml").write_text(entry)
    for shots in (1, 5, 10, "full"):
        facts = one.values(shots)["checkpoint"] | {"title": "My own net"}
        one.edit(shots, model="mine", checkpoint=facts)
    one.manifest(model="mine")
    one.seal()
    said = "\n".join(map(str, verify(board, shipped, tmp_path).findings.failures))
    assert said.count(f"its weights are those of {MODEL}, under another id") == 4
    assert said.count(f"its predictions are those of {MODEL}: 100% of errors are the same") == 4
    assert f"its weights file is that of {MODEL}" in said
    assert json.loads((one.folder / "manifest.json").read_text())["model"] == "mine"


def test_errors_of_nothing_share_nothing() -> None:
    nothing = Errors(0, np.array([], dtype=np.uint64), True, np.array([], dtype=np.uint64), np.array([]))
    assert nothing.shared(nothing) == 0
