"""``probebench results``: the result files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from probebench.api.report import compare, present_versions, read_results
from probebench.cli.console import print_json, print_table, raise_all
from probebench.cli.options import filtered, json_option, out_option, parse_shots
from probebench.cli.show import gallery, show
from probebench.cli.tables import print_results, score_text
from probebench.errors import UsageError

if TYPE_CHECKING:
    from probebench.results.schema import Result


@click.group(name="results")
def command() -> None:
    """List, show, compare, export, import and pack results."""


command.add_command(show)
command.add_command(gallery)


@command.command(name="compare")
@click.argument("first")
@click.argument("second")
@out_option
@json_option
def compare_results(first: str, second: str, out: Path, as_json: bool) -> None:
    """Compare two checkpoints on the same draws and test images, wherever both have results.

    The difference comes with its 95% interval, and with a p-value that holds for all rows at once (Holm).
    """
    from probebench.results.cells import dataset_text
    from probebench.results.scores import score_of

    compared = compare(first, second, results=out)
    if as_json:
        print_json(
            [
                {
                    "dataset": dataset_text(pair.first),
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
                dataset_text(pair.first),
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
@filtered
@out_option
@json_option
def list_results(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    protocols: tuple[str, ...],
    shots: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """List results as a table, or whole as JSON."""
    results = _some(read_results(out), models, datasets, protocols, shots)
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    else:
        print_results(results, out, present_versions())


def _some(
    results: "Sequence[Result]",
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    protocols: tuple[str, ...],
    shots: str | None,
) -> "list[Result]":
    from probebench.results.narrow import narrowed

    wanted = parse_shots(shots) if shots else None
    return narrowed(results, models=models, datasets=datasets, protocols=protocols, shots=wanted)


@command.command(name="export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet", "json", "latex", "markdown"]),
    required=True,
    help="csv, parquet, json: one row a result; latex, markdown: data sets and shots across, for a paper.",
)
@click.option(
    "--file",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it; standard output otherwise.",
)
@click.option("--intervals", is_flag=True, help="Of latex and markdown: 95% intervals too.")
@filtered
@out_option
def export_results(
    form: str,
    target: Path | None,
    intervals: bool,
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    protocols: tuple[str, ...],
    shots: str | None,
    out: Path,
) -> None:
    """Write results as one tidy table for pandas, R or a spreadsheet, or as tables for a paper.

    Tables for a paper mark the best of each column, and whatever cannot be told from it on the same draws and images.
    """
    from probebench.files import write_whole

    results = _some(read_results(out), models, datasets, protocols, shots)
    if not results:
        raise UsageError(f"no results in {out}; run probebench eval first, or name another folder with --out")
    if form == "parquet" and target is None:
        raise UsageError("parquet is no text; name a file with --file")
    content = _paper(results, form, intervals, out) if form in ("latex", "markdown") else _tidy(results, form)
    if target is None:
        click.echo(content, nl=False)
    else:
        write_whole(target, content)
        click.echo(f"wrote {len(results)} results to {target}", err=True)


def _tidy(results: "Sequence[Result]", form: str) -> bytes:
    from probebench.results.export import encode

    return encode(results, form)


def _paper(results: "Sequence[Result]", form: str, intervals: bool, out: Path) -> str:
    from probebench.results.paper import latex, markdown, tables
    from probebench.results.store import beside_file, read_predictions

    found = tables(results, lambda result: read_predictions(beside_file(out, result), result))
    return latex(found, intervals=intervals) if form == "latex" else markdown(found, intervals=intervals)


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
@json_option
def import_results(file: Path, map_name: str, out: Path, as_json: bool) -> None:
    """Turn a table of published figures into results, one a row and number of shots.

    They are marked as published: never ranked, and never mixed with measured ones.
    """
    from probebench.results.imported import import_table, write_imported
    from probebench.results.mapping import read_map

    results = import_table(file, read_map(map_name))
    write_imported(results, out)
    failed = sum(result.mean is None for result in results)
    models, datasets = ({getattr(result, name) for result in results} for name in ("model", "dataset"))
    if as_json:
        counts = {"results": len(results), "checkpoints": len(models), "datasets": len(datasets), "failed": failed}
        print_json({"out": out, **counts})
        return
    click.echo(
        f"wrote {len(results)} published results of {len(models)} checkpoints on {len(datasets)} data sets to {out}"
        + (f"; {failed} of them failed and have no score" if failed else "")
    )


@command.command(name="pack")
@out_option
@click.option(
    "--without-probabilities",
    is_flag=True,
    help="Drop those of each test image, with log-loss and calibration: a thirtieth of the size.",
)
@json_option
def pack(out: Path, without_probabilities: bool, as_json: bool) -> None:
    """Pack the runs of each checkpoint on each data set into one small file.

    Every command reads packs as it reads the files that were there. Packing again takes in what came since.
    """
    from probebench.results.store import pack_results

    if not out.is_dir():
        raise UsageError(f"results folder {out} does not exist; --out names it")
    stayed, packed = [], 0
    for folder, why in pack_results(out, probabilities=not without_probabilities):
        packed += why is None
        stayed += [f"{folder} stays as it is: {why}"] if why else []
    if as_json:
        print_json({"packed": packed, "stayed": stayed})
    else:
        click.echo(f"{packed} folders packed")
    raise_all(stayed)
