"""What a user names a checkpoint by: an id, a library's name with its tag, a weights file, or a module."""

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.api.facts import INPUT, OF_A_FILE, SAID, Facts, pretraining_of, refuse, said, says_pretraining
from probebench.api.session import Folders, new_entries, open_registry
from probebench.errors import ProbebenchWarning, UsageError
from probebench.files import home, write_whole

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor
    from torch.nn import Module

    from probebench.backbones.base import Backbone
    from probebench.registry import CheckpointSpec, Registry

    ModelLike = str | os.PathLike[str] | Module
    Transform = Callable[[Image.Image], Tensor]

# "timm/resnet50.a1_in1k", "open_clip/RN50:openai", "torchvision/resnet50:IMAGENET1K_V2".
_LIBRARY_NAME = re.compile(r"(timm)/([\w-]+)\.([\w.-]+)|(open_clip|torchvision)/([\w.-]+):([\w.-]+)")


def model_id(model: str, name: str | None = None) -> str:
    """Returns the id of a checkpoint that is named by a text: an id is one; a library's name gives one."""
    return name or (_id_of(model) if _LIBRARY_NAME.fullmatch(model) else model)


def build(
    model: "ModelLike",
    *,
    transform: "Transform | None" = None,
    name: str | None = None,
    layer: str | None = None,
    input_size: int | None = None,
    facts: Facts | None = None,
    registry: Folders = (),
) -> "Backbone":
    """Builds whatever a user names.

    Args:
        model: As above.
        transform: Of a module, from an RGB image to a tensor.
        name: Id of a module, or of a weights file's new entry.
        layer: Which features, where the entry's are not wanted.
        input_size: Side of the input in pixels; None: the entry's.
        facts: What is known of a checkpoint without an entry.
        registry: Folders of a user's own entries.

    Raises:
        ProbebenchError: There is no such model, its weights are missing or damaged, or options do not fit it.
    """
    facts, place, entries = facts or {}, new_entries(registry), open_registry(registry)
    if isinstance(model, str | os.PathLike):
        if transform is not None:
            raise UsageError("transform= is for a module; the preprocessing of any other model is its entry's")
        return _build_entry(_entry(entries, place, model, name, facts), layer, input_size)
    import torch

    if not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"a model is an id, a library's name with its tag, a weights file or a torch.nn.Module; not "
            f"{type(model).__name__}"
        )
    if layer is not None or input_size is not None:
        raise UsageError("layer= and input_size= are for entries: a module gives its own features of its transform")
    if transform is None:
        raise UsageError(
            f"{type(model).__name__} is a module and needs its transform: pass transform=, a function from a PIL image "
            "to a tensor (channels, side, side)"
        )
    return _build_module(entries, place, model, transform, name or type(model).__name__.lower(), facts)


def _build_entry(spec: "CheckpointSpec", layer: str | None, input_size: int | None) -> "Backbone":
    from probebench.backbones.user_weights import require_weights

    require_weights(spec, home())
    from probebench.backbones.builders import build_backbone

    return build_backbone(spec, home(), input_size, () if layer is None else [layer])


def _entry(
    registry: "Registry", place: Path, model: str | os.PathLike[str], name: str | None, facts: Facts
) -> "CheckpointSpec":
    """Returns the entry of a checkpoint, which is written first where there is none."""
    if isinstance(model, str) and model in registry.checkpoints:
        if name is not None or facts:
            raise UsageError(
                f"{model} has an entry, which says all: leave out {'name' if name else next(iter(facts))}="
            )
        return registry.checkpoints[model]
    if isinstance(model, str) and _LIBRARY_NAME.fullmatch(model):
        return _library_entry(registry, place, model, name, facts)
    text = os.fspath(model)
    if not isinstance(model, str) or facts or Path(text).suffix in (".pt", ".pth", ".bin", ".safetensors", ".ckpt"):
        return _file_entry(registry, place, Path(text).expanduser(), name, facts)
    return registry.checkpoint(model)


def _id_of(model: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "_", model.lower()).strip("_.")[:100]


