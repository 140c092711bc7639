"""Makes an entry for a checkpoint from its file and what its owner knows of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from probebench.backbones.adapters import read_state_dict
from probebench.backbones.base import Backbone
from probebench.backbones.builders import build_backbone, feature_width, keep_weights
from probebench.backbones.library_input import format_input
from probebench.backbones.recognise import recognise
from probebench.backbones.user_weights import UserWeights
from probebench.backbones.weights import difference
from probebench.errors import UsageError, WeightsError
from probebench.files import write_whole
from probebench.fingerprint import file_sha256
from probebench.registry.checkpoint import Architecture, CheckpointSpec, Keys, Pretraining, Source
from probebench.registry.load import checked
from probebench.registry.write import entry_text, write_entry


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What only the owner of a checkpoint can say; the names are those of an entry.

    Attributes:
        id: The entry's; None makes one of sources, objective and architecture.
        title: None makes one likewise.
        input: Keys of the entry's input that differ from the library's own for this architecture.
        uri: Where the file is published; "user" where it is not.
        taken: Ids that other entries have.
        replaces: File of the user's own entry of this id, whose weights these are to replace.
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
    replaces: Path | None = None

    @classmethod
    def of(cls, spec: CheckpointSpec, *, replaces: Path, keys: Keys | None, input: dict[str, Any]) -> Self:
        """Takes the facts of an entry whose weights are to be replaced; its preprocessing stays but for ``input``."""
        stays = {name: value for name, value in spec.input.model_dump().items() if name not in input}
        return cls(
            id=spec.id,
            title=spec.title,
            architecture=spec.architecture,
            pretraining=spec.pretraining,
            paper=spec.paper,
            url=spec.url,
            license=spec.license,
            uri="user",
            keys=keys,
            layer=spec.output.layer,
            input={**stays, **input},
            replaces=replaces,
        )


@dataclass(frozen=True)
class Added:
    """A new entry.

    Attributes:
        path: Its file.
        spec: What it says.
        digest: Of its tensors.
        preprocessing: Whose preprocessing it takes.
        changed: What is otherwise than in the weights that it replaces; "" where it replaces none.
    """

    path: Path
    spec: CheckpointSpec
    digest: str
    preprocessing: str
    changed: str = ""


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
    if name in facts.taken and facts.replaces is None:
        raise UsageError(
            f"the registry has an entry {name} already; give another --id, or "
            "--replace where these are its weights, trained again"
        )
    found = recognise(path, facts.architecture, facts.keys)
    preprocessing, whose = format_input(found.architecture, found.keys, facts.input)
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
        input=preprocessing,
        output={"features": 1, "layer": layer},
    )
    output = draft.output.model_copy(update={"features": feature_width(draft)})
    spec = draft.model_copy(update={"output": output})
    if facts.replaces is not None:
        return _replace(path, spec, whose, home, facts.replaces)
    # The entry's sha256 was taken from this very file.
    kept = keep_weights(spec, home, path)
    try:
        backbone = build_backbone(spec, home)
        _check_alive(backbone, path)
        return Added(write_entry(spec, folder), spec, kept.digest, whose)
    except BaseException:
        kept.forget()
        raise


def _replace(path: Path, spec: CheckpointSpec, whose: str, home: Path, entry: Path) -> Added:
    """Puts weights in the place of an entry's own, once they have shown that they run under another id."""
    trial = spec.model_copy(update={"id": f"{spec.id}.new"})
    kept = keep_weights(trial, home, path)
    try:
        _check_alive(build_backbone(trial, home), path)
        before = UserWeights.find(home, spec.id)
        changed = (
            difference(read_state_dict(kept.path), read_state_dict(before.path))
            if before
            else "its weights were not on this machine"
        )
        again = UserWeights.register(home, spec.id, read_state_dict(kept.path), kept.digest, path.resolve())
        write_whole(entry, entry_text(spec))
    finally:
        kept.forget()
        kept.path.parent.rmdir()
    return Added(entry, spec, again.digest, whose, changed)


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
