"""Writes the table of docs/datasets.md from the entries: ``python -m probebench.tools.dataset_table FILE``."""

import sys
from collections.abc import Iterable
from pathlib import Path

from probebench.registry.dataset import DatasetSpec
from probebench.registry.load import Registry

_BEGIN, _END = "<!-- made by `make docs` from {} -->\n", "<!-- end -->"


def dataset_table(specs: Iterable[DatasetSpec]) -> str:
    """Returns the data sets as a Markdown table, in the order of their ids."""
    rows = [
        "| id | set | classes | train | val | test | metric | licence |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for spec in sorted(specs, key=lambda spec: spec.id):
        counts = " | ".join(f"{count:,}" for count in (spec.splits.train, spec.splits.val, spec.splits.test))
        link = f"[{spec.title}]({spec.url})"
        rows.append(f"| `{spec.id}` | {link} | {len(spec.classes)} | {counts} | {spec.metric} | {spec.license} |")
    return "\n".join(rows) + "\n"


def with_table(page: str, table: str, made_from: str = "registry/datasets") -> str:
    """Returns the page with the table between its two marks."""
    begin = _BEGIN.format(made_from)
    before, _, rest = page.partition(begin)
    return f"{before}{begin}{table}{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    table = dataset_table(Registry.load(environ={}).datasets.values())
    path.write_text(with_table(path.read_text(encoding="utf-8"), table), encoding="utf-8")
