"""From features in the cache to results: probes, and class names in words."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from probebench.api.data import place_of
from probebench.api.features import Features
from probebench.api.session import listed, open_registry, raise_first, shots_of, warn, watched
from probebench.api.tables import Results
from probebench.errors import ProbebenchError, UsageError
from probebench.files import home

if TYPE_CHECKING:
    from probebench.cache.index import FeatureGroup
    from probebench.evaluation import ProbeTask
    from probebench.evaluation.zeroshot import Prompts
    from probebench.registry import Registry
    from probebench.results.schema import Result

Shots = int | Literal["full"]
Path_ = str | os.PathLike[str]
FeaturesLike = Features | str | Sequence[Features | str]
DataName = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def evaluate(
    features: FeaturesLike,
    *,
    dataset: DataName | None = None,
    shots: Shots | Sequence[Shots] | None = None,
    protocol: str | Sequence[str] = "default",
    draws: int | None = None,
    backend: Literal["auto", "torch", "sklearn", "cuml"] = "auto",
    input_size: int | None = None,
    out: Path_ = "results",
    progress: bool = False,
) -> Results:
    """Fits probes on few-shot draws and on full data, and scores them on the whole test split.

    The strength of regularisation, or the number of neighbours, is chosen on validation images only; the test split is
    opened once all probes are finished. Results that are there already are read and not computed again.

    Args:
        features: What ``extract`` or ``load_features`` returned, or ids of checkpoints whose features are cached; one
            or several, globs too.
        dataset: Ids of data sets, folders or other sources, where checkpoints are named by id; None: all cached ones.
        shots: Labelled images a class, or "full"; None: the protocol's.
        protocol: Ids of protocols, globs too: ``default``, ``ridge``, ``knn``, ...
        draws: Draws to average over, with seeds 0, 1, ...; None: the protocol's.
        backend: Solver of the exact logistic protocols.
        input_size: Of cached features by id, only those at this size.
        out: The results folder.
        progress: Whether to show a bar.

    Returns:
        A result for each protocol, extraction and number of shots. One of which a draw failed has no mean; a warning
        says so.

    Raises:
        UsageError: There is no such checkpoint, data set or protocol, or options do not fit together.
        CacheError: Features are damaged.
        ProbebenchError: Something that was asked for could not be evaluated; all else is done and written.
    """
    from probebench.evaluation import evaluate_all
    from probebench.evaluation.plan import plan_probes

    registry, folder = open_registry(), Path(out)
    groups, problems = _groups(registry, features, dataset, input_size)
    protocols = registry.expand_protocols(listed(protocol))
    plan = plan_probes(registry, groups, protocols, shots=shots_of(shots), draws=_draws(draws), backend=backend)
    problems += plan.problems
    done: list[tuple[Path, Result]] = []
    with watched(progress, "fits") as told:
        told.start("probes", sum(len(task.seeds) * task.fits_a_draw for task in plan.tasks), 0)
        for task, result in zip(plan.tasks, evaluate_all(plan.tasks, folder, told.advance), strict=True):
            if isinstance(result, UsageError):
                raise result
            if isinstance(result, ProbebenchError):
                problems.append(result)
                continue
            done.append((task.path(folder), result))
            _say_failure(task, result)
    raise_first(problems)
    return Results(done)


def _say_failure(task: "ProbeTask", result: "Result") -> None:
    failed = [trial.error for trial in result.trials if trial.error]
    if failed:
        warn(
            f"{task.model} on {task.dataset_id}, {task.shots} shots: a trial failed, so there is no score: {failed[0]}"
        )


def _draws(draws: int | None) -> int | None:
    if draws is not None and (isinstance(draws, bool) or not isinstance(draws, int) or draws < 1):
        raise UsageError(f"draws= takes a positive whole number, not {draws!r}")
    return draws


def _groups(
    registry: "Registry", features: FeaturesLike, dataset: DataName | None, input_size: int | None
) -> "tuple[list[FeatureGroup], list[str | ProbebenchError]]":
    """Returns the extractions that were asked for, and a line for each that is not there."""
    from probebench.api.models import model_id
    from probebench.evaluation.extractions import choose_extractions

    given = listed(features)
    groups = [one.group for one in given if isinstance(one, Features)]
    models = [model_id(one) for one in given if isinstance(one, str)]
    if len(groups) + len(models) < len(given) or not given:
        raise UsageError("features= takes what extract or load_features returned, or ids of checkpoints")
    if not models:
        if dataset is not None or input_size is not None:
            raise UsageError(
                "dataset= and input_size= are for checkpoints by id; features are of one data set and size"
            )
        return groups, []
    found = choose_extractions(
        registry, home(), models, [place_of(registry, one) for one in listed(dataset)], input_size
    )
    for warning in found.warnings:
        warn(warning)
    return [*groups, *found.groups], list(found.problems)


def zeroshot(
    features: FeaturesLike,
    *,
    dataset: DataName | None = None,
    templates: str | Sequence[str] | None = None,
    input_size: int | None = None,
    out: Path_ = "results",
) -> Results:
    """Classifies cached test features by class names in words, through the checkpoint's own text tower.

    Only open_clip checkpoints have one. Nothing is trained and nothing is chosen.

    Args:
        features: As in ``evaluate``; projected ones.
        dataset: As in ``evaluate``.
        templates: Prompts with {} for the class name, which are averaged; None: the data set's own, else
            "a photo of a {}.".
        input_size: As in ``evaluate``.
        out: The results folder.

    Raises:
        UsageError: There is no such checkpoint or data set, or a template has no place for the name.
        ProbebenchError: Something that was asked for could not be evaluated; all else is done and written.
    """
    from probebench.evaluation.zeroshot import ZeroshotTask
    from probebench.evaluation.zeroshot import zeroshot as classify

    texts = tuple(listed(templates))
    for text in texts:
        if text.count("{}") != 1 or text.count("{") != 1 or text.count("}") != 1:
            raise UsageError(f"template {text!r} needs {{}} once, in the place of the class name")
    registry, folder = open_registry(), Path(out)
    groups, problems = _groups(registry, features, dataset, input_size)
    names = _names(registry, features, dataset)
    done: list[tuple[Path, Result]] = []
    for group in groups:
        try:
            prompts = _prompts(registry, group.dataset, names, texts)
            known = registry.datasets.get(group.dataset)
            metric = known.metric if known else "accuracy"
            task = ZeroshotTask(group, registry.checkpoint(group.model), prompts, metric, home())
            done.append((task.path(folder), classify(task, folder)[0]))
        except ProbebenchError as error:
            problems.append(error)
    raise_first(problems)
    return Results(done)


def _names(registry: "Registry", features: FeaturesLike, dataset: DataName | None) -> dict[str, tuple[str, ...]]:
    """Returns the class names of data sets without an entry, as far as they are at hand."""
    from probebench.datasets.open import open_dataset
    from probebench.registry.names import is_source

    given = [one for one in listed(features) if isinstance(one, Features)]
    names = {one.dataset: one.class_names for one in given if one.class_names is not None}
    for place in (place_of(registry, one) for one in listed(dataset)):
        if is_source(place):
            opened = open_dataset(place, registry, home() / "datasets")
            names[opened.id] = opened.class_names
    return names


def _prompts(
    registry: "Registry", dataset: str, names: Mapping[str, tuple[str, ...]], templates: tuple[str, ...]
) -> "Prompts":
    from probebench.evaluation.zeroshot import Prompts

    spec = registry.datasets.get(dataset)
    if spec is not None:
        return Prompts.of(spec, (), templates)
    if dataset not in names:
        raise ProbebenchError(
            f"{dataset}: its class names are not in the cache; pass the features of extract, or its folder"
        )
    return Prompts.of(None, names[dataset], templates)
