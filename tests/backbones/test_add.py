from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from probebench.backbones import add, locate
from probebench.backbones.add import Facts, add_checkpoint, pair_sources
from probebench.backbones.builders import build_backbone
from probebench.backbones.library_input import library_input
from probebench.errors import RegistryError, UsageError, WeightsError
from probebench.fingerprint import file_sha256
from probebench.registry import CheckpointSpec, Registry
from probebench.registry.load import read_entry
from probebench.registry.schema import Architecture, Pretraining, Source


def facts(library: str = "timm", name: str = "test_resnet", **more: object) -> Facts:
    training = Pretraining.model_validate(
        {
            "method": "image-image",
            "objective": "simclr",
            "sources": [{"name": "YFCC15M", "samples": 14829396}],
            "samples_seen": "unknown",
            "epochs": 25,
            "labels": "none",
            "curation": "none",
        }
    )
    architecture = Architecture.model_validate({"library": library, "name": name})
    return replace(Facts(id="mine", title="Mine", architecture=architecture, pretraining=training), **more)  # type: ignore[arg-type]


def test_an_entry_from_a_file_gives_the_files_features(home: Path, tmp_path: Path) -> None:
    own = timm.create_model("test_resnet", num_classes=0).eval()
    torch.save(
        {"state_dict": {f"module.visual.{name}": value for name, value in own.state_dict().items()}}, tmp_path / "w"
    )
    added = add_checkpoint(tmp_path / "w", facts(), home, tmp_path / "registry")
    spec = Registry.load([tmp_path / "registry"], environ={}).checkpoint("mine")
    assert spec == added.spec and spec.weights.keys == "slip" and spec.architecture.kwargs == {"num_classes": 0}
    assert spec.pretraining.sources == (Source(name="YFCC15M", samples=14829396),)
    (tmp_path / "w").unlink()
    backbone = build_backbone(spec, home)
    assert backbone.weights_digest == added.digest and backbone.features == own.num_features
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(backbone.module(images), own(images))


@pytest.mark.parametrize("outputs", [1000, 7])
@pytest.mark.parametrize("container", ["w.safetensors", "w.pth"])
def test_a_classifier_of_any_size(home: Path, tmp_path: Path, outputs: int, container: str) -> None:
    state = timm.create_model("test_resnet", num_classes=outputs).state_dict()
    if container.endswith("pth"):
        torch.save(state, tmp_path / container)
    else:
        save_file(state, tmp_path / container)
    spec = add_checkpoint(tmp_path / container, facts(), home, tmp_path).spec
    assert spec.architecture.kwargs == ({} if outputs == 1000 else {"num_classes": outputs})
    assert spec.weights.keys == "plain" and spec.output.features == 96


def test_torchvision_without_a_classifier(home: Path, tmp_path: Path) -> None:
    own = torchvision.models.resnet18(weights=None)
    own.fc = torch.nn.Identity()
    torch.save(own.state_dict(), tmp_path / "barlow.pth")
    spec = add_checkpoint(tmp_path / "barlow.pth", facts("torchvision", "resnet18"), home, tmp_path).spec
    images = torch.rand(2, 3, 64, 64)
    assert torch.allclose(build_backbone(spec, home).module(images), own.eval()(images))
    assert (spec.input.size, spec.input.crop, spec.input.interpolation) == (224, 0.875, "bilinear")


def test_an_open_clip_training_checkpoint(home: Path, tmp_path: Path) -> None:
    import open_clip

    own = open_clip.create_model("ViT-S-32-alt").eval()
    state = {f"module.{name}": value for name, value in own.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state}, tmp_path / "epoch_3.pt")
    spec = add_checkpoint(tmp_path / "epoch_3.pt", facts("open_clip", "ViT-S-32-alt"), home, tmp_path).spec
    assert (spec.output.layer, spec.output.features, spec.input.size) == ("projected", 256, 224)
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(build_backbone(spec, home).module(images), own.encode_image(images))


