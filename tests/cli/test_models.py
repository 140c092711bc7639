import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran, entry_text, write_entry

Run = Callable[..., Ran]


def test_list_shows_what_there_is_and_where_weights_come_from(run: Run) -> None:
    done = run("models", "list")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines()[1:]}
    assert "installed package" in lines["efficientnet_lite0_in1k"]
    assert "random init" in lines["efficientnet_lite0_random"]
    assert "network" in lines["resnet50_a1_in1k"]
    assert "your file" in lines["laion_clip_rn50"]


def test_list_filters(run: Run) -> None:
    names = [
        spec["id"]
        for spec in json.loads(run("models", "list", "--method", "language-image", "--source", "laion", "--json").out)
    ]
    assert {"laion2b_clip_vit_b_32", "laion_clip_rn50"} <= set(names) and "openai_clip_rn50" not in names
    slip = json.loads(run("models", "list", "--method", "image-image", "--source", "yfcc15m", "--json").out)
    assert {"image-image"} == {spec["pretraining"]["method"] for spec in slip}
    assert len(slip) >= 3 and json.loads(run("models", "list", "--source", "nothing", "--json").out) == []


def test_show(run: Run) -> None:
    done = run("models", "show", "yfcc15m_clip_rn50")
    assert "samples 14829396" in done.out and "samples_seen: unknown" in done.out
    assert json.loads(run("models", "show", "yfcc15m_clip_rn50", "--json").out)["input"]["size"] == 224
    wrong = run("models", "show", "yfcc_clip_rn50")
    assert wrong.code == 2 and "did you mean yfcc15m_clip_rn50" in wrong.error


def test_validate_the_registry_an_entry_and_a_folder(run: Run, tmp_path: Path) -> None:
    assert "all valid" in run("models", "validate").out
    path = write_entry(tmp_path / "own")
    assert run("models", "validate", path).code == 0
    (tmp_path / "own" / "checkpoints" / "bad.toml").write_text(entry_text(id="bad", size=0))
    (tmp_path / "own" / "checkpoints" / "worse.toml").write_text("id = ")
    for arguments in ([tmp_path / "own"], ["--registry", tmp_path / "own"]):
        done = run("models", "validate", *arguments)
        assert done.code == 1 and done.err.count("error: ") == 2
    assert run("models", "validate", tmp_path / "nowhere").code == 2


@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_own_entries(run: Run, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_entry(tmp_path / "own")
    flag = ["--registry", tmp_path / "own"]
    if place == "environment":
        monkeypatch.setenv("PROBEBENCH_REGISTRY", os.fspath(tmp_path / "own"))
        flag = []
    done = run(*(flag if place == "before" else []), "models", "show", "tiny", *(flag if place == "after" else []))
    assert done.code == 0 and "A tiny network for tests" in done.out


def test_a_broken_entry_is_one_line_in_every_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "bad.toml").write_text("id = ")
    done = run("models", "list", "--registry", tmp_path)
    assert done.code == 1 and "bad.toml: not TOML" in done.error
    assert run("models", "list", "--registry", tmp_path / "nowhere").code == 2


def test_add_then_extract_as_typed(run: Run, tmp_path: Path, home: Path) -> None:
    import timm
    import torch

    network = timm.create_model("test_resnet", num_classes=0)
    torch.save({f"backbone.{name}": value for name, value in network.state_dict().items()}, tmp_path / "simclr.ckpt")
    typed = ("--arch", "test_resnet", "--library", "timm", "--method", "image-image", "--source", "YFCC15M")
    runs = ("--run", "1", "--label-noise", "0.25")
    added = run("models", "add", "simclr.ckpt", *typed, "--samples", "14_829_396", "--objective", "simclr", *runs)
    assert added.code == 0 and "format: lightly" in added.out
    training = json.loads(run("models", "show", "yfcc15m_simclr_test_resnet", "--json").out)["pretraining"]
    assert (training["run"], training["label_noise"]) == (1, 0.25)
    assert "run" not in json.loads(run("models", "show", "yfcc15m_clip_rn50", "--json").out)["pretraining"]
    assert added.out.splitlines()[-1] == "next: probebench extract --model yfcc15m_simclr_test_resnet"
    assert "yfcc15m_simclr_test_resnet" in run("models", "list", "--source", "yfcc15m", "--method", "image-image").out
    extracted = run(
        "extract",
        "--model",
        "yfcc15m_simclr_test_resnet",
        "--dataset",
        "digits",
        "--input-size",
        "32",
        "--device",
        "cpu",
    )
    assert extracted.code == 0
    again = run("models", "add", "simclr.ckpt", *typed, "--objective", "simclr")
    assert again.code == 2 and "give another --id" in again.error


def test_add_into_a_registry_folder(run: Run, tmp_path: Path) -> None:
    import timm
    import torch

    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pt")
    typed = ("--arch", "test_resnet", "--library", "timm", "--method", "supervised", "--source", "IN1K", "--id", "mine")
    mine = tmp_path / "mine"
    mine.mkdir()
    assert run("models", "add", "w.pt", *typed, "--registry", mine, "--mean", "0", "0", "0").code == 0
    assert "mean: 0.0, 0.0, 0.0" in run("models", "show", "mine", "--registry", mine).out


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        (("--arch", "test_resnet", "--samples", "many"), 2, "neither a whole number nor unknown"),
        (
            ("--arch", "test_resnet", "--epochs", "some"),
            2,
            'epochs: Input should be a valid number, unable to parse string as a number (or "unknown")',
        ),
        (("--arch", "nothing_known"), 1, "no architecture 'nothing_known'"),
        (("--arch", "test_resnet", "--std", "0", "1", "1"), 2, "input.std: std must be positive"),
    ],
)
def test_add_with_wrong_facts(run: Run, tmp_path: Path, wrong: tuple[str, ...], code: int, said: str) -> None:
    import timm
    import torch

    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pt")
    ran = run("models", "add", "w.pt", "--library", "timm", "--method", "supervised", "--source", "x", *wrong)
    assert ran.code == code and said in ran.err


