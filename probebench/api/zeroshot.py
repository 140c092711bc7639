"""From features in the cache to results: class names in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.api.data import class_names_of
from probebench.api.evaluate import DataName, FeaturesLike, groups_of
from probebench.api.session import Folders, Path_, finished, listed, open_registry
from probebench.api.tables import Results
from probebench.errors import ProbebenchError, UsageError
from probebench.files import home

if TYPE_CHECKING:
    from probebench.cache.index import FeatureGroup
    from probebench.evaluation.zeroshot import Prompts
    from probebench.registry import Registry
    from probebench.results.schema import Result


def zeroshot(
    features: FeaturesLike,
    *,
    dataset: DataName | None = None,
    templates: str | Sequence[str] | None = None,
    input_size: int | None = None,
    registry: Folders = (),
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
        registry: Folders of your own entries.
        out: The results folder.

    Raises:
        UsageError: There is no such checkpoint or data set, or a template has no place for the name.
        UnfinishedError: Something that was asked for could not be evaluated; all else is done, written and in ``done``.
    """
    texts = tuple(listed(templates))
    for text in texts:
        if text.count("{}") != 1 or text.count("{") != 1 or text.count("}") != 1:
            raise UsageError(f"template {text!r} needs {{}} once, in the place of the class name")
    entries, folder = open_registry(registry), Path(out)
    groups, problems = groups_of(entries, features, dataset, input_size)
    names = class_names_of(entries, features, dataset)
    done, more = classify_groups(entries, groups, names, texts, folder)
    return finished(Results(done), [*problems, *more])


def classify_groups(
    registry: "Registry",
    groups: "Sequence[FeatureGroup]",
    names: Mapping[str, tuple[str, ...]],
    templates: tuple[str, ...],
    out: Path,
) -> "tuple[list[tuple[Path, Result]], list[ProbebenchError]]":
    """Classifies extractions by class names in words.

    Args:
        registry: Entries.
        groups: Cached extractions; of a checkpoint that has projected features, only these are taken.
        names: Class names by data set; those with an entry are taken from it.
        templates: Prompts; none: each data set's own.
        out: The results folder.

    Returns:
        Results with their files, and what could not be done.
    """
    # These load torch, which takes seconds.
    from probebench.evaluation.extractions import projected_only
    from probebench.evaluation.zeroshot import ZeroshotTask
    from probebench.evaluation.zeroshot import zeroshot as classify

    done: list[tuple[Path, Result]] = []
    problems: list[ProbebenchError] = []
    for group in projected_only(groups):
        try:
            prompts = _prompts(registry, group.dataset, names, templates)
            known = registry.datasets.get(group.dataset)
            metric = known.metric if known else "accuracy"
            task = ZeroshotTask(group, registry.checkpoint(group.model), prompts, metric, home())
            done.append((task.path(out), classify(task, out)[0]))
        except ProbebenchError as error:
            problems.append(error)
    return done, problems


def _prompts(
    registry: "Registry", dataset: str, names: Mapping[str, tuple[str, ...]], templates: tuple[str, ...]
) -> "Prompts":
    from probebench.evaluation.zeroshot import Prompts

    spec = registry.datasets.get(dataset)
    if spec is None and dataset not in names:
        raise ProbebenchError(
            f"{dataset}: its class names are not in the cache; name it by where it lies (folder:PATH, wds: or hf:), or "
            "pass what extract returned"
        )
    return Prompts.of(spec, names.get(dataset, ()), templates)
