"""``probebench models``: the checkpoints of the registry."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from probebench.api.facts import OPTIONAL, TRAINING
from probebench.api.session import entry_folders, new_entries, open_registry
from probebench.cli.console import print_json, print_table, warn
from probebench.cli.options import json_option, registry_folders, registry_option
from probebench.errors import UsageError
from probebench.files import home
from probebench.registry.checkpoint import Keys, Library, Method
from probebench.registry.own import known_files, own_entry
from probebench.registry.recipe_uri import SCHEME, RecipeUri
from probebench.registry.unknown import unknown_facts
from probebench.tools.model_table import architecture, where
from probebench.tools.model_table import source as source_of

if TYPE_CHECKING:
    from probebench.backbones.add import Added


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
@click.option("--arch", help="Only checkpoints whose architecture contains this text, such as vit_base.")
@registry_option
@json_option
def list_models(method: str | None, source: str | None, arch: str | None, as_json: bool) -> None:
    """List checkpoints with their method, source, architecture and where their weights come from."""
    specs = [
        spec
        for spec in open_registry(registry_folders()).checkpoints.values()
        if (method is None or spec.pretraining.method == method)
        and (source is None or any(source.lower() in one.name.lower() for one in spec.pretraining.sources))
        and (arch is None or arch.lower() in f"{spec.architecture.library}/{spec.architecture.name}".lower())
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
    made_by = RecipeUri.parse(spec.weights.uri).command if spec.weights.scheme == SCHEME else None
    if as_json:
        print_json({**spec.model_dump(mode="json"), **({"made_by": made_by} if made_by else {})})
        return
    for name, value in spec.model_dump(mode="json").items():
        if isinstance(value, dict):
            click.echo(f"\n[{name}]")
            for key, inner in value.items():
                click.echo(f"{key}: {_plain(inner)}")
        else:
            click.echo(f"{name}: {value}")
    if made_by:
        click.echo(f"\nmade by: {made_by}")


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
@json_option
def validate(path: Path | None, as_json: bool) -> None:
    """Check one entry, a folder of entries, or (without PATH) the whole registry; list every problem."""
    from probebench.registry import Registry, validate_path

    if path is None:
        registry = Registry.load_leniently(entry_folders(registry_folders()))
        problems = list(registry.problems)
        done = (
            f"{len(registry.checkpoints)} checkpoints, {len(registry.datasets)} data sets, "
            f"{len(registry.protocols) + len(registry.finetune_protocols)} protocols, "
            f"{len(registry.experiments)} experiments"
        )
    else:
        problems = validate_path(path)
        done = str(path)
    if as_json:
        print_json({"checked": done, "valid": not problems, "problems": problems})
        raise click.exceptions.Exit(int(bool(problems)))
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
@click.option("--arch", help="Architecture, by the library's name.")
@click.option("--library", type=click.Choice(get_args(Library)), help="Library that builds it.")
@click.option("--method", type=click.Choice([one for one in get_args(Method) if one != "none"]))
@click.option("--source", "sources", multiple=True, help="Pre-training data set; repeats.")
@click.option("--samples", multiple=True, type=_Samples(), help="Samples of it that were used; one for each --source.")
@click.option("--id", "model_id", help="The entry's id; made of source, objective and architecture unless given.")
@click.option(
    "--replace", is_flag=True, help="Put the file in the place of the weights of your own entry --id, trained again."
)
@click.option("--title", help="One line for readers.")
@click.option("--objective", default="unknown", help="Such as clip, simclr, cross-entropy.")
@click.option("--samples-seen", default="unknown", type=_Samples(), help="Samples seen in training, repeats included.")
@click.option("--epochs", default="unknown", help="Passes over the data.")
@click.option("--labels", default="unknown", help="Such as human, captions, hashtags, none.")
@click.option("--curation", default="unknown", help="How the data were chosen, such as none, clip-score.")
@click.option("--run", type=click.IntRange(0), help="Which of several pre-trainings that differ in the seed alone.")
@click.option("--label-noise", type=click.FloatRange(0, 1), help="Share of images whose labels were permuted.")
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
@json_option
def add(
    weights: Path,
    arch: str | None,
    library: str | None,
    method: str | None,
    sources: tuple[str, ...],
    samples: tuple[int | str, ...],
    model_id: str | None,
    replace: bool,
    title: str | None,
    uri: str,
    keys: Keys | None,
    layer: str | None,
    licence: str,
    paper: str,
    url: str,
    as_json: bool,
    **more: Any,
) -> None:
    """Write the entry of a checkpoint from its WEIGHTS file, keep the weights, and check them by a forward pass.

    The format is found out: OpenCLIP, timm, torchvision, DINO, DINOv2, MAE, MoCo, SLIP, Lightly, solo-learn, VISSL,
    Lightning, safetensors and plain state dicts. Facts that are not given are written "unknown".
    """
    from probebench.backbones.locate import require_file

    # Told before torch is loaded, which takes seconds.
    require_file(weights)
    registry = open_registry(registry_folders())
    before = None
    if replace:
        if model_id is None:
            raise UsageError("--replace needs --id, the entry whose weights these are")
        entry, before = own_entry(registry, model_id), registry.checkpoint(model_id)
    elif lacking := [
        f"--{name}"
        for name, value in (("arch", arch), ("library", library), ("method", method), ("source", sources))
        if not value
    ]:
        raise UsageError(f"models add needs {', '.join(lacking)} too")
    for other in known_files(registry, weights):
        if other != model_id:
            warn(f"{weights} is the file of {other} already; both entries will be of the same weights")
    from probebench.backbones.add import Facts, add_checkpoint, pair_sources
    from probebench.registry.load import checked
    from probebench.registry.schema import Architecture, Pretraining

    training = {name: more.pop(name) for name in (*TRAINING, *OPTIONAL)}
    given = {name: value for name, value in more.items() if value is not None}
    if before is not None:
        facts = Facts.of(before, replaces=entry, keys=keys, input=given)
    else:
        facts = Facts(
            id=model_id,
            title=title,
            architecture=checked(Architecture, library=library, name=arch),
            pretraining=checked(Pretraining, method=method, sources=pair_sources(sources, samples), **training),
            paper=paper,
            url=url,
            license=licence,
            uri=uri,
            keys=keys,
            layer=layer,
            input=given,
            taken=frozenset(registry.checkpoints),
        )
    added = add_checkpoint(weights, facts, home(), new_entries(registry_folders()))
    if not as_json:
        _tell_added(added)
        return
    unknown = [{"fact": name, "closes": questions} for name, questions in unknown_facts(added.spec)]
    said = {"entry": str(added.path), "sha256": added.digest, "preprocessing": added.preprocessing}
    print_json({**said, "changed": added.changed, "unknown": unknown, **added.spec.model_dump(mode="json")})


def _tell_added(added: "Added") -> None:
    spec, shown = added.spec, added.spec.input
    click.echo(f"format: {spec.weights.keys}; {spec.output.features} features ({spec.output.layer})")
    side = f"{shown.resize} side to {int(shown.size / shown.crop)}" if shown.resize == "shortest" else "squashed"
    mean, std = (" ".join(f"{one:g}" for one in values) for values in (shown.mean, shown.std))
    click.echo(
        f"preprocessing ({added.preprocessing}): {shown.size} px, {side} by {shown.interpolation}, crop {shown.crop:g}"
        f", mean {mean}, std {std}; --size --resize --crop --interpolation --mean --std say otherwise"
    )
    click.echo(f"sha256 of the tensors: {added.digest}")
    if added.changed:
        click.echo(f"replaced: {added.changed}; features of the older weights are passed over from now on")
    click.echo(f"entry: {added.path}")
    for name, questions in unknown_facts(spec):
        closes = f", which closes the study's questions of {questions}" if questions else ""
        click.echo(f"unknown: {name}{closes}")
    click.echo(f"next: probebench extract --model {spec.id}")


@command.command()
@click.argument("model")
@registry_option
@json_option
def remove(model: str, as_json: bool) -> None:
    """Remove an entry of your own and its weights; its features and results stay.

    ``cache remove`` removes features.
    """
    from probebench.backbones.user_weights import UserWeights

    entry = own_entry(open_registry(registry_folders()), model)
    entry.unlink()
    if (kept := UserWeights.find(home(), model)) is not None:
        kept.forget()
    if as_json:
        print_json({"removed": model, "entry": entry, "weights": kept.path if kept else None})
        return
    click.echo(f"{model} is removed; its cached features, if any: probebench cache remove --model {model}")


@command.command()
@click.argument("model")
@click.argument("name")
@registry_option
@json_option
def rename(model: str, name: str, as_json: bool) -> None:
    """Give an entry of your own, MODEL, another NAME; its weights go with it.

    Features and results say which id they are of and stay under the older one.
    """
    from probebench.registry.load import checked
    from probebench.registry.write import write_entry

    registry = open_registry(registry_folders())
    before = own_entry(registry, model)
    if name in registry.checkpoints:
        raise UsageError(f"the registry has an entry {name} already; give another name")
    spec = registry.checkpoint(model)
    path = write_entry(checked(type(spec), **(spec.model_dump() | {"id": name})), before.parents[1])
    weights = home() / "weights" / model
    if weights.is_dir():
        weights.rename(home() / "weights" / name)
    before.unlink()
    if as_json:
        print_json({"renamed": model, "id": name, "entry": path})
        return
    click.echo(f"{model} is {name} now, in {path}; features and results of {model} stay under that id")
