"""Flags and places that several commands share."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from probebench.errors import ProbebenchError, UsageError
from probebench.files import home

if TYPE_CHECKING:
    from probebench.engine import Ray

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Results folder.",
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

model_option = click.option(
    "--model", "models", multiple=True, required=True, help="Checkpoint id; repeats, takes comma lists and globs."
)
device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
engine_option = click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Compute here, or on Ray: the cluster of RAY_ADDRESS, else this machine's cores and GPUs.",
)


@contextlib.contextmanager
def started(engine: str) -> "Iterator[Ray | None]":
    """Joins or starts the engine that was asked for; None is this process.

    Raises:
        UsageError: Ray is not installed, or its cluster cannot be reached.
        ProbebenchError: A task lost its worker again and again.
    """
    if engine == "local":
        yield None
        return
    from probebench.engine import EngineError, Ray

    try:
        cluster = Ray()
    except EngineError as error:
        raise UsageError(str(error)) from error
    with cluster:
        try:
            yield cluster
        except EngineError as error:
            raise ProbebenchError(str(error)) from error


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
    """Returns the folders of the user's own entries: those that --registry named, and the home's ``registry``."""
    folders: tuple[Path, ...] = (click.get_current_context().obj or {}).get("registry") or ()
    own = home() / "registry"
    return (*folders, own) if own.is_dir() else folders


def own_registry() -> Path:
    """Returns the folder that takes a new entry: the first of --registry, $PROBEBENCH_REGISTRY, the home's."""
    named = [Path(part) for part in os.environ.get("PROBEBENCH_REGISTRY", "").split(os.pathsep) if part]
    folders: tuple[Path, ...] = (click.get_current_context().obj or {}).get("registry") or ()
    return (*folders, *named, home() / "registry")[0]


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
