"""``probebench sources``: captioned images to pre-train on."""

from pathlib import Path
from typing import Any

import click

from probebench.api.sources import compare_sources, list_sources, prepare_sources, show_source
from probebench.cli.console import ProgressLines, print_json, print_table
from probebench.cli.options import json_option, max_pixels_option, registry_folders, registry_option, sheet_option
from probebench.errors import UnfinishedError

_PLAIN = ("title", "url", "license", "captions", "labels", "images", "distinct", "classes", "fingerprint")


@click.group(name="sources")
def command() -> None:
    """List, show and prepare sources of pre-training; a folder with captions.csv, wds: and hf: are some too."""


@command.command(name="list")
@registry_option
@json_option
def list_command(as_json: bool) -> None:
    """List the sources of the registry."""
    facts = list_sources(registry=registry_folders())
    if as_json:
        print_json(facts)
        return
    columns = [("id", "left"), ("images", "right"), ("distinct", "right"), ("labels", "right"), ("licence", "left")]
    print_table(
        [*columns, ("prepared", "left"), ("title", "left")],
        [
            [
                one["id"],
                *(str(one[name]) for name in ("images", "distinct", "classes", "license")),
                "yes" if one["prepared"] else "",
                one["title"],
            ]
            for one in facts
        ],
    )


@command.command()
@click.argument("source")
@sheet_option
@max_pixels_option
@registry_option
@json_option
def show(source: str, sheet: Path | None, as_json: bool) -> None:
    """Show what is known of a source: an id, a folder with captions.csv, wds:SHARDS or hf:NAME."""
    facts = show_source(source, registry=registry_folders(), sheet=sheet)
    if as_json:
        print_json(facts)
        return
    _print_facts(facts)


def _print_facts(facts: dict[str, Any]) -> None:
    click.echo(f"id: {facts['id']}")
    for name in _PLAIN:
        if name in facts:
            click.echo(f"{name}: {facts[name]}")
    for line in facts.get("quirks", ()):
        click.echo(f"quirk: {line}")
    if "drawn" in facts:
        drawn = facts["drawn"]
        packages = [f"{one['name']} {one['version']} ({one['manager']})" for one in drawn["packages"]]
        click.echo(f"drawn: at {drawn['side']} pixels by {drawn['renderer']} from {', '.join(packages)}")
    for dataset, shared in facts.get("shared", {}).items():
        click.echo(
            f"shared with {dataset}: of {shared['test']} test images {shared['exact']} are in it, {shared['near']} "
            f"look like one of it, {shared['concepts']} show what it shows too"
        )
    for caption in facts.get("examples", ()):
        click.echo(f"caption: {caption}")
    if "sheet" in facts:
        click.echo(f"sheet: {facts['sheet']}")
    if "not_on_this_machine" in facts:
        click.echo(f"not on this machine: {facts['not_on_this_machine']}")


@command.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--dataset", "datasets", multiple=True, required=True, help="Id, suite, glob or comma list; repeats.")
@click.option("--commit", is_flag=True, help="Write what was found into the sources' entries.")
@registry_option
@json_option
def overlap(sources: tuple[str, ...], datasets: tuple[str, ...], commit: bool, as_json: bool) -> None:
    """Count test images of data sets that are in sources: the same pixels, alike, or of the same thing.

    SOURCE is an id, a glob or a comma list, or a source of your own.
    """
    with ProgressLines("images") as progress:
        found = compare_sources(sources, datasets, registry=registry_folders(), commit=commit, progress=progress)
    if as_json:
        print_json(found)
        return
    numbers = ("exact", "near", "concepts", "test")
    print_table(
        [("source", "left"), ("data set", "left"), *((name, "right") for name in numbers)],
        [[one["source"], one["dataset"], *(str(one[name]) for name in numbers)] for one in found],
    )


@command.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@registry_option
@json_option
def prepare(sources: tuple[str, ...], as_json: bool) -> None:
    """Obtain packages by npm or apt, or say what to place where; draw their images once, and check them.

    SOURCE is an id, a glob or a comma list. What is prepared already is checked again.
    """
    unfinished: UnfinishedError | None = None
    try:
        done = prepare_sources(sources, registry=registry_folders())
    except UnfinishedError as error:
        done, unfinished = error.done, error
    if as_json:
        print_json(done)
    else:
        for one in done:
            click.echo(f"{one['id']} is ready: {one['images']} images, fingerprint {one['fingerprint'][:16]}")
    if unfinished:
        for problem in unfinished.problems[1:]:
            click.echo(f"error: {problem}", err=True)
        raise unfinished
