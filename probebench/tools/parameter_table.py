"""Writes how many parameters each architecture has: ``python -m probebench.tools.parameter_table``.

The leaderboard must start without torch, so it reads them from a file.
"""

import json
import sys
from typing import Any

from probebench.registry import Registry
from probebench.registry.architectures import canonical_architecture
from probebench.registry.schema import Architecture


def parameters(architecture: Architecture) -> int:
    """Counts the parameters of an image network without its classifier; makes no weights."""
    import torch

    from probebench.backbones.construct import construct

    with torch.device("meta"):
        module: Any = construct(architecture)
    if architecture.library == "open_clip":
        return _count(module.visual)
    if architecture.library == "timm":
        module.reset_classifier(0)
        return _count(module)
    # Torchvision's classifiers all end in one linear layer.
    return _count(module) - _count([one for one in module.modules() if isinstance(one, torch.nn.Linear)][-1])


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def canonical(architecture: Architecture) -> tuple[str, Architecture]:
    """Returns an architecture's canonical name and the network of that name, which all equivalents are counted by."""
    own = f"{architecture.library}/{architecture.name}"
    name = canonical_architecture(own)
    if name == own:
        return own, architecture
    library, _, rest = name.partition("/")
    return name, Architecture.model_validate({"library": library, "name": rest})


def main() -> None:
    """Prints the parameters of every architecture of the shipped entries as JSON, by canonical name."""
    specs = Registry.load(environ={}).checkpoints.values()
    known = dict(canonical(spec.architecture) for spec in specs)
    counts = {name: parameters(architecture) for name, architecture in sorted(known.items())}
    json.dump(counts, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
