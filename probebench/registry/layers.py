"""The outputs of a network that can be its features, by name, and the table of which architecture offers which.

The table is made by ``make docs`` from the networks themselves, so that what names, checks and ranks layers needs no
torch. backbones/towers.py says what each name means of a network, and backbones/layers.py finds what an architecture
outside the table has.
"""

import fnmatch
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator

from probebench.errors import UsageError, did_you_mean
from probebench.fingerprint import canonical_json
from probebench.registry.checkpoint import MODULE, Architecture, CheckpointSpec
from probebench.registry.names import split_list

# The table lies beside the folders of entries.
TABLE = "layers.json"
NAMED = ("pooled", "projected", "cls", "mean", "cls+mean", "last4")
POOLINGS = ("cls", "mean")
_BLOCK = re.compile(r"block:(0|[1-9]\d{0,2})(?::(cls|mean))?")
_PACKED = re.compile(r"block:(\d{1,3}(?:-\d{1,3})?(?:\+\d{1,3}(?:-\d{1,3})?)*)((?::cls|:mean)?)")
_WANTED = f"{', '.join(NAMED)}, block:N, block:N:cls or block:N:mean"

# What a network offers: the width of each layer by its name, in the order of listings.
Layers = Mapping[str, int]


def block_of(name: str) -> tuple[int, str | None] | None:
    """Returns the number and the pooling of an intermediate block, such as (6, "mean"); None for any other layer."""
    found = _BLOCK.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def is_layer(name: str) -> bool:
    """Says whether a text is the name of a layer, whoever may have it."""
    return name in NAMED or block_of(name) is not None


def layer_order(name: str) -> tuple[int, int, str]:
    """Returns what layers are sorted by: those with a name, then blocks from the first to the last."""
    if (block := block_of(name)) is not None:
        return len(NAMED), block[0], block[1] or ""
    return (NAMED.index(name) if name in NAMED else len(NAMED) + 1), 0, name


def _checked(name: str) -> str:
    if not is_layer(name):
        raise ValueError(f"{name!r} is no layer; write {_WANTED}")
    return name


LayerName = Annotated[str, AfterValidator(_checked)]


def layers_from(named: Layers, blocks: Sequence[int], has_class_token: bool) -> dict[str, int]:
    """Names all that a network offers.

    Args:
        named: Width of each layer that is no block.
        blocks: Width of each block, from the first.
        has_class_token: Whether a block can be pooled by its class token too.
    """
    found = {name: named[name] for name in NAMED if name in named}
    for number, width in enumerate(blocks):
        poolings = POOLINGS if has_class_token else ("mean",)
        found |= {f"block:{number}": width, **{f"block:{number}:{one}": width for one in poolings}}
    return found


def architecture_key(architecture: Architecture) -> str:
    """Returns what the table names an architecture by; the number of classes is of the head, which is taken off."""
    kwargs = {name: value for name, value in architecture.kwargs.items() if name != "num_classes"}
    return f"{architecture.library}/{architecture.name}" + (f" {canonical_json(kwargs)}" if kwargs else "")


def known_layers(architecture: Architecture) -> dict[str, int] | None:
    """Returns what an architecture offers by the shipped table; None where the table does not hold it."""
    if architecture.library == MODULE:
        # Its width is known where it lives, and it has one output.
        return None
    row = _shipped().get(architecture_key(architecture))
    return None if row is None else layers_from(row, row["blocks"], "cls" in row)


@cache
def _shipped() -> dict[str, Any]:
    from probebench.registry.load import shipped_registry

    table: dict[str, Any] = json.loads((shipped_registry() / TABLE).read_text(encoding="utf-8"))
    return table


def choose(patterns: Iterable[str], offered: Iterable[str], model: str) -> tuple[str, ...]:
    """Returns the layers of a network that a user asks for, each once, in the order of listings.

    Args:
        patterns: Names, globs, or comma lists of them; ``block:*`` is every block as the network itself pools it.
        offered: What the network offers.
        model: Its id, for the error line.

    Raises:
        UsageError: A pattern matches nothing; the line gives the nearest names.
    """
    names, chosen = list(offered), set[str]()
    for pattern in split_list(patterns):
        matches = [name for name in names if fits(name, pattern)]
        if not matches:
            raise UsageError(
                f"{model} has no layer {pattern!r}{did_you_mean(pattern, names)} "
                f"(it offers {in_words(names)}: probebench layers --model {model})"
            )
        chosen.update(matches)
    return tuple(sorted(chosen, key=layer_order))


