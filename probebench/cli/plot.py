"""``probebench plot``: figures of results."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.api.report import read_results
from probebench.cli.console import print_json, print_table, warn
from probebench.cli.options import (
    filtered,
    json_option,
    parse_shots,
    registry_folders,
    registry_option,
    results_option,
)
from probebench.errors import UsageError

if TYPE_CHECKING:
    from probebench.results.depth import Sweep

_FORMS = ("png", "svg", "pdf")


@click.group(name="plot")
def command() -> None:
    """Draw results."""


_out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The figure: a .png, .svg or .pdf file.",
)


def _form(out: Path) -> str:
    form = out.suffix.lower().removeprefix(".")
    if form not in _FORMS:
        raise UsageError(f"--out {out}: name a file that ends in .png, .svg or .pdf")
    return form


def _draw(draw: str, out: Path, results: Path, as_json: bool, shots: str | None, **asked: tuple[str, ...]) -> None:
    """Draws the results that were asked for, of one setting, and prints what is drawn."""
    from probebench.files import write_whole
    from probebench.plots import accuracy
    from probebench.results.cells import gather
    from probebench.results.export import tidy_row
    from probebench.results.narrow import narrowed
    from probebench.results.scores import has_score
    from probebench.results.short import on_too_few

    form = _form(out)
    wanted = narrowed(read_results(results), shots=parse_shots(shots) if shots else None, **asked)
    # Scores on other test parts are no points of the same line.
    own = [result for result in wanted if result.test_dataset is None]
    cells = [cell for cell in gather(own) if has_score(cell.result) and not on_too_few(cell.result)]
    if not cells:
        raise UsageError(
            f"no results with a score to draw are in {results}; run probebench eval first, or ask for less"
        )
    settings = list(dict.fromkeys(cell.key.setting for cell in cells))
    if len(settings) > 1:
        told = ", ".join(f"{one.protocol} v{one.version} ({one.mode})" for one in settings[:3])
        raise UsageError(f"results of {len(settings)} settings ({told}) are no one figure; name one by --protocol")
    if (panels := len({cell.key.dataset for cell in cells})) > accuracy.PANELS:
        raise UsageError(f"{panels} data sets are too many to read (at most {accuracy.PANELS}); narrow by --dataset")
    if draw == "scatter" and len({cell.key.shots for cell in cells}) < 2:
        raise UsageError("a scatter of few against many shots takes results at two numbers of shots")
    drawn = {"shots": accuracy.draw_shots, "scaling": accuracy.draw_scaling, "scatter": accuracy.draw_scatter}[draw]
    write_whole(out, drawn(cells, form))
    if as_json:
        print_json([tidy_row(cell.result) for cell in cells])
    else:
        click.echo(f"{len(cells)} results are drawn in {out}")


def _accuracy_command(name: str, help: str) -> None:
    @command.command(name=name, help=help)
    @_out_option
    @filtered
    @results_option
    @json_option
    def draw(out: Path, results: Path, as_json: bool, shots: str | None, **asked: tuple[str, ...]) -> None:
        _draw(name, out, results, as_json, shots, **asked)


_accuracy_command("shots", "Draw accuracy against shots: a panel for each data set, a line for each checkpoint.")
_accuracy_command("scaling", "Draw accuracy against the samples of the pre-training data, a line for each source.")
_accuracy_command("scatter", "Draw accuracy at the fewest shots against that at the most, a point for each checkpoint.")


@command.command(name="confusion")
@click.argument("result")
@_out_option
@results_option
@registry_option
@json_option
def confusion(result: str, out: Path, results: Path, as_json: bool) -> None:
    """Draw which classes a result takes for which; RESULT is its id (probebench results show lists them)."""
    from probebench.api.mistakes import mistakes

    _form(out)
    told = mistakes(result, results=results, registry=registry_folders())
    told.plot(out)
    if as_json:
        print_json(told.confusions().to_dict("records"))
    else:
        click.echo(f"{len(told.class_names)} classes are drawn in {out}")


@command.command(name="depth")
@_out_option
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

    form = _form(out)
    wanted = [result for result in read_results(results) if result.protocol == protocol]
    newest = max((result.protocol_version for result in wanted), default=0)
    if older := sum(result.protocol_version < newest for result in wanted):
        warn(f"{older} results of older versions of {protocol} are left out; this is version {newest}")
        wanted = [result for result in wanted if result.protocol_version == newest]
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
