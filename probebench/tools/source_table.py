"""Writes the tables of docs/sources.md from the entries: ``python -m probebench.tools.source_table FILE``."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from probebench.registry.load import Registry
from probebench.registry.source import SourceSpec
from probebench.tools.dataset_table import with_table

_SOURCES, _SHARED = "registry/sources", "what registry/sources share"


def source_table(specs: Iterable[SourceSpec]) -> str:
    """Returns the sources as a Markdown table, in the order of their ids."""
    rows = [
        "| id | source | images | that differ | labels | licence of the artwork | package |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for spec in sorted(specs, key=lambda spec: spec.id):
        packages = ", ".join(f"{one.manager}: {one.name} {one.version}" for one in spec.drawn.packages)
        distinct = spec.distinct if spec.distinct == "unknown" else f"{spec.distinct:,}"
        rows.append(
            f"| `{spec.id}` | [{spec.title}]({spec.url}) | {spec.images:,} | {distinct} | {spec.classes} "
            f"| {spec.license} | {packages} |"
        )
    return "\n".join(rows) + "\n"


def shared_table(specs: Iterable[SourceSpec], datasets: Sequence[str]) -> str:
    """Returns what sources share with the test images of data sets: pixels + looks, and concepts."""
    sources = sorted(specs, key=lambda spec: spec.id)
    rows = [f"| | {' | '.join(f'`{spec.id}`' for spec in sources)} |", f"| --- |{' ---: |' * len(sources)}"]
    for name in datasets:
        cells = [
            f"{one.exact} + {one.near}, {one.concepts / one.test:.0%}" if (one := spec.shared.get(name)) else "?"
            for spec in sources
        ]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    registry = Registry.load(environ={})
    page = path.read_text(encoding="utf-8")
    page = with_table(page, source_table(registry.sources.values()), _SOURCES)
    datasets = [name for suite in ("mini", "mini_again") for name in registry.suites[suite].datasets]
    page = with_table(page, shared_table(registry.sources.values(), datasets), _SHARED)
    path.write_text(page, encoding="utf-8")
