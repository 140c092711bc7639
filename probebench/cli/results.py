"""``probebench results``: the result files."""

from pathlib import Path

import click

from probebench.api.report import compare, present_versions, read_results
from probebench.cli.console import print_json, print_table
from probebench.cli.options import json_option, out_option
from probebench.cli.tables import print_results, score_text
from probebench.errors import UsageError


@click.group(name="results")
def command() -> None:
    """List, compare, export and import results."""


@command.command(name="compare")
@click.argument("first")
@click.argument("second")
@out_option
@json_option
def compare_results(first: str, second: str, out: Path, as_json: bool) -> None:
    """Compare two checkpoints on the same draws and test images, wherever both have results.

    The difference comes with its 95% interval, and with a p-value that holds for all rows at once (Holm).
    """
    from probebench.results.scores import score_of

    compared = compare(first, second, results=out)
    if as_json:
        print_json(
            [
                {
                    "dataset": pair.first.dataset,
                    "input_sizes": [pair.first.input_size, pair.second.input_size],
                    "layers": [pair.first.checkpoint.layer, pair.second.checkpoint.layer],
                    "protocol": pair.first.protocol,
                    "shots": pair.first.shots,
                    "means": [score_of(pair.first).mean, score_of(pair.second).mean],
                    "difference": pair.comparison.difference,
                    "ci95": pair.comparison.ci95,
                    "p_value": pair.comparison.p_value,
                    "p_holm": pair.holm,
                }
                for pair in compared
            ]
        )
        return
    print_table(
        [("data set", "left"), ("px", "right"), ("layer", "left"), ("protocol", "left"), ("shots", "right")]
        + [(first, "right"), (second, "right"), ("difference [95% interval]", "right"), ("p (Holm)", "right")],
        [
            [
                pair.first.dataset,
                "/".join(dict.fromkeys(str(size or "?") for size in (pair.first.input_size, pair.second.input_size))),
                "/".join(dict.fromkeys((pair.first.checkpoint.layer, pair.second.checkpoint.layer))),
                pair.first.protocol,
                str(pair.first.shots),
                score_text(pair.first, interval=False),
                score_text(pair.second, interval=False),
                f"{100 * pair.comparison.difference:+.1f} "
                f"[{100 * pair.comparison.ci95[0]:+.1f}, {100 * pair.comparison.ci95[1]:+.1f}]",
                f"{pair.holm:.2g}",
            ]
            for pair in compared
        ],
        title="test accuracy in percent, paired over draws and images",
    )


@command.command(name="list")
@out_option
@json_option
def list_results(out: Path, as_json: bool) -> None:
    """List results as a table, or whole as JSON."""
    results = read_results(out)
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    else:
        print_results(results, out, present_versions())


@command.command(name="export")
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "json"]), required=True, help="File format.")
@click.option(
    "--file",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it; standard output otherwise.",
)
@out_option
def export_results(form: str, target: Path | None, out: Path) -> None:
    """Write one tidy table, one row a result, for pandas, R or a spreadsheet."""
    from probebench.files import write_whole
    from probebench.results.export import encode

    results = read_results(out)
    if not results:
        raise UsageError(f"no results in {out}; run probebench eval first, or name another folder with --out")
    if form == "parquet" and target is None:
        raise UsageError("parquet is no text; name a file with --file")
    content = encode(results, form)
    if target is None:
        click.echo(content, nl=False)
    else:
        write_whole(target, content)
        click.echo(f"wrote {len(results)} rows to {target}", err=True)


@command.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--map",
    "map_name",
    required=True,
    metavar="MAP",
    help="What columns and words mean: a TOML file, or entezari2023 (docs/study.md).",
)
@out_option
def import_results(file: Path, map_name: str, out: Path) -> None:
    """Turn a table of published figures into results, one a row and number of shots.

    They are marked as published: never ranked, and never mixed with measured ones.
    """
    from probebench.results.imported import import_table, write_imported
    from probebench.results.mapping import read_map

    results = import_table(file, read_map(map_name))
    write_imported(results, out)
    failed = sum(result.mean is None for result in results)
    models, datasets = ({getattr(result, name) for result in results} for name in ("model", "dataset"))
    click.echo(
        f"wrote {len(results)} published results of {len(models)} checkpoints on {len(datasets)} data sets to {out}"
        + (f"; {failed} of them failed and have no score" if failed else "")
    )
