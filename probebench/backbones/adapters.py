"""How trainers' checkpoints hold a backbone, and which rule brings its tensors under the architecture's own names."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from probebench.backbones.reading import check_tensors, printable, read_checkpoint, refusal
from probebench.registry.checkpoint import Keys

StateDict = dict[str, torch.Tensor]

# Wrappers that put themselves before every name: several GPUs, Lightning's strategies.
_WRAPPERS = ("module.", "_forward_module.")
# Those that put themselves anywhere within names: torch.compile, FSDP, checkpointed activations.
_WITHIN = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_fpw_module)\.")
# Names under which checkpoints nest tensors. An average of the weights comes first, as in timm's own loader.
_NESTS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict", "network", "net")
# Depth of the deepest one known: VISSL's classy_state_dict / base_model / model / trunk.
_DEEPEST = 6
# Children of torchvision's ResNet by their place in a Sequential, as Lightly's examples wrap it.
_RESNET_BY_PLACE = (
    (r"^0\.", "conv1."),
    (r"^1\.", "bn1."),
    *((rf"^{place}\.", f"layer{place - 3}.") for place in (4, 5, 6, 7)),
)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A trainer's format.

    Attributes:
        nests: Names under which the tensors lie, the first that is there at each level.
        prefixes: The first of these that any name has is taken off, and names without it are left out; where no name
            has one, all are taken.
        leaves_out: Pattern of names, after that, of training heads that the backbone has no place for.
        renames: Patterns and what takes their place, in turn.
        required: Whether a prefix must be there.
        converts: What else is to be done to the tensors.
    """

    nests: tuple[str, ...] = _NESTS
    prefixes: tuple[str, ...] = ()
    leaves_out: str | None = None
    renames: tuple[tuple[str, str], ...] = ()
    required: bool = False
    converts: Callable[[StateDict], StateDict] | None = None


def _dinov2(state: StateDict) -> StateDict:
    """Does as timm does with a DINOv2 file that has registers: its class token holds its position's embedding."""
    if "register_tokens" not in state:
        return state
    places = state["pos_embed"]
    changed = {"cls_token": state["cls_token"] + places[:, :1], "pos_embed": places[:, 1:]}
    changed["reg_token"] = state["register_tokens"]
    return {name: value for name, value in state.items() if name != "register_tokens"} | changed


_HEADS = r"^(fc|head|classifier|projection_head|prototypes|projector|predictor|last_layer|mlp_head)\b"
# Of one prefix that holds a network there may be several: its average, or the teacher that averages the student, first.
_AVERAGED = re.compile(r"(^|[._])(ema|averaged?|teacher|momentum|target)([._]|$)")

ADAPTERS: dict[str, Adapter] = {
    "plain": Adapter(),
    "by-order": Adapter(),
    # Barlow Twins, VICReg, SwAV, torchvision and others that keep the network's own names.
    "trunk": Adapter(leaves_out=_HEADS),
    # Below one prefix, which is found by the network's own names: Lightning's modules, and anybody's.
    "prefixed": Adapter(),
    # facebookresearch/mae and code made from it: encoder and decoder side by side.
    "mae": Adapter(leaves_out=r"^(mask_token|decoder\w*|head)\b"),
    # facebookresearch/dino and dinov2, iBOT: student and teacher, each a backbone with a head. DINOv2 nests blocks in
    # chunks for FSDP (blocks.CHUNK.BLOCK), and names registers and SwiGLU otherwise than timm.
    "dino": Adapter(
        nests=("teacher", *_NESTS, "student"),
        prefixes=("teacher.backbone.", "backbone.", "student.backbone."),
        leaves_out=r"^(head|dino_head|ibot_head|mask_token)\b",
        renames=(
            (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),
            (r"\.mlp\.w12\.", ".mlp.fc1."),
            (r"\.mlp\.w3\.", ".mlp.fc2."),
        ),
        converts=_dinov2,
    ),
    # facebookresearch/moco (encoder_q) and moco-v3 (base_encoder).
    "moco": Adapter(prefixes=("base_encoder.", "encoder_q."), leaves_out=_HEADS, required=True),
    # facebookresearch/SLIP and code made from it: CLIP, SLIP and SimCLR hold the image tower as ``visual``.
    "slip": Adapter(prefixes=("visual.",), leaves_out=_HEADS, required=True),
    # An OpenCLIP image tower without its text tower: the study trained SimCLR on CLIP's own ResNet-50.
    "open-clip-visual": Adapter(prefixes=("visual.",), renames=((r"^", "visual."),), required=True),
    "lightly": Adapter(
        prefixes=("backbone.", "teacher_backbone.", "student_backbone."),
        leaves_out=_HEADS,
        renames=((r"^vit\.", ""), *_RESNET_BY_PLACE),
        required=True,
    ),
    # Before 1.0.4 solo-learn called its backbone encoder.
    "solo-learn": Adapter(prefixes=("backbone.", "encoder."), leaves_out=_HEADS, required=True),
    "vissl": Adapter(
        nests=("classy_state_dict", "base_model", "model", "trunk", "model_state_dict"),
        prefixes=("_feature_blocks.", "trunk._feature_blocks.", "trunk."),
        leaves_out=_HEADS,
    ),
}
assert set(ADAPTERS) == set(get_args(Keys))


