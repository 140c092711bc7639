"""What results say: as a table, side by side, in the study, and on the leaderboard's page."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.api.session import Folders, Path_, entry_folders, listed, warn
from probebench.api.tables import Comparisons, Results
from probebench.errors import ResultError, UsageError, describe_os_error

if TYPE_CHECKING:
    import pandas

    from probebench.api.features import Features
    from probebench.registry import Registry
    from probebench.results.predictions import Predictions
    from probebench.results.schema import Result
    from probebench.study.ask import Study

_MEND = "run probebench eval first (in Python: probebench.evaluate)"

# A results folder or several, or results that are at hand.
ResultsLike = Path_ | Sequence[Path_] | Results


def read_results(results: ResultsLike) -> Results:
    """Reads every result of some folders; a damaged one is warned about and passed over.

    Raises:
        UsageError: There is no such folder.
    """
    if isinstance(results, Results):
        return results
    from probebench.results.store import read_result, result_files

    found: list[tuple[Path, Result]] = []
    damaged: list[Path] = []
    for folder in dict.fromkeys(Path(os.fspath(one)) for one in listed(results)):
        if not folder.is_dir():
            raise UsageError(f"results folder {folder} does not exist; {_MEND}, or name it")
        for path in result_files(folder):
            try:
                found.append((path, read_result(path)))
            except (ResultError, OSError) as error:
                warn(_told(error))
                damaged.append(path)
    return Results(found, damaged)


def _told(error: ResultError | OSError) -> str:
    return describe_os_error(error) if isinstance(error, OSError) else str(error)


def shipped_results() -> Path:
    """Returns the folder of the results that come with probebench, in a wheel or in a checkout."""
    packaged = Path(__file__).parents[1] / "leaderboard" / "data"
    return (packaged if packaged.is_dir() else Path(__file__).parents[2] / "leaderboard") / "results"


def present_versions() -> dict[str, int]:
    """Returns the present version of each protocol, of the entries that load."""
    from probebench.registry import Registry

    return Registry.load_leniently(entry_folders(())).versions


def _named(results: ResultsLike) -> str:
    return "these results" if isinstance(results, Results) else ", ".join(str(one) for one in listed(results))


def load_results(folder: ResultsLike = "results") -> "pandas.DataFrame":
    """Returns all results of a folder, or of several, as a table: one row a result (``Results.to_frame``).

    Args:
        folder: Results folders.

    Raises:
        UsageError: There is no such folder.
    """
    return read_results(folder).to_frame()


def compare(a: "str | Features", b: "str | Features", *, results: ResultsLike = "results") -> Comparisons:
    """Compares two checkpoints on the same draws and test images, wherever both have results.

    Differences are paired over draws and images, and come with 95% intervals and p-values adjusted for all pairs
    (Holm).

    Args:
        a: Id of the first checkpoint, or its features.
        b: Of the second.
        results: Results folders, or results at hand.

    Raises:
        UsageError: One has no results there, or they share no draws.
        ResultError: Predictions are missing or damaged.
    """
    from probebench.errors import did_you_mean
    from probebench.results.compare import comparable_cells
    from probebench.results.compare import compare as pair_up
    from probebench.results.store import read_predictions

    held = read_results(results)
    files = {id(result): path for path, result in zip(held.paths, held, strict=True)}
    names = [one if isinstance(one, str) else one.model for one in (a, b)]
    known = {result.model for result in held}
    for name in names:
        if name not in known:
            raise UsageError(f"no results of {name!r} in {_named(results)}{did_you_mean(name, known)}")
    ours, theirs = ([result for result in held if result.model == name] for name in names)
    pairs = [
        ((one, read_predictions(files[id(one)], one)), (two, read_predictions(files[id(two)], two)))
        for one, two in comparable_cells(ours, theirs)
    ]
    if not pairs:
        raise UsageError(
            f"{names[0]} and {names[1]} share no draws in {_named(results)}; evaluate both on the same data set"
        )
    return Comparisons(pair_up(pairs))


def run_study(
    results: ResultsLike = "results",
    *,
    size_tolerance: float = 1.1,
    shared_concepts: float = 1.0,
    out: Path_ | None = None,
) -> "Study":
    """Asks the questions of the paper of results: which pre-training data and method transfers best.

    Args:
        results: Results folders, or results at hand.
        size_tolerance: Pre-training sets whose sizes differ by no more than this factor are of one size.
        shared_concepts: Share of a data set's test images that may show what a checkpoint's source shows too, in
            another style; 1 allows any. Sets of which a source holds the very images are always left out.
        out: Folder of the report (study.html, study.md, study.json and figures); None writes none.

    Returns:
        The claims, of measured results and of published ones apart. Each is confirmed, contradicted, without effect or
        not answerable, with its size, its interval, and what it rests on.

    Raises:
        UsageError: There are no results with a score, the tolerance is below 1, or the share is none.
    """
    from probebench.registry import Registry
    from probebench.study.report import write_report

    if not 1 <= size_tolerance < float("inf"):
        raise UsageError(
            f"size tolerance {size_tolerance:g} is a factor: 1 takes equal sizes alone, 1.1 allows a tenth"
        )
    if not 0 <= shared_concepts <= 1:
        raise UsageError(f"shared concepts {shared_concepts:g} is a share of test images, from 0 to 1")
    held = read_results(results)
    entries = Registry.load_leniently(entry_folders(()))
    found = _study(held, entries, size_tolerance=size_tolerance, shared_concepts=shared_concepts)
    if not found.asked:
        raise UsageError(f"no results with a score in {_named(results)}; {_MEND}, or name another folder")
    if out is not None:
        write_report(found, Path(out))
    return found


def _study(held: Results, entries: "Registry", *, size_tolerance: float, shared_concepts: float) -> "Study":
    from probebench.study.ask import Dropped, study

    names = {result.dataset for result in held} & set(entries.datasets)
    found = study(
        held,
        read=_reader(held),
        # Of guessing: one in as many as there are classes.
        chance={name: 1 / len(entries.datasets[name].classes) for name in names},
        versions=entries.versions,
        size_tolerance=size_tolerance,
        entries=entries.sources,
        shared_share=shared_concepts,
    )
    damaged = [
        Dropped(asked.provenance, str(path), "damaged: it could not be read")
        for asked in found.asked
        for path in held.damaged
    ]
    return replace(found, dropped=(*found.dropped, *damaged))


def _reader(results: Results) -> "Callable[[Result], Predictions | None]":
    """Returns what reads the predictions of a result; None where they are missing, or damaged, which is warned of."""
    from probebench.results.store import read_predictions

    files = {id(result): path for path, result in zip(results.paths, results, strict=True)}

    def read(result: "Result") -> "Predictions | None":
        if result.predictions is None:
            return None
        try:
            return read_predictions(files[id(result)], result)
        except (ResultError, OSError) as error:
            warn(f"{_told(error)}; until then its score is taken as it is told")
            return None

    return read


def build_leaderboard(
    results: ResultsLike = "results", *, study: "Study | None" = None, registry: Folders = (), out: Path_ = "site"
) -> Path:
    """Writes the leaderboard's page: one file with the answer, table, plots and cards, which needs no network.

    Beside it come the study's report (``study/study.html``), and the rows as ``board.csv`` and ``board.json``.

    Where reproductions lie beside a folder of results (``leaderboard/reproductions`` beside ``leaderboard/results``),
    what they cover is ranked, and all else behind a switch.

    Args:
        results: Results folders, or results at hand.
        study: What ``run_study`` said of these results, where it is at hand; None asks.
        registry: Folders of your own entries.
        out: Folder of the page.

    Returns:
        The page.

    Raises:
        UsageError: There is no such folder.
        OSError: The folder is full or cannot be written.
    """
    from probebench.leaderboard.reproduction import read_reproductions
    from probebench.leaderboard.site import build_site
    from probebench.registry import Registry
    from probebench.results.store import read_predictions
    from probebench.study.observations import SAME_SIZE
    from probebench.study.report import write_report

    held = read_results(results)
    files = {id(result): path for path, result in zip(held.paths, held, strict=True)}
    folders = [] if isinstance(results, Results) else [Path(os.fspath(one)) for one in listed(results)]
    # A board of results does not fail because some other entry is malformed.
    entries = Registry.load_leniently(entry_folders(registry))
    if study is None:
        study = _study(held, entries, size_tolerance=SAME_SIZE, shared_concepts=1.0)
    if study.asked:
        write_report(study, Path(out) / "study", board="../index.html")
    return build_site(
        list(held),
        Path(out),
        lambda result: read_predictions(files[id(result)], result),
        entries.checkpoints,
        entries.versions,
        entries.datasets,
        read_reproductions(folders),
        entries.sources,
        study.as_dict()["claims"],
        "study/study.html" if study.asked else None,
    )
