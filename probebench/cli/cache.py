"""``probebench cache``: the feature files."""

import time

import click

from probebench.cli.console import print_json, print_table
from probebench.cli.options import json_option
from probebench.errors import UsageError
from probebench.files import home
from probebench.registry.names import split_list

_model_option = click.option("--model", "models", multiple=True, help="Only these models (globs and comma lists).")
_dataset_option = click.option(
    "--dataset", "datasets", multiple=True, help="Only these data sets (globs and comma lists)."
)


@click.group(name="cache")
def command() -> None:
    """List, verify and remove cached features."""


@command.command(name="list")
@json_option
def list_files(as_json: bool) -> None:
    """List feature files: whose they are, rows, size, age, complete or not."""
    from probebench.cache.listing import list_files

    entries = list_files(home())
    if as_json:
        print_json(
            [
                {
                    "file": str(entry.path),
                    "model": entry.model,
                    "dataset": entry.dataset,
                    "split": entry.split,
                    "input_size": entry.about.input_size if entry.about else None,
                    "dtype": entry.about.dtype if entry.about else None,
                    "layer": entry.about.layer or None if entry.about else None,
                    "rows": entry.rows,
                    "committed": entry.committed,
                    "bytes": entry.bytes,
                    "age_days": round((time.time() - entry.modified) / 86400, 2),
                    "state": entry.state,
                }
                for entry in entries
            ]
        )
        return
    columns = [
        ("model", "left"),
        ("data set", "left"),
        ("split", "left"),
        ("px", "right"),
        ("dtype", "left"),
        ("layer", "left"),
        ("rows", "right"),
        ("size", "right"),
        ("age", "right"),
        ("state", "left"),
    ]
    print_table(
        columns,
        [
            [
                entry.model,
                entry.dataset,
                entry.split,
                str(entry.about.input_size) if entry.about else "?",
                entry.about.dtype if entry.about else "?",
                entry.about.layer or "?" if entry.about else "?",
                str(entry.rows) if entry.state == "complete" else _progress(entry.rows, entry.committed),
                _size(entry.bytes),
                _age(time.time() - entry.modified),
                entry.state,
            ]
            for entry in entries
        ],
    )
    click.echo(f"{_count(len(entries))}, {_size(sum(entry.bytes for entry in entries))}")


@command.command()
@_model_option
@_dataset_option
@json_option
def verify(models: tuple[str, ...], datasets: tuple[str, ...], as_json: bool) -> None:
    """Read every feature file, complete or interrupted, and check every row against its checksum."""
    from probebench.cache.listing import list_files
    from probebench.cache.verify import verify as verify_file

    entries = list_files(home(), split_list(models), split_list(datasets))
    problems: list[str] = []
    for entry in entries:
        try:
            damage = verify_file(entry.path)
            said = damage.message if damage else None
        except OSError as error:
            said = f"feature file {entry.path} cannot be read: {error.strerror}"
        if said:
            problems.append(said)
            click.echo(f"error: {said}", err=True)
    whole = len(entries) - len(problems)
    if as_json:
        print_json({"files": len(entries), "whole": whole, "problems": problems})
    else:
        click.echo(f"{whole} of {len(entries)} feature files are whole")
    if problems:
        raise click.exceptions.Exit(1)


@command.command()
@_model_option
@_dataset_option
@click.option("--older-than", metavar="AGE", help="Only files not written to for so long, such as 30d or 12h.")
@click.option("--larger-than", metavar="SIZE", help="Only files that take more than this, such as 500MB or 2GB.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@json_option
def remove(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    older_than: str | None,
    larger_than: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove the feature files, whole, damaged or interrupted, for which all that is asked holds."""
    from probebench.cache.listing import list_files, older_and_larger, parse_age, parse_size, remove_files

    if not (models or datasets) and older_than is None and larger_than is None:
        raise UsageError(
            "say what to remove: --model, --dataset (globs may be given; '*' is everything), "
            "--older-than 30d or --larger-than 500MB"
        )
    age = parse_age(older_than) if older_than is not None else None
    size = parse_size(larger_than) if larger_than is not None else None
    entries = list_files(home(), split_list(models), split_list(datasets))
    removal = remove_files(older_and_larger(entries, age, size), dry_run)
    if as_json:
        files = {name: [entry.path for entry in getattr(removal, name)] for name in ("gone", "busy")}
        print_json({"dry_run": dry_run, "bytes": sum(entry.bytes for entry in removal.gone), **files})
        return
    for entry in removal.busy:
        click.echo(f"{entry.path} is being written by another process and stays", err=True)
    if dry_run:
        for entry in removal.gone:
            click.echo(f"{entry.path} ({_size(entry.bytes)}, {_age(time.time() - entry.modified)} old)")
    total = _size(sum(entry.bytes for entry in removal.gone))
    click.echo(f"{'would remove' if dry_run else 'removed'} {_count(len(removal.gone))}, {total}")


def _progress(rows: int | None, committed: int | None) -> str:
    return "?" if rows is None or committed is None else f"{committed} of {rows}"


def _count(files: int) -> str:
    return f"{files} file{'' if files == 1 else 's'}"


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _age(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
