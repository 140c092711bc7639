"""Some of the results: by checkpoint, data set, shots and protocol, in an order for people."""

from collections.abc import Iterable, Sequence

from probebench.registry.entry import Shots
from probebench.registry.names import expand, split_list
from probebench.results.cells import CellKey
from probebench.results.schema import Result


def narrowed(
    results: Iterable[Result],
    *,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    shots: Sequence[Shots] | None = None,
) -> list[Result]:
    """Returns the results that were asked for: checkpoint by checkpoint, shots ascending.

    Args:
        results: Some results.
        models: Ids, globs or comma lists; none: all.
        datasets: Likewise.
        protocols: Likewise.
        shots: Numbers of shots; None: all.

    Raises:
        UsageError: A pattern matches no result; the line gives the nearest names.
    """
    found = list(results)
    for kind, patterns, field in (
        ("model", models, "model"),
        ("data set", datasets, "dataset"),
        ("protocol", protocols, "protocol"),
    ):
        if patterns:
            known = dict.fromkeys(getattr(result, field) for result in found)
            names = set(expand(kind, split_list(patterns), known, "probebench results list"))
            found = [result for result in found if getattr(result, field) in names]
    if shots is not None:
        found = [result for result in found if result.shots in shots]
    return sorted(found, key=lambda result: CellKey.of(result).order)
