"""Checkpoints that have no entry yet: a library's, and a weights file."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import probebench as pb
from probebench.api.models import build, model_id
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
    assert model_id("timm/test_resnet.r160_in1k") == spec.id
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
