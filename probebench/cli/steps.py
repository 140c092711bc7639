"""What several commands do: extract, evaluate, write the page. Each is one call of the library, told as it goes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from probebench.cli.console import ProgressLines, raise_all, warn
from probebench.cli.eval_notes import edges, warn_about
from probebench.cli.options import registry_folders
from probebench.cli.tables import load_stored, print_rank_shifts, print_results
from probebench.errors import ProbebenchError, UsageError
from probebench.files import home

if TYPE_CHECKING:
    from probebench.cache.index import FeatureGroup
    from probebench.datasets.base import Dataset
    from probebench.engine import Ray
    from probebench.evaluation.probe_task import ProbeTask
    from probebench.extraction import ExtractionOptions
    from probebench.extraction.many import Extraction
    from probebench.registry import Registry


def open_datasets(registry: "Registry", names: Sequence[str]) -> "list[Dataset]":
    """Opens data sets before any hour is spent, and before torch is loaded: one that is missing is told at once."""
    from probebench.datasets.open import open_dataset

    return [open_dataset(name, registry, home() / "datasets") for name in names]


def run_extract(
    registry: "Registry",
    models: Sequence[str],
    datasets: "Sequence[Dataset]",
    input_size: int | None,
    options: "ExtractionOptions",
    engine: "Ray | None" = None,
) -> None:
    """Extracts every model on every data set, here or on an engine; one that fails does not stop the others.

    Raises:
        ProbebenchError: The one failure, or how many of several failed.
    """
    from probebench.extraction.many import extract_many

    specs = [registry.checkpoint(model) for model in models]
    failures: list[ProbebenchError] = []
    with ProgressLines("images") as progress:
        for done in extract_many(
            specs, datasets, home(), options, input_size=input_size, progress=progress, engine=engine
        ):
            if not isinstance(done, tuple):
                _tell(done)
                continue
            spec, error = done
            if len(models) == 1:
                raise error
            failures.append(error)
            click.echo(f"error: {spec.id}: {error}", err=True)
    if failures:
        summary = f"{len(failures)} of {len(models)} models failed; the lines above say why, the others are cached"
        raise type(max(failures, key=lambda failure: failure.exit_code))(summary)


def _tell(done: "Extraction") -> None:
    rows, computed = sum(split.rows for split in done.splits), sum(split.computed for split in done.splits)
    skipped = sum(split.skipped for split in done.splits)
    where = f"{done.model} on {done.dataset} at {done.input_size} px: "
    if not computed:
        click.echo(f"{where}{rows} images, all cached already")
    else:
        waited = ", ".join(
            f"{stage} {sum(split.seconds.get(stage, 0.0) for split in done.splits) / done.seconds:.0%}"
            for stage in ("decode", "forward", "disk")
        )
        cached = f", {rows + skipped - computed} were cached" if computed < rows + skipped else ""
        click.echo(
            f"{where}{computed} images in {done.seconds:.0f} s "
            f"({computed / done.seconds:.0f} images/s; waited for {waited}){cached}"
        )
    if skipped:
        click.echo(f"{where}{skipped} images could not be read and are left out; results will list them")


def run_eval(
    tasks: "Sequence[ProbeTask]",
    out: Path,
    failures: Sequence[str] = (),
    protocols: Sequence[str] = (),
    engine: "Ray | None" = None,
) -> None:
    """Evaluates tasks, and prints the table.

    Args:
        tasks: What to evaluate.
        out: Results folder.
        failures: What could not be made a task of, to be told last.
        protocols: Protocols between which ranks may move.
        engine: Spreads the work; None does it here.

    Raises:
        ProbebenchError: Something that was asked for could not be evaluated; all else is done and printed first.
    """
    from probebench.evaluation import evaluate_all

    results, failed = [], list(failures)
    with ProgressLines("fits") as progress:
        progress.start("probes", sum(len(task.seeds) * task.fits_a_draw for task in tasks), 0)
        for task, result in zip(tasks, evaluate_all(tasks, out, progress.advance, engine), strict=True):
            if isinstance(result, UsageError):
                raise result
            if isinstance(result, ProbebenchError):
                failed.append(str(result))
                continue
            warn_about(result, task.selection.method == "fixed")
            if result.mean is None:
                failed.append(f"{result.model} on {result.dataset}: a trial failed, so there is no score")
            results.append(result)
        progress.finish()
    if results:
        print_results(results, out)
        if len(protocols) > 1:
            print_rank_shifts(results, protocols)
        if said := edges(results):
            click.echo(said)
        click.echo(f"results are in {out}")
    raise_all(failed)


def write_page(folders: Sequence[Path], out: Path) -> Path:
    """Builds the page from all results in folders, with the predictions beside them, and returns its file."""
    from probebench.leaderboard.site import build_site
    from probebench.registry import Registry
    from probebench.results.store import read_predictions

    stored = [pair for folder in folders for pair in load_stored(folder)]
    files = {id(result): path for path, result in stored}
    registry = Registry.load_leniently(registry_folders())
    return build_site(
        [result for _, result in stored],
        out,
        lambda result: read_predictions(files[id(result)], result),
        registry.checkpoints,
        registry.versions,
    )


def chosen_extractions(
    registry: "Registry", models: Sequence[str], datasets: Sequence[str], input_size: int | None
) -> "tuple[list[FeatureGroup], list[str]]":
    """Returns the cached extractions that were asked for and what is not there, and warns of what is passed over."""
    from probebench.evaluation.extractions import choose_extractions

    found = choose_extractions(registry, home(), models, datasets, input_size)
    for warning in found.warnings:
        warn(warning)
    return list(found.groups), list(found.problems)