def fits(name: str, pattern: str) -> bool:
    """Says whether a layer is what a name or a glob means; a star stands for no pooling that the glob does not name."""
    return name == pattern or (name.count(":") == pattern.count(":") and fnmatch.fnmatchcase(name, pattern))


def check_patterns(patterns: Iterable[str]) -> list[str]:
    """Splits what ``--layer`` was given, before it is known of whom.

    Raises:
        UsageError: A name is no layer's, or nothing is named.
    """
    names = split_list(patterns)
    for name in names:
        if not is_layer(name) and not any(sign in name for sign in "*?["):
            raise UsageError(f"{name!r} is no layer{did_you_mean(name, NAMED)} (layers are {_WANTED})")
    return names


def check_offered(spec: CheckpointSpec, patterns: Sequence[str]) -> None:
    """Refuses at once what the table knows that a checkpoint does not offer; building the network refuses the rest.

    Raises:
        UsageError: A pattern matches nothing.
    """
    if (offered := known_layers(spec.architecture)) is not None:
        choose(patterns, offered, spec.id)


def packed(names: Iterable[str]) -> str:
    """Writes layers in short, such as ``pooled,block:0-3+7:mean``: what records them has little room."""
    parts, numbers = [], defaultdict[str, list[int]](list)
    for name in sorted(names, key=layer_order):
        if (block := block_of(name)) is None:
            parts.append(name)
        else:
            numbers[f":{block[1]}" if block[1] else ""].append(block[0])
    for pooling, held in sorted(numbers.items()):
        runs: list[list[int]] = []
        for number in held:
            if runs and number == runs[-1][-1] + 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        told = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
        parts.append(f"block:{'+'.join(told)}{pooling}")
    return ",".join(parts)


def unpacked(text: str) -> tuple[str, ...]:
    """Reads what ``packed`` wrote, in the order of listings; a text that it did not write gives names of no layer."""
    names: list[str] = []
    for part in text.split(","):
        found = _PACKED.fullmatch(part)
        if found is None:
            names.append(part)
            continue
        for run in found[1].split("+"):
            first, _, last = run.partition("-")
            names += [f"block:{number}{found[2]}" for number in range(int(first), int(last or first) + 1)]
    return tuple(sorted(names, key=layer_order))


def in_words(names: Sequence[str]) -> str:
    """Returns what is offered in short, blocks as a range."""
    blocks = [block[0] for name in names if (block := block_of(name)) is not None]
    told = [name for name in names if block_of(name) is None]
    if blocks:
        poolings = ":cls or :mean" if any(name.endswith(":cls") for name in names) else ":mean"
        told.append(f"block:0 to block:{max(blocks)} (with {poolings} too)")
    return ", ".join(told)


_MEANINGS = {
    "pooled": "what the network ends in, without its classifier or projection",
    "projected": "the embedding that is compared with text",
    "cls": "class token of the last block",
    "mean": "mean of the patch tokens of the last block",
    "cls+mean": "both joined, as DINOv2's authors probe",
    "last4": "class tokens of the last four blocks joined, as DINOv2's authors probe",
}


def meanings(offered: Layers, own: str) -> list[tuple[str, int, str]]:
    """Returns lines for readers: layers, their width, and what they are; blocks of one width share a line.

    Args:
        offered: What a network offers.
        own: The layer that stands for the checkpoint.
    """
    lines = [
        (name, width, _MEANINGS[name] + ("; stands for the checkpoint" if name == own else ""))
        for name, width in offered.items()
        if name in _MEANINGS
    ]
    tokens = any(name.endswith(":cls") for name in offered)
    text = "class token after that block; :mean is the mean of its patch tokens" if tokens else ""
    text = text or ("mean of the patch tokens after that block" if "mean" in offered else "mean over feature map N")
    widths = [width for name, width in offered.items() if (block := block_of(name)) is not None and block[1] is None]
    first = 0
    for width, run in itertools.groupby(widths):
        last = first + len(list(run)) - 1
        lines.append((f"block:{first}" + (f" to block:{last}" if last > first else ""), width, text))
        first = last + 1
    return lines