TYPED = ("--library", "timm", "--method", "supervised", "--source", "IN1K")


def save(path: Path, seed: int = 0, name: str = "test_resnet", prefix: str = "") -> Path:
    import timm
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = timm.create_model(name, num_classes=0).state_dict()
    torch.save({f"{prefix}{key}": value for key, value in state.items()}, path)
    return path


def test_add_says_what_it_took_and_what_it_does_not_know(run: Run, tmp_path: Path) -> None:
    file = save(tmp_path / "w.pt", prefix="encoder_q.")
    added = run("models", "add", file, "--arch", "test_resnet", *TYPED, "--id", "moco")
    assert "preprocessing (moco's own): 160 px, shortest side to 182 by bilinear, crop 0.875, mean 0.485" in added.out
    assert "unknown: labels, which closes the study's questions of clean labels against noisy ones" in added.out
    assert "unknown: epochs\n" in added.out and "unknown: method" not in added.out
    own = run(
        "models", "add", save(tmp_path / "v.pt", 1), "--arch", "test_resnet", *TYPED, "--id", "plain", "--crop", "1"
    )
    assert "preprocessing (timm's own for test_resnet, but for crop as given): 160 px" in own.out and own.err == ""
    again = run("models", "add", file, "--arch", "test_resnet", *TYPED, "--id", "other")
    assert again.code == 0 and "warning: " in again.err and "is the file of moco already" in again.err
    assert "needs --arch, --library, --method, --source too" in run("models", "add", file).error


def test_a_normalisation_that_nobody_knows_is_asked_for(run: Run, tmp_path: Path) -> None:
    file = save(tmp_path / "w.pt", name="vit_small_patch16_224")
    typed = ("models", "add", file, "--arch", "vit_small_patch16_224", *TYPED, "--id", "vit")
    asked = run(*typed)
    assert asked.code == 2 and "normalises images for vit_small_patch16_224 in " in asked.error
    assert "--mean 0.5 0.5 0.5 --std 0.5 0.5 0.5" in asked.error and "--mean 0.485 0.456 0.406" in asked.error
    imagenet = ("--mean", "0.485", "0.456", "0.406", "--std", "0.229", "0.224", "0.225")
    assert "mean 0.485 0.456 0.406" in run(*typed, *imagenet).out


def test_weights_that_were_trained_again(run: Run, tmp_path: Path, home: Path) -> None:
    typed = ("--arch", "test_resnet", *TYPED, "--id", "mine", "--crop", "1")
    assert run("models", "add", save(tmp_path / "a.pt"), *typed).code == 0
    entry = home / "registry" / "checkpoints" / "mine.toml"
    before = entry.read_text()
    retrained = save(tmp_path / "b.pt", seed=1)
    refused = run("extract", "--model", "mine", "--dataset", "digits", "--weights", retrained)
    assert refused.code == 1 and f"models add {retrained} --id mine --replace" in refused.error
    assert " tensors differ, such as " in refused.error
    assert "give another --id, or --replace" in run("models", "add", retrained, *typed).error
    assert "--replace needs --id" in run("models", "add", retrained, "--replace").error
    assert "ships with probebench" in run("models", "add", retrained, "--replace", "--id", "laion_clip_rn50").error
    damaged = tmp_path / "c.pt"
    damaged.write_bytes(retrained.read_bytes()[:-99])
    assert run("models", "add", damaged, "--replace", "--id", "mine").code == 1 and entry.read_text() == before
    done = run("models", "add", retrained, "--replace", "--id", "mine")
    assert done.code == 0 and "replaced: " in done.out and "crop 1," in done.out
    assert entry.read_text() != before and sorted(one.name for one in (home / "weights").iterdir()) == ["mine"]
    assert run("extract", "--model", "mine", "--dataset", "digits", "--dry-run").code == 0


def test_weights_of_another_entry_are_not_registered(run: Run, tmp_path: Path) -> None:
    file = save(tmp_path / "w.pt")
    run("models", "add", file, "--arch", "test_resnet", *TYPED, "--id", "mine")
    refused = run("extract", "--model", "laion_clip_rn50", "--dataset", "digits", "--weights", file)
    assert refused.code == 2 and "is that of mine, and not of laion_clip_rn50; say --model mine" in refused.error


def test_remove_and_rename(run: Run, tmp_path: Path, home: Path) -> None:
    run("models", "add", save(tmp_path / "w.pt"), "--arch", "test_resnet", *TYPED, "--id", "mine")
    assert "has an entry laion_clip_rn50 already" in run("models", "rename", "mine", "laion_clip_rn50").error
    assert run("models", "rename", "mine", "No Id").code == 2
    assert run("models", "rename", "mine", "yours").code == 0
    assert "A " not in run("models", "show", "yours").err and run("models", "show", "mine").code == 2
    assert run("extract", "--model", "yours", "--dataset", "digits", "--dry-run").code == 0
    removed = run("models", "remove", "yours")
    assert removed.code == 0 and "probebench cache remove --model yours" in removed.out
    assert run("models", "show", "yours").code == 2 and not list((home / "weights").rglob("*.safetensors"))
    for verb in (("remove", "laion_clip_rn50"), ("rename", "laion_clip_rn50", "x")):
        assert "ships with probebench" in run("models", *verb).error
    assert run("models", "remove", "nothing").code == 2
