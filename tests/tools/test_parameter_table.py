import pytest
import timm
import torchvision

from probebench.registry.schema import Architecture
from probebench.tools.parameter_table import parameters


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
