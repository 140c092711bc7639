"""``probebench plot``: figures of results."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.api.report import read_results
from probebench.cli.console import print_json, print_table
from probebench.cli.options import json_option, parse_shots, results_option
from probebench.errors import UsageError

if TYPE_CHECKING:
    from probebench.results.depth import Sweep

_FORMS = ("png", "svg", "pdf")


@click.group(name="plot")
def command() -> None:
    """Draw results."""


@command.command(name="depth")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The figure: a .png, .svg or .pdf file.",
)
@click.option("--model", "models", multiple=True, help="Checkpoint id; repeats, takes comma lists and globs.")
@click.option("--dataset", "datasets", multiple=True, help="Data set id; repeats, takes comma lists and globs.")
@click.option("--shots", default=None, help="Labelled images a class, such as 5,full.  [default: all that there are]")
@click.option("--protocol", default="default", show_default=True, help="Protocol id.")
@results_option
@json_option
def depth(
    out: Path,
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    shots: str | None,
    protocol: str,
    results: Path,
    as_json: bool,
) -> None:
    """Draw accuracy against depth, and print it: each intermediate block that was evaluated, beside the other layers.

    extract --layer 'block:*,pooled' and eval make the results.
    """
    from probebench.files import write_whole
    from probebench.plots.depth import PANELS, draw_depth
    from probebench.registry.names import expand
    from probebench.results.depth import narrowed, sweeps

    form = out.suffix.lower().removeprefix(".")
    if form not in _FORMS:
        raise UsageError(f"--out {out}: name a file that ends in .png, .svg or .pdf")
    wanted = [result for result in read_results(results) if result.protocol == protocol]
    for kind, patterns, field in (("model", models, "model"), ("data set", datasets, "dataset")):
        known = {getattr(result, field) for result in wanted}
        names = expand(kind, patterns, known, "probebench results list") if patterns else known
        wanted = [result for result in wanted if getattr(result, field) in names]
    found = narrowed(sweeps(wanted), parse_shots(shots) if shots else None)
    if not found:
        raise UsageError(
            f"no results on intermediate blocks under protocol {protocol} are in {results}; make some: "
            "probebench extract --model ID --dataset ID --layer 'block:*,pooled', then probebench eval"
        )
    if len(found) > PANELS:
        raise UsageError(
            f"{len(found)} panels are too many to read (at most {PANELS}); narrow them by --model, --dataset"
        )
    write_whole(out, draw_depth(found, form))
    if as_json:
        print_json([row for sweep in found for row in _rows(sweep)])
        return
    _print(found)
    click.echo(f"the figure is in {out}")


def _rows(sweep: "Sweep") -> "list[dict[str, Any]]":
    return [
        {
            "model": sweep.entrant.model,
            "dataset": sweep.dataset.name,
            "input_size": sweep.entrant.input_size,
            "dtype": sweep.entrant.dtype,
            "protocol": sweep.setting.protocol,
            "shots": shots,
            "layer": one.layer,
            "block": one.block[0] if one.block else None,
            "features": one.width,
            "mean": one.mean,
            "ci95": one.ci95,
        }
        for shots in sweep.shots
        for one in sweep.scores[shots]
    ]


def _print(found: "list[Sweep]") -> None:
    from probebench.results.cells import in_order, shots_text

    columns = in_order(shots for sweep in found for shots in sweep.shots)
    rows = []
    for sweep in found:
        for layer in sweep.layers:
            held = {shots: one for shots in sweep.shots for one in sweep.scores[shots] if one.layer == layer}
            width = next((str(one.width or "?") for one in held.values()), "?")
            row = [sweep.name, sweep.dataset.name, str(sweep.entrant.input_size or "?"), layer, width]
            rows.append(row + [_score(held.get(shots)) for shots in columns])
    print_table(
        [("model", "left"), ("data set", "left"), ("px", "right"), ("layer", "left"), ("features", "right")]
        + [(shots_text(one), "right") for one in columns],
        rows,
        title="test accuracy in percent [95% interval]",
    )


def _score(one: Any) -> str:
    if one is None:
        return "not run"
    ends = f" [{100 * one.ci95[0]:.1f}, {100 * one.ci95[1]:.1f}]" if one.ci95 else ""
    return f"{100 * one.mean:.1f}{ends}"
