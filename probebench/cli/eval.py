"""``probebench eval``: results from the cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from probebench.cli.options import (
    engine_option,
    input_size_option,
    json_option,
    layer_option,
    layout_option,
    out_option,
    parse_shots,
    registry_folders,
    registry_option,
)
from probebench.cli.steps import print_costs, run_eval
from probebench.registry.names import laid_out
from probebench.registry.probes import PROBES


def _listed(words: Sequence[str], last: str) -> str:
    return ", ".join(words[:-1]) + last + words[-1]


@click.command(name="eval")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Checkpoint id; repeats, takes comma lists and globs.  [default: everything cached]",
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Data set id, suite, folder:PATH, wds:SHARDS or hf:NAME; repeats, takes comma lists and globs.",
)
@layout_option
@layer_option
@click.option(
    "--shots",
    default=None,
    help="Labelled images a class; full is the whole training part.  [default: the protocol's, mostly 1,5,10,full]",
)
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=None,
    help="Draws to average over, with seeds 0, 1, ...  [default: the protocol's, mostly 5]",
)
@click.option(
    "--probe",
    type=click.Choice(list(PROBES)),
    help=f"Kind of probe: {_listed([probe.about for probe in PROBES.values()], ', or ')}.  "
    "[default: the protocol's, else logistic]",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    help="Protocol id; repeats, takes comma lists and globs. Several show how ranks move between them.  "
    f"[default: the probe's: {_listed([probe.protocol for probe in PROBES.values()], ' or ')}]",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "torch", "sklearn", "cuml"]),
    default="auto",
    show_default=True,
    help="Solver of the exact logistic protocols; auto is torch, our own, on a GPU where there is one. "
    f"{_listed([name for name, probe in PROBES.items() if probe.numpy], ' and ')} are computed exactly, in float64.",
)
@engine_option
@input_size_option
@click.option(
    "--save-probes",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the finished probe of each draw in this folder, for predict.",
)
@click.option(
    "--test-dataset",
    metavar="ID",
    help="Score the probes on the test part of this other data set, of the same classes or some of them, and tell the "
    "drop.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what each cell would take in time and memory, by a model, and stop; features need not be there.",
)
@out_option
@json_option
@registry_option
def command(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    layout: Any,
    layers: tuple[str, ...],
    shots: str | None,
    draws: int | None,
    probe: str | None,
    protocols: tuple[str, ...],
    backend: str,
    engine: str,
    input_size: int | None,
    save_probes: Path | None,
    test_dataset: str | None,
    dry_run: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Fit probes on few-shot draws and on full data, and score them on the whole test part.

    The strength of regularisation, or the number of neighbours, is chosen on validation images only. Results that are
    there already are kept. Without --layer, every cached layer is evaluated, or the one that the protocol takes.
    """
    run = print_costs if dry_run else run_eval
    run(
        out,
        as_json=as_json,
        features=models or None,
        dataset=laid_out(datasets, layout),
        layer=layers,
        shots=parse_shots(shots) if shots else None,
        protocol=protocols,
        probe=probe,
        draws=draws,
        backend=backend,
        input_size=input_size,
        engine=engine,
        save_probes=save_probes,
        test_dataset=test_dataset,
        registry=registry_folders(),
    )
