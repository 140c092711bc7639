"""Folding and float32 islands against the network as its library runs it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from sklearn.datasets import load_digits
from timm.layers.norm_act import BatchNormAct2d
from torch import fx, nn

from probebench.backbones.base import Backbone
from probebench.backbones.builders import build_backbone
from probebench.cache.store import FeatureFile
from probebench.cache.writer import FeatureWriter
from probebench.datasets.open import open_dataset
from probebench.extraction import ExtractionOptions, extract
from probebench.extraction.inference import FOLDING_ERROR, Network
from probebench.registry import Registry
from tests.conftest import make_entry, make_images

NORMS = (nn.BatchNorm2d, BatchNormAct2d)


@pytest.fixture
def tiny(tmp_path: Path, home: Path) -> Backbone:
    return build_backbone(make_entry(tmp_path), home)


def worn(module: nn.Module) -> nn.Module:
    """Gives every norm statistics and weights as training leaves them."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, NORMS):
            for tensor, low, high in (
                (part.running_mean, -0.2, 0.2),
                (part.running_var, 0.5, 2.0),
                (part.weight, 0.5, 1.5),
                (part.bias, -0.2, 0.2),
            ):
                if tensor is not None:
                    tensor.data.uniform_(low, high, generator=generator)
    return module.eval()


def off(module: nn.Module, tiny: Backbone, size: int = 64, **how: Any) -> tuple[float, Network]:
    """Returns how far the network made ready is from the module, relative, and the network."""
    backbone = replace(tiny, module=module, input=tiny.input.model_copy(update={"size": size}))
    pixels = torch.randint(0, 256, (4, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    network = Network(backbone, **{"fold": True, "bf16": False, **how}).eval()
    with torch.inference_mode():
        expected = module(network.normalise(pixels))
        given = network(pixels)
    return float((given - expected).norm() / expected.norm()), network


def norms_left(network: Network) -> int:
    return sum(isinstance(part, NORMS) for part in network.modules())


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("test_resnet", 0),
        ("resnet18", 0),
        ("mobilenetv3_small_050", 0),
        ("tf_efficientnet_lite0", 0),
        ("regnetx_002", 0),
        ("ghostnet_050", 0),
        # Norms that follow no convolution: before an activation that comes before the convolution, or after a sum.
        ("densenet121", 62),
    ],
)
def test_every_norm_that_follows_a_convolution_is_folded(name: str, left: int, tiny: Backbone) -> None:
    module = worn(timm.create_model(name, num_classes=0))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    error, network = off(module, tiny)
    assert error <= FOLDING_ERROR and network.folded
    assert norms_left(network) == left
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items()), (
        "the backbone is as it was"
    )


def test_the_clip_resnet_is_folded_though_it_cannot_be_traced_in_one(tiny: Backbone) -> None:
    from open_clip.modified_resnet import ModifiedResNet

    module = worn(ModifiedResNet((1, 1, 1, 1), 32, 4, image_size=64, width=8))
    error, network = off(module, tiny)
    assert error <= FOLDING_ERROR and network.folded and norms_left(network) == 0


@pytest.mark.parametrize("name", ["test_vit", "convnext_atto", "resnetv2_50x1_bit"])
def test_networks_without_such_norms_are_used_as_they_are(name: str, tiny: Backbone) -> None:
    module = timm.create_model(name, num_classes=0).eval()
    error, network = off(module, tiny, size=224 if name == "test_vit" else 64)
    assert error == 0 and not network.folded


def pooled(maps: torch.Tensor) -> torch.Tensor:
    return maps.mean((2, 3))


class Cell(nn.Module):
    """A convolution and a norm, used as a subclass says."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)


class TwoReaders(Cell):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = self.conv(images)
        return pooled(self.norm(seen) + seen)


class CalledTwice(Cell):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return pooled(self.norm(self.conv(self.norm(self.conv(images)))))


class Standardised(nn.Conv2d):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return nn.functional.conv2d(images, weight, self.bias, padding=1)


class OtherConvolution(Cell):
    def __init__(self) -> None:
        super().__init__()
        self.conv = Standardised(3, 3, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return pooled(self.norm(self.conv(images)))


class OtherThanTraced(Cell):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = self.conv(images)
        traced: object = images
        if not isinstance(traced, fx.Proxy):
            seen = seen.relu()
        return pooled(self.norm(seen))


@pytest.mark.parametrize("kind", [TwoReaders, CalledTwice, OtherConvolution, OtherThanTraced])
def test_what_cannot_be_folded_is_left(kind: type[Cell], tiny: Backbone) -> None:
    error, network = off(worn(kind()), tiny)
    assert error == 0 and not network.folded


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.mean() > 1e6:
            raise ValueError("no image is like that")
        return pooled(self.stem(images))


def test_a_network_whose_path_depends_on_its_input_is_folded_in_parts(tiny: Backbone) -> None:
    error, network = off(worn(Branching()), tiny)
    assert error <= FOLDING_ERROR and network.folded and norms_left(network) == 0


def test_convolutions_over_few_terms_stay_in_float32_under_bf16(home: Path, shipped: Registry) -> None:
    """Real weights on real images: depthwise layers and the first one are where bf16 loses most."""
    backbone = build_backbone(shipped.checkpoint("efficientnet_lite0_in1k"), home, 96)
    digits = torch.tensor(load_digits().images[:20]).float()[:, None] * (255 / 16)
    pixels = nn.functional.interpolate(digits, size=96, mode="bilinear").to(torch.uint8).expand(-1, 3, -1, -1)
    pixels = pixels.permute(0, 2, 3, 1).contiguous()

    def features(network: Network, autocast: bool) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            rows: torch.Tensor = network.eval()(pixels)
            return rows.float()

    exact = features(Network(backbone, fold=False, bf16=False), False)
    spread = (exact - exact.mean(0)).norm()
    plain = (features(Network(backbone, fold=False, bf16=False), True) - exact).norm() / spread
    careful = (features(Network(backbone, fold=True, bf16=True), True) - exact).norm() / spread
    assert careful < 0.6 * plain
    assert torch.equal(features(Network(backbone, fold=False, bf16=False), False), exact), "the backbone is as it was"


class Stop(Exception):
    pass


def test_a_file_begun_without_folding_is_finished_without_it(
    tiny: Backbone, tmp_path: Path, home: Path, shipped: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(f"folder:{make_images(tmp_path / 'images')}", shipped, home / "datasets")
    options = ExtractionOptions(device="cpu", dtype="fp32", batch_size=5, workers=0)
    append, calls = FeatureWriter.append, iter(range(1000))

    def interrupted(self: FeatureWriter, *arguments: Any) -> None:
        append(self, *arguments)
        if next(calls) == 1:
            raise Stop

    with monkeypatch.context() as old:
        old.setattr("probebench.extraction.inference._folded", lambda _: None)
        whole = [part.path.read_bytes() for part in extract(tiny, dataset, tmp_path / "whole", options)]
        old.setattr(FeatureWriter, "append", interrupted)
        with pytest.raises(Stop):
            extract(tiny, dataset, home, options)
    resumed, fresh = extract(tiny, dataset, home, options)
    assert resumed.path.read_bytes() == whole[0]
    with FeatureFile(fresh.path) as file:
        assert file.settings["folded"] is True
