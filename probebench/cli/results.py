"""``probebench results``: the result files."""

from pathlib import Path
from typing import Any

import click

from probebench.cli.console import print_json, print_table, warn
from probebench.cli.options import json_option, out_option
from probebench.errors import ResultError, UsageError, describe_os_error


@click.group(name="results")
def command() -> None:
    """List results."""


def load_results(out: Path) -> list[Any]:
    """Reads every result under a folder; damaged ones are warned about and passed over."""
    from probebench.results.store import read_result, result_files

    results = []
    for path in result_files(out):
        try:
            results.append(read_result(path))
        except ResultError as error:
            warn(str(error))
        except OSError as error:
            warn(describe_os_error(error))
    return results


def score_text(result: Any) -> str:
    """Returns mean and 95% interval in percent, or "failed"."""
    if result.mean is None:
        return "failed"
    if result.ci95 is None:
        return f"{100 * result.mean:.1f}"
    return f"{100 * result.mean:.1f} [{100 * result.ci95[0]:.1f}, {100 * result.ci95[1]:.1f}]"


def print_results(results: list[Any]) -> None:
    """Prints one row a checkpoint and data set, one column a number of shots."""
    from probebench.leaderboard.board import board_rows, shots_columns
    from probebench.leaderboard.site import shots_label

    rows = board_rows(results)
    shots = shots_columns(rows)
    columns = [("model", "left"), ("data set", "left"), ("px", "right"), ("protocol", "left")]
    print_table(
        columns + [(shots_label(one), "right") for one in shots],
        [
            [row.model, row.dataset, str(row.input_size or "?"), row.protocol]
            + [score_text(row.cells[one]) if one in row.cells else "not run" for one in shots]
            for row in rows
        ],
        title="test accuracy in percent [95% interval]",
    )


@command.command(name="list")
@out_option
@json_option
def list_results(out: Path, as_json: bool) -> None:
    """List results as a table, or whole as JSON."""
    if not out.is_dir():
        raise UsageError(f"results folder {out} does not exist; run probebench eval first, or name one with --out")
    results = load_results(out)
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    else:
        print_results(results)
