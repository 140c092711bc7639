"""What each layer's name means of a network, and one forward pass that gives several of them.

Of timm's networks, open_clip's own transformers and ResNets, and the timm networks that open_clip wraps, everything is
read through the library's ``forward_intermediates``; nothing is computed twice.

``pooled``: what the network ends in without its classifier or projection. ``projected``: the embedding of a
language-image tower. A transformer whose blocks have one width also offers the tokens of its last block, after the
final norm where the network has that norm before it pools: ``cls``, the class token; ``mean``, the mean of patch
tokens; ``cls+mean``, both joined, and ``last4``, the class tokens of the last four blocks joined, the earlier first,
each after the final norm: what the authors of DINOv2 probe. ``block:N``, counted from 0 as timm does: the tokens after
block N, after that same norm as in DINOv2's get_intermediate_layers, pooled to the class token, or to the mean of patch
tokens where there is no class token; ``:cls`` and ``:mean`` say which. Of a network of stages, such as a ResNet (0 is
the stem), ConvNeXt or Swin, it is the mean over the positions of feature map N, without a norm.
"""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from probebench.errors import RegistryError
from probebench.registry.layers import block_of

LAST = 4


@dataclass(frozen=True)
class Block:
    """What an intermediate block gives.

    Attributes:
        cls: Class tokens (B, C).
        rest: Patch tokens (B, L, C), or a map (B, C, H, W).
    """

    cls: torch.Tensor | None
    rest: torch.Tensor

    def pooled(self, how: str | None) -> torch.Tensor:
        """Returns (B, C)."""
        if self.cls is not None and how != "mean":
            return self.cls
        return _mean(self.rest)


@dataclass(frozen=True)
class Outputs:
    """What one forward pass left. None is what a network does not have.

    Attributes:
        pooled: (B, D).
        projected: (B, E).
        last: The tokens of the last block.
        blocks: Those that were asked for.
    """

    pooled: torch.Tensor | None
    projected: torch.Tensor | None
    last: Block | None
    blocks: dict[int, Block]

    def layer(self, name: str) -> torch.Tensor:
        """Returns a layer's features (B, D)."""
        if (block := block_of(name)) is not None:
            return self.blocks[block[0]].pooled(block[1])
        if name == "last4":
            return torch.cat([self.blocks[number].pooled("cls") for number in sorted(self.blocks)[-LAST:]], dim=1)
        if name == "pooled":
            if self.pooled is None:
                raise RegistryError('the network has no layer before a projection; use layer = "projected"')
            return self.pooled
        if name == "projected":
            if self.projected is None:
                raise RegistryError('only language-image towers have a projection; use layer = "pooled"')
            return self.projected
        assert self.last is not None
        return torch.cat([self.last.pooled(one) for one in name.split("+")], dim=1)


def _mean(rest: torch.Tensor) -> torch.Tensor:
    # In float32, since half precision rounds what it sums.
    return rest.float().mean(dim=1 if rest.ndim == 3 else (2, 3))


class Tower(torch.nn.Module):
    """A network that gives several outputs in one pass.

    Attributes:
        depth: How many blocks it has.
    """

    depth: int

    def outputs(self, images: torch.Tensor, blocks: Sequence[int]) -> Outputs:
        """Returns what images (B, 3, S, S) give, with the blocks asked for."""
        raise NotImplementedError


