"""``probebench study``: the questions of the paper, asked of any results."""

from pathlib import Path

import click

from probebench.api.report import run_study
from probebench.cli.console import print_json
from probebench.cli.options import json_option, results_folders_option


@click.command(name="study")
@results_folders_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("study"),
    show_default=True,
    help="Folder of the report.",
)
@json_option
def command(folders: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Ask which pre-training data and method transfers best, of all results at hand.

    Six questions, each with numbers, intervals and figures, and with what it rests on: does the pre-training source
    matter, and does that fade with more labels; which source wins where; how much more data of one source matches
    another; image-image against language-image; curated and clean data against others; does few-shot accuracy predict
    full. A question with too few matched pairs is refused. Measured and published results are never mixed.
    """
    from probebench.study.answer import as_json as plain

    sections = run_study(folders, out=None if as_json else out)
    if as_json:
        print_json(plain(sections))
        return
    for section in sections:
        click.echo(f"{section.provenance}: {section.results} results in {section.cells} cells")
        for line in section.beside:
            click.echo(f"- {line}")
        for answer in section.answers:
            if not answer.refused:
                click.echo(f"- {answer.title} ({answer.track})\n  {answer.verdict}")
        refused = sum(answer.refused for answer in section.answers)
        click.echo(
            f"- {refused} of {len(section.answers)} questions refused: not enough matched pairs (see the report)"
        )
    click.echo(f"wrote {out / 'study.html'}; open it in a browser")
