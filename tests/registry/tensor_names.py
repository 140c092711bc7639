"""Brings the tensors of torchvision's and open_clip's networks under timm's names."""

import re
from typing import Any

import torch

State = dict[str, torch.Tensor]
Rules = list[tuple[str, str]]

# Where timm holds the same tensors in the same order, under other names.
_BY_ORDER = r"torchvision/(convnext|efficientnet|mobilenet|mnasnet)"

_VIT: Rules = [
    (r"^class_token", "cls_token"),
    (r"^conv_proj", "patch_embed.proj"),
    (r"^encoder\.pos_embedding", "pos_embed"),
    (r"^encoder\.layers\.encoder_layer_", "blocks."),
    (r"^encoder\.ln", "norm"),
    (r"\.ln_", ".norm"),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj", ".attn.proj"),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
    (r"^heads\.head", "head"),
]
_SWIN: Rules = [
    (r"^features\.0\.0", "patch_embed.proj"),
    (r"^features\.0\.2", "patch_embed.norm"),
    *((rf"^features\.{2 * stage + 1}\.", f"layers.{stage}.blocks.") for stage in range(4)),
    *((rf"^features\.{2 * stage}\.", f"layers.{stage}.downsample.") for stage in range(1, 4)),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
    (r"^head\.", "head.fc."),
]
_REGNET: Rules = [
    (r"^stem\.0", "stem.conv"),
    (r"^stem\.1", "stem.bn"),
    *((rf"^trunk_output\.block(\d)\.block\d-{block}\.", rf"s\1.b{block + 1}.") for block in range(40)),
    *((rf"\.f\.{letter}\.0", f".conv{number}.conv") for number, letter in enumerate("abc", 1)),
    *((rf"\.f\.{letter}\.1", f".conv{number}.bn") for number, letter in enumerate("abc", 1)),
    (r"\.f\.se\.", ".se."),
    (r"\.proj\.0", ".downsample.conv"),
    (r"\.proj\.1", ".downsample.bn"),
    (r"^fc\.", "head.fc."),
]
_CLIP_VIT: Rules = [
    (r"^class_embedding", "cls_token"),
    (r"^conv1", "patch_embed.proj"),
    (r"^positional_embedding", "pos_embed"),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"^ln_pre", "norm_pre"),
    (r"^ln_post", "norm"),
    (r"\.ln_", ".norm"),
    (r"\.in_proj_", ".qkv."),
    (r"\.out_proj", ".proj"),
    (r"\.c_fc", ".fc1"),
    (r"\.c_proj", ".fc2"),
    (r"^proj$", "head.weight"),
]
_CLIP_RESNET: Rules = [
    (r"^conv(\d)", r"stem.conv\1.conv"),
    (r"^bn(\d)", r"stem.conv\1.bn"),
    *((rf"^layer{stage + 1}\.", f"stages.{stage}.") for stage in range(4)),
    *(
        (rf"(s\.\d\.\d+)\.(conv|bn){at}\.", rf"\1.conv{at}_{side}.\2.")
        for at, side in ((1, "1x1"), (2, "kxk"), (3, "1x1"))
    ),
    (r"\.downsample\.0", ".shortcut.conv.conv"),
    (r"\.downsample\.1", ".shortcut.conv.bn"),
    (r"^attnpool\.positional_embedding", "head.pos_embed"),
    (r"^attnpool\.(\w)_proj", r"head.\1"),
    (r"^head\.c\.", "head.proj."),
]
# open_clip's wrapper of timm's networks, which may put a projection of one or two layers behind them.
_TRUNK: Rules = [
    (r"^trunk\.", ""),
    (r"^head\.proj\.", "CLASSIFIER."),
    (r"^head\.mlp\.fc1\.", "head.pre_logits.fc."),
    (r"^head\.mlp\.fc2\.", "CLASSIFIER."),
]
_RULES = {
    r"torchvision/vit_": _VIT,
    r"torchvision/swin_": _SWIN,
    r"torchvision/regnet_": _REGNET,
    r"open_clip/RN": _CLIP_RESNET,
    r"open_clip/ViT": _CLIP_VIT,
}


def computed(name: str) -> bool:
    """Says whether a tensor is a table that follows from the architecture; timm keeps none in its state."""
    return name.endswith(("relative_position_index", "relative_coords_table"))


def renamed(other: str, theirs: Any, ours: Any) -> State:
    """Returns the tensors of another library's network under the names, and in the shapes, of timm's.

    Args:
        other: Library and architecture of the other network.
        theirs: The other network.
        ours: timm's, whose own tensors are not looked at.
    """
    target: State = ours.state_dict()
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not computed(name)}
    if re.match(_BY_ORDER, other):
        assert len(state) == len(target)
        names = dict(zip(state, target, strict=True))
        state = {names[name]: tensor for name, tensor in state.items()}
    else:
        wrapped = hasattr(theirs, "trunk")
        rules = _TRUNK if wrapped else next((rules for key, rules in _RULES.items() if re.match(key, other)), [])
        classifier = ours.pretrained_cfg["classifier"]
        if rules is _CLIP_VIT:
            theirs_projection = state.pop("proj")
            state["proj"] = theirs_projection.T
        state = {_renamed(name, rules).replace("CLASSIFIER", classifier): tensor for name, tensor in state.items()}
    return {name: _fitted(tensor, target.get(name)) for name, tensor in _completed(state, target).items()}


def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _completed(state: State, target: State) -> State:
    """Splits biases that timm holds in parts, and gives its classifier the bias that a projection lacks."""
    for name in target.keys() - state.keys():
        whole = state.get(re.sub(r"\.[qv]_bias$", ".qkv.bias", name))
        if whole is not None:
            # Swin V2 has no bias of keys: torchvision holds one and sets it to 0.
            state[name] = whole.chunk(3)[0 if name.endswith("q_bias") else 2]
        elif name.endswith("bias") and name.removesuffix("bias") + "weight" in state:
            state[name] = torch.zeros(target[name].shape, dtype=next(iter(state.values())).dtype)
    return {name: tensor for name, tensor in state.items() if name in target or not name.endswith("qkv.bias")}


def _fitted(tensor: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
    # The same numbers with or without axes of length 1.
    same = target is not None and [one for one in tensor.shape if one > 1] == [one for one in target.shape if one > 1]
    return tensor.reshape(target.shape) if target is not None and same else tensor
