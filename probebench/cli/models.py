"""``probebench models``: the checkpoints of the registry."""

from pathlib import Path
from typing import Any, get_args

import click

from probebench.api.session import entry_folders, new_entries, open_registry
from probebench.cli.console import print_json, print_table
from probebench.cli.options import json_option, registry_folders, registry_option
from probebench.files import home
from probebench.registry.checkpoint import Keys, Library, Method
from probebench.tools.model_table import architecture, where
from probebench.tools.model_table import source as source_of


@click.group(name="models")
def command() -> None:
    """List, show and check the checkpoints of the registry."""


@command.command(name="list")
@click.option(
    "--method",
    type=click.Choice(get_args(Method)),
    help="Only this pre-training method.",
)
@click.option("--source", help="Only checkpoints whose sources contain this text, such as laion.")
@registry_option
@json_option
def list_models(method: str | None, source: str | None, as_json: bool) -> None:
    """List checkpoints with their method, source, architecture and where their weights come from."""
    specs = [
        spec
        for spec in open_registry(registry_folders()).checkpoints.values()
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
                source_of(spec),
                architecture(spec),
                str(spec.input.size),
                where(spec),
            ]
            for spec in specs
        ],
    )


@command.command()
@click.argument("model")
@registry_option
@json_option
def show(model: str, as_json: bool) -> None:
    """Show everything that the registry says about one checkpoint."""
    spec = open_registry(registry_folders()).checkpoint(model)
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
        registry = Registry.load_leniently(entry_folders(registry_folders()))
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


class _Samples(click.ParamType[int | str]):
    """A count of samples, or unknown."""

    name = "N|unknown"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        digits = str(value).replace("_", "").replace(",", "")
        if value == "unknown":
            return "unknown"
        if not digits.isascii() or not digits.isdigit():
            self.fail(f"{value!r} is neither a whole number nor unknown", param, ctx)
        return int(digits)


@command.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--arch", required=True, help="Architecture, by the library's name.")
@click.option("--library", required=True, type=click.Choice(get_args(Library)), help="Library that builds it.")
@click.option("--method", required=True, type=click.Choice([one for one in get_args(Method) if one != "none"]))
@click.option("--source", "sources", required=True, multiple=True, help="Pre-training data set; repeats.")
@click.option("--samples", multiple=True, type=_Samples(), help="Samples of it that were used; one for each --source.")
@click.option("--id", "model_id", help="The entry's id; made of source, objective and architecture unless given.")
@click.option("--title", help="One line for readers.")
@click.option("--objective", default="unknown", help="Such as clip, simclr, cross-entropy.")
@click.option("--samples-seen", default="unknown", type=_Samples(), help="Samples seen in training, repeats included.")
@click.option("--epochs", default="unknown", help="Passes over the data.")
@click.option("--labels", default="unknown", help="Such as human, captions, hashtags, none.")
@click.option("--curation", default="unknown", help="How the data were chosen, such as none, clip-score.")
@click.option("--paper", default="unknown")
@click.option("--url", default="unknown")
@click.option("--license", "licence", default="unknown")
@click.option("--uri", default="user", show_default=True, help="Where the file is published: https://..., hf://...")
@click.option("--keys", type=click.Choice(get_args(Keys)), help="The file's format, where it is not to be found out.")
@click.option("--layer", type=click.Choice(["pooled", "projected"]), help="Which features; projected for open_clip.")
@click.option("--size", type=click.IntRange(1, 4096), help="Input side in pixels; the library's own unless given.")
@click.option("--resize", type=click.Choice(["shortest", "squash"]))
@click.option("--crop", type=click.FloatRange(0, 1, min_open=True), help="Share of the resized side that is kept.")
@click.option("--interpolation", type=click.Choice(["nearest", "bilinear", "bicubic"]))
@click.option("--mean", type=float, nargs=3, help="Of RGB in [0, 1].")
@click.option("--std", type=float, nargs=3, help="Of RGB in [0, 1].")
@registry_option
def add(
    weights: Path,
    arch: str,
    library: str,
    method: str,
    sources: tuple[str, ...],
    samples: tuple[int | str, ...],
    model_id: str | None,
    title: str | None,
    uri: str,
    keys: Keys | None,
    layer: str | None,
    licence: str,
    paper: str,
    url: str,
    **more: Any,
) -> None:
    """Write the entry of a checkpoint from its WEIGHTS file, keep the weights, and check them by a forward pass.

    The format is found out: OpenCLIP, timm, torchvision, DINO, MoCo, SLIP, Lightly, solo-learn, VISSL, safetensors and
    plain state dicts. Facts that are not given are written "unknown".
    """
    from probebench.backbones.locate import require_file

    # Told before torch is loaded, which takes seconds.
    require_file(weights)
    from probebench.backbones.add import Facts, add_checkpoint, pair_sources
    from probebench.registry.load import checked
    from probebench.registry.schema import Architecture, Pretraining

    training = {name: more.pop(name) for name in ("objective", "samples_seen", "epochs", "labels", "curation")}
    pretraining = checked(Pretraining, method=method, sources=pair_sources(sources, samples), **training)
    architecture = checked(Architecture, library=library, name=arch)
    folder = new_entries(registry_folders())
    facts = Facts(
        id=model_id,
        title=title,
        architecture=architecture,
        pretraining=pretraining,
        paper=paper,
        url=url,
        license=licence,
        uri=uri,
        keys=keys,
        layer=layer,
        input={name: value for name, value in more.items() if value is not None},
        taken=frozenset(open_registry(registry_folders()).checkpoints),
    )
    added = add_checkpoint(weights, facts, home(), folder)
    spec = added.spec
    click.echo(f"format: {spec.weights.keys}; {spec.output.features} features ({spec.output.layer})")
    click.echo(f"sha256 of the tensors: {added.digest}")
    click.echo(f"entry: {added.path}")
    click.echo(f"next: probebench extract --model {spec.id}")
