"""From features in the cache to results: probes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from probebench.api.data import class_names_of, place_of
from probebench.api.dry_run import planned, without_features
from probebench.api.features import Features
from probebench.api.session import (
    EngineName,
    Folders,
    Path_,
    finished,
    listed,
    open_registry,
    shots_of,
    started,
    warn,
    watched,
)
from probebench.api.share import Share
from probebench.api.shift import shifted_to
from probebench.api.tables import PlannedCells, Results
from probebench.errors import ProbebenchError, TooFewImagesError, UsageError
from probebench.files import home
from probebench.progress import Progress

if TYPE_CHECKING:
    from probebench.cache.index import FeatureGroup
    from probebench.engine import Ray
    from probebench.evaluation.probe_task import ProbeTask
    from probebench.evaluation.shifted import Shifted
    from probebench.registry import Registry
    from probebench.results.schema import Result

Shots = int | Literal["full"]
FeaturesLike = Features | str | Sequence[Features | str]
DataName = Path_ | Sequence[Path_]


@overload
def evaluate(
    features: FeaturesLike | None = None,
    *,
    dataset: DataName | None = None,
    layer: str | Sequence[str] | None = None,
    shots: Shots | Sequence[Shots] | None = None,
    protocol: str | Sequence[str] | None = None,
    probe: str | None = None,
    draws: int | None = None,
    backend: Literal["auto", "torch", "sklearn", "cuml"] = "auto",
    input_size: int | None = None,
    engine: EngineName = "local",
    save_probes: Path_ | None = None,
    test_dataset: Path_ | None = None,
    registry: Folders = (),
    out: Path_ = "results",
    dry_run: Literal[False] = False,
    progress: bool | Progress = False,
) -> Results: ...


@overload
def evaluate(
    features: FeaturesLike | None = None,
    *,
    dataset: DataName | None = None,
    layer: str | Sequence[str] | None = None,
    shots: Shots | Sequence[Shots] | None = None,
    protocol: str | Sequence[str] | None = None,
    probe: str | None = None,
    draws: int | None = None,
    backend: Literal["auto", "torch", "sklearn", "cuml"] = "auto",
    input_size: int | None = None,
    engine: EngineName = "local",
    save_probes: Path_ | None = None,
    test_dataset: Path_ | None = None,
    registry: Folders = (),
    out: Path_ = "results",
    dry_run: Literal[True],
    progress: bool | Progress = False,
) -> PlannedCells: ...


def evaluate(
    features: FeaturesLike | None = None,
    *,
    dataset: DataName | None = None,
    layer: str | Sequence[str] | None = None,
    shots: Shots | Sequence[Shots] | None = None,
    protocol: str | Sequence[str] | None = None,
    probe: str | None = None,
    draws: int | None = None,
    backend: Literal["auto", "torch", "sklearn", "cuml"] = "auto",
    input_size: int | None = None,
    engine: EngineName = "local",
    save_probes: Path_ | None = None,
    test_dataset: Path_ | None = None,
    registry: Folders = (),
    out: Path_ = "results",
    dry_run: bool = False,
    progress: bool | Progress = False,
) -> Results | PlannedCells:
    """Fits probes on few-shot draws and on full data, and scores them on the whole test split.

    The strength of regularisation, or the number of neighbours, is chosen on validation images only; the test split is
    opened once all probes are finished. Results that are there already are read and not computed again. What a reader
    should know before trusting a result (classes short of images, fits that stopped early) is a ``ProbebenchWarning``.

    Args:
        features: What ``extract`` or ``load_features`` returned, or ids of checkpoints whose features are cached; one
            or several, globs too. None: everything cached.
        dataset: Ids of data sets, folders or other sources, where checkpoints are named by id; None: all cached ones.
        layer: Of cached features by id, only these layers, globs too; None: all cached ones, or the one that the
            protocol takes.
        shots: Labelled images a class, or "full"; None: the protocol's.
        protocol: Ids of protocols, globs too: ``default``, ``ridge``, ``knn``, ...; None: the probe's own.
        probe: Kind of probe: logistic, ridge, knn or retrieval; None: the protocol's, else logistic.
        draws: Draws to average over, with seeds 0, 1, ...; None: the protocol's.
        backend: Solver of the exact logistic protocols; auto is torch, our own, on a GPU where there is one.
        input_size: Of cached features by id, only those at this size.
        engine: Compute here, or on Ray: the cluster of RAY_ADDRESS, else this machine's cores and GPUs.
        save_probes: Folder for the finished probe of each draw, for ``pb.Probe.load``; of results that are there
            already, probes are fitted again.
        test_dataset: Another data set with the same classes, or some of them: probes are chosen and fitted as ever, and
            scored on the test part of that one. Results then tell the drop against their own test part
            (``result.shift``), and are cells of their own.
        registry: Folders of your own entries.
        out: The results folder.
        dry_run: Compute nothing, and return what each cell would take in time and memory, by a model; features need not
            be there where checkpoints and data sets are named.
        progress: Whether to show a bar, or what hears how far it is.

    Returns:
        A result for each protocol, extraction and number of shots. One of which a draw failed has no mean; a warning
        says so.

    Raises:
        UsageError: There is no such checkpoint, data set or protocol, or options do not fit together.
        UnfinishedError: Something that was asked for could not be evaluated; all else is done, written and in ``done``.
    """
    entries = open_registry(registry)
    asked, repeats = shots_of(shots), _draws(draws)
    if dry_run and save_probes is not None:
        raise UsageError("a dry run fits no probes to save: leave out save_probes= (--save-probes) or dry_run=")
    if test_dataset is not None and (save_probes is not None or dry_run):
        raise UsageError(
            "test_dataset= (--test-dataset) fits the probes that it fits without; leave it out to save them "
            "(--save-probes), or to ask what they take (--dry-run)"
        )
    groups, problems = groups_of(entries, features, dataset, input_size, layer, absent=not dry_run)
    if not listed(dataset):
        # Of everything that is cached, what there is to fit on.
        named = any(isinstance(one, Features) for one in listed(features))
        groups = [group for group in groups if named or "train" in group.paths or group.missing]
    shifted = None if test_dataset is None else shifted_to(entries, test_dataset, features, dataset)
    # Once checkpoints are known: it loads NumPy and HDF5.
    from probebench.evaluation.dry_run import Asked
    from probebench.evaluation.plan import choose_protocols, plan_probes

    protocols = choose_protocols(entries, probe, listed(protocol))
    # Features were chosen with their layer; of checkpoints by id, a protocol may choose.
    given = listed(features)
    named = bool(listed(layer)) or (bool(given) and all(isinstance(one, Features) for one in given))
    if dry_run:
        plan = plan_probes(entries, groups, protocols, shots=asked, draws=repeats, backend=backend, any_layer=named)
        wanted = Asked(protocols=protocols, shots=asked, draws=repeats, backend=backend, layers=listed(layer))
        return planned(entries, plan, without_features(entries, groups, features, dataset), wanted, Path(out), problems)
    savings = None if save_probes is None else _Savings(Path(save_probes), class_names_of(entries, features, dataset))
    with started(engine) as cluster, watched(progress, "%") as told:
        done, more = evaluate_groups(
            entries,
            groups,
            protocols,
            shots=asked,
            draws=repeats,
            backend=backend,
            any_layer=named,
            out=Path(out),
            cluster=cluster,
            told=told,
            savings=savings,
            shifted=shifted,
        )
    return finished(Results(done), [*problems, *more])


@dataclass(frozen=True)
class _Savings:
    """The folder that probes are kept in, and class names by data set."""

    folder: Path
    names: Mapping[str, tuple[str, ...]]

    def of(self, task: "ProbeTask") -> "ProbeTask":
        """Returns the task that keeps its probes.

        Raises:
            UsageError: Its probes cannot be kept.
        """
        from probebench.evaluation.probe_task import Saving
        from probebench.evaluation.saved_probe import refuses

        if (why := refuses(task.protocol.probe)) is not None:
            raise UsageError(f"protocol {task.protocol.id}: {why}")
        return replace(task, saving=Saving(self.folder, self.names.get(task.dataset_id)))


def evaluate_groups(
    registry: "Registry",
    groups: "Sequence[FeatureGroup]",
    protocols: Sequence[str],
    *,
    shots: Sequence[Shots] | None,
    draws: int | None,
    out: Path,
    cluster: "Ray | None",
    told: Progress,
    backend: str = "auto",
    any_layer: bool = True,
    go_on: bool = False,
    savings: _Savings | None = None,
    shifted: "Callable[[FeatureGroup], Shifted] | None" = None,
) -> "tuple[list[tuple[Path, Result]], list[str | ProbebenchError]]":
    """Evaluates extractions under protocols.

    Args:
        registry: Entries.
        groups: Cached extractions.
        protocols: Ids.
        shots: Numbers of shots; None: each protocol's own.
        draws: Draws to average over, likewise.
        out: The results folder.
        cluster: The engine; None computes here.
        told: Hears of percent of the work.
        backend: As in ``evaluate``.
        any_layer: Whether the layers are those that were asked for, so that no protocol chooses among them.
        go_on: What does not fit together is a problem among others; shots beyond the data are passed over.
        savings: Where probes are kept; None keeps none.
        shifted: Finds the other test part that probes are scored on; None: their own.

    Returns:
        Results with their files, and what could not be done.

    Raises:
        UsageError: What was asked for does not fit together, unless ``go_on``.
    """
    from probebench.evaluation import evaluate_all
    from probebench.evaluation.notes import failure, notes
    from probebench.evaluation.plan import plan_probes

    plan = plan_probes(
        registry, groups, protocols, shots=shots, draws=draws, backend=backend, any_layer=any_layer, shifted=shifted
    )
    tasks = plan.tasks if savings is None else [savings.of(task) for task in plan.tasks]
    done: list[tuple[Path, Result]] = []
    problems: list[str | ProbebenchError] = list(plan.problems)
    share = Share(told, tasks)
    for task, result in zip(tasks, evaluate_all(tasks, out, share.fits, cluster), strict=True):
        share.over()
        if isinstance(result, UsageError) and not go_on:
            raise result
        if isinstance(result, TooFewImagesError) and (go_on or shots is None):
            warn(f"{result}; passed over")
        elif isinstance(result, ProbebenchError):
            problems.append(result)
        else:
            done.append((task.path(out), result))
            for note in notes(result, prescribed=task.selection.method == "fixed"):
                warn(note)
            problems += failure(result)
    told.finish()
    return done, problems


def _draws(draws: int | None) -> int | None:
    if draws is not None and (isinstance(draws, bool) or not isinstance(draws, int) or draws < 1):
        raise UsageError(f"draws= takes a positive whole number, not {draws!r}")
    return draws


def groups_of(
    registry: "Registry",
    features: FeaturesLike | None,
    dataset: DataName | None,
    input_size: int | None,
    layer: str | Sequence[str] | None = None,
    *,
    absent: bool = True,
) -> "tuple[list[FeatureGroup], list[str | ProbebenchError]]":
    """Returns the extractions that were asked for, a line for each that is damaged, and for each that is not there."""
    from probebench.api.models import model_id
    from probebench.registry.names import expand

    given = listed(features)
    groups = [one.group for one in given if isinstance(one, Features)]
    models = [model_id(registry, one) for one in given if isinstance(one, str)]
    if len(groups) + len(models) < len(given) or (features is not None and not given):
        raise UsageError("features= takes what extract or load_features returned, or ids of checkpoints")
    if groups and not models:
        if dataset is not None or input_size is not None or layer is not None:
            raise UsageError("dataset=, layer= and input_size= are for checkpoints by id; features are of one each")
        return groups, []
    folder = home() / "features"
    cached = [place.name for place in folder.iterdir()] if folder.is_dir() else []
    expand("model", models, {*registry.checkpoints, *cached}, "probebench models list")
    from probebench.evaluation.extractions import choose_extractions

    found = choose_extractions(
        registry, home(), models, [place_of(registry, one) for one in listed(dataset)], input_size, listed(layer)
    )
    for warning in found.warnings:
        warn(warning)
    return [*groups, *found.groups], [*found.problems, *(found.absent if absent else ())]
