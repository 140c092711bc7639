"""Reproductions as files: what verify refuses of them, and what they make of a ranking."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probebench.api.report import build_leaderboard
from probebench.leaderboard.page import page_data
from probebench.leaderboard.reproduction import FreshDraw, Reproduced, fresh_seeds, is_public, read_reproduction
from probebench.leaderboard.verify import Verified, verify
from probebench.registry import Registry
from probebench.registry.checkpoint import Weights
from probebench.results.store import read_result
from tests.leaderboard.reproducing import SEED, reproduction_of, write_reproduction
from tests.leaderboard.tampering import MODEL, SHIPPED
from tests.leaderboard.watching import Watch

OTHER = "efficientnet_lite1_in1k"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """Two checkpoints' probes on digits."""
    for model in (MODEL, OTHER):
        shutil.copytree(SHIPPED / model, tmp_path / "leaderboard" / "results" / model)
    return tmp_path / "leaderboard"


@pytest.fixture
def verified(board: Path, shipped: Registry) -> Callable[[], Verified]:
    # One checkpoint is enough to verify against, and quicker.
    shutil.rmtree(board / "results" / OTHER)
    return lambda: verify(board, shipped, board)


def said(found: Verified) -> str:
    return "\n".join(map(str, found.findings.failures))


Values = dict[str, Any]


def first(values: Values) -> Values:
    found: Values = next(iter(values["cells"].values()))
    return found


def few_shot(values: Values) -> Values:
    found: Values = next(one for one in values["cells"].values() if one["fresh"])
    return found


def other_cell(values: Values) -> None:
    """The easiest cell in the place of one that the seed chose."""
    place = next(one for one in values["covers"] if one not in values["cells"])
    chosen = next(iter(values["cells"]))
    values["cells"][place] = values["cells"].pop(chosen) | {"predictions": values["covers"][place], "fresh": []}


def fewer_covered(values: Values) -> None:
    """What the seed chose is not covered, so another cell comes first."""
    for place in list(values["cells"])[:1]:
        del values["covers"][place]


