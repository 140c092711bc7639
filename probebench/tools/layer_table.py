"""Writes which layers each architecture offers, with their widths: ``python -m probebench.tools.layer_table``.

What lists, names and checks layers must start without torch, so it reads them from a file.
"""

import json
import sys

from probebench.registry import Registry
from probebench.registry.layers import architecture_key
from probebench.registry.schema import CheckpointSpec


def row(spec: CheckpointSpec) -> dict[str, object]:
    """Returns an architecture's line: width of each layer that is no block, and of each block from the first."""
    from probebench.backbones.layers import measured

    named, blocks, _ = measured(spec)
    return {**named, "blocks": blocks}


def main() -> None:
    """Prints the layers of every architecture of the shipped entries as JSON, a line each."""
    specs = Registry.load(environ={}).checkpoints.values()
    known = {architecture_key(spec.architecture): spec for spec in specs}
    lines = [f"{json.dumps(key)}: {json.dumps(row(spec))}" for key, spec in sorted(known.items())]
    sys.stdout.write("{\n" + ",\n".join(f" {line}" for line in lines) + "\n}\n")


if __name__ == "__main__":
    main()
