"""``probebench study``: the questions of the paper, asked of any results."""

from pathlib import Path

import click

from probebench.api.report import run_study
from probebench.cli.console import print_json
from probebench.cli.options import json_option, results_folders_option
from probebench.cli.tables import print_claims


@click.command(name="study")
@results_folders_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("study"),
    show_default=True,
    help="Folder of the report.",
)
@click.option(
    "--size-tolerance",
    type=float,
    default=1.1,
    show_default=True,
    metavar="FACTOR",
    help="Pre-training sets whose sizes differ by no more than this are of one size.",
)
@click.option(
    "--shared-concepts",
    type=float,
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="Leave out a data set for checkpoints whose source shows what more than this share of its test images show.",
)
@json_option
def command(folders: tuple[Path, ...], out: Path, size_tolerance: float, shared_concepts: float, as_json: bool) -> None:
    """Ask which pre-training data and method transfers best, of all results at hand.

    Every question is one claim that is confirmed, contradicted, without effect, or not answerable, with its size, its
    95% interval and what it rests on: does the pre-training source matter, and does that fade with more labels; which
    source wins; how much more data of one matches another; image-image, language-image and supervised pre-training
    against each other; curation, label noise, size; does few-shot accuracy predict full; which checkpoint is best.
    Measured and published results are never mixed, and what a checkpoint has seen in pre-training takes no part.
    """
    study = run_study(
        folders, size_tolerance=size_tolerance, shared_concepts=shared_concepts, out=None if as_json else out
    )
    if as_json:
        print_json(study.as_dict())
        return
    print_claims(study)
    click.echo(f"wrote {out / 'study.html'}; open it in a browser")