class TimmTower(Tower):
    """A network of timm, without its classifier; or one that open_clip wraps, with what comes after it."""

    def __init__(self, trunk: Any, head: torch.nn.Module | None = None) -> None:
        """Takes the network.

        Args:
            trunk: timm's. Of a wrapped one, its own classifier may be the projection.
            head: The projection of a wrapped one, which may be empty.
        """
        super().__init__()
        self.trunk, self.head = trunk, head
        self._tokens, self._prefix = _has_tokens(trunk), int(getattr(trunk, "num_prefix_tokens", 0))
        self._cls = self._prefix > 0 and getattr(trunk, "cls_token", None) is not None
        self.depth = len(trunk.feature_info) if hasattr(trunk, "forward_intermediates") else 0

    def outputs(self, images: torch.Tensor, blocks: Sequence[int]) -> Outputs:
        """Returns what images (B, 3, S, S) give, with the blocks asked for."""
        if blocks:
            how: dict[str, Any] = {"output_fmt": "NLC", "norm": True} if self._tokens else {}
            if self._tokens and self._prefix:
                how["return_prefix_tokens"] = True
            final, given = self.trunk.forward_intermediates(images, indices=list(blocks), stop_early=False, **how)
        else:
            final, given = self.trunk.forward_features(images), []
        pooled, projected = self._ends(final)
        return Outputs(
            pooled,
            projected,
            self._split(final) if self._tokens else None,
            {number: self._block(one) for number, one in zip(blocks, given, strict=True)},
        )

    def _ends(self, final: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if self.head is None:
            return self.trunk.forward_head(final), None
        trunk = self.trunk.forward_head(final)
        projected = self.head(trunk)
        if len(self.head):  # type: ignore[arg-type]
            # A pooling of open_clip's own is followed by its projection at once.
            return (trunk if trunk.ndim == 2 else None), projected
        if isinstance(self.trunk.get_classifier(), torch.nn.Identity):
            return None, projected
        return self.trunk.forward_head(final, pre_logits=True), projected

    def _split(self, tokens: torch.Tensor) -> Block:
        return Block(tokens[:, 0] if self._cls else None, tokens[:, self._prefix :])

    def _block(self, given: Any) -> Block:
        if not (self._tokens and self._prefix):
            return Block(None, given)
        patches, prefix = given
        return Block(prefix[:, 0] if self._cls else None, patches)


def _has_tokens(trunk: Any) -> bool:
    """Says whether a network of timm is a transformer whose blocks have one width, and gives their tokens."""
    if not hasattr(trunk, "forward_intermediates"):
        return False
    one_width = len({(info["num_chs"], info["reduction"]) for info in trunk.feature_info}) == 1
    told = "return_prefix_tokens" in inspect.signature(trunk.forward_intermediates).parameters
    return one_width and len(trunk.feature_info) > 1 and (told or not hasattr(trunk, "cls_token"))


class ClipTransformer(Tower):
    """open_clip's own vision transformer, with its projection apart."""

    def __init__(self, visual: Any) -> None:
        """Takes the image half, which stays as it is."""
        super().__init__()
        self.visual, self.proj = without_projection(visual), visual.proj
        self.depth = len(visual.transformer.resblocks)
        # Elsewhere the norm comes after pooling, and may have another width.
        self._norm = visual.attn_pool is None and not visual.final_ln_after_pool

    def outputs(self, images: torch.Tensor, blocks: Sequence[int]) -> Outputs:
        """Returns what images (B, 3, S, S) give, with the blocks asked for."""
        numbers = sorted({*blocks, self.depth - 1})
        given = self.visual.forward_intermediates(
            images,
            indices=numbers,
            normalize_intermediates=self._norm,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
        tokens = zip(given["image_intermediates_prefix"], given["image_intermediates"], strict=True)
        found = dict(zip(numbers, (Block(cls[:, 0], rest) for cls, rest in tokens), strict=True))
        pooled = given["image_features"]
        projected = None if self.proj is None else pooled @ self.proj
        return Outputs(pooled, projected, found[self.depth - 1], {number: found[number] for number in blocks})


def without_projection(visual: Any) -> Any:
    """Returns open_clip's vision transformer without its projection; both share all other tensors."""
    bare = copy.copy(visual)
    bare._parameters = {**visual._parameters, "proj": None}
    return bare


class ClipResNet(Tower):
    """open_clip's own ResNet, whose pooling by attention ends in the projection."""

    depth = 5

    def __init__(self, visual: Any) -> None:
        """Takes the image half."""
        super().__init__()
        self.visual = visual

    def outputs(self, images: torch.Tensor, blocks: Sequence[int]) -> Outputs:
        """Returns what images (B, 3, S, S) give, with the blocks asked for."""
        # At least one index, since none means all.
        given = self.visual.forward_intermediates(images, indices=list(blocks) or [self.depth - 1])
        maps = dict(zip(blocks, (Block(None, one) for one in given["image_intermediates"]), strict=False))
        return Outputs(None, given["image_features"], None, maps)


class Joined(torch.nn.Module):
    """Maps images (B, 3, S, S) to the features of several layers, side by side."""

    def __init__(self, tower: Tower, names: Sequence[str]) -> None:
        """Takes the network, and the layers in their order."""
        super().__init__()
        self.tower, self._names = tower, tuple(names)
        numbers = {block[0] for name in names if (block := block_of(name)) is not None}
        if "last4" in names:
            numbers |= set(range(tower.depth - LAST, tower.depth))
        self._blocks = sorted(numbers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns (B, D1 + D2 + ...)."""
        outputs = self.tower.outputs(images, self._blocks)
        return torch.cat([outputs.layer(name) for name in self._names], dim=1)
