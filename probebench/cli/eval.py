"""``probebench eval``: results from the cache."""

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.cli.console import ProgressLines, raise_all, warn
from probebench.cli.eval_notes import edges, warn_about
from probebench.cli.options import (
    engine_option,
    home,
    input_size_option,
    is_source,
    out_option,
    parse_shots,
    registry_folders,
    registry_option,
    split_list,
    started,
)
from probebench.cli.tables import print_rank_shifts, print_results
from probebench.errors import ProbebenchError, UsageError
from probebench.registry.probes import PROBES

if TYPE_CHECKING:
    from probebench.cache.index import FeatureGroup, Index
    from probebench.engine import Ray
    from probebench.registry import Registry


def _listed(words: Sequence[str], last: str) -> str:
    return ", ".join(words[:-1]) + last + words[-1]


@click.command(name="eval")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Checkpoint id; repeats, takes comma lists and globs.  [default: everything cached]",
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Data set id, suite, folder:PATH, wds:SHARDS or hf:NAME; repeats, takes comma lists and globs.",
)
@click.option(
    "--shots",
    default=None,
    help="Labelled images a class; full is the whole training part.  [default: the protocol's, mostly 1,5,10,full]",
)
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=None,
    help="Draws to average over, with seeds 0, 1, ...  [default: the protocol's, mostly 5]",
)
@click.option(
    "--probe",
    type=click.Choice(list(PROBES)),
    help=f"Kind of probe: {_listed([probe.about for probe in PROBES.values()], ', or ')}.  "
    "[default: the protocol's, else logistic]",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    help="Protocol id; repeats, takes comma lists and globs. Several show how ranks move between them.  "
    f"[default: the probe's: {_listed([probe.protocol for probe in PROBES.values()], ' or ')}]",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "torch", "sklearn", "cuml"]),
    default="auto",
    show_default=True,
    help="Solver of the exact logistic protocols; auto is torch, our own, on a GPU where there is one. "
    f"{_listed([name for name, probe in PROBES.items() if probe.numpy], ' and ')} are computed by NumPy.",
)
@engine_option
@input_size_option
@out_option
@registry_option
def command(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    shots: str | None,
    draws: int | None,
    probe: str | None,
    protocols: tuple[str, ...],
    backend: str,
    engine: str,
    input_size: int | None,
    out: Path,
) -> None:
    """Fit probes on few-shot draws and on full data, and score them on the whole test part.

    The strength of regularisation, or the number of neighbours, is chosen on validation images only. Results that are
    there already are kept.
    """
    from probebench.registry import Registry

    registry = Registry.load(registry_folders())
    fitting = _protocols(registry, probe, protocols)
    asked = parse_shots(shots) if shots else None
    with started(engine) as cluster:
        run_eval(registry, models, datasets, input_size, asked, draws, fitting, backend, out, cluster)


def _protocols(registry: "Registry", probe: str | None, patterns: Sequence[str]) -> list[str]:
    """Returns the protocols asked for: of one probe where one is named, whose own is the default."""
    if not patterns:
        return [PROBES[probe or "logistic"].protocol]
    wanted = registry.expand_protocols(patterns)
    if probe is None:
        return wanted
    fitting = [name for name in wanted if registry.protocol(name).probe == probe]
    outright = [name for name in split_list(patterns) if name in registry.protocols and name not in fitting]
    if outright or not fitting:
        name = (outright or wanted)[0]
        raise UsageError(
            f"protocol {name} is for the {registry.protocol(name).probe} probe, not for {probe}; leave --probe out for "
            f"it, or use --protocol {PROBES[probe].protocol}"
        )
    return fitting


def run_eval(
    registry: "Registry",
    models: Sequence[str],
    datasets: Sequence[str],
    input_size: int | None,
    shots: Sequence[Any] | None,
    draws: int | None,
    protocols: Sequence[str],
    backend: str,
    out: Path,
    engine: "Ray | None" = None,
) -> None:
    """Evaluates every cached extraction that was asked for, and prints the table.

    Args:
        registry: Entries.
        models: Ids, globs or comma lists; none: everything cached.
        datasets: Likewise.
        input_size: Only extractions at this size.
        shots: Numbers of shots; None: each protocol's own.
        draws: Draws to average over; None: each protocol's own.
        protocols: Protocol ids.
        backend: "auto", or a solver of the exact protocols.
        out: Results folder.
        engine: Spreads the work; None does it here.

    Raises:
        ProbebenchError: Something that was asked for could not be evaluated; all else is done and printed first.
    """
    from probebench.cache.index import read_index
    from probebench.evaluation import ProbeTask, evaluate_all
    from probebench.probes.backends import backend_name

    index = read_index(home())
    groups, failures = choose_groups(registry, index, models, datasets, input_size)
    specs = [registry.protocol(name) for name in protocols]
    backends = {spec.id: backend_name(spec, backend) for spec in specs}
    tasks = []
    for spec in specs:
        asked = shots or spec.shots
        failures += [refusal for one in asked if (refusal := spec.refuses(one))]
        for group in groups:
            try:
                checkpoint = registry.checkpoint(group.model)
            except UsageError as error:
                failures.append(f"{error}; its entry is needed to evaluate its cached features")
                continue
            known = registry.datasets.get(group.dataset)
            metric = known.metric if known else "accuracy"
            tasks += [
                ProbeTask(
                    group=group,
                    checkpoint=checkpoint,
                    protocol=spec,
                    shots=one,
                    draws=draws or spec.draws,
                    backend=backends[spec.id],
                    metric=metric,
                )
                for one in asked
                if not spec.refuses(one)
            ]
    results = []
    with ProgressLines("fits") as progress:
        progress.start("probes", sum(len(task.seeds) * task.fits_a_draw for task in tasks), 0)
        for task, result in zip(tasks, evaluate_all(tasks, out, progress.advance, engine), strict=True):
            if isinstance(result, UsageError):
                raise result
            if isinstance(result, ProbebenchError):
                failures.append(str(result))
                continue
            warn_about(result, task.selection.method == "fixed")
            if result.mean is None:
                failures.append(f"{result.model} on {result.dataset}: a trial failed, so there is no score")
            results.append(result)
        progress.finish()
    if results:
        print_results(results)
        if len(protocols) > 1:
            print_rank_shifts(results, protocols)
        if said := edges(results):
            click.echo(said)
        click.echo(f"results are in {out}")
    raise_all(failures)


