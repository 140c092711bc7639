import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from probebench.errors import RegistryError
from probebench.registry import validate_path
from probebench.registry.architectures import TABLE, canonical_architecture, read_architectures
from probebench.registry.load import shipped_registry
from tests.registry.same_network import difference

PAIRS = [(first, other) for other, first in read_architectures(shipped_registry() / TABLE).items()]
# In float64, rounding is nearer to 1e-14 and the smallest difference of another network, in an epsilon, to 1e-6.
SAME = 1e-10


@pytest.fixture(scope="module", autouse=True)
def only_networks_are_collected() -> Iterator[None]:
    """What earlier tests left would be walked at every collection, which took half of the time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("canonical", "other"), PAIRS, ids=[f"{canonical}={other}" for canonical, other in PAIRS])
def test_equivalents_compute_one_function(canonical: str, other: str) -> None:
    assert difference(canonical, other) < SAME


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # The epsilon of batch normalisation.
        ("timm/mobilenetv3_small_100", "torchvision/mobilenet_v3_small"),
        # The side that is padded.
        ("timm/tf_efficientnet_b0", "torchvision/efficientnet_b0"),
        # The activation.
        ("timm/vit_base_patch32_clip_224", "open_clip/ViT-B-32-quickgelu"),
    ],
)
def test_networks_of_equal_tensors_are_told_apart(one: str, other: str) -> None:
    assert difference(one, other) > 1e4 * SAME


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("timm/resnet50", "torchvision/resnext50_32x4d"),
        ("timm/resnet50", "open_clip/RN50"),
        ("timm/vit_base_patch32_clip_224", "open_clip/ViT-B-32-256"),
        ("timm/resnet101_clip", "open_clip/RN50"),
    ],
)
def test_networks_of_other_tensors_do_not_fit(one: str, other: str) -> None:
    with pytest.raises(AssertionError):
        difference(one, other)


def test_every_name_finds_the_canonical_one() -> None:
    assert canonical_architecture("torchvision/resnet50") == canonical_architecture("timm/resnet50") == "timm/resnet50"
    assert canonical_architecture("mylab/net") == "mylab/net"
    assert {canonical_architecture(other) for _, other in PAIRS} == {canonical for canonical, _ in PAIRS}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"timm/a" = ["torchvision/a"]\n"timm/b" = ["torchvision/a"]', "'torchvision/a' occurs twice"),
        ('"timm/a" = ["timm/b"]\n"timm/b" = ["torchvision/b"]', "'timm/b' occurs twice"),
        ('"timm/a" = ["resnet50"]', "'resnet50' is not library/name"),
        ('"keras/a" = ["timm/a"]', "'keras/a' is not library/name"),
        ('"timm/" = ["timm/a"]', "'timm/' is not library/name"),
        ('"timm/a" = "torchvision/a"', "write a list of names"),
        ('"timm/a" = []', "write a list of names"),
        ('"timm/a" = [1]', "write a list of names"),
        ('"timm/a" = ["torchvision/a"', "not TOML"),
    ],
)
def test_a_malformed_table_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / TABLE
    path.write_text(text)
    with pytest.raises(RegistryError, match=said) as error:
        read_architectures(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    assert validate_path(tmp_path) == [str(error.value)]


def test_a_missing_table_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="cannot be read"):
        read_architectures(tmp_path / TABLE)


def test_the_shipped_registry_is_valid_with_its_table() -> None:
    assert validate_path(shipped_registry()) == []
