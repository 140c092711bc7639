"""Writes docs/models.md from the entries: ``python -m probebench.tools.model_table``."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import click

from probebench.registry import CheckpointSpec, Registry
from probebench.registry.checkpoint import MODULE

_METHODS = {
    "language-image": "Language-image",
    "image-image": "Image-image",
    "supervised": "Supervised",
    "none": "Untrained twins",
}
# An architecture is a column of its own where at least so many sources and methods share it.
_SHARED = 4

_HEAD = """# Checkpoints

Made by `make docs` from `registry/checkpoints`; a test keeps it true. `probebench models list --method image-image
--source yfcc15m` filters it on the command line, `probebench models show ID` gives everything that an entry says, and
`probebench models add` writes the entry of a checkpoint of yours ([CONTRIBUTING.md](../CONTRIBUTING.md)).

**unverified** counts the facts of an entry that were taken from its source and could not be checked against the weights
(`models show` names them). Weights: *network* are fetched once, *your file* were never published.

## Method x source x architecture

How many checkpoints there are to compare at one architecture. Architectures shared by fewer than {shared} pairs of
method and source are counted as others.
"""


def source(spec: CheckpointSpec) -> str:
    """Returns the names of an entry's pre-training sources in one text."""
    return " + ".join(one.name for one in spec.pretraining.sources) or "none"


def architecture(spec: CheckpointSpec) -> str:
    """Returns library and name of an entry's architecture in one text."""
    return f"{spec.architecture.library} {spec.architecture.name}"


def models_page(specs: Sequence[CheckpointSpec]) -> str:
    """Returns the whole page as Markdown."""
    return "\n".join([_HEAD.format(shared=_SHARED), *_pivot(specs), *_lists(specs)])


def _pivot(specs: Sequence[CheckpointSpec]) -> Iterator[str]:
    pairs = {(architecture(spec), spec.pretraining.method, source(spec)) for spec in specs}
    often = Counter(name for name, *_ in pairs)
    shared = sorted((name for name, count in often.items() if count >= _SHARED), key=lambda name: (-often[name], name))
    counts = Counter[tuple[str, str, str]](
        (spec.pretraining.method, source(spec), _column(spec, shared)) for spec in specs
    )
    yield from _head(["method", "source", *shared, "others"], numbers=len(shared) + 1)
    for method in _METHODS:
        for name in sorted({source(spec) for spec in specs if spec.pretraining.method == method}, key=str.lower):
            cells = [str(counts[method, name, column] or "") for column in (*shared, "others")]
            yield _row([method, name, *cells])
    yield ""


def _column(spec: CheckpointSpec, shared: Iterable[str]) -> str:
    return name if (name := architecture(spec)) in shared else "others"


def _lists(specs: Sequence[CheckpointSpec]) -> Iterator[str]:
    for method, title in _METHODS.items():
        own = [spec for spec in specs if spec.pretraining.method == method]
        yield f"## {title}: {len(own)}\n"
        columns = ["id", "source", "samples", "objective", "curation", "architecture"]
        yield from _head([*columns, "px", "D", "layer", "weights", "unverified"], numbers=0)
        for spec in sorted(own, key=lambda one: (source(one).lower(), architecture(one), one.id)):
            yield _row(
                [
                    f"`{spec.id}`",
                    source(spec),
                    " + ".join(_count(one.samples) for one in spec.pretraining.sources),
                    spec.pretraining.objective,
                    spec.pretraining.curation,
                    architecture(spec),
                    str(spec.input.size),
                    str(spec.output.features),
                    spec.output.layer,
                    where(spec),
                    str(len(spec.unverified) or ""),
                ]
            )
        yield ""


def where(spec: CheckpointSpec) -> str:
    """Says in a word or two where a checkpoint's weights come from."""
    places = {"pkg": "installed package", "random": "random init", "user": "your file", "file": "local file"}
    return {**places, MODULE: "Python session"}.get(spec.weights.scheme, "network")


def _count(samples: int | str) -> str:
    return f"{samples:,}" if isinstance(samples, int) else samples


def _head(columns: Sequence[str], numbers: int) -> Iterator[str]:
    yield _row(columns)
    yield _row([*["---"] * (len(columns) - numbers), *["---:"] * numbers])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    click.echo(models_page(list(Registry.load(environ={}).checkpoints.values())), nl=False)