TAMPERED: dict[str, tuple[Callable[[Values], object], str]] = {
    "no cell": (lambda one: one.update(cells={}), "no cell was run again"),
    "another cell than the seed's": (other_cell, "its cells are not those that its seed chooses"),
    "another seed": (lambda one: one.update(seed="mine"), "its cells are not those that its seed chooses"),
    "fewer covered": (fewer_covered, "its cells are not those that its seed chooses"),
    "a mean further apart": (lambda one: first(one).update(found=0.2), "further apart than 0.0022"),
    "a recorded mean that is none": (lambda one: first(one).update(recorded=0.2), "recorded is 0.2000, and the result"),
    "predictions moved in the same setting": (lambda one: first(one).update(moved=3), "3 predictions are other ones"),
    "no fresh draws": (lambda one: few_shot(one).update(fresh=[]), "its fresh draws are not those that its seed"),
    "fresh draws of choice": (
        lambda one: few_shot(one)["fresh"][0].update(seed=1234),
        "its fresh draws are not those that its seed",
    ),
    "fresh draws that are published ones": (
        lambda one: few_shot(one)["fresh"][0].update(seed=0),
        "greater than or equal to 1000",
    ),
    "fresh draws far below": (
        lambda one: [draw.update(score=0.05) for draw in few_shot(one)["fresh"]],
        "draws that nobody knew score 0.0500, and the published ones",
    ),
    "predictions that it does not cover": (
        lambda one: first(one).update(predictions="ab" * 32),
        "is not the cell that it covers",
    ),
    "a trial of a probe": (lambda one: first(one).update(trial=0), "trial 0 of"),
    "other weights": (lambda one: one.update(weights_digest="cd" * 32), "of other weights"),
    "weights from elsewhere": (
        lambda one: one.update(weights={"uri": "random:0", "sha256": "none"}),
        f"its weights are not those of the entry {MODEL}",
    ),
    "weights of one's own": (lambda one: one.update(weights={"uri": "user", "sha256": "unknown"}), "are not public"),
    "a model of nobody": (lambda one: one.update(model="nobody"), "model 'nobody' has no entry"),
    "a name that takes over the terminal": (lambda one: one.update(by="\u001b[2J"), "by: String should match"),
    "a name of two lines": (lambda one: one.update(by="me\n::error::"), "by: String should match"),
    "a name that reads backwards": (lambda one: one.update(by="\u202eem"), "by: String should match"),
    "a time of other digits": (lambda one: one.update(when="２026-11-28T12:00:00Z"), "when: String should match"),
    "a time that is none": (lambda one: one.update(when="2026-99-99T12:00:00Z"), "is no time that has been"),
    "a time to come": (lambda one: one.update(when="9999-01-01T00:00:00Z"), "is no time that has been"),
    "no time": (lambda one: one.update(when="yesterday"), "when: String should match"),
    "no commit": (lambda one: one.update(commit="unknown"), "commit: String should match"),
    "a key of one's own": (lambda one: one.update(trust="me"), "trust: unknown key"),
    "a newer schema": (lambda one: one.update(schema_version=2), "is of schema 2, and this version"),
    "NaN": (lambda one: first(one).update(found=float("nan")), "is damaged or of another schema"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_reproduction_fails_with_its_reason(
    name: str, board: Path, shipped: Registry, verified: Callable[[], Verified]
) -> None:
    tamper, reason = TAMPERED[name]
    found = reproduction_of(board / "results" / MODEL, shipped, cells=3)
    values = json.loads(found.model_dump_json())
    tamper(values)
    path = board / "reproductions" / found.file
    path.parent.mkdir()
    path.write_text(json.dumps(values))
    # Somebody who knows how files are named.
    try:
        path = path.rename(path.with_name(read_reproduction(path).file))
    except Exception:
        pass
    with Watch(board) as watch:
        faults = said(verified())
    assert reason in faults, faults
    assert not watch.seen


def test_an_honest_one_passes_whatever_its_seed(
    board: Path, shipped: Registry, verified: Callable[[], Verified]
) -> None:
    for seed in (SEED, "another"):
        write_reproduction(board, reproduction_of(board / "results" / MODEL, shipped, seed=seed))
    (board / "reproductions" / "README.md").write_text("Reproductions.")
    found = verified()
    assert found.ok and found.reproductions == 2, said(found)


def test_files_that_are_none(board: Path, shipped: Registry, verified: Callable[[], Verified]) -> None:
    path = write_reproduction(board, reproduction_of(board / "results" / MODEL, shipped))
    os.mkfifo(board / "reproductions" / "pipe.json")
    (board / "reproductions" / "more").mkdir()
    (board / "reproductions" / "more" / "x.json").write_text("{}")
    (board / "reproductions" / "link.json").symlink_to(path)
    (board / "reproductions" / "x.npz").write_bytes(b"PK\x03\x04")
    path.rename(path.with_name("efficientnet-00000000.json"))
    faults = said(verified())
    for reason in ("pipe.json: is no plain file", "link.json: is a symbolic link", f"must be called {path.name}"):
        assert reason in faults
    assert faults.count("does not belong here: reproductions are ID-DIGEST.json") == 2


def test_what_changed_since_is_not_covered_and_no_fault(
    board: Path, shipped: Registry, verified: Callable[[], Verified]
) -> None:
    found = reproduction_of(board / "results" / MODEL, shipped)
    for place in found.covers:
        (board / "results" / MODEL / place).unlink()
        (board / "results" / MODEL / place).with_suffix(".npz").unlink()
        break
    write_reproduction(board, found)
    assert verified().ok


def test_only_what_was_run_again_is_ranked_until_a_reader_asks(board: Path, shipped: Registry) -> None:
    """The better one reports, the other was run again: each has its page."""
    results = [read_result(path) for path in sorted((board / "results").glob("*/*/*.json"))]
    found = reproduction_of(board / "results" / MODEL, shipped)
    data = page_data(results, None, None, None, shipped.datasets, [found])
    assert data["tiers"] == ("reproduced", "all")
    ids = [one["id"] for one in data["entrants"]]
    for view in data["views"]:
        notes = {ids[line[0]]: (line[1], data["notes"][line[6]]) for line in view["rows"]}
        assert notes[MODEL][0] is not None
        if view["tier"] == "reproduced":
            assert notes[OTHER] == (None, "self-reported") and view["rows"][-1][2] is not None
        else:
            assert notes[OTHER][0] is not None
    said_of = {one["id"]: one["again"] for one in data["entrants"]}
    assert said_of[MODEL] == ("2 of 4 cells by A. Stranger on 2026-11-28 at 0123456, largest difference 0.00 points")
    assert said_of[OTHER] == "by nobody but its authors"


def test_without_any_reproduction_everything_is_ranked(board: Path, shipped: Registry) -> None:
    results = [read_result(path) for path in sorted((board / "results").glob("*/*/*.json"))]
    data = page_data(results, None, None, None, shipped.datasets)
    assert data["tiers"] == ("all",) and all(line[1] for view in data["views"] for line in view["rows"])
    assert {one["again"] for one in data["entrants"]} == {None}


def test_other_predictions_are_self_reported_again(board: Path, shipped: Registry) -> None:
    found = Reproduced.of([reproduction_of(board / "results" / MODEL, shipped)])
    one = read_result(next((board / "results" / MODEL / "digits").glob("*.json")))
    assert found.by(one) is not None
    assert found.by(one.model_copy(update={"predictions": {"file": "x", "sha256": "12" * 32}})) is None
    assert found.by(one.model_copy(update={"model": "mine"})) is None


def test_a_set_without_digests_is_not_ranked_on_a_board(board: Path, shipped: Registry) -> None:
    """98% on data that nobody can check: neither tier ranks it, unless somebody with the data ran it."""
    reproduction = reproduction_of(board / "results" / MODEL, shipped)
    one = read_result(next((board / "results" / OTHER / "digits").glob("*.json")))
    invented = one.model_copy(update={"dataset": "eurosat", "dataset_fingerprint": "12" * 32})
    data = page_data([invented], None, None, None, shipped.datasets, [reproduction])
    assert {data["notes"][line[6]] for view in data["views"] for line in view["rows"]} == {"not verifiable"}
    covers = {"eurosat/x.json": (one.predictions or {})["sha256"]}
    ran = reproduction.model_copy(update={"model": OTHER, "covers": covers})
    data = page_data([invented], None, None, None, shipped.datasets, [ran])
    assert all(line[1] == 1 for view in data["views"] for line in view["rows"])


def test_the_page_finds_reproductions_beside_the_results(board: Path, shipped: Registry, tmp_path: Path) -> None:
    write_reproduction(board, reproduction_of(board / "results" / MODEL, shipped))
    text = build_leaderboard(board / "results", out=tmp_path / "site").read_text()
    assert "A. Stranger" in text and '"tiers":["reproduced","all"]' in text
    (board / "reproductions" / "damaged.json").write_text("{")
    assert build_leaderboard(board / "results", out=tmp_path / "site").read_text() == text


@pytest.mark.parametrize(
    ("uri", "sha256", "public"),
    [
        ("pkg://package/x.pth", "unknown", True),
        ("random:0", "none", True),
        ("timm://a1_in1k", "unknown", True),
        ("open_clip://laion2b", "unknown", True),
        ("https://example.org/x.safetensors", "ab" * 32, True),
        ("https://example.org/x.safetensors", "unknown", False),
        ("https://127.0.0.1/x.safetensors", "ab" * 32, False),
        ("https://[::1]/x.safetensors", "ab" * 32, False),
        ("https://2130706433/x.safetensors", "ab" * 32, False),
        ("https://localhost:8000/x.safetensors", "ab" * 32, False),
        ("https://10.0.0.1:443/x.safetensors", "ab" * 32, False),
        ("hf://owner/repo@main/x.safetensors", "unknown", False),
        ("hf://owner/repo@0123/x.safetensors", "ab" * 32, True),
        ("user", "ab" * 32, False),
        ("file:/home/me/x.pt", "ab" * 32, False),
    ],
)
def test_which_weights_are_public(uri: str, sha256: str, public: bool) -> None:
    assert is_public(Weights(uri=uri, sha256=sha256)) == public


def test_fresh_seeds_are_known_to_nobody_before_the_seed() -> None:
    seeds = {fresh_seeds(seed, MODEL, place) for seed in ("a", "b") for place in ("digits/x", "digits/y")}
    assert len(seeds) == 4 and all(len(set(one)) == 2 and min(one) >= 1000 for one in seeds)
    assert FreshDraw(seed=fresh_seeds("a", MODEL, "x")[0], digest="ab" * 32, score=0.5)
