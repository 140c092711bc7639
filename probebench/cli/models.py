"""``probebench models``: the checkpoints of the registry."""

from pathlib import Path

import click

from probebench.cli.console import print_json, print_table
from probebench.cli.options import json_option, registry_folders, registry_option


@click.group(name="models")
def command() -> None:
    """List, show and check the checkpoints of the registry."""


@command.command(name="list")
@click.option(
    "--method",
    type=click.Choice(["supervised", "language-image", "image-image", "none"]),
    help="Only this pre-training method.",
)
@click.option("--source", help="Only checkpoints whose sources contain this text, such as laion.")
@registry_option
@json_option
def list_models(method: str | None, source: str | None, as_json: bool) -> None:
    """List checkpoints with their method, source, architecture and where their weights come from."""
    from probebench.registry import Registry

    specs = [
        spec
        for spec in Registry.load(registry_folders()).checkpoints.values()
        if (method is None or spec.pretraining.method == method)
        and (source is None or any(source.lower() in one.name.lower() for one in spec.pretraining.sources))
    ]
    if as_json:
        print_json([spec.model_dump(mode="json") for spec in specs])
        return
    columns = [
        ("id", "left"),
        ("method", "left"),
        ("source", "left"),
        ("architecture", "left"),
        ("px", "right"),
        ("weights", "left"),
    ]
    print_table(
        columns,
        [
            [
                spec.id,
                spec.pretraining.method,
                " + ".join(one.name for one in spec.pretraining.sources) or "none",
                f"{spec.architecture.library} {spec.architecture.name}",
                str(spec.input.size),
                _WHERE.get(spec.weights.scheme, "network, once"),
            ]
            for spec in specs
        ],
    )


_WHERE = {"pkg": "installed package", "random": "random init", "user": "your file (--weights)", "file": "local file"}


@command.command()
@click.argument("model")
@registry_option
@json_option
def show(model: str, as_json: bool) -> None:
    """Show everything that the registry says about one checkpoint."""
    from probebench.registry import Registry

    spec = Registry.load(registry_folders()).checkpoint(model)
    if as_json:
        print_json(spec.model_dump(mode="json"))
        return
    for name, value in spec.model_dump(mode="json").items():
        if isinstance(value, dict):
            click.echo(f"\n[{name}]")
            for key, inner in value.items():
                click.echo(f"{key}: {_plain(inner)}")
        else:
            click.echo(f"{name}: {value}")


def _plain(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "; ".join(", ".join(f"{key} {inner}" for key, inner in item.items()) for item in value)
    if isinstance(value, (list, dict)):
        return (
            ", ".join(
                map(str, value if isinstance(value, list) else (f"{key}={inner}" for key, inner in value.items()))
            )
            or "none"
        )
    return str(value)


@command.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@registry_option
def validate(path: Path | None) -> None:
    """Check one entry, a folder of entries, or (without PATH) the whole registry; list every problem."""
    from probebench.registry import Registry, validate_path

    if path is None:
        registry = Registry.load_leniently(registry_folders())
        problems = list(registry.problems)
        done = (
            f"{len(registry.checkpoints)} checkpoints, {len(registry.datasets)} data sets, "
            f"{len(registry.protocols)} protocols"
        )
    else:
        problems = validate_path(path)
        done = str(path)
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    if problems:
        raise click.exceptions.Exit(1)
    click.echo(f"{done}: all valid")
