"""``probebench cache``: the feature files."""

import fnmatch
import time
from pathlib import Path

import click

from probebench.cli.console import print_json, print_table
from probebench.cli.options import home, json_option
from probebench.errors import CacheError, UsageError


@click.group(name="cache")
def command() -> None:
    """List, verify and remove cached features."""


@command.command(name="list")
@json_option
def list_files(as_json: bool) -> None:
    """List feature files: whose they are, rows, size, age, complete or not."""
    from probebench.cache.store import FeatureFile, stored_files

    rows = []
    for path in [*stored_files(home()), *stored_files(home(), partial=True)]:
        status = path.stat()
        fact = {
            "file": str(path),
            "bytes": status.st_size,
            "age_days": round((time.time() - status.st_mtime) / 86400, 2),
        }
        fact |= {
            "model": path.parent.parent.name,
            "dataset": path.parent.name,
            "state": "interrupted",
            "rows": None,
            "input_size": None,
        }
        if path.suffix != ".partial":
            try:
                with FeatureFile(path) as file:
                    fact |= {"model": file.model, "dataset": file.dataset, "state": "complete", "rows": file.rows}
                    fact |= {
                        "split": file.key.split,
                        "input_size": file.key.preprocessing.size,
                        "dtype": file.key.dtype,
                    }
            except (CacheError, OSError):
                fact["state"] = "damaged"
        rows.append(fact)
    if as_json:
        print_json(rows)
        return
    columns = [
        ("model", "left"),
        ("data set", "left"),
        ("split", "left"),
        ("px", "right"),
        ("rows", "right"),
        ("MB", "right"),
        ("days", "right"),
        ("state", "left"),
    ]
    print_table(
        columns,
        [
            [
                str(row["model"]),
                str(row["dataset"]),
                str(row.get("split") or Path(str(row["file"])).name.split("-")[0]),
                str(row["input_size"] or "?"),
                str(row["rows"] if row["rows"] is not None else "?"),
                f"{int(str(row['bytes'])) / 1e6:.1f}",
                str(row["age_days"]),
                str(row["state"]),
            ]
            for row in rows
        ],
    )


@command.command()
def verify() -> None:
    """Read every feature file and check every row against its checksum."""
    from probebench.cache.store import FeatureFile, stored_files

    files, problems = stored_files(home()), 0
    for path in files:
        try:
            with FeatureFile(path) as file:
                file.read()
        except (CacheError, OSError) as error:
            problems += 1
            click.echo(f"error: {error}", err=True)
    click.echo(f"{len(files) - problems} of {len(files)} feature files are whole")
    if problems:
        raise click.exceptions.Exit(1)


@command.command()
@click.option("--model", help="Only this model (a glob may be given).")
@click.option("--dataset", help="Only this data set (a glob may be given).")
def remove(model: str | None, dataset: str | None) -> None:
    """Remove the feature files, whole, damaged or interrupted, of a model, of a data set, or of both together."""
    from probebench.cache.store import stored_files

    if model is None and dataset is None:
        raise UsageError("say what to remove: --model ID, --dataset ID or both (globs may be given; '*' is everything)")
    chosen = [
        path
        for path in [*stored_files(home()), *stored_files(home(), partial=True)]
        if fnmatch.fnmatch(path.parent.parent.name, model or "*")
        and fnmatch.fnmatch(path.parent.name, (dataset or "*").replace(":", "-"))
    ]
    size = sum(path.stat().st_size for path in chosen)
    for path in chosen:
        path.unlink()
    click.echo(f"removed {len(chosen)} files, {size / 1e6:.1f} MB")
