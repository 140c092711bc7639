"""Checkpoints that have no entry yet: a library's, and a weights file."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import probebench as pb
from probebench.api.models import build, model_id, with_entries
from probebench.backbones.library_input import library_input
from probebench.errors import RegistryError, WeightsError
from probebench.registry.load import Registry
from probebench.registry.schema import Architecture
from tests.api.making import items

FACTS = {"arch": "test_resnet", "library": "timm", "method": "image-image", "source": "YFCC15M"}


def test_a_weights_file_with_its_facts_is_added_once(tmp_path: Path, home: Path) -> None:
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "w.pt")
    with pytest.raises(pb.UsageError, match="has no entry yet; say library=, method=, source= too"):
        pb.extract(tmp_path / "w.pt", items(), arch="test_resnet")
    first = pb.extract(str(tmp_path / "w.pt"), items(), **FACTS, samples=14829396, objective="simclr")  # type: ignore[arg-type]
    spec = Registry.load([home / "registry"]).checkpoint(first.model)
    assert spec.id == "yfcc15m_simclr_test_resnet" and spec.pretraining.sources[0].samples == 14829396
    again = pb.extract(tmp_path / "w.pt", items())
    assert again.paths == first.paths and pb.extract(first.model, items()).paths == first.paths
    with pytest.raises(pb.UsageError, match="says other facts"):
        pb.extract(tmp_path / "w.pt", items(), method="supervised")
    with pytest.raises(WeightsError, match="does not exist"):
        pb.extract(tmp_path / "none.pt", items(), **FACTS)  # type: ignore[arg-type]
    with pytest.raises(pb.UsageError, match="2 numbers for 1 sources"):
        pb.extract(tmp_path / "w.pt", items(), **FACTS, samples=[1, 2])  # type: ignore[arg-type]


def test_a_librarys_name_gets_an_entry_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = timm.create_model
    asked: list[tuple[str, object]] = []

    def create(name: str, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        asked.append((name, pretrained))
        return made(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create)
    backbone = build("timm/test_resnet.r160_in1k")
    assert ("test_resnet.r160_in1k", True) in asked
    spec = Registry.load([home / "registry"]).checkpoint("timm_test_resnet.r160_in1k")
    assert spec == backbone.spec and spec.weights.uri == "timm://r160_in1k" and spec.input.size == 160
    assert (spec.pretraining.method, spec.pretraining.sources[0].name) == ("unknown", "unknown")
    assert build("timm/test_resnet.r160_in1k", input_size=32).spec == spec, "the entry is found again"
    entries = Registry.load([home / "registry"])
    assert model_id(entries, "timm/test_resnet.r160_in1k") == model_id(entries, "test_resnet.r160_in1k") == spec.id
    for name, line in (
        ("timm/test_resnet.nope", "no weights 'nope' of test_resnet; it has: .*r160_in1k"),
        ("timm/test_resnot.nope", "no architecture 'test_resnot'"),
        ("open_clip/RN50:nope", "no weights 'nope' of RN50; it has: openai"),
        ("torchvision/resnet18:nope", "no weights 'nope' of resnet18; it has: IMAGENET1K_V1"),
    ):
        with pytest.raises(RegistryError, match=line):
            build(name)
    with pytest.raises(pb.UsageError, match="is the library's to say"):
        build("timm/test_resnet.r224_in1k", facts={"size": 7})


@pytest.mark.parametrize(
    ("library", "name", "tag"), [("open_clip", "RN50", "openai"), ("torchvision", "resnet18", "IMAGENET1K_V1")]
)
def test_a_tags_preprocessing_is_the_defaults_where_it_is_the_default(library: str, name: str, tag: str) -> None:
    architecture = Architecture.model_validate({"library": library, "name": name})
    assert library_input(architecture, tag) == library_input(architecture)


def hub(monkeypatch: pytest.MonkeyPatch, folder: Path, **config: Any) -> None:
    """A Hub that has one repository, owner/net: a network of timm's with its config."""
    import huggingface_hub
    from safetensors.torch import save_file

    model = timm.create_model("test_resnet", num_classes=7)
    save_file(model.state_dict(), folder / "model.safetensors")
    stated = {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0], "input_size": [3, 48, 48], "crop_pct": 0.5}
    text = json.dumps({"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": stated, **config})
    (folder / "config.json").write_text(text)

    def download(repository: str, file: str, revision: str | None = None) -> str:
        if repository != "owner/net" or not (folder / file).is_file():
            raise OSError(f"404: {repository}/{file}")
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    for module in ("hub", "locate"):
        monkeypatch.setattr(f"probebench.backbones.{module}.reachable", lambda _: True)


