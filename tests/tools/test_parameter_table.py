import json
from pathlib import Path

import pytest
import timm
import torchvision

import probebench.leaderboard
from probebench.registry.schema import Architecture
from probebench.tools.parameter_table import canonical, parameters


def count(module: object) -> int:
    return sum(parameter.numel() for parameter in module.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize("kwargs", [{}, {"num_classes": 7}])
def test_the_classifier_is_not_counted(kwargs: dict[str, int]) -> None:
    bare = count(timm.create_model("test_resnet", num_classes=0))
    assert parameters(Architecture(library="timm", name="test_resnet", kwargs=kwargs)) == bare
    whole = torchvision.models.resnet18()
    assert parameters(Architecture(library="torchvision", name="resnet18")) == count(whole) - count(whole.fc)


def test_of_a_language_image_network_the_image_half_counts() -> None:
    import open_clip

    expected = count(open_clip.create_model("RN50").visual)
    assert parameters(Architecture(library="open_clip", name="RN50")) == expected


def test_equivalents_share_the_count_of_the_canonical_network_without_its_projection() -> None:
    name, network = canonical(Architecture(library="open_clip", name="RN50", kwargs={"force_quick_gelu": True}))
    assert (name, network) == ("timm/resnet50_clip", Architecture(library="timm", name="resnet50_clip"))
    clip = timm.create_model("resnet50_clip")
    assert parameters(network) == count(clip) - count(clip.get_submodule("head.proj"))
    own = Architecture(library="timm", name="resnet50", kwargs={"num_classes": 0})
    assert canonical(own) == ("timm/resnet50", own)
    assert parameters(canonical(Architecture(library="torchvision", name="resnet50"))[1]) == parameters(own)


def test_the_file_holds_what_the_canonical_networks_count() -> None:
    counts = json.loads(Path(probebench.leaderboard.__file__).with_name("parameters.json").read_text())
    for library, name in (("torchvision", "resnet18"), ("open_clip", "ViT-B-32"), ("timm", "test_resnet")):
        key, network = canonical(Architecture.model_validate({"library": library, "name": name}))
        assert counts.get(key, parameters(network)) == parameters(network)
