"""``probebench submit``: a checkpoint's results, ready for a pull request."""

from pathlib import Path

import click

from probebench.api.session import open_registry
from probebench.cli.console import print_json, warn
from probebench.cli.options import (
    input_size_option,
    json_option,
    layer_option,
    registry_folders,
    registry_option,
    results_option,
)
from probebench.errors import UsageError
from probebench.files import home
from probebench.registry.names import expand_datasets, is_source, split_list


@click.command(name="submit")
@click.option("--model", required=True, help="Checkpoint id.")
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Data sets to cover; repeats, takes suites, comma lists and globs.  [default: the suite offline]",
)
@results_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("leaderboard/submissions"),
    show_default=True,
    help="Folder of submissions.",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    default=("default",),
    show_default=True,
    help="Protocols whose results go in, beside default; repeats, takes comma lists.",
)
@layer_option
@input_size_option
@json_option
@registry_option
def command(
    model: str,
    datasets: tuple[str, ...],
    results: Path,
    out: Path,
    protocols: tuple[str, ...],
    layers: tuple[str, ...],
    input_size: int | None,
    as_json: bool,
) -> None:
    """Gather a checkpoint's entry, results, draws and predictions into OUT/MODEL, and verify them.

    A set is complete with 1, 5 and 10 shots, of five draws or more, and full data under the default protocol on every
    data set, of the layer that stands for the checkpoint; --layer adds others. Everything that is missing, stale or
    damaged is listed, each with the command that mends it.
    """
    from probebench.leaderboard.rules import SUITE
    from probebench.leaderboard.submit import SubmissionRequest, submit
    from probebench.registry.layers import check_patterns

    if own := [name for name in split_list(datasets) if is_source(name)]:
        raise UsageError(
            f"{own[0]} is a data set of your own: nobody else could compute its results again, so it stays off the "
            f"public board. For one of your own: probebench leaderboard build --results {results} --out board. A set "
            "that others have too takes an entry (docs/datasets.md)"
        )
    registry = open_registry(registry_folders())
    entry = registry.checkpoint(model)
    names = tuple(split_list(protocols))
    covered = tuple(registry.dataset(name).id for name in expand_datasets(registry, datasets or (SUITE,)))
    asked = SubmissionRequest(entry, covered, names, input_size, tuple(check_patterns(layers)))
    folder, gathered = submit(asked, results, out, registry, home() / "datasets")
    if as_json:
        told = {"notes": list(gathered.notes), "problems": list(gathered.problems)}
        print_json({"folder": folder, "results": len(gathered.results), **told})
        raise click.exceptions.Exit(int(folder is None))
    for note in gathered.notes:
        warn(note)
    for problem in gathered.problems:
        click.echo(f"error: {problem}", err=True)
    if folder is None:
        click.echo("nothing was written", err=True)
        raise click.exceptions.Exit(1)
    click.echo(f"{folder}: {len(gathered.results)} results, complete and verified")
    click.echo(f"next: git add {folder}, commit, and open a pull request")
