"""Writes the table of modelled costs in docs/probes.md: ``python -m probebench.tools.cost_table FILE``."""

import sys
from pathlib import Path

from probebench.files import bytes_text
from probebench.probes.cost import Cell, Machine, cost, machine
from probebench.progress import duration
from probebench.registry.load import Registry
from probebench.tools.dataset_table import with_table

MADE_FROM = "probebench/probes/cost.json; modelled, not measured"


def cost_table(cell: Cell, places: dict[str, tuple[Machine, int]]) -> str:
    """Returns what a cell takes as a Markdown table; each machine computes so many checkpoints at once."""
    rows = [
        "| machine | one checkpoint | four checkpoints | memory | GPU memory, each |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, (where, at_once) in places.items():
        told = cost(cell, where)
        assert told is not None
        device = "" if told.device is None else bytes_text(round(told.device))
        host = bytes_text(round(told.host * at_once))
        rows.append(
            f"| {name} | {duration(told.seconds)} | {duration(4 * told.seconds / at_once)} | {host} | {device} |"
        )
    return "\n".join(rows) + "\n"


def imagenet(registry: Registry) -> Cell:
    """Returns a cell of ImageNet's size: 45 strengths, a tenth of train held out, a last fit on all."""
    return Cell(
        protocol=registry.protocol("dinov2_logreg"),
        shots="full",
        images=(1281,) * 1000,
        val=0,
        test=50_000,
        width=2048,
        draws=1,
        backend="torch",
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    gpu = machine("h100")
    places = {
        "16 cores": (machine("cpu", 16), 1),
        "one H100": (gpu, 1),
        "four H100s (`--engine ray`)": (gpu, 4),
    }
    table = cost_table(imagenet(Registry.load(environ={})), places)
    path.write_text(with_table(path.read_text(encoding="utf-8"), table, MADE_FROM), encoding="utf-8")
