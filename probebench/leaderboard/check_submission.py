"""What a submission's folder must satisfy: its name, manifest, entry, files and completeness."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from probebench.errors import RegistryError, ResultError
from probebench.fingerprint import file_sha256
from probebench.leaderboard.check_across import ResultFile
from probebench.leaderboard.check_data import evaluator_version
from probebench.leaderboard.records import read_record
from probebench.leaderboard.rules import MANIFEST, Manifest, from_scratch, lacking
from probebench.registry.load import Registry, read_entry
from probebench.registry.schema import CheckpointSpec
from probebench.results.cells import shots_text
from probebench.results.schema import Result


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest.

    Raises:
        ResultError: It is missing, damaged or of another schema; the line names no file.
    """
    try:
        return read_record(path, Manifest)
    except FileNotFoundError as error:
        raise ResultError("is missing: make submissions with probebench submit") from error


def check_files(folder: Path, manifest: Manifest, sound: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yields files that the manifest does not list, lists otherwise, or lists and are not there."""
    here = {path.relative_to(folder).as_posix(): path for path in sound if path.name != MANIFEST}
    for name, path in here.items():
        if name not in manifest.files:
            yield path, "is not in the manifest"
        elif file_sha256(path) != manifest.files[name]:
            yield path, "its sha256 is not the manifest's"
    for name in manifest.files:
        if name not in here:
            yield folder / MANIFEST, f"lists {name}, which is not there or cannot be read"


def check_entry(folder: Path, registry: Registry, sound: Sequence[Path]) -> tuple[CheckpointSpec | None, list[str]]:
    """Reads a submission's entry, and says where it differs from the registry's of that id."""
    name = folder.name
    path = folder / f"{name}.toml"
    known = registry.checkpoints.get(name)
    if path not in sound:
        return known, [] if os.path.lexists(path) else [f"the entry {path.name} is missing"]
    try:
        entry = read_entry(path, CheckpointSpec)
    except RegistryError as error:
        return known, [str(error).removeprefix(f"{path}: ")]
    if known is None or known == entry:
        return entry, []
    ours, theirs = known.model_dump(), entry.model_dump()
    changed = [field for field in ours if ours[field] != theirs[field]]
    return known, [f"differs from the registry's entry in {', '.join(changed)}"]


def check_manifest(
    folder: Path, manifest: Manifest, entered: Sequence[ResultFile], registry: Registry, layer: str | None
) -> Iterator[str]:
    """Yields where a manifest and the results beside it disagree, and what a complete set lacks.

    Complete is what has all of ``layer``, which stands for the checkpoint.
    """
    if manifest.model != folder.name:
        yield f"is of model {manifest.model!r}, which its folder is not"
    if manifest.evaluator_version != (now := evaluator_version()):
        yield f"was gathered under evaluator {manifest.evaluator_version}, now {now}: eval and submit again"
    results = [one.result for one in entered]
    if any(one.weights_digest != manifest.weights_digest for one in results if not from_scratch(one)):
        yield "its weights digest is not that of every result"
    for what, told, found in (
        ("protocols", manifest.protocols, {one.protocol: one.protocol_version for one in results}),
        ("datasets", manifest.datasets, {one.dataset: one.dataset_fingerprint for one in results}),
        ("draws", manifest.draws, draws_of(results)),
    ):
        yield from _differences(what, told, found)
    if not results:
        yield "the submission holds no result that can be read"
    for dataset, shots, fault in lacking(results, manifest.datasets, registry, layer):
        yield f"incomplete: {dataset} at {shots_text(shots)} {fault}"


def draws_of(results: Sequence[Result]) -> dict[str, list[str]]:
    """Returns the digests of all draws by "data set/protocol/shots"."""
    return {
        f"{one.dataset}/{one.protocol}/{one.shots}": [trial.draw_digest for trial in one.trials]
        for one in sorted(results, key=lambda one: (one.dataset, one.protocol, str(one.shots), one.kind))
    }


def _differences(what: str, told: Mapping[str, object], found: Mapping[str, object]) -> Iterator[str]:
    for name in sorted({*told, *found}):
        if told.get(name) != found.get(name):
            yield f"its {what} say otherwise of {name} than the results do"
