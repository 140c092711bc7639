"""``probebench datasets``: the downstream data sets."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.api.data import place_of
from probebench.api.session import open_registry
from probebench.cli.console import ProgressLines, print_json, print_table
from probebench.cli.options import (
    json_option,
    layout_option,
    max_pixels_option,
    registry_folders,
    registry_option,
    sheet_option,
)
from probebench.errors import UsageError
from probebench.files import home
from probebench.registry.names import expand_datasets, laid_out

if TYPE_CHECKING:
    from probebench.datasets.base import Dataset
    from probebench.datasets.duplicates.search import Duplicates


# Pairs of images that are named; --json has more.
_SHOWN = 5


@click.group(name="datasets")
def command() -> None:
    """List, show and prepare data sets; folder:PATH is one too, wherever a data set is named."""


@command.command(name="list")
@registry_option
@json_option
def list_datasets(as_json: bool) -> None:
    """List the data sets of the registry."""
    from probebench.datasets.open import record_path

    specs, root = open_registry(registry_folders()).datasets.values(), home() / "datasets"
    prepared = {spec.id: record_path(spec.id, root).is_file() for spec in specs}
    if as_json:
        print_json([{**spec.model_dump(mode="json"), "prepared": prepared[spec.id]} for spec in specs])
        return
    numbers = ("classes", "train", "val", "test")
    columns = [("id", "left"), *((name, "right") for name in numbers), *((n, "left") for n in ("metric", "prepared"))]
    print_table(
        [*columns, ("title", "left")],
        [
            [
                spec.id,
                *(str(number) for number in (len(spec.classes), spec.splits.train, spec.splits.val, spec.splits.test)),
                spec.metric,
                "yes" if prepared[spec.id] else "",
                spec.title,
            ]
            for spec in specs
        ],
    )


@command.command()
@click.argument("dataset")
@click.option("--check", is_flag=True, help="Look for images that occur twice: in two splits, or under two labels.")
@click.option("--commit", is_flag=True, help="Write its fingerprint and digests of parts and draws into its entry.")
@sheet_option
@layout_option
@max_pixels_option
@registry_option
@json_option
def show(dataset: str, check: bool, commit: bool, sheet: Path | None, layout: Any, as_json: bool) -> None:
    """Show what is known of a data set (an id or folder:PATH) and, where it is on this machine, what is in it.

    What --commit writes lets those who lack the data verify results; without it none on this set is ranked. The picture
    that --sheet writes is of training images.
    """
    from probebench.datasets.facts import entry_facts, found_facts
    from probebench.datasets.named.layout import NotHereError
    from probebench.datasets.open import open_dataset
    from probebench.datasets.published import commit_published
    from probebench.datasets.sheet import write_sheet

    registry = open_registry(registry_folders())
    (dataset,) = laid_out([place_of(registry, dataset)], layout)
    spec = registry.datasets.get(dataset)
    if commit and spec is None:
        raise UsageError(f"--commit writes into an entry, and {dataset} has none")
    facts = entry_facts(spec) if spec else {}
    names = spec.readable_classes if spec else ()
    found = None
    try:
        opened = open_dataset(dataset, registry, home() / "datasets")
    except NotHereError as error:
        if check or commit or sheet:
            raise
        facts |= {"not_on_this_machine": error.mend, "classes": len(names)}
    else:
        facts |= found_facts(opened)
        found = _duplicates(opened) if check else None
        if commit:
            facts["committed"] = str(commit_published(opened, registry))
        if sheet:
            which = "train" if "train" in opened.splits else "test"
            part = opened.splits[which]
            shown = write_sheet(sheet, part.images, part.ids, part.labels, names or opened.class_names)
            facts["sheet"] = f"{sheet} ({shown} {'training' if which == 'train' else which} images)"
        names = names or opened.class_names
    facts["class_names"] = list(names)
    if as_json:
        print_json(facts | ({"duplicates": dataclasses.asdict(found)} if found else {}))
        return
    _print_facts(facts)
    if found:
        _print_duplicates(found)


def _duplicates(opened: "Dataset") -> "Duplicates":
    from probebench.datasets.duplicates.search import find_duplicates

    with ProgressLines("images") as progress:
        return find_duplicates(opened, progress)


def _print_duplicates(found: "Duplicates") -> None:
    """Counts, then the nearest pairs of each kind."""
    for kind, pairs in (("the same pixels", found.exact), ("alike", found.near)):
        counts = {f"images of {where}": count for where, count in pairs.between.items()}
        counts |= {f"images of {split} under another label too": count for split, count in pairs.within.items()}
        click.echo(f"{kind}: {', '.join(f'{count} {what}' for what, count in counts.items() if count) or 'none'}")
        for pair in pairs.pairs[:_SHOWN]:
            one, other = pair.first, pair.second
            click.echo(f"  {one.split} {one.id} ({one.label}) = {other.split} {other.id} ({other.label})")
    if found.unsearched:
        click.echo(f"not searched for images alike under two labels, being too large: {', '.join(found.unsearched)}")
    for line in found.unreadable[:_SHOWN]:
        click.echo(f"unreadable: {line}")


def _print_facts(facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        heading = name.replace("_", " ")
        if isinstance(value, list) and name in ("quirks", "templates"):
            for line in value:
                click.echo(f"{heading[:-1]}: {line}")
        elif isinstance(value, dict):
            click.echo(f"{heading}: " + ", ".join(f"{key} {_in_short(inner)}" for key, inner in value.items()))
        elif value != []:
            click.echo(f"{heading}: {', '.join(value) if isinstance(value, list) else value}")


def _in_short(value: Any) -> str:
    return f"{min(value)} to {max(value)}" if isinstance(value, tuple) else str(value)


@command.command()
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@registry_option
@json_option
def prepare(datasets: tuple[str, ...], as_json: bool) -> None:
    """Download data sets, or say exactly what to place where; then check that they are whole.

    DATASET is an id, a glob, or a suite such as study. Each image is read once, so that later changes are noticed.
    """
    from probebench.datasets.named.prepare import placement
    from probebench.datasets.named.prepare import prepare as prepare_dataset
    from probebench.errors import DatasetError

    registry, root = open_registry(registry_folders()), home() / "datasets"
    failed: dict[str, DatasetError] = {}
    facts: list[dict[str, Any]] = []
    names = expand_datasets(registry, datasets, sources=False)
    for name in names:
        spec = registry.dataset(name)
        try:
            opened = prepare_dataset(spec, root)
        except DatasetError as error:
            failed[name] = error
            facts.append({"dataset": name, "ready": False, "why": str(error), "mend": placement(spec, root)})
            if not as_json:
                click.echo(f"{name} is not ready: {error}\n{placement(spec, root)}")
            continue
        images = {split: len(one) for split, one in opened.splits.items()}
        facts.append({"dataset": name, "ready": True, "images": images})
        if not as_json:
            click.echo(f"{name} is ready: {', '.join(f'{split} {count}' for split, count in images.items())}")
    if as_json:
        print_json(facts)
    if len(names) == 1 and failed:
        raise failed[names[0]]
    if failed:
        raise DatasetError(f"{len(failed)} of {len(names)} data sets are not ready, as said above: {', '.join(failed)}")
