"""The tutorial runs as it stands: its files, its commands, in this order, on generated weights and images."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import timm
import torch
import torchvision

from tests.conftest import Ran, make_images

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text()


def commands() -> Iterator[list[str]]:
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            yield [word for one in shlex.split(line, comments=True) for word in expanded(one)]


def expanded(word: str) -> list[str]:
    """What a shell makes of a word."""
    return sorted(str(path) for path in Path().glob(word)) if "*" in word else [word]


def write_checkpoints() -> None:
    """As the three trainers write them."""
    torch.manual_seed(0)
    state = timm.create_model("resnet18").state_dict()
    torch.save({"epoch": 99, "arch": "resnet18", "state_dict": state, "version": 2}, "model_best.pth.tar")
    state = torchvision.models.resnet18().state_dict()
    lightning = {f"model.{name}": value for name, value in state.items()}
    torch.save({"epoch": 99, "state_dict": lightning, "pytorch-lightning_version": "2.5.0"}, "epoch=99.ckpt")
    state = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=96).state_dict()
    teacher = {f"backbone.{name}": value for name, value in state.items()}
    heads = {"head.mlp.0.weight": torch.zeros(8, 192), "head.last_layer.weight_v": torch.zeros(4, 8)}
    student = {f"module.{name}": value for name, value in (teacher | heads).items()}
    torch.save({"student": student, "teacher": teacher | heads, "epoch": 100}, "checkpoint0099.pth")


def test_every_command_runs_in_order(run: Callable[..., Ran], tmp_path: Path) -> None:
    write_checkpoints()
    for part, each in (("train", 8), ("test", 6)):
        make_images(tmp_path / "leaves" / part, each=each, seed=each, size=64)
    make_images(tmp_path / "signs", each=16, seed=3, size=64)
    (experiment,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    Path("paper.toml").write_text(experiment)
    said = []
    for program, *arguments in commands():
        assert program == "probebench"
        done = run(*arguments)
        assert done.code == 0, (arguments, done.err)
        said.append(done.out)
    assert len(said) == 13 and "dino's own" in said[2]
    assert "6 pairs, 0 cached" in said[5] and "features of 6 pairs extracted; 18 results computed" in said[6]
    table = Path("table.tex").read_text()
    assert table.count("ours") >= 3 and "tabular" in table
    predictions = Path("predictions.csv").read_text()
    assert len(predictions.splitlines()) == 19 and "class0" in predictions
    for written in ("study/study.html", "site/index.html", "board/index.html", "shots.pdf"):
        assert Path(written).stat().st_size > 1000
