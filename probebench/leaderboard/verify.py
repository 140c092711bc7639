"""Verifies results and submissions: everything that can be computed again is, and every fault is told."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probebench.errors import ResultError
from probebench.leaderboard.check_across import ResultFile, check_across, check_same_data
from probebench.leaderboard.check_base import check_base
from probebench.leaderboard.check_copies import check_copies, check_names, check_repeats
from probebench.leaderboard.check_data import DataHere
from probebench.leaderboard.check_images import Images
from probebench.leaderboard.check_result import (
    check_facts,
    check_place,
    check_predictions,
    check_rules,
    check_scores,
    check_trials,
    read_checked,
)
from probebench.leaderboard.check_submission import check_entry, check_files, check_manifest, read_manifest
from probebench.leaderboard.check_words import check_environment, check_words
from probebench.leaderboard.findings import Findings
from probebench.leaderboard.reproduction import check_reproduction, place_of, read_reproduction
from probebench.leaderboard.rules import MANIFEST, REPRODUCTIONS, is_older, protocol_of, require_board
from probebench.leaderboard.safe import content_fault, file_fault, sound_files
from probebench.leaderboard.sketch import Sketch
from probebench.registry.load import Registry
from probebench.registry.schema import CheckpointSpec
from probebench.results.packed import SUFFIX, is_packed, read_pack
from probebench.results.schema import Result
from probebench.results.store import read_result


@dataclass(kw_only=True)
class Verified:
    """What a verification found.

    Attributes:
        findings: Failures, what could not be checked here, and notes.
        entered: The results that could be read.
        entries: Entry of each checkpoint, the registry's before a submission's own.
        submissions: How many submissions there were.
        reproductions: How many reproductions.
        scored: How many predictions files were scored again.
        here: The data sets of this machine.
    """

    findings: Findings
    entered: list[ResultFile]
    entries: dict[str, CheckpointSpec]
    submissions: int
    reproductions: int
    scored: int
    here: DataHere

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return self.findings.ok


def verify(path: Path, registry: Registry, datasets: Path, base: str | None = None) -> Verified:
    """Verifies a leaderboard, a folder of submissions or of results, or one submission; it raises nothing on bad files.

    Args:
        path: A folder with results/, submissions/ and reproductions/ in it, one of the first two, or one submission.
        registry: Entries and protocols.
        datasets: The folder that holds data sets; what it lacks is listed as not checked here.
        base: A commit; whatever lies outside one submission, or one reproduction, must be as it is there.

    Raises:
        UsageError: There is no such folder, it is a link, or there is no such commit.
    """
    require_board(path)
    run = _Verification(path, registry, DataHere(registry, datasets))
    if base is not None:
        check_base(path, base, run.findings)
    with run.findings.guard(path):
        run.look(path)
        run.compare()
    if not run.entered and run.findings.ok:
        run.findings.fail(path, "holds no result")
    run.findings.failures.sort()
    return Verified(
        findings=run.findings,
        entered=run.entered,
        entries=run.entries,
        submissions=run.submissions,
        reproductions=run.reproductions,
        scored=run.scored,
        here=run.here,
    )


class _Verification:
    """One run over all files."""

    def __init__(self, root: Path, registry: Registry, here: DataHere) -> None:
        self.findings, self.registry, self.here = Findings(root), registry, here
        self.entered: list[ResultFile] = []
        self.entries = dict(registry.checkpoints)
        self.submitted: dict[str, Path] = {}
        self.submissions = self.reproductions = self.scored = 0

    def look(self, path: Path) -> None:
        """Goes through whatever kind of folder this is."""
        if path.parent.name == "submissions" or (path / MANIFEST).exists():
            self._submission(path)
        elif path.name == "submissions" or any((child / MANIFEST).exists() for child in path.iterdir()):
            self._all_submissions(path)
        elif any((path / name).is_dir() for name in ("results", "submissions")):
            self._leaderboard(path)
        else:
            self._results(path)

    def _leaderboard(self, path: Path) -> None:
        for child in self._children(path):
            if child.name == "results":
                self._results(child)
            elif child.name == "submissions":
                self._all_submissions(child)
            elif child.name != REPRODUCTIONS:
                self.findings.fail(child, "does not belong here: only results/, submissions/ and reproductions/ do")
        if (path / REPRODUCTIONS).is_dir() and not (path / REPRODUCTIONS).is_symlink():
            self._reproductions(path / REPRODUCTIONS)

    def _reproductions(self, folder: Path) -> None:
        """Checks reproductions against the results that they cover, which were read before."""
        results: dict[str, dict[str, Result]] = defaultdict(dict)
        for one in self.entered:
            results[one.result.model][place_of(one.path)] = one.result
        for path in sound_files(folder, self.findings):
            if path.parent != folder or path.suffix != ".json":
                if path != folder / "README.md":
                    self.findings.fail(path, "does not belong here: reproductions are ID-DIGEST.json")
                continue
            with self.findings.guard(path):
                try:
                    found = read_reproduction(path)
                except ResultError as error:
                    self.findings.fail(path, str(error))
                    continue
                for fault in check_reproduction(path, found, results[found.model]):
                    self.findings.fail(path, fault)
                entry = self.entries.get(found.model)
                if entry is None:
                    self.findings.fail(path, f"model {found.model!r} has no entry")
                elif entry.weights != found.weights:
                    self.findings.fail(path, f"its weights are not those of the entry {found.model}")
                self.reproductions += 1

    def _all_submissions(self, path: Path) -> None:
        for child in self._children(path):
            with self.findings.guard(child):
                self._submission(child)

    def _children(self, path: Path) -> Iterator[Path]:
        """Yields real folders; all else but a README.md is a failure."""
        for child in sorted(path.iterdir()):
            if child.is_symlink():
                self.findings.fail(child, f"is a symbolic link to {child.readlink()}")
            elif child.is_dir():
                yield child
            elif child.name != "README.md":
                self.findings.fail(child, "does not belong here")
            elif fault := file_fault(child):
                self.findings.fail(child, fault)

    def _results(self, folder: Path) -> None:
        loose: list[Path] = []
        packed: list[Path] = []
        for path in sound_files(folder, self.findings, packs=True):
            depth = len(path.relative_to(folder).parts)
            if depth == 3 and path.suffix in (".json", ".npz"):
                loose.append(path)
            elif depth == 2 and path.suffix == SUFFIX:
                packed += self._packed(path)
            elif path != folder / "README.md":
                what = f"results are model/dataset/*.json with an .npz each, or model/dataset{SUFFIX}"
                self.findings.fail(path, f"does not belong here: {what}")
        found = self._read(loose) + self._read(packed)
        for path, result in found:
            if result.model not in self.entries:
                self.findings.fail(path, f"model {result.model!r} is not in the registry")

    def _packed(self, path: Path) -> Iterator[Path]:
        """Yields the runs of a pack that may be read."""
        try:
            texts = read_pack(path).texts
        except ResultError as error:
            self.findings.fail(path, str(error))
            return
        for name, text in texts.items():
            if fault := content_fault(".json", text):
                self.findings.fail(path / name, fault)
            else:
                yield path / name

    def _submission(self, folder: Path) -> None:
        self.submissions += 1
        files = sound_files(folder, self.findings)
        before, entry = len(self.entered), None
        with self.findings.guard(folder / f"{folder.name}.toml"):
            entry, faults = check_entry(folder, self.registry, files)
            for fault in faults:
                self.findings.fail(folder / f"{folder.name}.toml", fault)
            if entry is not None:
                self.entries[folder.name] = entry
                self.submitted[folder.name] = folder / f"{folder.name}.toml"
        inside = {path: path.relative_to(folder).parts for path in files}
        for path, parts in inside.items():
            own = parts in ((MANIFEST,), (f"{folder.name}.toml",), ("README.md",))
            if not own and not (len(parts) == 2 and path.suffix in (".json", ".npz")):
                self.findings.fail(path, "does not belong here: a submission holds dataset/*.json with an .npz each")
        self._read([path for path in files if len(inside[path]) == 2])
        try:
            if folder / MANIFEST not in files and (folder / MANIFEST).exists():
                return
            manifest = read_manifest(folder / MANIFEST)
        except ResultError as error:
            self.findings.fail(folder / MANIFEST, str(error))
            return
        for path, fault in check_files(folder, manifest, files):
            self.findings.fail(path, fault)
        layer = entry.output.layer if entry is not None else None
        for fault in check_manifest(folder, manifest, self.entered[before:], self.registry, layer):
            self.findings.fail(folder / MANIFEST, fault)

    def _read(self, files: list[Path]) -> list[tuple[Path, Result]]:
        """Checks each result and its predictions; an .npz without a JSON is a failure."""
        found: list[tuple[Path, Result]] = []
        sound, jsons = set(files), {path for path in files if path.suffix == ".json"}
        for path in sorted(sound - jsons):
            if path.with_suffix(".json") not in jsons:
                self.findings.fail(path, "belongs to no result")
        for path in sorted(jsons):
            with self.findings.guard(path):
                try:
                    result = read_result(path)
                except ResultError as error:
                    self.findings.fail(path, str(error).removeprefix(f"result {path} ").rsplit("; remove it", 1)[0])
                    continue
                found.append((path, result))
                self.entered.append(ResultFile(path, result, self._check(path, result, sound)))
        return found

    def _check(self, path: Path, result: Result, sound: set[Path]) -> Sketch | None:
        entry = self.entries.get(result.model)
        for fault in (*check_place(path, result), *check_rules(result, self.registry, entry)):
            self.findings.fail(path, fault)
        if result.provenance != "measured" or not result.trials:
            return None
        faults = [
            *check_trials(result, protocol_of(self.registry, result.protocol)),
            *check_environment(result.environment),
            *(check_facts(result, entry) if entry else ()),
        ]
        for fault in faults:
            self.findings.fail(path, fault)
        if result.environment.get("dirty"):
            self.findings.note(path, "was made by code with changes that no commit holds")
        if result.selection == "test":
            self.findings.note(path, "is selected on test labels: shown, never ranked")
        if is_older(self.registry, result):
            spec = protocol_of(self.registry, result.protocol)
            assert spec is not None
            self.findings.note(
                path,
                f"is of version {result.protocol_version} of protocol {spec.id}, now {spec.version}: "
                "shown, never ranked",
            )
        npz = path.with_suffix(".npz")
        try:
            if npz.exists() and npz not in sound:
                return None
            predictions = read_checked(path, result)
        except ResultError as error:
            self.findings.fail(path if is_packed(path) else npz, str(error))
            return None
        dataset = self.registry.datasets.get(result.dataset)
        sketch = None
        faults = list(check_predictions(result, predictions, len(dataset.classes) if dataset else None))
        if not faults:
            sketch = Sketch.of(predictions)
            # By the entry, not by what the result says of its draws.
            few = result.shots if dataset and result.shots != "full" else 0
            share = few * len(dataset.classes) / max(dataset.splits.train, 1) if dataset else 0.0
            faults = [*check_scores(result, predictions), *check_repeats(result.trials, sketch, share)]
            self.scored += 1
        for fault in faults:
            self.findings.fail(path, fault)
        if dataset is not None and predictions.y_true.shape == (len(predictions.test_ids),):
            Images(self.findings, self.registry, self.here).check(path, result, predictions, entry)
        return sketch

    def compare(self) -> None:
        """Compares results with one another."""
        measured = [one for one in self.entered if one.result.provenance == "measured" and one.result.trials]
        elsewhere = [one for one in measured if self._is_elsewhere(one)]
        for path, fault in (*check_across(measured), *check_same_data(elsewhere), *check_copies(measured)):
            self.findings.fail(path, fault)
        for name, toml in self.submitted.items():
            spec = self.entries[name]
            words = () if name in self.registry.checkpoints else check_words(spec, self.registry.checkpoints.values())
            for fault in (*check_names(spec, self.entries), *words):
                self.findings.fail(toml, fault)

    def _is_elsewhere(self, one: ResultFile) -> bool:
        names = filter(None, (one.result.dataset, one.result.test_dataset))
        return any(name not in self.registry.datasets or isinstance(self.here.open(name), str) for name in names)