def read_state_dict(path: Path, keys: Keys = "plain") -> StateDict:
    """Reads a file's tensors by the rules of an adapter; see ``read_checkpoint`` for what is refused.

    Raises:
        WeightsError: The file cannot be read, holds no tensors, or none where the adapter looks for them.
    """
    return adapt(read_checkpoint(path), keys, path)


def adapt(content: Mapping[object, object], keys: Keys, path: Path) -> StateDict:
    """Brings a checkpoint's tensors under the architecture's own names.

    Raises:
        WeightsError: There are no tensors by name, or none where the adapter looks for them.
    """
    adapter = ADAPTERS[keys]
    state = _without_wrappers(_tensors(_unnest(content, adapter.nests), path))
    prefix = next((one for one in adapter.prefixes if any(name.startswith(one) for name in state)), None)
    if prefix is not None:
        taken = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    elif adapter.required:
        raise refusal(
            path,
            f"is not of the format {keys}: no tensor's name begins with "
            f"{' or '.join(adapter.prefixes)}; it begins with {printable(next(iter(state)))}",
        )
    else:
        taken = state
    if adapter.leaves_out is not None:
        heads = re.compile(adapter.leaves_out)
        taken = {name: value for name, value in taken.items() if not heads.match(name)}
    renamed = {_renamed(name, adapter): value for name, value in _without_wrappers(taken).items()}
    return adapter.converts(renamed) if adapter.converts else renamed


def of_network(state: StateDict, keys: Keys, module: torch.nn.Module, path: Path) -> StateDict:
    """Finishes what takes the network itself to know its names.

    Raises:
        WeightsError: The tensors do not fit it.
    """
    if keys == "by-order":
        return by_order(state, module, path)
    return _below_prefix(state, module.state_dict().keys(), path) if keys == "prefixed" else state


def by_order(state: StateDict, module: torch.nn.Module, path: Path) -> StateDict:
    """Gives tensors that lie in the network's own order its names.

    Raises:
        WeightsError: There are more or fewer of them.
    """
    names = list(module.state_dict())
    if len(names) != len(state):
        raise refusal(path, f"holds {len(state)} tensors where {len(names)} are expected")
    return dict(zip(names, state.values(), strict=True))


def _below_prefix(state: StateDict, names: Collection[str], path: Path) -> StateDict:
    """Takes the tensors below the prefix that holds most of a network's own names, without its training heads.

    Args:
        state: The file's tensors.
        names: The network's own.
        path: The file.

    Raises:
        WeightsError: No prefix holds any, or several hold equally many and none says that it is an average.
    """
    found: Counter[str] = Counter()
    for name in names:
        found.update(one.removesuffix(name) for one in state if one.endswith(f".{name}"))
    most = max(found.values(), default=0)
    best = sorted(prefix for prefix, count in found.items() if count == most)
    averaged = [prefix for prefix in best if _AVERAGED.search(prefix)] or best
    if len(averaged) > 1:
        raise refusal(path, f"holds several networks that fit ({', '.join(map(printable, averaged))}); save one alone")
    if not averaged:
        raise refusal(
            path, f"has no names of the network behind any prefix; it begins with {printable(next(iter(state)))}"
        )
    heads, (prefix,) = re.compile(_HEADS), averaged
    taken = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return {name: value for name, value in taken.items() if name in names or not heads.match(name)}


def _renamed(name: str, adapter: Adapter) -> str:
    for pattern, replacement in adapter.renames:
        name = re.sub(pattern, replacement, name)
    return name


def _unnest(content: Mapping[object, object], nests: tuple[str, ...]) -> Mapping[object, object]:
    for _ in range(_DEEPEST):
        inner = next((value for nest in nests if isinstance(value := content.get(nest), Mapping) and value), None)
        if inner is None:
            break
        content = inner
    return content


def _tensors(content: Mapping[object, object], path: Path) -> StateDict:
    state = {_WITHIN.sub("", str(name)): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise refusal(path, "holds no tensors by name (a state_dict)")
    check_tensors(state, path)
    return state


def _without_wrappers(state: StateDict) -> StateDict:
    for wrapper in _WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): value for name, value in state.items()}
    return state
