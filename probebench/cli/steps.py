"""What several commands do: extract, evaluate. Each is one call of the front door, told as it goes."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.api.evaluate import evaluate
from probebench.cli.console import ProgressLines, done_of, print_json, raise_all
from probebench.cli.tables import edges, print_rank_shifts, print_results
from probebench.errors import ProbebenchError

if TYPE_CHECKING:
    from probebench.api.extractions import Extractions
    from probebench.extraction.many import Extraction


def run_extract(extractions: "Extractions", *, as_json: bool = False) -> None:
    """Extracts every checkpoint on every data set; one that fails does not stop the others.

    Raises:
        ProbebenchError: The one failure, or how many of several failed.
    """
    checkpoints = len(extractions.checkpoints)
    failures: list[ProbebenchError] = []
    failed: set[str] = set()
    facts: list[dict[str, Any]] = []
    with ProgressLines("images") as progress:
        for done in extractions.run(progress):
            if not isinstance(done, tuple):
                if as_json:
                    facts.append(dataclasses.asdict(done))
                else:
                    _tell(done, named=bool(extractions.layers))
                continue
            spec, error = done
            failures.append(error)
            failed.add(spec.id)
            if checkpoints > 1 or len(failures) > 1:
                click.echo(f"error: {spec.id}: {error}", err=True)
    if as_json:
        print_json(facts)
    if checkpoints == 1 and failures:
        # The one of one checkpoint is told as it is; of several, the first, last.
        raise failures[0]
    if failures:
        summary = f"{len(failed)} of {checkpoints} models failed; the lines above say why, the others are cached"
        raise type(max(failures, key=lambda failure: failure.exit_code))(summary)


def _tell(done: "Extraction", named: bool) -> None:
    rows, computed = sum(split.rows for split in done.splits), sum(split.computed for split in done.splits)
    skipped = sum(split.skipped for split in done.splits)
    which = f", {', '.join(done.layers)}" if named else ""
    where = f"{done.model} on {done.dataset} at {done.input_size} px{which}: "
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


def run_eval(out: Path, *, as_json: bool = False, **asked: Any) -> None:
    """Evaluates what was asked for (``probebench.evaluate``), and prints the table.

    Raises:
        ProbebenchError: Something that was asked for could not be evaluated; all else is done and printed first.
    """
    with ProgressLines("%") as progress:
        results, failures = done_of(lambda: evaluate(**asked, out=out, progress=progress))
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    elif results:
        print_results(results, out)
        protocols = list(dict.fromkeys(result.protocol for result in results))
        if len(protocols) > 1:
            print_rank_shifts(results, protocols)
        if said := edges(results):
            click.echo(said)
        click.echo(f"results are in {out}")
    raise_all(failures)
