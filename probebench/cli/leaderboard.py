"""``probebench leaderboard``: the page."""

from pathlib import Path

import click

from probebench.cli.results import load_results


@click.group(name="leaderboard")
def command() -> None:
    """Build the leaderboard page from results."""


@command.command()
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Results folder.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("site"),
    show_default=True,
    help="Folder of the page.",
)
def build(results: Path, out: Path) -> None:
    """Write one page with a sortable table; open it from disk, no network needed."""
    from probebench.leaderboard.site import build_site

    page = build_site(load_results(results), out)
    click.echo(f"wrote {page}; open it in a browser")
