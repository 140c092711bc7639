"""Results as the command line shows them."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from probebench.cli.console import print_table
from probebench.errors import ResultError


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


def print_results(results: Sequence[Any], out: Path, versions: Mapping[str, int] | None = None) -> None:
    """Prints one row a checkpoint, data set and setting, one column a number of shots; and what is beside it.

    Args:
        results: All of them.
        out: The folder that holds them.
        versions: The present version of each protocol, where some results may be of older ones.
    """
    from probebench.leaderboard.board import board_rows, shots_columns
    from probebench.results.cells import beside, entrant_names, gather, shots_text
    from probebench.results.short import lacks_images

    cells = gather(results)
    rows = board_rows(cells)
    shots, names = shots_columns(rows), entrant_names(row.entrant for row in rows)
    columns = [("model", "left"), ("data set", "left"), ("px", "right"), ("protocol", "left"), ("mode", "left")]
    facts = {name: [read(row) for row in rows] for name, read in _APART.items()}
    # Only what sets rows apart.
    told = {name: values for name, values in facts.items() if len(set(values)) > 1}
    owners: dict[str, Callable[[Any], str]] = {
        "images": lambda row: row.dataset.name,
        "weights": lambda row: row.entrant.model,
    }
    for name, owner in owners.items():
        if len({(owner(row), value) for row, value in zip(rows, facts[name], strict=True)}) == len(
            set(map(owner, rows))
        ):
            told.pop(name, None)
    print_table(
        [*columns, *((name, "left") for name in told), *((shots_text(one), "right") for one in shots)],
        [
            [names[row.entrant], row.dataset.name, str(row.entrant.input_size or "?")]
            + [f"{row.setting.protocol} v{row.setting.version}", row.setting.mode]
            + [values[place] for values in told.values()]
            + [_score_or_mark(row.cells[one].result, out) if one in row.cells else "not run" for one in shots]
            for place, row in enumerate(rows)
        ],
        title="test accuracy in percent [95% interval]",
    )
    if any(lacks_images(cell.result) for cell in cells):
        click.echo("* fewer than half of the classes have so many images: never ranked")
    for line in beside(cells, versions or {}):
        click.echo(line)


def print_result(result: Any, out: Path, classes: Sequence[Mapping[str, Any]] = ()) -> None:
    """Prints one result, a fact a line, and then what there is of each class."""
    from probebench.registry.probes import LABELS
    from probebench.results.cells import shots_text

    ranked = result.retrieval.model_dump() if result.retrieval else {}
    facts = {
        "model": f"{result.model}, {result.checkpoint.layer}, {result.input_size or '?'} px",
        "data set": f"{result.dataset}, {result.n_test or '?'} test images",
        "kind": f"{LABELS[result.kind]} ({result.mode})",
        "protocol": f"{result.protocol} v{result.protocol_version}",
        "shots": f"{shots_text(result.shots)}, {result.labels_spent or 0} labels, draws: {len(result.trials)}",
        "selected on": result.selection,
        result.metric: f"{score_text(result, out)} percent",
        **{name.replace("_", " "): f"{100 * value:.1f} percent" for name, value in ranked.items()},
    }
    print_table([("", "left"), ("", "left")], [list(fact) for fact in facts.items()])
    if classes:
        print_table(
            [(name.replace("_", " "), "right") for name in classes[0]],
            [[f"{100 * value:.1f}" if isinstance(value, float) else str(value) for value in one.values()]
             for one in classes],
            title="by class, in percent",
        )  # fmt: skip
    for trial in result.trials:
        if trial.error:
            click.echo(f"draw {trial.draw_seed} failed: {trial.error}")


def _score_or_mark(result: Any, out: Path) -> str:
    from probebench.results.short import lacks_images

    return score_text(result, out) + ("*" if lacks_images(result) else "")


# What else two rows may differ in, beside what every table shows.
_APART: dict[str, Callable[[Any], str]] = {
    "kind": lambda row: row.setting.kind,
    "layer": lambda row: row.entrant.layer,
    "dtype": lambda row: row.entrant.dtype or "?",
    "metric": lambda row: next(iter(row.cells.values())).key.metric,
    "images": lambda row: (row.dataset.fingerprint or "?")[:8],
    "weights": lambda row: (row.entrant.weights_digest or "?")[:8],
    "provenance": lambda row: row.entrant.provenance,
}


def print_rank_shifts(results: Sequence[Any], protocols: Sequence[str]) -> None:
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


def edges(results: Sequence[Any]) -> str | None:
    """Says how many choices lie at the end of what was tried, widened grids included; None where none does."""
    trials = [trial for result in results for trial in result.trials if trial.selection == "validation"]
    ends = sum(
        trial.tried is not None
        and trial.tried[0] != trial.tried[1]
        and any(value in trial.tried for name, value in trial.chosen.items() if name != "learning_rate")
        for trial in trials
    )
    if not ends:
        return None
    return f"{ends} of {len(trials)} choices are the smallest or largest value that was tried (on_edge in the results)"


def print_claims(study: Any) -> None:
    """Prints the leading claims of a study, and what could not be asked."""
    from probebench.results.cells import counted
    from probebench.study.report import HEADINGS, refusals

    for asked in study.asked:
        click.echo(f"{HEADINGS[asked.provenance]}: {counted(asked.results, 'result')}, {counted(asked.cells, 'score')}")
        leading = [claim for claim in study.leading if claim.track.provenance == asked.provenance]
        for claim in leading:
            if claim.estimate:
                level = f" ({claim.level})" if claim.level else ""
                click.echo(f"- {claim.verdict}: {claim.question}{level}\n  {claim.sentence}")
        if lacking := refusals(leading):
            told = "; ".join(f"{names} (it takes {missing})" for missing, names in lacking)
            click.echo(f"- cannot be asked of these results: {told}")
        for line in asked.beside:
            click.echo(f"- {line}")
        dropped = sum(one.provenance == asked.provenance for one in study.dropped)
        if dropped:
            click.echo(f"- {counted(dropped, 'line')} on what took no part, and why: see the report")
