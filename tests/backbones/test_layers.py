"""Each named layer against what the library gives by another way: hooks on blocks and norms, pooled by hand."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer

from probebench.backbones.builders import build_backbone
from probebench.backbones.construct import construct
from probebench.backbones.layers import Headless, measured, offered_by
from probebench.backbones.towers import ClipResNet, ClipTransformer, Joined, TimmTower, Tower
from probebench.errors import RegistryError, UsageError
from probebench.registry import CheckpointSpec
from probebench.registry.layers import layers_from
from tests.conftest import make_entry

Make = Callable[..., CheckpointSpec]

# One of each family of architectures of the registry, the smallest that its library has or can be made.
TOKENS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "vit": ("timm", "vit_tiny_patch16_224", {"img_size": 32, "depth": 5, "embed_dim": 48}, 32),
    "registers": ("timm", "vit_small_patch14_reg4_dinov2", {"img_size": 28, "depth": 5, "embed_dim": 96}, 28),
    "dinov3": ("timm", "vit_small_patch16_dinov3", {"depth": 5, "embed_dim": 96}, 32),
    "eva02": ("timm", "eva02_tiny_patch14_224", {"img_size": 28, "depth": 5, "embed_dim": 96}, 28),
    "beit": ("timm", "beit_base_patch16_224", {"img_size": 32, "depth": 5, "embed_dim": 96}, 32),
    "gap": ("timm", "vit_huge_patch14_gap_224", {"img_size": 28, "depth": 5, "embed_dim": 64, "num_heads": 4}, 28),
    "aimv2": ("timm", "aimv2_large_patch14_224", {"img_size": 28, "depth": 5, "embed_dim": 64, "num_heads": 4}, 28),
    "mixer": ("timm", "mixer_s32_224", {"img_size": 64}, 64),
}
_FOUR = tuple(f"stages.{number}" for number in range(4))
_SMALL = {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
STAGES: dict[str, tuple[str, dict[str, Any], int, tuple[str, ...] | None]] = {
    "resnet": ("test_resnet", {}, 32, ("act1", "layer1", "layer2", "layer3", "layer4")),
    "resnetv2": ("resnetv2_18", {}, 32, None),
    "regnet": ("regnety_002", {}, 32, ("stem", "s1", "s2", "s3", "s4")),
    "efficientnet": ("test_efficientnet", {}, 32, None),
    "convnext": ("test_convnext", {}, 32, _FOUR),
    "convnextv2": ("test_convnext2", {}, 32, _FOUR),
    "swin": ("swin_tiny_patch4_window7_224", {"img_size": 56, **_SMALL}, 56, tuple(f"layers.{n}" for n in range(4))),
    "swinv2": ("swinv2_tiny_window8_256", {"img_size": 64, "window_size": 2, **_SMALL}, 64, None),
    "hiera": ("hiera_tiny_224", {"img_size": (64, 64), "stages": (1, 1, 1, 1), "embed_dim": 16}, 64, None),
}


def spec_of(tmp_path: Path, library: str, name: str, kwargs: dict[str, Any], size: int, layer: str) -> CheckpointSpec:
    spec = make_entry(tmp_path, library=library, name=name, size=size, layer=layer)
    return spec.model_copy(update={"architecture": spec.architecture.model_copy(update={"kwargs": kwargs})})


def seen_by(network: Any, names: list[str], images: torch.Tensor) -> list[torch.Tensor]:
    """What modules of a network gave while it ran by itself."""
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        network.get_submodule(one).register_forward_hook(lambda _, __, out, one=one: seen.__setitem__(one, out.clone()))
        for one in names
    ]
    with torch.inference_mode():
        network(images)
    for hook in hooks:
        hook.remove()
    return [seen[name] for name in names]


def joined(spec: CheckpointSpec, network: torch.nn.Module, names: list[str], images: torch.Tensor) -> dict[str, Any]:
    """All layers of one forward pass, by name."""
    widths = layers_from(*measured(spec))
    with torch.inference_mode():
        rows = Headless(spec, copy.deepcopy(network)).read(names)(images)
    return dict(zip(names, torch.split(rows, [widths[name] for name in names], dim=1), strict=True))


@pytest.mark.parametrize("family", TOKENS)
def test_layers_of_timms_transformers(family: str, tmp_path: Path) -> None:
    library, name, kwargs, size = TOKENS[family]
    spec = spec_of(tmp_path, library, name, kwargs, size, "pooled")
    network: Any = construct(spec.architecture, seed=1).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    blocks = seen_by(network, [f"blocks.{number}" for number in range(len(network.blocks))], images)
    assert len(blocks) >= 5
    with torch.inference_mode():
        normed = [network.norm(one) for one in blocks]
        pooled = network.forward_head(network.forward_features(images), pre_logits=True)
    prefix = getattr(network, "num_prefix_tokens", 0)
    has_class_token = prefix > 0
    cls, mean = [one[:, 0] for one in normed], [one[:, prefix:].mean(1) for one in normed]
    expected = {"pooled": pooled, "mean": mean[-1]}
    for number in range(len(blocks)):
        expected |= {f"block:{number}:mean": mean[number]}
        expected |= {f"block:{number}": (cls if has_class_token else mean)[number]}
        if has_class_token:
            expected |= {f"block:{number}:cls": cls[number]}
    if has_class_token:
        expected |= {"cls": cls[-1], "cls+mean": torch.cat([cls[-1], mean[-1]], 1), "last4": torch.cat(cls[-4:], 1)}
    offered = layers_from(*measured(spec))
    assert offered == {one: expected[one].shape[1] for one in offered}
    assert set(offered) == set(expected)
    found = joined(spec, network, list(offered), images)
    for one, rows in expected.items():
        assert torch.allclose(found[one], rows, rtol=1e-5, atol=1e-5), one


@pytest.mark.parametrize("family", STAGES)
def test_layers_of_timms_networks_of_stages(family: str, tmp_path: Path) -> None:
    name, kwargs, size, stages = STAGES[family]
    spec = spec_of(tmp_path, "timm", name, kwargs, size, "pooled")
    network: Any = construct(spec.architecture, seed=1).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    if stages is None:
        with torch.inference_mode():
            maps = network.forward_intermediates(images, intermediates_only=True)
    else:
        maps = seen_by(network, list(stages), images)
        # Swin gives (B, H, W, C).
        maps = [one.permute(0, 3, 1, 2) if family == "swin" else one for one in maps]
    expected = {f"block:{number}{how}": one.mean((2, 3)) for number, one in enumerate(maps) for how in ("", ":mean")}
    with torch.inference_mode():
        expected["pooled"] = network.forward_head(network.forward_features(images), pre_logits=True)
    offered = layers_from(*measured(spec))
    assert offered == {one: expected[one].shape[1] for one in offered}
    assert set(offered) == set(expected)
    found = joined(spec, network, list(offered), images)
    for one, rows in expected.items():
        assert torch.allclose(found[one], rows, rtol=1e-5, atol=1e-5), one


def split_by_name(tower: Tower, names: dict[str, int], images: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        rows = Joined(tower, list(names))(images)
    return dict(zip(names, torch.split(rows, list(names.values()), dim=1), strict=True))


def test_layers_of_open_clips_own_transformer() -> None:
    torch.manual_seed(1)
    visual = VisionTransformer(32, 16, 32, 5, 2, 2, output_dim=16).eval()
    images = torch.randn(2, 3, 32, 32)
    blocks = seen_by(visual, [f"transformer.resblocks.{number}" for number in range(5)], images)
    with torch.inference_mode():
        normed, projected = [visual.ln_post(one) for one in blocks], visual(images)
    cls, mean = [one[:, 0] for one in normed], [one[:, 1:].mean(1) for one in normed]
    expected = {
        "pooled": cls[-1],
        "projected": projected,
        "cls": cls[-1],
        "mean": mean[-1],
        "cls+mean": torch.cat([cls[-1], mean[-1]], 1),
        "last4": torch.cat(cls[-4:], 1),
        **{f"block:{number}": one for number, one in enumerate(cls)},
        **{f"block:{number}:cls": one for number, one in enumerate(cls)},
        **{f"block:{number}:mean": one for number, one in enumerate(mean)},
    }
    tower = ClipTransformer(visual)
    offered = layers_from(*offered_by(tower, images))
    assert offered == {one: expected[one].shape[1] for one in offered} and set(offered) == set(expected)
    found = split_by_name(tower, offered, images)
    for one, rows in expected.items():
        assert torch.allclose(found[one], rows, rtol=1e-5, atol=1e-5), one
    assert torch.equal(found["projected"], projected)
    assert visual.proj is not None, "the network itself keeps its projection"


def test_a_transformer_whose_norm_comes_after_pooling_is_not_normed_before() -> None:
    torch.manual_seed(1)
    visual = VisionTransformer(32, 16, 32, 5, 2, 2, pool_type="avg", final_ln_after_pool=True, output_dim=16).eval()
    images = torch.randn(2, 3, 32, 32)
    last = seen_by(visual, ["transformer.resblocks.4"], images)[0]
    with torch.inference_mode():
        rows = Joined(ClipTransformer(visual), ["pooled", "projected", "mean"])(images)
        pooled = visual.ln_post(last[:, 1:].mean(1))
        expected = torch.cat([pooled, visual(images), last[:, 1:].mean(1)], 1)
    assert torch.allclose(rows, expected, atol=1e-5)


def test_layers_of_open_clips_own_resnet() -> None:
    torch.manual_seed(1)
    visual = ModifiedResNet((1, 1, 1, 1), 16, 4, image_size=64, width=8).eval()
    images = torch.randn(2, 3, 64, 64)
    maps = seen_by(visual, ["avgpool", "layer1", "layer2", "layer3", "layer4"], images)
    names = [*(f"block:{number}" for number in range(5)), "projected"]
    with torch.inference_mode():
        rows = Joined(ClipResNet(visual), names)(images)
        expected = torch.cat([*(one.mean((2, 3)) for one in maps), visual(images)], 1)
        assert torch.allclose(rows, expected, atol=1e-5)
        assert torch.equal(Joined(ClipResNet(visual), ["projected"])(images), visual(images))
    assert offered_by(ClipResNet(visual), images) == ({"projected": 16}, [8, 32, 64, 128, 256], False)
    with pytest.raises(RegistryError, match='has no layer before a projection; use layer = "projected"'):
        Joined(ClipResNet(visual), ["pooled"])(images)


@pytest.mark.parametrize(
    ("trunk", "pool", "proj", "named"),
    [
        ("test_vit", "token", None, ("pooled", "projected", "cls", "mean", "cls+mean", "last4")),
        ("test_vit", "map", "none", ("projected", "mean", "cls", "cls+mean", "last4")),
        ("test_convnext", "", "linear", ("pooled", "projected")),
        ("test_convnext", "", "mlp", ("pooled", "projected")),
        ("test_resnet", "avg", None, ("pooled", "projected")),
    ],
)
def test_layers_of_networks_that_open_clip_wraps(trunk: str, pool: str, proj: str | None, named: tuple[str]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config: Any = timm.get_pretrained_cfg(trunk)
        side = config.input_size[-1]
        visual = TimmModel(trunk, 16, image_size=side, pool=pool, proj=proj or "").eval()
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    tower = TimmTower(visual.trunk, visual.head)
    found, blocks, _ = offered_by(tower, images)
    assert set(found) == set(named)
    with torch.inference_mode():
        rows = dict(zip(found, torch.split(Joined(tower, [*found])(images), [*found.values()], 1), strict=True))
        assert torch.equal(rows["projected"], visual(images))
        if "pooled" in found:
            bare = copy.deepcopy(visual.trunk)
            bare.reset_classifier(0)
            assert torch.allclose(rows["pooled"], bare(images), atol=1e-6)
        last = Joined(tower, [f"block:{len(blocks) - 1}"])(images)
    if "cls" in found:
        assert torch.equal(last, rows["cls"])


def test_several_layers_are_those_of_one_by_one(home: Path, tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "timm", "test_vit", {"img_size": 32}, 32, "pooled")
    spec = spec.model_copy(update={"output": spec.output.model_copy(update={"features": 64})})
    names = ("pooled", "cls", "last4", "block:2:mean")
    together = build_backbone(spec, home, layers=names)
    images = torch.randn(3, 3, 32, 32)
    assert together.features == sum(together.layers.values())
    with torch.inference_mode():
        parts = torch.split(together.module(images), [*together.layers.values()], 1)
        for name, part in zip(together.layers, parts, strict=True):
            alone = build_backbone(spec, home, layers=[name])
            assert torch.equal(alone.module(images), part), name
            assert torch.equal(together.at([name]).module(images), part), name
            assert alone.weights_digest == together.weights_digest
        assert torch.equal(build_backbone(spec, home).module(images), parts[0])


@pytest.mark.parametrize(
    ("changes", "layer", "said"),
    [
        ({}, "cls", "tiny has no layer 'cls'.*it offers pooled, block:0 to block:4"),
        ({}, "block:5", r"tiny has no layer 'block:5'; did you mean block:"),
        ({"library": "torchvision", "name": "resnet18", "features": 512, "size": 64}, "block:1", "it offers pooled:"),
    ],
)
def test_a_layer_that_is_not_offered(
    changes: dict[str, Any], layer: str, said: str, home: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        build_backbone(make_entry(tmp_path, **changes), home, layers=[layer])
