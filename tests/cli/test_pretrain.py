import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

import probebench as pb
from tests.conftest import Ran
from tests.pretraining.making import METHODS, pictures, recipe

Run = Callable[..., Ran]


@pytest.fixture
def ready(home: Path, tmp_path: Path) -> str:
    """Recipes of a few steps in the home's registry, and a source: its folder."""
    folder = home / "registry" / "recipes"
    folder.mkdir(parents=True)
    for name in METHODS:
        spec = recipe(name, id=name.replace("mini", "few"))
        values = spec.model_dump(mode="json", exclude_unset=True)
        (folder / f"{spec.id}.toml").write_text(tomli_w.dumps(values))
    return str(pictures(tmp_path / "pictures"))


def test_from_images_to_a_checkpoint_that_is_probed(run: Run, ready: str) -> None:
    asked = ("pretrain", "--recipe", "few_simclr", "--source", ready, "--samples", "16", "--run", "1")
    done = run(*asked)
    assert done.code == 0, done.error
    name = done.out.split()[0]
    assert name.startswith("few_simclr-folder_pictures") and name.endswith("-16-run1")
    assert f"{name} is there already" in run(*asked).err
    assert json.loads(run(*asked, "--json").out) == {"id": name}
    shown = run("models", "show", name).out
    assert "made by: probebench pretrain --recipe few_simclr --source folder:pictures-" in shown
    assert "--samples 16 --run 1" in json.loads(run("models", "show", name, "--json").out)["made_by"]
    assert "all valid" in run("models", "validate").out and name in run("models", "list", "--method", "image-image").out
    extracted = run("extract", "--model", name, "--dataset", "digits", "--limit", "40")
    assert extracted.code == 0, extracted.error
    removed = run("models", "remove", name)
    assert removed.code == 0 and run("models", "show", name).code == 2


def test_from_python(home: Path, ready: str) -> None:
    name = pb.pretrain("few_supervised", ready, label_noise=0.5, samples=12)
    assert name.endswith("-12-noise0.5-run0")
    assert pb.pretrain("few_supervised", [ready], label_noise=0.5, samples=12) == name
    with pytest.raises(pb.UsageError, match="label noise is a share"):
        pb.pretrain("few_supervised", ready, label_noise=1.5)
    with pytest.raises(pb.UsageError, match="unknown recipe 'few_simclx'; did you mean few_simclr"):
        pb.pretrain("few_simclx", ready)
    for wrong in ({"run": -1}, {"epochs": 0}):
        with pytest.raises(pb.UsageError, match="is a whole number from"):
            pb.pretrain("few_clip", ready, **wrong)  # type: ignore[arg-type]
    with pytest.raises(pb.UsageError, match="name a source"):
        pb.pretrain("few_clip", [])


def test_a_dry_run_trains_nothing(run: Run, ready: str, home: Path) -> None:
    asked = ("pretrain", "--recipe", "few_clip", "--source", ready, "--dry-run")
    told = run(*asked)
    assert told.code == 0 and "48 samples seen, 6 steps of 8 on 24 images" in told.out
    assert "modelled, 24 images on 32 GPUs" in told.out
    assert json.loads(run(*asked, "--json").out)["samples_seen"] == 48
    assert not (home / "weights").exists() and not (home / "registry" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--recipe", "few_simclr", "--source", "SOURCE", "--label-noise", "0.5"], "reads neither labels nor captions"),
        (["--recipe", "few_clip", "--source", "SOURCE", "--samples", "2000"], "has 24 images; ask for at most so many"),
        (["--recipe", "few_supervised", "--source", "BARE"], "has no labels"),
        (["--recipe", "few_clip", "--source", "emoji_noto"], "run probebench sources prepare emoji_noto"),
        (["--recipe", "default", "--source", "SOURCE"], "unknown recipe 'default'"),
        (["--recipe", "few_clip", "--source", "SOURCE", "--device", "cuda"], "no CUDA device on this machine"),
        (["--recipe", "few_clip"], "Missing option '--source'"),
    ],
)
def test_wrong_use_is_one_line(run: Run, ready: str, tmp_path: Path, words: list[str], why: str) -> None:
    bare = pictures(tmp_path / "bare", labelled=False)
    done = run("pretrain", *[{"SOURCE": ready, "BARE": str(bare)}.get(word, word) for word in words])
    assert done.code in (1, 2) and why in done.error and len(done.error.strip().splitlines()) == 1


def test_a_recipe_that_cannot_be_read_names_its_file(run: Run, ready: str, home: Path) -> None:
    path = home / "registry" / "recipes" / "few_clip.toml"
    path.write_text(path.read_text().replace("batch_size = 8", "batch_size = 1"))
    done = run("pretrain", "--recipe", "few_clip", "--source", ready)
    assert done.code == 1 and "few_clip.toml: batch_size: Input should be greater than or equal to 2" in done.error