def test_an_open_clip_image_tower_alone(home: Path, tmp_path: Path) -> None:
    import open_clip

    own = open_clip.create_model("ViT-S-32-alt").visual.eval()
    state = {f"module.visual.{name}": value for name, value in own.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    spec = add_checkpoint(tmp_path / "w.pt", facts("open_clip", "ViT-S-32-alt"), home, tmp_path).spec
    assert spec.weights.keys == "open-clip-visual"
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(build_backbone(spec, home).module(images), own(images))


def test_keys_that_fit_nowhere_are_named_for_the_nearest_format(home: Path, tmp_path: Path) -> None:
    state = timm.create_model("test_resnet", num_classes=0).state_dict()
    first, *_ = state
    del state[first]
    state["conv0.weight"] = torch.ones(1)
    torch.save({f"backbone.{name}": value for name, value in state.items()}, tmp_path / "w.pt")
    with pytest.raises(
        WeightsError,
        match=r"in any known format .*nearest is lightly: 1 keys missing \(\S+\); 1 keys unexpected \(conv0",
    ):
        add_checkpoint(tmp_path / "w.pt", facts(), home, tmp_path)
    with pytest.raises(WeightsError, match="is not of the format slip"):
        add_checkpoint(tmp_path / "w.pt", facts(keys="slip"), home, tmp_path)
    assert not (tmp_path / "checkpoints").exists() and not (home / "weights").exists()


def test_weights_that_give_nothing_leave_nothing_behind(home: Path, tmp_path: Path) -> None:
    state = {name: torch.zeros_like(value) for name, value in timm.create_model("test_resnet").state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no usable features"):
        add_checkpoint(tmp_path / "w.pt", facts(), home, tmp_path)
    assert not (tmp_path / "checkpoints").exists()
    assert not list((home / "weights" / "mine").iterdir())


def test_what_cannot_be_added(home: Path, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match="has an entry mine already; give another --id"):
        add_checkpoint(tmp_path / "w.pt", facts(taken=frozenset({"mine"})), home, tmp_path)
    with pytest.raises(UsageError, match="^id: String should match pattern"):
        add_checkpoint(tmp_path / "w.pt", facts(id="../mine"), home, tmp_path)
    with pytest.raises(UsageError, match=r"^weights\.uri: 'ftp://x' is none of"):
        add_checkpoint(tmp_path / "w.pt", facts(uri="ftp://x"), home, tmp_path)
    with pytest.raises(RegistryError, match="no architecture 'test_resnets'; did you mean test_resnet"):
        add_checkpoint(tmp_path / "w.pt", facts(name="test_resnets"), home, tmp_path)
    with pytest.raises(UsageError, match="2 times for 1 --source"):
        pair_sources(["a"], [1, 2])
    assert not (tmp_path / "checkpoints").exists()


def test_an_id_is_made_of_what_is_known(home: Path, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pt")
    added = add_checkpoint(tmp_path / "w.pt", facts(id=None, title=None), home, tmp_path)
    assert added.spec.id == "yfcc15m_simclr_test_resnet"
    assert added.spec.title == "test_resnet, simclr on YFCC15M"
    assert read_entry(added.path, CheckpointSpec) == added.spec


@pytest.mark.parametrize(
    ("library", "name", "expected"),
    [
        ("timm", "resnet50", (224, "shortest", 0.95, "bicubic")),
        ("open_clip", "ViT-B-32", (224, "shortest", 1.0, "bicubic")),
        ("torchvision", "convnext_tiny", (224, "shortest", 224 / 236, "bilinear")),
    ],
)
def test_preprocessing_of_the_library(library: str, name: str, expected: tuple[object, ...]) -> None:
    found = library_input(Architecture.model_validate({"library": library, "name": name}))
    assert (found["size"], found["resize"], pytest.approx(found["crop"], abs=0.002), found["interpolation"]) == expected


def test_torchvisions_resize_survives_the_rounding() -> None:
    """An entry says floor(size / crop); every torchvision default must come out as torchvision has it."""
    for name in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(name):
            chosen = weights.transforms()
            size, resized = chosen.crop_size[0], chosen.resize_size[0]
            found = library_input(Architecture.model_validate({"library": "torchvision", "name": name}))
            if weights is next(iter(torchvision.models.get_model_weights(name))):
                assert int(size / found["crop"]) == resized, name


def test_a_file_is_hashed_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pt")
    hashed = mock.Mock(wraps=file_sha256)
    for module in (add, locate):
        monkeypatch.setattr(module, "file_sha256", hashed)
    added = add_checkpoint(tmp_path / "w.pt", facts(), home, tmp_path)
    assert hashed.call_count == 1 and added.spec.weights.sha256 == file_sha256(tmp_path / "w.pt")
