"""What evaluating would take, as the front door tells it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.api.data import place_of
from probebench.api.session import finished, listed
from probebench.api.tables import PlannedCells
from probebench.errors import ProbebenchError
from probebench.files import home

if TYPE_CHECKING:
    from probebench.api.evaluate import DataName, FeaturesLike
    from probebench.cache.index import FeatureGroup
    from probebench.evaluation.dry_run import Asked, Sizes
    from probebench.evaluation.plan import ProbePlan
    from probebench.registry import Registry
    from probebench.registry.schema import CheckpointSpec


def without_features(
    registry: "Registry", groups: "Sequence[FeatureGroup]", features: "FeaturesLike | None", dataset: "DataName | None"
) -> "list[tuple[CheckpointSpec, Sizes]]":
    """Returns the checkpoints that were named, each with the data sets named on which no features of it are cached."""
    from probebench.api.models import model_id
    from probebench.evaluation.dry_run import Sizes
    from probebench.registry.names import expand, is_source, split_list

    ids = [model_id(registry, one) for one in listed(features) if isinstance(one, str)]
    if not ids or dataset is None:
        return []
    # What is cached under an id without an entry is told of by its features.
    known = {*registry.datasets, *registry.suites, *(group.dataset for group in groups)}
    names: dict[str, None] = {}
    for pattern in split_list([place_of(registry, one) for one in listed(dataset)]):
        found = [pattern] if is_source(pattern) else expand("data set", [pattern], known, "probebench datasets list")
        for name in found:
            suite = registry.suites.get(name)
            inside = suite.datasets if suite else (name,)
            names.update(dict.fromkeys(one for one in inside if is_source(one) or one in registry.datasets))
    models = expand("model", ids, {*registry.checkpoints, *(group.model for group in groups)}, "probebench models list")
    there = {(group.model, group.dataset) for group in groups}
    sizes = [Sizes.of(name, registry, home() / "datasets") for name in names]
    specs = [registry.checkpoint(one) for one in models if one in registry.checkpoints]
    return [(spec, one) for spec in specs for one in sizes if (spec.id, one.id) not in there]


def planned(
    registry: "Registry",
    plan: "ProbePlan",
    absent: "Sequence[tuple[CheckpointSpec, Sizes]]",
    asked: "Asked",
    out: Path,
    problems: "list[str | ProbebenchError]",
) -> PlannedCells:
    """Returns what cells would take: those of cached features, then the others."""
    from probebench.evaluation.dry_run import of_entries, of_plan, this_machine

    where, cells = this_machine(), []
    for told in of_plan(plan, out, where):
        if isinstance(told, ProbebenchError):
            problems.append(told)
        else:
            cells.append(told)
    for spec, sizes in absent:
        cells += of_entries(asked, spec, sizes, registry, where)
    # A protocol's layer that is not cached beside others that are: the real run would miss it.
    return finished(PlannedCells(cells), [*problems, *plan.problems])


def modelled_machine() -> str:
    """Returns which machine costs are modelled for, and what is known of it."""
    from probebench.evaluation.dry_run import this_machine

    return this_machine().told