def choose_groups(
    registry: "Registry", index: "Index", models: Sequence[str], datasets: Sequence[str], input_size: int | None
) -> tuple[list["FeatureGroup"], list[str]]:
    """Returns the cached extractions asked for, and one line for each thing asked for that is not there."""
    from probebench.registry.load import expand

    names = split_list(models)
    known = {*registry.checkpoints, *(group.model for group in index.groups)}
    wanted = expand("model", names, known, "probebench models list") if names else None
    places = _dataset_names(registry, datasets, {group.dataset for group in index.groups}) if datasets else None
    asked = [
        group
        for group in index.groups
        if (wanted is None or group.model in wanted)
        and (places is None or group.dataset in places)
        and (input_size is None or group.key.preprocessing.size == input_size)
    ]
    problems = [
        text
        for path, text in index.problems.items()
        if (wanted is None or path.parent.parent.name in wanted)
        and (places is None or path.parent.name in {place.replace(":", "-") for place in places})
    ]
    at = f" at {input_size} px" if input_size else ""
    size = f" --input-size {input_size}" if input_size else ""
    # What was named outright, and not by a glob, must be there; None stands for "whatever is cached".
    outright: list[str | None] = [name for name in names if name in known]
    typed_places: list[tuple[str | None, str | None]] = [pair for pair in (places or {}).items() if pair[1]]
    for model in outright or [None]:
        for place, typed in typed_places or [(None, None)]:
            if any(model in (None, group.model) and place in (None, group.dataset) for group in asked):
                continue
            if model or place or not asked + problems:
                what = (f" of {model}" if model else "") + (f" on {typed}" if typed else "") + at
                flags = f" --dataset {typed}" if typed else ""
                problems.append(
                    f"no features{what} are cached in {home() / 'features'}; "
                    f"run: probebench extract --model {model or 'ID'}{flags}{size}"
                )
    groups = [group for group in asked if not group.missing or group.dataset in (places or {})]
    damaged = {(path.parent.parent.name, path.parent.name) for path in index.problems}
    for group in asked:
        # Where a file is damaged, its own line says all that there is to do.
        if group not in groups and (group.model, group.dataset.replace(":", "-")) not in damaged:
            warn(
                f"{group.model} on {group.dataset} lacks the {', '.join(group.missing)} part and is passed over; "
                "extract it again to finish it, or: "
                f"probebench cache remove --model {group.model} --dataset {group.dataset}"
            )
    replaced = {group.setting for group in index.older} & {group.setting for group in groups}
    for model, dataset, *_ in sorted(replaced):
        warn(
            f"{model} on {dataset}: older features (other weights or images) are passed over; "
            "probebench cache remove clears them"
        )
    return groups, problems


def _dataset_names(registry: "Registry", patterns: Sequence[str], cached: set[str]) -> dict[str, str | None]:
    """Returns the ids of the data sets asked for, each with how it was named; None where a glob found it."""
    from probebench.registry.load import expand

    names: dict[str, str | None] = {}
    for pattern in split_list(patterns):
        if _must_be_opened(pattern, cached):
            from probebench.datasets.open import open_dataset

            names[open_dataset(pattern, registry, home() / "datasets").id] = pattern
            continue
        known = {*registry.datasets, *registry.suites, *cached}
        for name in expand("data set", [pattern], known, "probebench datasets list"):
            suite = registry.suites.get(name)
            names.update({one: one if name == pattern else None for one in (suite.datasets if suite else [name])})
    return names


def _must_be_opened(pattern: str, cached: set[str]) -> bool:
    """Whether a name says where a data set lies, and is no id or glob of what is cached."""
    if pattern.startswith("folder:"):
        return Path(pattern.removeprefix("folder:")).expanduser().is_dir()
    return is_source(pattern) and not fnmatch.filter(cached, pattern)