def _library_entry(registry: "Registry", place: Path, model: str, name: str | None, facts: Facts) -> "CheckpointSpec":
    """Returns the entry that has a library's weights, or writes one with the facts that were given."""
    found = _LIBRARY_NAME.fullmatch(model)
    assert found is not None
    library, architecture, tag = (part for part in found.groups() if part)
    uri = f"{library}://{tag}"
    for spec in registry.checkpoints.values():
        if (spec.weights.uri, spec.architecture.library, spec.architecture.name) == (uri, library, architecture):
            return spec if not (name or facts) else _entry(registry, place, spec.id, name, facts)
    refuse(facts, OF_A_FILE, f"is the library's to say for {model}")
    from probebench.backbones.builders import feature_width
    from probebench.backbones.library_input import library_input
    from probebench.registry.checkpoint import Architecture, CheckpointSpec
    from probebench.registry.load import checked
    from probebench.registry.write import write_entry

    network = checked(Architecture, library=library, name=architecture)
    if library == "torchvision":
        from torchvision.models import get_model_weights

        preprocessing = library_input(network, tag)
        uri = get_model_weights(architecture)[tag].url
    else:
        preprocessing = library_input(network, tag)
    own = name or _id_of(model)
    if own in registry.checkpoints:
        spec = registry.checkpoints[own]
        if spec.weights.uri == uri and spec.architecture.name == architecture and not facts:
            return spec
        raise UsageError(f"the registry has an entry {own} already; give another name=, or name it as it is")
    draft = checked(
        CheckpointSpec,
        id=own,
        title=facts.get("title", model),
        **{key: said(facts).get(key, "unknown") for key in ("paper", "url", "license")},
        architecture=network,
        pretraining=pretraining_of(facts),
        weights={"uri": uri, "sha256": "unknown"},
        input=preprocessing,
        output={"features": 1, "layer": "projected" if library == "open_clip" else "pooled"},
    )
    output = draft.output.model_copy(update={"features": feature_width(draft)})
    spec = draft.model_copy(update={"output": output})
    write_entry(spec, place)
    return spec


def _file_entry(registry: "Registry", place: Path, path: Path, name: str | None, facts: Facts) -> "CheckpointSpec":
    """Returns the entry that a weights file has, or writes one as ``probebench models add`` does."""
    from probebench.backbones.locate import require_file
    from probebench.fingerprint import file_sha256
    from probebench.registry.checkpoint import Architecture
    from probebench.registry.load import checked

    refuse(facts, (), "")
    require_file(path)
    sha256 = file_sha256(path)
    known = [
        spec for spec in registry.checkpoints.values() if spec.weights.sha256 == sha256 and name in (None, spec.id)
    ]
    if known:
        if says_pretraining(facts) and pretraining_of(facts) != known[0].pretraining:
            raise UsageError(
                f"{path} is {known[0].id}, whose entry says other facts of its pre-training; mend the entry "
                f"{_entry_file(registry, place, known[0].id)}, or give another name="
            )
        return known[0]
    if lacking := [one for one in ("arch", "library", "method", "source") if one not in facts]:
        raise UsageError(f"weights file {path} has no entry yet; say {', '.join(f'{one}=' for one in lacking)} too")
    from probebench.backbones.add import Facts as EntryFacts
    from probebench.backbones.add import add_checkpoint

    given: dict[str, Any] = {key: value for key, value in facts.items() if key in (*SAID, "uri", "keys")}
    entry = EntryFacts(
        id=name,
        title=facts.get("title"),
        architecture=checked(Architecture, library=facts["library"], name=facts["arch"]),
        pretraining=pretraining_of(facts),
        input={key: value for key, value in facts.items() if key in INPUT},
        taken=frozenset(registry.checkpoints),
        **given,
    )
    return add_checkpoint(path, entry, home(), place).spec


def _entry_file(registry: "Registry", place: Path, name: str) -> Path:
    """Returns the file of an entry; where there is none yet, the one that it will have."""
    places = [folder / "checkpoints" / f"{name}.toml" for folder in (*registry.folders, place)]
    return next((place for place in places if place.is_file()), places[-1])


def _build_module(
    registry: "Registry", place: Path, module: "Module", transform: "Transform", name: str, facts: Facts
) -> "Backbone":
    """Makes a backbone of a module, and keeps an entry of its facts, so that results of it can be made without it."""
    from probebench.backbones.own import own_backbone
    from probebench.registry.checkpoint import MODULE
    from probebench.registry.write import entry_text

    refuse(facts, OF_A_FILE, "is for a weights file; a module with its transform says it itself")
    before = registry.checkpoints.get(name)
    if before is not None and before.weights.scheme != MODULE:
        raise UsageError(f"the registry has an entry {name} already; give the module another name=")
    known = before is not None and not says_pretraining(facts)
    backbone = own_backbone(
        module,
        transform,
        name=name,
        title=facts.get("title") or (before.title if known and before else None),
        pretraining=before.pretraining if known and before else pretraining_of(facts),
        said=said(facts),
    )
    if backbone.spec != before:
        write_whole(_entry_file(registry, place, name), entry_text(backbone.spec))
    return backbone


def note_change(backbone: "Backbone", folder: Path) -> None:
    """Warns where a module of the same name has features here that are of other weights, code or transform.

    Args:
        backbone: Of a module.
        folder: Where features of that name on the data set lie.
    """
    from probebench.cache.store import FeatureFile
    from probebench.errors import CacheError

    digests = set()
    for path in folder.glob("train-*.h5"):
        try:
            with FeatureFile(path) as file:
                digests.add(file.key.weights_digest)
        except (CacheError, OSError):
            continue
    if digests and backbone.weights_digest not in digests:
        warnings.warn(
            f"{backbone.spec.id} is not the module that its cached features on {folder.name} are of: its weights, its "
            "code or its transform give three fixed images other features; it is extracted afresh",
            ProbebenchWarning,
            stacklevel=3,
        )
