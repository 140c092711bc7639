"""Makes an entry for a checkpoint from its file and what its owner knows of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from probebench.backbones.base import Backbone
from probebench.backbones.builders import build_backbone, feature_width, keep_weights
from probebench.backbones.library_input import library_input
from probebench.backbones.recognise import recognise
from probebench.errors import UsageError, WeightsError
from probebench.fingerprint import file_sha256
from probebench.registry.checkpoint import Architecture, CheckpointSpec, Keys, Pretraining, Source
from probebench.registry.load import checked
from probebench.registry.write import write_entry


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What only the owner of a checkpoint can say; the names are those of an entry.

    Attributes:
        id: The entry's; None makes one of sources, objective and architecture.
        title: None makes one likewise.
        input: Keys of the entry's input that differ from the library's own for this architecture.
        uri: Where the file is published; "user" where it is not.
        taken: Ids that other entries have.
    """

    id: str | None
    title: str | None
    architecture: Architecture
    pretraining: Pretraining
    paper: str = "unknown"
    url: str = "unknown"
    license: str = "unknown"
    uri: str = "user"
    keys: Keys | None = None
    layer: str | None = None
    input: dict[str, Any] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Added:
    """A new entry: its file, what it says, and the digest of its tensors."""

    path: Path
    spec: CheckpointSpec
    digest: str


def _default_id(facts: Facts) -> str:
    """Returns an id in the registry's pattern: sources, objective or method, architecture."""
    training = facts.pretraining
    objective = training.method if training.objective == "unknown" else training.objective
    words = [*(source.name for source in training.sources), objective, facts.architecture.name]
    return re.sub(r"[^a-z0-9.]+", "_", "_".join(words).lower()).strip("_.")[:100]


def _default_title(facts: Facts) -> str:
    training = facts.pretraining
    objective = training.method if training.objective == "unknown" else training.objective
    return f"{facts.architecture.name}, {objective} on {' + '.join(source.name for source in training.sources)}"


def pair_sources(names: Sequence[str], samples: Sequence[int | str]) -> tuple[Source, ...]:
    """Pairs sources with their samples; a number that nobody gave is unknown.

    Raises:
        UsageError: There are more numbers than sources.
    """
    if len(samples) > len(names):
        raise UsageError(f"--samples was given {len(samples)} times for {len(names)} --source; give one for each")
    numbers = [*samples, *["unknown"] * (len(names) - len(samples))]
    pairs = zip(names, numbers, strict=True)
    return tuple(checked(Source, name=name, samples=count) for name, count in pairs)


def add_checkpoint(path: Path, facts: Facts, home: Path, folder: Path) -> Added:
    """Recognises a weights file, writes its entry and keeps its weights, after one forward pass has shown that it runs.

    Args:
        path: The file.
        facts: What the entry says beside what the file shows.
        home: The home folder, which takes a copy of the tensors.
        folder: The registry folder that takes the entry.

    Raises:
        UsageError: There is such an entry already, or a fact is not what an entry can say.
        WeightsError: The file cannot be read, fits in no known format, or its network gives no usable features.
        RegistryError: The library does not know the architecture.
    """
    name = facts.id or _default_id(facts)
    if name in facts.taken:
        raise UsageError(f"the registry has an entry {name} already; give another --id")
    found = recognise(path, facts.architecture, facts.keys)
    layer = facts.layer or ("projected" if facts.architecture.library == "open_clip" else "pooled")
    draft = checked(
        CheckpointSpec,
        id=name,
        title=facts.title or _default_title(facts),
        paper=facts.paper,
        url=facts.url,
        license=facts.license,
        architecture=found.architecture,
        pretraining=facts.pretraining,
        weights={"uri": facts.uri, "sha256": file_sha256(path), "keys": found.keys},
        input={**library_input(found.architecture), **facts.input},
        output={"features": 1, "layer": layer},
    )
    output = draft.output.model_copy(update={"features": feature_width(draft)})
    spec = draft.model_copy(update={"output": output})
    # The entry's sha256 was taken from this very file.
    kept = keep_weights(spec, home, path)
    try:
        backbone = build_backbone(spec, home)
        _check_alive(backbone, path)
        return Added(write_entry(spec, folder), spec, kept.digest)
    except BaseException:
        kept.forget()
        raise


def _check_alive(backbone: Backbone, path: Path) -> None:
    """Two unlike images must give two unlike features, or the weights are not those of a trained network."""
    size = backbone.input.size
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = backbone.module(images)
    if not torch.isfinite(torch.stack([one, other])).all() or torch.equal(one, other):
        raise WeightsError(
            f"weights file {path} gives {backbone.spec.architecture.name} no usable features: two unlike images "
            "come out the same or not finite; check --arch and the file"
        )
