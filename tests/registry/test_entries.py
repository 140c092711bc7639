"""Every shipped entry against the library that it names."""

import pytest
import timm
import torch

from probebench.registry import CheckpointSpec, Registry

SPECS = list(Registry.load(environ={}).checkpoints.values())
TIMM = [spec for spec in SPECS if spec.architecture.library == "timm"]
OPEN_CLIP = [spec for spec in SPECS if spec.architecture.library == "open_clip"]


def name(spec: CheckpointSpec) -> str:
    return spec.id


@pytest.mark.parametrize("spec", TIMM, ids=name)
def test_preprocessing_and_width_are_timms_own(spec: CheckpointSpec) -> None:
    tag = spec.weights.uri.removeprefix("timm://") if spec.weights.scheme == "timm" else "in1k"
    config = timm.get_pretrained_cfg(f"{spec.architecture.name}.{tag}", allow_unregistered=False)
    assert config is not None
    own = spec.input
    assert (own.size, own.crop, own.interpolation) == (config.input_size[-1], config.crop_pct, config.interpolation)
    assert (own.mean, own.std) == (tuple(config.mean), tuple(config.std))
    with torch.device("meta"):
        model = timm.create_model(spec.architecture.name, pretrained=False, num_classes=0)
    assert model.num_features == spec.output.features


@pytest.mark.parametrize("spec", OPEN_CLIP, ids=name)
def test_preprocessing_and_width_are_open_clips_own(spec: CheckpointSpec) -> None:
    import open_clip

    config = open_clip.get_model_config(spec.architecture.name)
    assert config is not None
    assert config["embed_dim"] == spec.output.features
    assert config["vision_cfg"]["image_size"] == spec.input.size
    tag = spec.weights.uri.removeprefix("open_clip://") if spec.weights.scheme == "open_clip" else "openai"
    published = open_clip.get_pretrained_cfg(spec.architecture.name, tag)
    assert published, f"open_clip knows no weights {tag} for {spec.architecture.name}"
    assert (spec.input.mean, spec.input.std) == (tuple(published["mean"]), tuple(published["std"]))
    assert (spec.input.interpolation, spec.input.resize) == (published["interpolation"], published["resize_mode"])
    quick = bool(spec.architecture.kwargs.get("force_quick_gelu"))
    if spec.weights.scheme == "open_clip":
        assert quick == bool(published.get("quick_gelu"))
