"""``probebench run``: an experiment that a file declares."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.api.experiment import run_experiment
from probebench.cli.console import EpochLines, done_of, print_json, print_table, raise_all, warn
from probebench.cli.options import engine_option, json_option, out_option, registry_folders, registry_option
from probebench.cli.tables import print_results
from probebench.errors import UsageError
from probebench.files import bytes_text, free_space, home
from probebench.results.cells import counted

if TYPE_CHECKING:
    from probebench.api.planned import PlannedPair

_folder = click.Path(path_type=Path, file_okay=False)


@click.command(name="run")
@click.argument("experiment", required=False, metavar="[ID|EXPERIMENT.toml]")
@click.option("--quick", is_flag=True, help="The experiment's small version, which its table quick says.")
@click.option("--shard", metavar="I/N", help="Only the I-th of N parts, counted from 1, such as one of a job array.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes that share the cores, a checkpoint at a time; by default as the recipes' threads leave room.",
)
@engine_option
@click.option("--dry-run", is_flag=True, help="Say what is missing in images, disk space and fits, and stop.")
@click.option("--print", "declare", is_flag=True, help="Write what is cached as an experiment file, and stop.")
@out_option
@click.option("--study", type=_folder, default=Path("study"), show_default=True, help="Folder of the study's report.")
@click.option("--site", type=_folder, default=Path("site"), show_default=True, help="Folder of the page.")
@json_option
@registry_option
def command(
    experiment: str | None,
    quick: bool,
    shard: str | None,
    jobs: int | None,
    engine: Any,
    dry_run: bool,
    declare: bool,
    out: Path,
    study: Path,
    site: Path,
    as_json: bool,
) -> None:
    """Do what is missing of an experiment, and end in a table, the study and the leaderboard's page.

    The file declares checkpoints, data sets and what is asked of each pair (docs/experiments.md). A second call finds
    what is done and goes on; what fails is listed at the end and stops nothing else.
    """
    if declare:
        if experiment is not None or quick or shard or dry_run:
            raise UsageError("--print takes no experiment: it writes one, of what is cached")
        _print_cached(out, as_json=as_json)
        return
    if experiment is None:
        raise UsageError("name an experiment, by its id or its .toml file; --print writes one of what is cached")
    if dry_run:
        _print_plan(experiment, quick, shard, out, as_json=as_json)
        return
    outcome, failures = done_of(
        lambda: run_experiment(
            experiment,
            quick=quick,
            shard=shard,
            jobs=jobs,
            engine=engine,
            registry=registry_folders(),
            out=out,
            study=study,
            site=site,
            progress=EpochLines,
        )
    )
    if as_json:
        said = {name: getattr(outcome, name) for name in ("pretrained", "extracted", "computed", "study", "page")}
        print_json({**said, "results": [one.model_dump(mode="json") for one in outcome.results], "problems": failures})
    else:
        if shard is None and outcome.results:
            print_results(outcome.results, out)
        if outcome.pretrained:
            click.echo(f"{counted(outcome.pretrained, 'checkpoint')} made")
        if not (outcome.pretrained or outcome.extracted or outcome.computed or failures):
            click.echo(f"nothing to do: all features and {counted(len(outcome.results), 'result')} were there")
        else:
            there = len(outcome.results) - outcome.computed
            click.echo(
                f"features of {counted(outcome.extracted, 'pair')} extracted; "
                f"{counted(outcome.computed, 'result')} computed, {there} were there"
            )
        if shard is not None:
            click.echo(
                f"part {shard} only; once all are done, the table, the study and the page: probebench run {experiment}"
            )
        for place in (outcome.study, outcome.page):
            if place is not None:
                click.echo(f"wrote {place}; open it in a browser")
    raise_all(failures)


def _print_cached(out: Path, *, as_json: bool) -> None:
    from probebench.api.cached_experiment import cached_experiment
    from probebench.registry.write import experiment_text

    spec, left = cached_experiment(registry=registry_folders(), out=out)
    for line in left:
        warn(line)
    if as_json:
        print_json(spec.model_dump(mode="json", exclude_defaults=True))
    else:
        click.echo(experiment_text(spec), nl=False)


def _print_plan(experiment: str, quick: bool, shard: str | None, out: Path, *, as_json: bool) -> None:
    from probebench.api.planned import plan_experiment

    plan = plan_experiment(experiment, quick=quick, shard=shard, registry=registry_folders(), out=out)
    pairs, problems = plan.pairs, plan.problems
    missing = [one for one in pairs if not one.cached]
    said = {
        "pretrainings": len(plan.made),
        "images": sum(sum(one.images.values()) for one in missing),
        "bytes": sum(one.bytes for one in pairs),
        "free_bytes": free_space(home()),
        "fits": sum(one.fits for one in pairs),
        "trainings": sum(one.trainings for one in pairs),
    }
    if as_json:
        print_json(
            {**said, "pairs": [dataclasses.asdict(one) for one in pairs], "problems": [str(one) for one in problems]}
        )
    else:
        _tell_plan(pairs)
        for asked in plan.made:
            click.echo(asked.command)
        made = f"{counted(len(plan.made), 'checkpoint')} to pre-train; " if plan.made else ""
        trained = f", {said['trainings']:,} trainings of whole networks" if said["trainings"] else ""
        click.echo(
            f"{made}{counted(len(pairs), 'pair')}, {len(pairs) - len(missing)} cached: "
            f"{said['images']:,} images to extract, "
            f"{bytes_text(said['bytes'])} of features in fp32 (half on a GPU that has bf16; "
            f"{bytes_text(said['free_bytes'])} free), {said['fits']:,} fits of probes{trained}"
        )
    raise_all([str(one) for one in problems])


def _tell_plan(pairs: "list[PlannedPair]") -> None:
    columns = [("model", "left"), ("data set", "left"), ("px", "right"), ("images", "left"), ("features", "right")]
    columns += [("MB", "right"), ("fits", "right"), ("trainings", "right")]
    print_table(
        columns,
        [
            [
                one.model,
                one.dataset,
                str(one.input_size),
                " + ".join(f"{count} {split}" for split, count in one.images.items()),
                " + ".join(map(str, one.layers.values())),
                "cached" if one.cached else f"{one.bytes / 1e6:.1f}",
                str(one.fits),
                str(one.trainings),
            ]
            for one in pairs
        ],
    )
