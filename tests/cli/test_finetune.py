import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran, make_images, write_entry

Run = Callable[..., Ran]

RECIPE = """
id = "{id}"
version = 1
title = "A protocol for tests"
source = "none"
selects_on = "validation images"
probe = "finetune"
selection = "validation"
criterion = "accuracy"
draws = 1
epochs = 2
batch_size = 4

[optimizer]
name = "adamw"
learning_rates = [1e-3]
weight_decay = 0.1

[schedule]
warmup_steps = 1

[augment]

[linear]
learning_rates = [1e-2]
weight_decay = 0.0
epochs = 2
batch_size = 4

[few_shot]
epoch = "last"
most = 2

[full]
epoch = "best"
share = 0.2
"""


@pytest.fixture
def asked(tmp_path: Path) -> tuple[str, ...]:
    """Arguments for a tiny network, a tiny protocol and a folder of images."""
    write_entry(tmp_path / "own")
    write_entry(tmp_path / "own", id="mine", uri="user")
    protocols = tmp_path / "own" / "protocols"
    protocols.mkdir()
    (protocols / "brief.toml").write_text(RECIPE.format(id="brief"))
    for seed, (split, each) in enumerate({"train": 6, "test": 4}.items()):
        make_images(tmp_path / "images" / split, each=each, seed=seed)
    return (
        "finetune", "--registry", "own", "--dataset", "folder:images", "--protocol", "brief", "--device", "cpu",
        "--workers", "0",
    )  # fmt: skip


def test_the_whole_way(run: Run, asked: tuple[str, ...]) -> None:
    dry = run(*asked, "--model", "tiny", "--shots", "2", "--dry-run")
    assert dry.code == 0 and "1 trainings of 2 epochs, 12 images at" in dry.out and not Path("results").exists()
    first = run(*asked, "--model", "tiny", "--shots", "2,full", "--alpha", "0.5", "--alpha", "1")
    assert first.code == 0, first.err
    assert "trainings of 2 epochs" in first.err and "epoch 1 of 2: loss" in first.err and "results are in" in first.out
    files = sorted(path.name.rsplit("-", 1)[0] for path in Path("results").glob("*/*/*.json"))
    assert files == ["finetune-brief-2", "finetune-brief-2", "finetune-brief-full", "finetune-brief-full"]
    again = run(*asked, "--model", "tiny", "--shots", "2,full", "--alpha", "0.5", "--alpha", "1")
    assert again.code == 0 and again.out == first.out and "trainings" not in again.err
    assert run(*asked, "--model", "tiny", "--shots", "2", "--dry-run").out.startswith("nothing to train")
    listed = json.loads(run("results", "list", "--json").out)
    assert {(one["kind"], one["mode"]) for one in listed} == {("finetune", "full"), ("finetune", "full, alpha 0.5")}


@pytest.mark.parametrize(
    ("changes", "said", "code"),
    [
        (("--model", "tiny", "--protocol", "brif"), "did you mean brief?", 2),
        (("--model", "tiny", "--protocol", "default"), "run it with probebench eval --protocol default", 2),
        (("--model", "tiny", "--mode", "lp-ft"), "run: probebench extract --model tiny", 1),
        (("--model", "mine"), "probebench extract --model mine --weights", 2),
        (("--model", "tiny", "--shots", "none"), "--shots takes positive numbers", 2),
        (("--model", "tiny", "--mode", "lp-ft", "--head", "text"), "leave out --head", 2),
        (("--model", "tiny", "--head", "text", "--shots", "1"), "language-image checkpoint", 2),
    ],
)
def test_errors_name_the_mend(run: Run, asked: tuple[str, ...], changes: tuple[str, ...], said: str, code: int) -> None:
    ran = run(*asked, *changes)
    assert ran.code == code and said in ran.error
    assert not Path("results").exists()
