from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from probebench.backbones import builders, locate, weights
from probebench.backbones.builders import build_backbone, register_weights
from probebench.backbones.preprocess import build_transform
from probebench.errors import RegistryError, UsageError, WeightsError
from probebench.fingerprint import file_sha256
from probebench.registry import CheckpointSpec, Registry
from probebench.registry.load import read_entry
from tests.conftest import make_entry, write_entry

# ImageNet classes: palace, and daisy.
PHOTOS = {"china.jpg": 698, "flower.jpg": 985}


def batch(backbone: Any, *names: str) -> torch.Tensor:
    transform = build_transform(backbone.input)
    return torch.stack([transform(Image.fromarray(load_sample_image(name))) for name in names])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_lite_weights_recognise_a_palace(shipped: Registry, home: Path, number: int) -> None:
    import timm

    spec = shipped.checkpoint(f"efficientnet_lite{number}_in1k")
    backbone = build_backbone(spec, home)
    state = torch.load(locate.locate(spec, home), weights_only=True)
    reference: Any = timm.create_model(spec.architecture.name)
    reference.load_state_dict(dict(zip(reference.state_dict(), state.values(), strict=True)))
    reference.eval()
    images = batch(backbone, *PHOTOS)
    with torch.inference_mode():
        features = backbone.module(images)
        assert torch.equal(features, reference.forward_head(reference.forward_features(images), pre_logits=True))
        best = reference(images).argmax(dim=1).tolist()
        assert torch.allclose(reference.classifier(features), reference(images))
    assert best[0] == PHOTOS["china.jpg"]
    if number == 0:
        assert best[1] == PHOTOS["flower.jpg"]


def test_random_twin_is_the_same_every_time_and_moves_no_generator(shipped: Registry, home: Path) -> None:
    spec = shipped.checkpoint("efficientnet_lite0_random")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = build_backbone(spec, home)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    assert build_backbone(spec, home).weights_digest == first.weights_digest


def test_seeds_differ(home: Path, tmp_path: Path) -> None:
    digests = {build_backbone(make_entry(tmp_path, uri=f"random:{seed}"), home).weights_digest for seed in (0, 1, 0)}
    assert len(digests) == 2


def test_torchvision_without_its_classifier(home: Path, tmp_path: Path) -> None:
    import torchvision

    spec = make_entry(tmp_path, library="torchvision", name="mobilenet_v3_small", features=1024, size=64)
    backbone = build_backbone(spec, home)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = torchvision.models.mobilenet_v3_small(weights=None).eval()
    reference.classifier[-1] = torch.nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    assert torch.allclose(backbone.module(images), reference(images))


