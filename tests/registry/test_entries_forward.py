"""Small entries of many families run for real, against the library called by hand with the same seed."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from probebench.backbones.builders import build_backbone
from probebench.registry import CheckpointSpec, Registry

CHECKPOINTS = Registry.load(environ={}).checkpoints
TIMM = [
    "resnet18_random",
    "in1k_simclr_resnet50_100ep",
    "efficientnet_lite0_random",
    "in1k_fcmae_convnextv2_atto",
    "in21k_mim_eva02_tiny",
    "vit_ti_16_augreg_in21k",
    "vit_s_16_random",
    "yfcc15m_simclr_vit_s_16",
    "deit_ti_16_in1k",
    "in1k_mae_hiera_tiny",
    "swin_tiny_in21k",
    "bit_r50x1_in21k",
    "lvd1689m_dinov3_vit_s_16",
]
OPEN_CLIP = ["clip_rn50_random", "datacompdr_mobileclip_s1"]


def as_random(spec: CheckpointSpec) -> CheckpointSpec:
    """The same network and preprocessing with random weights, as no weights can be fetched here."""
    untrained = spec.pretraining.model_copy(update={"method": "none", "sources": ()})
    weights = spec.weights.model_copy(update={"uri": "random:0", "sha256": "none", "keys": "plain"})
    return spec.model_copy(update={"pretraining": untrained, "weights": weights})


def features(module: Any, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = module(images)
    return found


@pytest.mark.parametrize("model", TIMM)
def test_features_are_those_of_timm(model: str, home: Path) -> None:
    spec = CHECKPOINTS[model]
    torch.manual_seed(0)
    direct: Any = timm.create_model(spec.architecture.name, pretrained=False, **spec.architecture.kwargs).eval()
    images = torch.rand(1, 3, spec.input.size, spec.input.size)
    expected = features(lambda batch: direct.forward_head(direct.forward_features(batch), pre_logits=True), images)
    assert expected.shape == (1, spec.output.features)
    assert torch.equal(features(build_backbone(as_random(spec), home).module, images), expected)


@pytest.mark.parametrize("model", OPEN_CLIP)
def test_features_are_those_of_open_clip(model: str, home: Path) -> None:
    import open_clip

    spec = CHECKPOINTS[model]
    torch.manual_seed(0)
    direct = open_clip.create_model(spec.architecture.name, pretrained=None, **spec.architecture.kwargs).eval()
    images = torch.rand(1, 3, spec.input.size, spec.input.size)
    expected = features(direct.encode_image, images)
    assert expected.shape == (1, spec.output.features)
    assert torch.equal(features(build_backbone(as_random(spec), home).module, images), expected)