def test_a_repository_of_the_hub(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub(monkeypatch, tmp_path)
    registry, names = with_entries((), ["hf-hub:owner/net"])
    spec = registry.checkpoint("hub_owner_net")
    assert names == [spec.id] and spec.architecture.kwargs == {"num_classes": 7}
    assert spec.weights.uri == "hf://owner/net/model.safetensors" and spec.pretraining.method == "unknown"
    assert (spec.input.size, spec.input.crop, spec.input.mean) == (48, 0.5, (0.1, 0.2, 0.3))
    assert build(spec.id).features == spec.output.features
    with pytest.raises(WeightsError, match="hf-hub:owner/other: config.json is not on this machine and 404"):
        with_entries((), ["hf-hub:owner/other"])


@pytest.mark.parametrize("argument", ["pretrained_cfg", "checkpoint_path", "features_only", "pretrained"])
def test_arguments_of_a_remote_config_pass_the_list(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path, argument: str
) -> None:
    hub(monkeypatch, tmp_path, model_args={argument: "/etc/passwd"})
    with pytest.raises(pb.UsageError, match=f"kwargs: an entry may not give timm '{argument}'"):
        with_entries((), ["hf-hub:owner/net"])
    assert not (home / "registry").exists()
    hub(monkeypatch, tmp_path, architecture="../../x")
    with pytest.raises(pb.UsageError, match="is no name of an architecture"):
        with_entries((), ["hf-hub:owner/net"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="names no architecture of timm's"):
        with_entries((), ["hf-hub:owner/net"])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hf-hub:timm/resnet50.a1_in1k", "resnet50_a1_in1k"),
        ("timm/resnet50.a1_in1k", "resnet50_a1_in1k"),
        ("resnet50.a1_in1k", "resnet50_a1_in1k"),
        ("ViT-B-32/laion2b_s34b_b79k", "laion2b_clip_vit_b_32"),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "laion2b_clip_vit_b_32"),
        ("torchvision/resnet50", "torchvision_resnet50"),
        ("torchvision/resnet50:imagenet1k_v1", "torchvision_resnet50_imagenet1k_v1"),
        ("timm/test_vit.r160_in1k", "timm_test_vit.r160_in1k"),
        ("efficientnet_lite0_*", "efficientnet_lite0_in1k"),
    ],
)
def test_names_that_people_type(typed: str, expected: str, recwarn: pytest.WarningsRecorder, home: Path) -> None:
    registry, names = with_entries((), [typed])
    assert names[0] == expected
    written = registry.checkpoint(names[0])
    assert written.weights.uri.startswith(("timm://", "open_clip://", "https://download.pytorch.org", "pkg://"))
    own = (home / "registry" / "checkpoints" / f"{expected}.toml").is_file()
    assert own == any(f"{typed} is {expected} from now on" in str(one.message) for one in recwarn)
    assert with_entries((), [typed])[1] == names and model_id(registry, typed) in (expected, typed)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("timm/resnet50.a1_in1", r"timm has no weights 'resnet50.a1_in1'; did you mean resnet50.a1_in1k"),
        ("VIT-B-32/laion2b_s34b_b79k", r"open_clip has no architecture 'VIT-B-32'; did you mean .*ViT-B-32"),
        ("facebook/dinov2-base", r"a repository of the Hub is hf-hub:facebook/dinov2-base"),
        ("torchvision/resnet51", r"torchvision has no architecture 'resnet51'; did you mean"),
        ("path/to/model_best.pth.tar", r"weights file path/to/model_best.pth.tar does not exist"),
        ("resnet50", r"unknown model 'resnet50'; did you mean"),
    ],
)
def test_names_that_there_are_not(typed: str, said: str) -> None:
    """Said by files of the libraries, without importing them: that takes seconds."""
    with pytest.raises(pb.UsageError, match=said):
        with_entries((), [typed])


def test_a_weights_file_in_the_place_of_an_id(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(1)}, tmp_path / "model_best.pth.tar")
    for call in (lambda one: with_entries((), [one]), lambda one: model_id(Registry.load(environ={}), one)):
        with pytest.raises(
            pb.UsageError, match=r"give it one: probebench models add .*/model_best.pth.tar --arch NAME"
        ):
            call(str(tmp_path / "model_best.pth.tar"))
