"""What a submission is: the cells that make it complete, the files that it may hold, and its manifest."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from probebench.errors import UsageError
from probebench.registry.entry import Id, Shots, Whole
from probebench.registry.load import Registry
from probebench.registry.protocol import ZEROSHOT, ZeroshotProtocol
from probebench.registry.schema import FinetuneProtocol, ProtocolSpec
from probebench.results.schema import Digest, Items, Record, Result, Trial

AnyProtocol = ProtocolSpec | FinetuneProtocol | ZeroshotProtocol

# A complete set: on every data set that it covers, all of SHOTS under PROTOCOL, few-shot cells over DRAWS draws or
# more. It covers the suite SUITE unless its author names other data sets of the registry (submit --dataset).
PROTOCOL = "default"
SHOTS: tuple[Shots, ...] = (1, 5, 10, "full")
DRAWS = 5
SUITE = "offline"

MANIFEST = "manifest.json"
REPRODUCTIONS = "reproductions"
# Text and small binary data, and bytes of each at most. The largest real predictions, 5 draws of ImageNet's 50,000 test
# images, take about 2 MB.
LARGEST = {".json": 4 << 20, ".toml": 64 << 10, ".md": 256 << 10, ".npz": 32 << 20}


class Manifest(Record):
    """What a submission holds and what produced it.

    Attributes:
        weights_digest: sha256 over the checkpoint's tensors.
        evaluator_version: Version of the evaluator that gathered it.
        protocols: Version of each protocol.
        datasets: Fingerprint of each data set.
        draws: Digest of each draw, by "data set/protocol/shots".
        files: sha256 of each file, by its path below the submission.
    """

    schema_version: Annotated[Literal[1], Whole] = 1
    model: Id
    weights_digest: Digest
    evaluator_version: Annotated[int, Field(ge=1)]
    protocols: dict[str, int]
    datasets: dict[str, Digest]
    draws: dict[str, Items[Digest]]
    files: dict[str, Digest]


def lacking(
    results: Iterable[Result], datasets: Iterable[str], registry: Registry, layer: str | None = None
) -> list[tuple[str, Shots, str]]:
    """Returns the cells that a complete set needs and these results lack: data set, shots, and what is wrong.

    Args:
        results: Some.
        datasets: Those that the set covers.
        registry: Entries, which say what version of the protocol counts.
        layer: The one that stands for the checkpoint; results on others make no set complete. None: any.
    """
    draws = {
        (result.dataset, result.shots): len(result.trials)
        for result in results
        if result.kind == "probe"
        and result.test_dataset is None
        and result.protocol == PROTOCOL
        and not is_older(registry, result)
        and layer in (None, result.checkpoint.layer)
    }
    found: list[tuple[str, Shots, str]] = []
    for dataset in datasets:
        for shots in SHOTS:
            needed = 1 if shots == "full" else DRAWS
            have = draws.get((dataset, shots))
            if have is None:
                found.append((dataset, shots, "is missing"))
            elif have < needed:
                found.append((dataset, shots, f"has {have} of {needed} draws"))
    return found


def require_board(path: Path) -> None:
    """Checks that a path can hold results.

    Raises:
        UsageError: There is no such folder, or it is a link.
    """
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link; name the folder itself")
    if not path.is_dir():
        raise UsageError(f"{path} is no folder; name a leaderboard, its submissions/ or results/, or one submission")


def board_of(path: Path) -> Path:
    """Returns the leaderboard that holds a path: itself, its submissions/ or results/, or one submission."""
    if path.parent.name == "submissions":
        return path.parent.parent
    return path.parent if path.name in ("submissions", "results") else path


def from_scratch(result: Result) -> bool:
    """Says whether a result is of a checkpoint's untrained twin, which has weights and facts of its own."""
    return result.kind == "finetune" and result.mode.split(",")[0] == "scratch"


def is_older(registry: Registry, result: Result) -> bool:
    """Says whether a result is of an earlier version of its protocol that is still known: shown, never ranked."""
    spec = protocol_of(registry, result.protocol)
    return spec is not None and result.protocol_version in spec.older


def in_words_of(trial: Trial) -> str:
    """Returns what a line calls a trial."""
    return "the one draw" if trial.draw_seed is None else f"draw {trial.draw_seed}"


def protocol_of(registry: Registry, name: str) -> AnyProtocol | None:
    """Returns the protocol of that id, of whatever kind; None where nobody knows it."""
    if name == ZEROSHOT.id:
        return ZEROSHOT
    return registry.protocols.get(name) or registry.finetune_protocols.get(name)
