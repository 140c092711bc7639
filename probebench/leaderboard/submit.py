"""Gathers a checkpoint's results into a submission, or says everything that keeps it from being one."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from probebench.errors import ResultError, UsageError
from probebench.files import write_whole
from probebench.fingerprint import file_sha256
from probebench.leaderboard.check_data import evaluator_version
from probebench.leaderboard.check_result import check_facts
from probebench.leaderboard.check_submission import draws_of
from probebench.leaderboard.findings import in_short
from probebench.leaderboard.rules import (
    LARGEST,
    MANIFEST,
    PROTOCOL,
    Manifest,
    from_scratch,
    lacking,
    protocol_of,
)
from probebench.leaderboard.verify import verify
from probebench.registry.entry import Versioned
from probebench.registry.layers import fits, layer_order
from probebench.registry.load import Registry
from probebench.registry.schema import CheckpointSpec, ProtocolSpec
from probebench.registry.write import entry_text
from probebench.results.cells import Cell, beside, shots_text
from probebench.results.cells import gather as gather_cells
from probebench.results.schema import Result
from probebench.results.store import read_predictions, read_result


@dataclass(frozen=True)
class SubmissionRequest:
    """What is to be submitted.

    Attributes:
        entry: The checkpoint's.
        datasets: Data sets that the submission must cover; it covers no others.
        protocols: Protocols whose results go in; the default one is always among them.
        input_size: Which results, where there are some at several sizes.
        layers: Names and globs of layers whose results go in, beside the one that each protocol takes.
    """

    entry: CheckpointSpec
    datasets: tuple[str, ...]
    protocols: tuple[str, ...] = (PROTOCOL,)
    input_size: int | None = None
    layers: tuple[str, ...] = ()

    def takes(self, result: Result, spec: Versioned | None) -> bool:
        """Says whether a result's layer is one that goes in."""
        own = spec.layer_of(self.entry) if isinstance(spec, ProtocolSpec) else self.entry.output.layer
        layer = result.checkpoint.layer
        return from_scratch(result) or layer == own or any(fits(layer, one) for one in self.layers)

    def extract(self, dataset: str) -> str:
        """Returns the command that extracts what is missing."""
        return f"probebench extract --model {self.entry.id} --dataset {dataset}{self._size}"

    def eval(
        self, results: Path, dataset: str, shots: object = None, protocol: str = PROTOCOL, layer: str | None = None
    ) -> str:
        """Returns the command that evaluates what is missing."""
        flags = f" --layer {layer}" if layer not in (None, self.entry.output.layer) else ""
        flags += f" --shots {shots}" if shots is not None else ""
        flags += f" --protocol {protocol}" if protocol != PROTOCOL else ""
        flags += f" --out {results}" if results != Path("results") else ""
        return f"probebench eval --model {self.entry.id} --dataset {dataset}{self._size}{flags}"

    @property
    def _size(self) -> str:
        return f" --input-size {self.input_size}" if self.input_size else ""


