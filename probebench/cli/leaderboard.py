"""``probebench leaderboard``: verify what is submitted, and build the page."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.api.report import build_leaderboard
from probebench.api.session import open_registry
from probebench.cli.console import print_json
from probebench.cli.options import json_option, registry_folders, registry_option, results_folders_option
from probebench.files import home

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
def build(folders: tuple[Path, ...], out: Path) -> None:
    """Write the page: one file with table, plots and cards; open it from disk, no network needed."""
    click.echo(f"wrote {build_leaderboard(folders, out=out, registry=registry_folders())}; open it in a browser")


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
@click.option(
    "--reproduce", "count", type=click.IntRange(0), default=0, metavar="N", help="Run N random cells from the weights."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Names the choice of these cells.")
@registry_option
@json_option
def verify(path: Path, count: int, seed: int, as_json: bool) -> None:
    """Compute again every score, mean, interval, digest and draw under PATH, and list all that is wrong.

    PATH is a leaderboard, its submissions/ or results/, or one submission.  [default: leaderboard]

    What needs data or weights that are not on this machine is listed apart, as not checked here. A cell that is run
    again must come within 0.2 points (1 point in half precision) or two test images of its mean, and in the recorded
    setting give the same predictions.
    """
    from probebench.leaderboard.reproduce import reproduce
    from probebench.leaderboard.verify import verify as verify_all

    verified = verify_all(path, open_registry(registry_folders()), home() / "datasets")
    reruns = []
    for rerun in reproduce(verified, count, seed, home(), lambda line: click.echo(line, err=True)):
        reruns.append(rerun)
        if rerun.fault:
            verified.findings.fail(rerun.entered.path, rerun.fault)
    if as_json:
        print_json(_as_json(verified, reruns))
    else:
        _print(verified, reruns)
    if not verified.ok:
        raise click.exceptions.Exit(1)


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
            how = f"in another setting ({'; '.join(rerun.differs)})" if rerun.differs else "in the recorded setting"
            click.echo(f"reproduced: {name}: mean {rerun.mean:.4f}, {rerun.moved} predictions moved, {how}")
    for one in findings.failures:
        click.echo(f"error: {one}", err=True)
    again = f", {sum(rerun.mean is not None for rerun in reruns)} run again" if reruns else ""
    click.echo(
        f"{len(verified.entered)} results ({verified.submissions} submissions), {verified.scored} scored again{again}: "
        f"{len(findings.failures)} failures, {len(findings.unchecked)} not checked here, {len(findings.notes)} notes"
    )


def _as_json(verified: "Verified", reruns: "list[Rerun]") -> dict[str, Any]:
    findings = verified.findings
    lists = {"failures": findings.failures, "not_checked": findings.unchecked, "notes": findings.notes}
    return {
        "ok": verified.ok,
        "results": len(verified.entered),
        "submissions": verified.submissions,
        "scored": verified.scored,
        **{name: [{"file": one.file, "what": one.what} for one in found] for name, found in lists.items()},
        "reruns": [
            {
                "file": "/".join(rerun.entered.path.parts[-3:]),
                "recorded_mean": rerun.entered.result.mean,
                "mean": rerun.mean,
                "setting_differs": rerun.differs,
                "moved": rerun.moved,
                "fault": rerun.fault,
                "not_reproducible": rerun.why_not,
            }
            for rerun in reruns
        ],
    }
