"""``probebench leaderboard``: verify what is submitted, and build the page."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.api.report import build_leaderboard
from probebench.api.session import open_registry
from probebench.cli.console import print_json
from probebench.cli.options import json_option, registry_folders, registry_option, results_folders_option
from probebench.errors import UsageError
from probebench.files import home
from probebench.leaderboard.rules import board_of, require_board
from probebench.registry.names import expand, split_list

if TYPE_CHECKING:
    from probebench.leaderboard.reproduce import Rerun
    from probebench.leaderboard.verify import Verified


@click.group(name="leaderboard")
def command() -> None:
    """Verify submissions, and build the leaderboard page from results."""


def page_options(function: Any) -> Any:
    """Adds the options of every command that builds the page."""
    out = click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("site"),
        show_default=True,
        help="Folder of the page.",
    )
    return results_folders_option(out(registry_option(function)))


@command.command()
@page_options
@json_option
def build(folders: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Write the page: one file with table, plots and cards; open it from disk, no network needed."""
    page = build_leaderboard(folders, out=out, registry=registry_folders())
    if as_json:
        print_json({"page": page})
    else:
        click.echo(f"wrote {page}; open it in a browser")


@command.command()
@page_options
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
def serve(folders: tuple[Path, ...], out: Path, port: int) -> None:
    """Write the page and show it to this machine's browsers until Ctrl-C."""
    from probebench.leaderboard.serve import server

    build_leaderboard(folders, out=out, registry=registry_folders())
    with server(out, port) as running:
        click.echo(f"http://127.0.0.1:{running.server_port}/ shows {out}; stop with Ctrl-C")
        running.serve_forever()


@command.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("leaderboard"))
@click.option("--base", metavar="REF", help="Fail whatever differs from this commit outside one submission.")
@click.option(
    "--reproduce", "count", type=click.IntRange(0), default=0, metavar="N", help="Run N random cells from the weights."
)
@click.option("--model", multiple=True, metavar="ID", help="Ids and globs: N cells of each of these checkpoints.")
@click.option("--seed", metavar="TEXT", help="Chooses them, and draws: what nobody could know before, such as news.")
@click.option("--write", is_flag=True, help="Write what was run again into PATH's reproductions/.")
@registry_option
@json_option
def verify(
    path: Path, base: str | None, count: int, model: tuple[str, ...], seed: str | None, write: bool, as_json: bool
) -> None:
    """Compute again every score, mean, interval, digest and draw under PATH, and list all that is wrong.

    PATH is a leaderboard, its submissions/ or results/, or one submission.  [default: leaderboard]

    What needs data or weights that are not on this machine is listed apart, as not checked here. A cell is run again in
    a process without network and with limits of memory and time. It must come within 0.2 points (1 point in half
    precision, 3 points for the one trial of a fine-tune) or two test images of its mean, and in the recorded setting
    give the same predictions. Few-shot probes are run on two further draws, which may not be far worse.
    """
    # Told before the entries are read.
    require_board(path)
    from probebench.leaderboard.verify import verify as verify_all

    if count and not (seed and seed.strip()):
        raise UsageError("--reproduce takes --seed TEXT: name something that did not exist when the results were made")
    if write and not count:
        raise UsageError("--write takes --reproduce N --seed TEXT")
    if model and not count:
        raise UsageError("--model takes --reproduce N --seed TEXT")
    verified = verify_all(path, open_registry(registry_folders()), home() / "datasets", base)
    board = board_of(path) if write else None
    reruns = _reproduce(verified, count, seed, board, _named(verified, model)) if count and seed else []
    if as_json:
        print_json(_as_json(verified, reruns))
    else:
        _print(verified, reruns)
    if not verified.ok:
        raise click.exceptions.Exit(1)


def _named(verified: "Verified", patterns: tuple[str, ...]) -> list[str]:
    """Returns the checkpoints of results that ids and globs name."""
    known = dict.fromkeys(one.result.model for one in verified.entered)
    return expand("model", split_list(patterns), known, "probebench results list") if patterns else []


def _reproduce(verified: "Verified", count: int, seed: str, board: Path | None, models: list[str]) -> "list[Rerun]":
    """Runs cells again, adds what is wrong to the failures, and writes reproductions where a board takes them."""
    from probebench.leaderboard.reproduce import clean_clone, reproduce, write_reproductions

    # Told before hours are spent.
    author = clean_clone() if board is not None else None
    reruns = []
    for rerun in reproduce(verified, count, seed, home(), lambda line: click.echo(line, err=True), models):
        reruns.append(rerun)
        if rerun.fault:
            verified.findings.fail(rerun.entered.path, rerun.fault)
    if board is not None and author is not None:
        for file, said in write_reproductions(verified, reruns, seed, author, board):
            click.echo(f"wrote {file}: {said}" if file else f"not written: {said}", err=True)
    return reruns


def _print(verified: "Verified", reruns: "list[Rerun]") -> None:
    from probebench.leaderboard.findings import in_short

    findings = verified.findings
    for line in in_short(findings.notes):
        click.echo(f"note: {line}")
    for line in in_short(findings.unchecked):
        click.echo(f"not checked here: {line}")
    for rerun in reruns:
        name = "/".join(rerun.entered.path.parts[-3:])
        if rerun.why_not:
            click.echo(f"not reproducible here: {name}: {rerun.why_not}")
        elif not rerun.fault:
            assert rerun.cell is not None
            differs, what = rerun.cell.differs, "mean" if rerun.cell.trial is None else f"trial {rerun.cell.trial}"
            how = f"in another setting ({'; '.join(differs)})" if differs else "in the recorded setting"
            fresh = ", ".join(f"{one.score:.4f}" for one in rerun.cell.fresh)
            more = f"; further draws {fresh}" if fresh else ""
            click.echo(
                f"reproduced: {name}: {what} {rerun.cell.found:.4f}, {rerun.cell.moved} predictions moved, {how}{more}"
            )
    for one in findings.failures:
        click.echo(f"error: {one}", err=True)
    files = f"{verified.submissions} submissions"
    files += f", {verified.reproductions} reproductions" if verified.reproductions else ""
    again = f", {sum(rerun.cell is not None for rerun in reruns)} run again" if reruns else ""
    click.echo(
        f"{len(verified.entered)} results ({files}), {verified.scored} scored again{again}: "
        f"{len(findings.failures)} failures, {len(findings.unchecked)} not checked here, {len(findings.notes)} notes"
    )


def _as_json(verified: "Verified", reruns: "list[Rerun]") -> dict[str, Any]:
    findings = verified.findings
    lists = {"failures": findings.failures, "not_checked": findings.unchecked, "notes": findings.notes}
    return {
        "ok": verified.ok,
        "results": len(verified.entered),
        "submissions": verified.submissions,
        "reproductions": verified.reproductions,
        "scored": verified.scored,
        **{name: [{"file": one.file, "what": one.what} for one in found] for name, found in lists.items()},
        "reruns": [
            {
                "file": "/".join(rerun.entered.path.parts[-3:]),
                "recorded_mean": rerun.entered.result.mean,
                **({} if rerun.cell is None else rerun.cell.model_dump(mode="json")),
                "fault": rerun.fault,
                "not_reproducible": rerun.why_not,
            }
            for rerun in reruns
        ],
    }
