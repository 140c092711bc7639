"""Results as the command line shows them."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from probebench.cli.console import print_table, warn
from probebench.errors import ResultError, UsageError, describe_os_error


def load_results(out: Path) -> list[Any]:
    """Reads every result under a folder; damaged ones are warned about and passed over."""
    return [result for _, result in load_stored(out)]


def load_stored(out: Path) -> list[tuple[Path, Any]]:
    """Reads every result under a folder, with its file; damaged ones are warned about and passed over.

    Raises:
        UsageError: There is no such folder.
    """
    from probebench.results.store import read_result, result_files

    if not out.is_dir():
        raise UsageError(f"results folder {out} does not exist; run probebench eval first, or name it")
    results = []
    for path in result_files(out):
        try:
            results.append((path, read_result(path)))
        except ResultError as error:
            warn(str(error))
        except OSError as error:
            warn(describe_os_error(error))
    return results


def score_text(result: Any, out: Path | None = None, *, interval: bool = True) -> str:
    """Returns recomputed mean and 95% interval in percent, or "failed".

    Of a result with more draws than count, the interval takes the predictions, which lie below ``out``.
    """
    from probebench.results.scores import counted_trials, score_of
    from probebench.results.store import beside_file, read_predictions

    predictions = None
    if out is not None and len(counted_trials(result)) < len(result.trials):
        with contextlib.suppress(ResultError, OSError):
            predictions = read_predictions(beside_file(out, result), result)
    score = score_of(result, predictions)
    if score.mean is None:
        return "failed"
    ends = f" [{100 * score.ci95[0]:.1f}, {100 * score.ci95[1]:.1f}]" if score.ci95 and interval else ""
    return f"{100 * score.mean:.1f}{ends}"


def print_results(results: Sequence[Any], out: Path) -> None:
    """Prints one row a checkpoint, data set and setting, one column a number of shots; and what is beside it.

    Args:
        results: All of them.
        out: The folder that holds them.
    """
    from probebench.leaderboard.board import board_rows, shots_columns
    from probebench.results.cells import beside, entrant_names, gather, shots_text

    cells = gather(results)
    rows = board_rows(cells)
    shots, names = shots_columns(rows), entrant_names(row.entrant for row in rows)
    columns = [("model", "left"), ("data set", "left"), ("px", "right"), ("protocol", "left")]
    print_table(
        columns + [(shots_text(one), "right") for one in shots],
        [
            [names[row.entrant], row.dataset.name, str(row.entrant.input_size or "?")]
            + [f"{row.setting.protocol} v{row.setting.version}{_mode(row.setting)}"]
            + [score_text(row.cells[one].result, out) if one in row.cells else "not run" for one in shots]
            for row in rows
        ],
        title="test accuracy in percent [95% interval]",
    )
    for line in beside(cells):
        click.echo(line)


def _mode(setting: Any) -> str:
    """Returns the mode where it says more than the kind, as "lp-ft" does of a fine-tune."""
    from probebench.registry.probes import PLAIN_MODES

    return "" if setting.mode in {*PLAIN_MODES, setting.kind, "full"} else f" ({setting.mode})"


def print_rank_shifts(results: list[Any], protocols: Sequence[str]) -> None:
    """Prints each checkpoint's rank under each protocol, where two checkpoints or more have scores under all."""
    from probebench.results.compare import rank_shifts

    shifts = rank_shifts(results, protocols)
    if not shifts:
        return
    rows = []
    for shift in shifts:
        for model, ranks in sorted(shift.ranks.items(), key=lambda item: item[1]):
            moves = [ranks[0] - rank for rank in ranks[1:]]
            cells = [f"{rank} ({move:+d})" if move else str(rank) for rank, move in zip(ranks[1:], moves, strict=True)]
            rows.append([shift.dataset, str(shift.shots), model, str(ranks[0]), *cells])
        taus = [f"tau {tau:+.2f}" if tau is not None else "" for tau in shift.tau]
        rows.append([shift.dataset, str(shift.shots), "Kendall's tau with the first", "", *taus])
    print_table(
        [("data set", "left"), ("shots", "right"), ("model", "left")] + [(name, "right") for name in protocols],
        rows,
        title="rank of each checkpoint under each protocol (places won or lost against the first)",
    )
