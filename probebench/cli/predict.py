"""``probebench predict``: classes of new images, by a saved probe."""

from pathlib import Path
from typing import Any

import click

from probebench.api.probe import Prediction, Probe
from probebench.cli.console import ProgressLines, print_json, print_table
from probebench.cli.options import (
    batch_size_option,
    device_option,
    json_option,
    max_pixels_option,
    registry_folders,
    registry_option,
    workers_option,
)


@click.command(name="predict")
@click.option(
    "--probe",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A probe that eval --save-probes kept.",
)
@click.argument("images", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes an image.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a table (.csv) there."
)
@device_option
@batch_size_option
@workers_option
@max_pixels_option
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="At an image that cannot be read, stop, or leave it out of the table.",
)
@json_option
@registry_option
def command(
    path: Path,
    images: tuple[str, ...],
    top: int,
    out: Path | None,
    device: Any,
    batch_size: int | None,
    workers: int | None,
    on_error: Any,
    as_json: bool,
) -> None:
    """Classify images with a saved probe, through the checkpoint that it was fitted on.

    IMAGES are files, folders at any depth, shards (.tar) or wds:PATTERN. Other weights than those that the probe was
    fitted on are refused.
    """
    probe = Probe.load(path)
    with ProgressLines("images") as progress:
        found = probe.predict(
            images,
            top=top,
            device=device,
            batch_size=batch_size,
            workers=workers,
            on_error=on_error,
            registry=registry_folders(),
            progress=progress,
        )
    if out is not None:
        found.write_csv(out)
    if as_json:
        print_json([{"image": one.image, "classes": one.classes, "scores": one.scores} for one in found])
    elif out is not None:
        click.echo(f"{len(found)} images: predictions are in {out}")
    else:
        print_table(
            [("image", "left"), ("class", "left"), (found.measure, "right"), ("next", "left")],
            [
                [
                    one.image,
                    one.classes[0],
                    f"{one.scores[0]:.3f}",
                    _others(one),
                ]
                for one in found
            ],
        )


def _others(one: Prediction) -> str:
    pairs = zip(one.classes[1:], one.scores[1:], strict=True)
    return ", ".join(f"{name} {score:.3f}" for name, score in pairs)
