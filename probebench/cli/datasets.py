"""``probebench datasets``: the downstream data sets."""

import click

from probebench.cli.console import print_json, print_table
from probebench.cli.options import home, json_option, registry_folders, registry_option


@click.group(name="datasets")
def command() -> None:
    """List, show and prepare data sets; folder:PATH is one too, wherever a data set is named."""


@command.command(name="list")
@registry_option
@json_option
def list_datasets(as_json: bool) -> None:
    """List the data sets of the registry."""
    from probebench.registry import Registry

    specs = Registry.load(registry_folders()).datasets.values()
    if as_json:
        print_json([spec.model_dump(mode="json") for spec in specs])
        return
    columns = [
        ("id", "left"),
        ("classes", "right"),
        ("train", "right"),
        ("val", "right"),
        ("test", "right"),
        ("title", "left"),
    ]
    print_table(
        columns,
        [
            [
                spec.id,
                str(len(spec.classes)),
                str(spec.splits.train),
                str(spec.splits.val),
                str(spec.splits.test),
                spec.title,
            ]
            for spec in specs
        ],
    )


@command.command()
@click.argument("dataset")
@registry_option
@json_option
def show(dataset: str, as_json: bool) -> None:
    """Open one data set (an id or folder:PATH) and show its parts, classes and fingerprint."""
    from probebench.datasets.loaders import open_dataset
    from probebench.registry import Registry

    opened = open_dataset(dataset, Registry.load(registry_folders()), home() / "datasets")
    facts = {
        "id": opened.id,
        "fingerprint": opened.fingerprint,
        "classes": len(opened.class_names),
        "images": {name: len(split) for name, split in opened.splits.items()},
        "smallest_class": {
            name: int(min((split.labels == label).sum() for label in set(split.labels.tolist())))
            for name, split in opened.splits.items()
        },
        "class_names": list(opened.class_names),
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        text = ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, dict) else value
        click.echo(f"{name.replace('_', ' ')}: {', '.join(text) if isinstance(text, list) else text}")


@command.command()
@click.argument("dataset")
@registry_option
def prepare(dataset: str) -> None:
    """Download a data set, or say exactly what to place where; then check that it is whole."""
    from probebench.datasets.loaders import open_dataset
    from probebench.datasets.loaders import prepare as prepare_dataset
    from probebench.registry import Registry

    registry, root = Registry.load(registry_folders()), home() / "datasets"
    prepare_dataset(registry.dataset(dataset), root)
    opened = open_dataset(dataset, registry, root)
    click.echo(f"{opened.id} is ready: " + ", ".join(f"{name} {len(split)}" for name, split in opened.splits.items()))