@dataclass
class Gathered:
    """Results that go into a submission, with their files, and what is wrong with them, each with its mend."""

    results: dict[Path, Result] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def submit(
    asked: SubmissionRequest, results: Path, out: Path, registry: Registry, datasets: Path
) -> tuple[Path | None, Gathered]:
    """Writes a submission into ``out``, the same bytes for the same results, and verifies it before it takes its place.

    Args:
        asked: What to submit.
        results: The results folder.
        out: The folder of submissions.
        registry: Entries and protocols.
        datasets: The folder that holds data sets.

    Returns:
        The submission's folder, None where something is missing or wrong; and what was gathered.

    Raises:
        UsageError: There are no results, or the place is taken by something that is no submission.
        OSError: The folder cannot be written.
    """
    if not results.is_dir():
        raise UsageError(f"results folder {results} does not exist; run probebench eval first, or name it")
    target = out / asked.entry.id
    if target.exists() and not (target / MANIFEST).is_file():
        raise UsageError(f"{target} is there and is no submission; move it away, or name another --out")
    gathered = gather(asked, results, registry)
    if gathered.problems:
        return None, gathered
    # Beside the target, so that it can take its place at once; and in a folder of the same name, which verify compares.
    workshop = out / f".{asked.entry.id}.{os.getpid()}.partial"
    try:
        _write(workshop / asked.entry.id, asked.entry, gathered.results)
        verified = verify(workshop / asked.entry.id, registry, datasets)
        gathered.problems += [f"{one}; make that result again" for one in verified.findings.failures]
        gathered.notes += in_short([*verified.findings.notes, *verified.findings.unchecked])
        if gathered.problems:
            return None, gathered
        if target.exists():
            shutil.rmtree(target)
        (workshop / asked.entry.id).replace(target)
        return target, gathered
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def gather(asked: SubmissionRequest, folder: Path, registry: Registry) -> Gathered:
    """Chooses the results that belong in a submission, and lists everything that is missing, stale or damaged."""
    gathered, candidates, stale = Gathered(), dict[Path, Result](), dict[Path, Result]()
    others: set[str] = set()
    for path in sorted((folder / asked.entry.id).glob("*/*.json")):
        result = _read(path, asked, gathered)
        if result is None:
            continue
        spec = protocol_of(registry, result.protocol)
        if not asked.takes(result, spec):
            others.add(result.checkpoint.layer)
            continue
        current = spec is None or result.protocol_version == spec.version
        (candidates if current else stale)[path] = result
    for place, cells in _by_place(gather_cells(candidates.values())).items():
        paths = {id(result): path for path, result in candidates.items()}
        if (cell := _only(cells, paths, gathered)) is not None:
            gathered.results[paths[id(cell.result)]] = cell.result
            gathered.notes += beside([cell])
        stale = {one: result for one, result in stale.items() if _place(result) != place}
    _check(asked, gathered, folder)
    for path, result in stale.items():
        gathered.problems.append(
            f"{path} is stale: version {result.protocol_version} of protocol {result.protocol} is not the one now; "
            f"run: {asked.eval(folder, result.dataset, result.shots, result.protocol, result.checkpoint.layer)}"
        )
    _check_complete(asked, gathered, folder, {_place(result) for result in stale.values()}, registry)
    if others:
        names = ",".join(sorted(others, key=layer_order))
        gathered.notes.append(f"results on other layers stay out ({names}); --layer {names} takes them in")
    return gathered


def _read(path: Path, asked: SubmissionRequest, gathered: Gathered) -> Result | None:
    """Reads a result that is to go in, with its predictions; None where it is not."""
    try:
        result = read_result(path)
        wanted = (
            (result.dataset in asked.datasets and result.protocol in {PROTOCOL, *asked.protocols})
            and (result.provenance == "measured" and result.test_dataset is None)
            and asked.input_size in (None, result.input_size)
        )
        if not wanted:
            return None
        read_predictions(path, result)
    except ResultError as error:
        gathered.problems.append(str(error))
        return None
    if path.with_suffix(".npz").stat().st_size > LARGEST[".npz"]:
        gathered.problems.append(f"{path.with_suffix('.npz')} is too large for a submission")
    return result


def _place(result: Result) -> tuple[object, ...]:
    """Returns what a submission has one result of."""
    return result.dataset, result.kind, result.mode, result.protocol, result.shots, result.checkpoint.layer


def _by_place(cells: Iterable[Cell]) -> dict[tuple[object, ...], list[Cell]]:
    places: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        places[_place(cell.result)].append(cell)
    return places


