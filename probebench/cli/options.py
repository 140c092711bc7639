"""Flags and places that several commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from probebench.errors import UsageError
from probebench.files import MAX_PIXELS

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Results folder.",
)
_folder = click.Path(path_type=Path, file_okay=False)
results_option = click.option(
    "--results", type=_folder, default=Path("results"), show_default=True, help="Results folder."
)
results_folders_option = click.option(
    "--results",
    "folders",
    type=_folder,
    multiple=True,
    default=[Path("results")],
    show_default=True,
    help="Results folder; repeat it to join several.",
)
input_size_option = click.option(
    "--input-size", type=click.IntRange(1, 4096), metavar="N", help="Side of the input in pixels."
)
layer_option = click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="L",
    help="Layer of the network (probebench layers): pooled, projected, cls, mean, cls+mean, last4, block:N, "
    "block:N:cls, block:N:mean; repeats, takes comma lists and globs.",
)

_results_filters = (
    click.option("--model", "models", multiple=True, help="Checkpoint id; repeats, takes comma lists and globs."),
    click.option("--dataset", "datasets", multiple=True, help="Data set id; repeats, takes comma lists and globs."),
    click.option("--protocol", "protocols", multiple=True, help="Protocol id; repeats, takes comma lists and globs."),
    click.option("--shots", default=None, help="Labelled images a class, such as 5,full.  [default: all]"),
)


def filtered(command: F) -> F:
    """Adds --model, --dataset, --protocol and --shots to a command on results."""
    for option in reversed(_results_filters):
        command = option(command)
    return command


def _set_max_pixels(ctx: click.Context, _: click.Parameter, value: int | None) -> None:
    if value is not None:
        os.environ[MAX_PIXELS] = str(value)


max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(1),
    metavar="N",
    expose_value=False,
    callback=_set_max_pixels,
    help="Largest image that is read.  [default: Pillow's limit, 178,956,970 pixels]",
)
sheet_option = click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a picture of some images of each class, to be looked at: .png, .jpg or .webp.",
)
layout_option = click.option(
    "--layout",
    type=click.Choice(["classes", "splits"]),
    help="Of folders: what the folders in them are. [default: splits where they are named train, val and test]",
)

model_option = click.option(
    "--model", "models", multiple=True, required=True, help="Checkpoint id; repeats, takes comma lists and globs."
)
device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Images a batch; halved where memory runs out.  [default: 64 on CPU, 256 on GPU, less for large inputs]",
)
workers_option = click.option(
    "--workers", type=click.IntRange(0), metavar="N", help="Decoding processes.  [default: one a core]"
)
training_dtype_option = click.option(
    "--dtype",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Arithmetic; bf16 is mixed precision, and auto takes it on GPUs that have it.",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Compute here, or on Ray: the cluster of RAY_ADDRESS, else this machine's cores and GPUs.",
)


def registry_option(command: F) -> F:
    """Adds ``--registry`` to a command; the folders reach ``registry_folders``."""

    def remember(ctx: click.Context, _: click.Parameter, value: tuple[Path, ...]) -> None:
        ctx.ensure_object(dict)["registry"] = (*(ctx.obj.get("registry") or ()), *value)

    return click.option(
        "--registry",
        type=click.Path(path_type=Path),
        multiple=True,
        expose_value=False,
        callback=remember,
        help="A folder of your own entries; also $PROBEBENCH_REGISTRY.",
    )(command)


def registry_folders() -> tuple[Path, ...]:
    """Returns the folders that --registry named."""
    return (click.get_current_context().obj or {}).get("registry") or ()


def parse_shots(text: str) -> list[Any]:
    """Reads "1,5,10,full" into [1, 5, 10, "full"].

    Raises:
        UsageError: A part is neither a positive whole number nor "full".
    """
    shots: dict[Any, None] = {}
    for part in (part.strip() for part in text.split(",")):
        if part == "full":
            shots[part] = None
        elif part.isascii() and part.isdigit() and int(part) > 0:
            shots[int(part)] = None
        else:
            raise UsageError(f"--shots takes positive numbers and full, such as 1,5,10,full; not {part!r}")
    return list(shots)
