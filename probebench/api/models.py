"""What a user names a checkpoint by: an id, a library's name with its tag, a weights file, or a module."""

import fnmatch
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.api.facts import INPUT, OF_A_FILE, SAID, Facts, pretraining_of, refuse, said, says_pretraining
from probebench.api.session import Folders, new_entries, open_registry, warn
from probebench.errors import ProbebenchWarning, UsageError
from probebench.files import home, write_whole

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor
    from torch.nn import Module

    from probebench.backbones.base import Backbone
    from probebench.registry import CheckpointSpec, Registry
    from probebench.registry.library_names import LibraryName

    ModelLike = str | os.PathLike[str] | Module
    Transform = Callable[[Image.Image], Tensor]


def model_id(registry: "Registry", model: str, name: str | None = None) -> str:
    """Returns the id of a checkpoint that is named by a text: an id is one; a library's name has one.

    Raises:
        UsageError: It is a weights file, or a name that its library lacks.
    """
    from probebench.registry.library_names import check_known, library_name, weights_path

    if name or model in registry.checkpoints:
        return name or model
    if (path := weights_path(model)) is not None:
        raise _add_first(path)
    if (named := library_name(model)) is None or named.id in registry.checkpoints:
        return named.id if named else model
    check_known(named)
    known = _known_entry(registry, *_resolved(named))
    return known.id if known else named.id


def with_entries(folders: Folders, models: Sequence[str]) -> "tuple[Registry, list[str]]":
    """Returns the registry, and the ids of checkpoints that are named by id, glob, comma list or a library's name.

    A library's name without an entry gets one, in the user's own registry.

    Raises:
        UsageError: There is none of that name; of a weights file the line says how to add it.
        ProbebenchError: A library's table lacks it, or the Hub cannot be reached.
    """
    from probebench.registry.library_names import check_known, library_name, weights_path
    from probebench.registry.names import expand_models, split_list

    registry, place = open_registry(folders), new_entries(folders)
    names: list[str] = []
    for model in split_list(models):
        if model in registry.checkpoints or fnmatch.filter(registry.checkpoints, model):
            names.append(model)
        elif (path := weights_path(model)) is not None:
            raise _add_first(path)
        elif (named := library_name(model)) is not None:
            check_known(named)
            spec = _library_entry(registry, place, model, None, {})
            if spec.id not in registry.checkpoints:
                warn(f"{model} is {spec.id} from now on, with what nobody said of its pre-training unknown ({place})")
                registry = open_registry(folders)
            names.append(spec.id)
        else:
            names.append(model)
    return registry, expand_models(registry, names)


def _add_first(path: Path) -> UsageError:
    from probebench.outside import kind_fault

    if (fault := kind_fault(path)) is not None:
        return UsageError(f"weights file {path} {fault}")
    return UsageError(
        f"{path} is a weights file and --model takes an id; give it one: probebench models add {path} --arch NAME "
        "--library timm|open_clip|torchvision --method METHOD --source SOURCE"
    )


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
    from probebench.registry.library_names import library_name, weights_path

    text = os.fspath(model)
    is_file = not isinstance(model, str) or weights_path(text) is not None
    if not is_file and library_name(text) is not None:
        return _library_entry(registry, place, text, name, facts)
    if is_file or facts:
        return _file_entry(registry, place, Path(text).expanduser(), name, facts)
    return registry.checkpoint(text)


def _resolved(named: "LibraryName") -> "tuple[LibraryName, str]":
    """Returns a library's name with its tag, the default where none was said, and the uri of these weights.

    Raises:
        ProbebenchError: The library has no such network or weights.
    """
    from probebench.backbones.library_input import default_tag

    if named.library == "hub":
        from probebench.backbones.hub import open_clip_name

        own = open_clip_name(named.architecture)
        return (own, f"open_clip://{own.tag}") if own else (named, "")
    if not named.tag:
        named = replace(named, tag=default_tag(named.library, named.architecture))
    if named.library != "torchvision":
        return named, f"{named.library}://{named.tag}"
    from torchvision.models import get_model_weights, list_models

    known = get_model_weights(named.architecture).__members__ if named.architecture in list_models() else {}
    tag = next((one for one in known if one.lower() == named.tag.lower()), named.tag)
    return replace(named, tag=tag), known[tag].url if tag in known else ""


def _known_entry(registry: "Registry", named: "LibraryName", uri: str) -> "CheckpointSpec | None":
    """Returns the entry that has a library's weights."""
    for spec in registry.checkpoints.values():
        same = (spec.architecture.library, spec.architecture.name) == (named.library, named.architecture)
        if uri and spec.weights.uri == uri and same:
            return spec
    return None


def _library_entry(registry: "Registry", place: Path, model: str, name: str | None, facts: Facts) -> "CheckpointSpec":
    """Returns the entry that has a library's weights, or writes one with the facts that were given."""
    from probebench.registry.library_names import library_name

    named = library_name(model)
    assert named is not None
    if not name and not facts and named.id in registry.checkpoints:
        return registry.checkpoints[named.id]
    resolved, uri = _resolved(named)
    if (known := _known_entry(registry, resolved, uri)) is not None:
        return known if not (name or facts) else _entry(registry, place, known.id, name, facts)
    refuse(facts, OF_A_FILE, f"is the library's to say for {model}")
    from probebench.backbones.builders import feature_width
    from probebench.backbones.library_input import library_input
    from probebench.registry.checkpoint import Architecture, CheckpointSpec
    from probebench.registry.load import checked
    from probebench.registry.write import write_entry

    if resolved.library == "hub":
        from probebench.backbones.hub import hub_network

        hub = hub_network(resolved.architecture, resolved.tag)
        network, preprocessing, uri = hub.architecture, hub.input, hub.uri
    else:
        network = checked(Architecture, library=resolved.library, name=resolved.architecture)
        preprocessing = library_input(network, resolved.tag)
    own = name or named.id
    if own in registry.checkpoints:
        spec = registry.checkpoints[own]
        if spec.weights.uri == uri and spec.architecture.name == network.name and not facts:
            return spec
        raise UsageError(f"the registry has an entry {own} already; give another name=, or name it as it is")
    draft = checked(
        CheckpointSpec,
        id=own,
        title=facts.get("title", resolved.text),
        **{key: said(facts).get(key, "unknown") for key in ("paper", "url", "license")},
        architecture=network,
        pretraining=pretraining_of(facts),
        weights={"uri": uri, "sha256": "unknown"},
        input=preprocessing,
        output={"features": 1, "layer": "projected" if network.library == "open_clip" else "pooled"},
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