def _only(cells: Sequence[Cell], paths: Mapping[int, Path], gathered: Gathered) -> Cell | None:
    """Returns the cell of a place; several, which differ in more than their solver, are a problem."""
    if len(cells) == 1:
        return cells[0]
    some = cells[0].result
    what = f"{some.dataset} at {shots_text(some.shots)} under {some.protocol}"
    sizes = sorted({str(cell.key.entrant.input_size) for cell in cells})
    if len(sizes) > 1:
        mend = f"has results at {' and '.join(sizes)} px; say which with --input-size {sizes[0]}"
    else:
        files = [str(paths[id(result)]) for cell in cells for result in (cell.result, *cell.others)]
        mend = f"has several results; keep one: rm {' or rm '.join(sorted(files))}"
    gathered.problems.append(f"{what} {mend}")
    return None


def _check(asked: SubmissionRequest, gathered: Gathered, folder: Path) -> None:
    """Adds what is wrong with the chosen results: facts that differ from the entry, weights that differ, failures."""
    digests: dict[str | None, list[Path]] = defaultdict(list)
    for path, result in gathered.results.items():
        if not from_scratch(result):
            digests[result.weights_digest].append(path)
        command = asked.eval(folder, result.dataset, result.shots, result.protocol, result.checkpoint.layer)
        again = f"rm {path} && {command}"
        if faults := list(check_facts(result, asked.entry)):
            gathered.problems.append(
                f"{path} was made with another entry ({'; '.join(faults)}); if the entry is right: {again}"
            )
        if result.mean is None:
            gathered.problems.append(f"{path} has a trial that failed; run: {again}")
    if len(digests) < 2:
        return
    for digest, paths in digests.items():
        places = ",".join(sorted({path.parent.name for path in paths}))
        gathered.problems.append(
            f"the results on {places} are of weights {str(digest)[:12]}, and others of other weights; remove those of "
            f"the wrong ones, then run: {asked.extract(places)} && {asked.eval(folder, places)}"
        )


def _check_complete(
    asked: SubmissionRequest, gathered: Gathered, folder: Path, stale: set[tuple[object, ...]], registry: Registry
) -> None:
    """Adds the cells that are missing, less those of which a stale result was told already."""
    known = {cell[0] for cell in stale} | {result.dataset for result in gathered.results.values()}
    own = asked.entry.output.layer
    told = {(place[0], place[4]) for place in stale if (place[3], place[5]) == (PROTOCOL, own)}
    for dataset, shots, fault in lacking(gathered.results.values(), asked.datasets, registry, own):
        if dataset in known and (dataset, shots) not in told:
            command = asked.eval(folder, dataset, shots)
            gathered.problems.append(f"{dataset} at {shots_text(shots)} {fault}; run: {command}")
    for dataset in asked.datasets:
        if dataset not in known:
            gathered.problems.append(
                f"{dataset} has no results; run: {asked.extract(dataset)} && {asked.eval(folder, dataset)}"
            )
    have = {result.protocol for result in gathered.results.values()} | {cell[3] for cell in stale}
    for protocol in asked.protocols:
        if protocol not in have and protocol != PROTOCOL:
            gathered.problems.append(
                f"protocol {protocol} has no results; "
                f"run: {asked.eval(folder, ','.join(asked.datasets), protocol=protocol)}"
            )


def _write(folder: Path, entry: CheckpointSpec, results: dict[Path, Result]) -> None:
    """Writes entry, results as they are, predictions, and the manifest over all of them."""
    write_whole(folder / f"{entry.id}.toml", entry_text(entry).encode())
    for path in results:
        for file in (path, path.with_suffix(".npz")):
            write_whole(folder / path.parent.name / file.name, file.read_bytes())
    ordered = sorted(results.values(), key=lambda result: (result.dataset, result.protocol))
    manifest = Manifest(
        model=entry.id,
        weights_digest=next(one.weights_digest or "" for one in ordered if not from_scratch(one)),
        evaluator_version=evaluator_version(),
        protocols={result.protocol: result.protocol_version for result in ordered},
        datasets={result.dataset: result.dataset_fingerprint or "" for result in ordered},
        draws=draws_of(ordered),
        files={
            path.relative_to(folder).as_posix(): file_sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    )
    write_whole(folder / MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())