def test_open_clip_layers(home: Path, tmp_path: Path) -> None:
    import open_clip

    spec = make_entry(tmp_path, library="open_clip", name="ViT-S-32-alt", features=256, layer="projected", size=224)
    backbone = build_backbone(spec, home)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = open_clip.create_model("ViT-S-32-alt").eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(backbone.module(images), reference.encode_image(images))
    pooled = build_backbone(
        make_entry(tmp_path, library="open_clip", name="ViT-S-32-alt", features=384, layer="pooled", size=224), home
    )
    with torch.inference_mode():
        assert torch.allclose(pooled.module(images) @ reference.visual.proj, reference.encode_image(images), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"name": "no_such_net"}, RegistryError, "no architecture 'no_such_net'"),
        ({"library": "open_clip", "name": "no-such"}, RegistryError, "no architecture 'no-such'"),
        ({"library": "torchvision", "name": "no_such"}, RegistryError, "no architecture 'no_such'"),
        ({"features": 12}, RegistryError, "the entry says 12 features"),
        ({"layer": "projected"}, RegistryError, "only language-image towers"),
        ({"library": "torchvision", "name": "squeezenet1_0"}, RegistryError, "no linear classifier"),
    ],
)
def test_entries_that_cannot_be(
    home: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        build_backbone(make_entry(tmp_path, **changes), home)


def test_an_input_size_that_the_network_cannot_take(home: Path, tmp_path: Path) -> None:
    spec = make_entry(tmp_path, library="open_clip", name="ViT-S-32-alt", features=256, layer="projected", size=224)
    with pytest.raises(UsageError, match="cannot run at 96 px.*its own size is 224"):
        build_backbone(spec, home, 96)


def test_user_weights_of_a_training_run(shipped: Registry, home: Path, tmp_path: Path) -> None:
    """An OpenCLIP training checkpoint: nested, from several GPUs, with optimiser state beside the tensors."""
    import open_clip

    spec = shipped.checkpoint("laion_clip_rn50")
    with pytest.raises(UsageError, match="give a file once"):
        build_backbone(spec, home)
    reference = open_clip.create_model("RN50").eval()
    state = {f"module.{name}": value for name, value in reference.state_dict().items()}
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    file = tmp_path / "epoch_16.pt"
    torch.save({"epoch": 16, "name": "run", "state_dict": state, "optimizer": optimizer}, file)
    registered = register_weights(spec, home, file)
    file.unlink()
    backbone = build_backbone(spec, home)
    assert backbone.weights_digest == registered.digest == weights.state_digest(reference.state_dict())
    images = batch(backbone, "china.jpg")
    with torch.inference_mode():
        assert torch.equal(backbone.module(images), reference.encode_image(images))


def test_registered_weights_that_changed_on_disk_are_refused(home: Path, tmp_path: Path) -> None:
    import timm

    spec = make_entry(tmp_path, uri="user")
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pt")
    kept = register_weights(spec, home, tmp_path / "w.pt")
    assert build_backbone(spec, home).weights_digest == kept.digest
    content = bytearray(kept.path.read_bytes())
    content[-5] ^= 1
    kept.path.write_bytes(content)
    with pytest.raises(WeightsError, match="changed on disk; register the file again"):
        build_backbone(spec, home)


def test_arguments_that_the_library_does_not_take(home: Path, tmp_path: Path) -> None:
    path = write_entry(tmp_path)
    path.write_text(path.read_text().replace('"test_resnet"', '"test_resnet"\nkwargs = { num_heads = 2 }'))
    with pytest.raises(RegistryError, match="cannot be built.*num_heads.*check the entry"):
        build_backbone(read_entry(path, CheckpointSpec), home)


def test_wrong_files_are_not_registered(shipped: Registry, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save({"conv.weight": torch.ones(3)}, file)
    spec = make_entry(tmp_path, uri="user")
    with pytest.raises(
        WeightsError, match=r"does not fit timm test_resnet \(tiny\): \d+ keys missing \(.*unexpected \(conv.weight\)"
    ):
        register_weights(spec, home, file)
    with pytest.raises(UsageError, match="random-init twin and takes no weights"):
        register_weights(shipped.checkpoint("efficientnet_lite0_random"), home, file)
    assert not (home / "weights").exists()


def test_a_file_for_an_entry_with_a_digest_must_be_that_file(shipped: Registry, home: Path, tmp_path: Path) -> None:
    spec = shipped.checkpoint("efficientnet_lite0_in1k")
    state = torch.load(locate.locate(spec, home), weights_only=True)
    other = {name: value + 1 if value.is_floating_point() else value for name, value in state.items()}
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="sha256"):
        register_weights(spec, home, tmp_path / "other.pth")


@pytest.mark.parametrize("model", ["resnet50_a1_in1k", "yfcc15m_clip_rn50"])
def test_weights_that_need_the_network(
    shipped: Registry,
    home: Path,
    tmp_path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(locate, "reachable", lambda url: False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(WeightsError) as caught:
        build_backbone(shipped.checkpoint(model), home)
    assert "the network cannot be reached" in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("source", ["registered", "file", "random"])
def test_weights_are_hashed_once(home: Path, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over their tensors, and once over the file where the entry gives its sha256."""
    file = tmp_path / "w.pt"
    torch.save(timm.create_model("test_resnet").state_dict(), file)
    spec = {
        "registered": lambda: make_entry(tmp_path, uri="user"),
        "file": lambda: make_entry(tmp_path, uri=f"file:{file}", sha256=file_sha256(file)),
        "random": lambda: make_entry(tmp_path),
    }[source]()
    if source == "registered":
        register_weights(spec, home, file)
    tensors = mock.Mock(wraps=weights.state_digest)
    files = mock.Mock(wraps=file_sha256)
    monkeypatch.setattr(builders, "state_digest", tensors)
    monkeypatch.setattr(locate, "file_sha256", files)
    backbone = build_backbone(spec, home)
    assert tensors.call_count == 1 and files.call_count == (source == "file")
    assert backbone.weights_digest == build_backbone(spec, home).weights_digest
