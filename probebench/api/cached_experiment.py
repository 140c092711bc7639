"""What is cached, as the experiment that would make it: running it finds nothing to do."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.api.declared import CachedFeatures, Declared
from probebench.api.planned import mode_label, trained_cells
from probebench.api.report import read_results
from probebench.api.session import Folders, Path_, open_registry
from probebench.errors import UsageError
from probebench.files import home
from probebench.registry.entry import Shots
from probebench.registry.experiment import ExperimentSpec, LeftOut
from probebench.registry.names import TRIAL, is_source
from probebench.results.cells import in_order

if TYPE_CHECKING:
    from probebench.cache.index import FeatureGroup
    from probebench.registry import Registry
    from probebench.results.schema import Result

# Side of the input and layers, None where both are the checkpoints' own.
_Setting = tuple[int | None, tuple[str, ...] | None]
_Pairs = list[tuple[str, str]]


def cached_experiment(*, registry: Folders = (), out: Path_ = "results") -> tuple[ExperimentSpec, list[str]]:
    """Declares what is cached, and of the results on it what every pair has.

    Returns:
        The experiment, and a line for each thing that one experiment cannot declare beside the others.

    Raises:
        UsageError: Nothing is cached that an experiment could name.
    """
    from probebench.cache.index import read_index

    entries, folder = open_registry(registry), Path(out)
    left: list[str] = []
    settings = _settings(entries, read_index(home()).groups, left)
    if not settings:
        raise UsageError(f"no features that an experiment could name are cached in {home() / 'features'}")
    setting = max(settings, key=lambda one: (len(settings[one]), one == (None, None), str(one)))
    for (size, layers), pairs in settings.items():
        if (size, layers) != setting:
            at = f" at {size} px" if size else ""
            left.append(f"left out: {_told(pairs)}{at}, layers {', '.join(layers or ('of their entries',))}")
    draft = _product(settings[setting], *setting)
    declared = Declared(
        spec=draft,
        registry=entries,
        pairs=tuple((entries.checkpoint(model), name) for model, name in sorted(settings[setting])),
        protocols=(),
        trainings=(),
    )
    results = [one for one in read_results(folder) if one.provenance == "measured"] if folder.is_dir() else []
    said: dict[str, Any] = _probes(declared, results, folder, left)
    said |= {"zeroshot": _has_zeroshot(declared, results), "finetune": _trainings(declared, results)}
    return ExperimentSpec.model_validate(draft.model_dump(exclude_defaults=True) | said), left


def _settings(registry: "Registry", groups: "Sequence[FeatureGroup]", left: list[str]) -> dict[_Setting, _Pairs]:
    """Returns the pairs that are cached in each setting."""
    from probebench.datasets.opened import recall

    layers: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for group in groups:
        known = recall(group.dataset, home() / "datasets") if is_source(group.dataset) else None
        nameable = group.dataset in registry.datasets or (known is not None and known.source is not None)
        if group.model not in registry.checkpoints or not nameable or TRIAL in group.dataset:
            left.append(f"left out: {group.model} on {group.dataset}, which no other call can name")
        elif "train" not in group.paths and not group.missing:
            left.append(f"left out: {group.model} on {group.dataset}, which has a test part only")
        elif not group.missing:
            layers[group.model, group.dataset, group.key.preprocessing.size].add(group.key.layer)
    settings: dict[_Setting, _Pairs] = defaultdict(list)
    for (model, dataset, size), names in sorted(layers.items()):
        entry = registry.checkpoint(model)
        own = None if names == {entry.output.layer} else tuple(sorted(names))
        settings[None if size == entry.input.size else size, own].append((model, dataset))
    return settings


def _told(pairs: _Pairs) -> str:
    (model, dataset), more = pairs[0], len(pairs) - 1
    return f"{model} on {dataset}" + (f" and {more} more" if more else "")


def _product(pairs: _Pairs, size: int | None, layers: tuple[str, ...] | None) -> ExperimentSpec:
    """Returns the smallest product that holds the pairs, less what it has beside them."""
    models, datasets = (tuple(dict.fromkeys(sorted(names))) for names in zip(*pairs, strict=True))
    return ExperimentSpec(
        models=models,
        datasets=datasets,
        layers=layers or (),
        input_size=size,
        protocols=(),
        left_out=tuple(
            LeftOut(model=model, dataset=name) for model in models for name in datasets if (model, name) not in pairs
        ),
    )


def _probes(declared: Declared, results: "Sequence[Result]", out: Path, left: list[str]) -> dict[str, Any]:
    """Returns protocols, shots and draws of which every pair has its result, under the very name that it would get."""
    from probebench.evaluation.plan import plan_probes

    features, known = CachedFeatures.find(declared, {}), declared.registry.protocols
    usual = [one for one in results if one.test_dataset is None]
    counted = [one for one in usual if one.protocol in known and one.kind not in ("zeroshot", "finetune")]
    drawn = Counter(len(one.trials) for one in counted if one.shots != "full")
    draws = drawn.most_common(1)[0][0] if drawn else None

    def there(protocol: str, shots: Shots) -> bool:
        groups = [
            group
            for checkpoint, name in declared.pairs
            for layer in declared.layers(checkpoint, known[protocol])
            if (group := features.group(checkpoint, name, layer)) is not None
        ]
        tasks = plan_probes(declared.registry, groups, [protocol], shots=[shots], draws=draws, any_layer=True).tasks
        return len(tasks) >= len(declared.pairs) and all(one.path(out).exists() for one in tasks)

    held: dict[str, list[Shots]] = {}
    for protocol in sorted({one.protocol for one in counted}, key=lambda name: (name != "default", name)):
        asked = in_order({one.shots for one in counted if one.protocol == protocol})
        held[protocol] = [one for one in asked if there(protocol, one)]
    shots = max(held.values(), key=len, default=[])
    protocols = [name for name, one in held.items() if shots and set(shots) <= set(one)]
    for name in held:
        if name not in protocols:
            left.append(f"left out: results under {name}, which not every pair has at the same numbers of shots")
    own = {known[name].draws for name in protocols}
    few = any(one != "full" for one in shots)
    return {
        "protocols": protocols,
        "shots": shots or None,
        "draws": draws if few and own != {draws} else None,
    }


def _has_zeroshot(declared: Declared, results: "Sequence[Result]") -> bool:
    """Says whether every pair with a text tower has its zero-shot result."""
    from probebench.registry.protocol import ZEROSHOT

    pairs = [(checkpoint, name) for checkpoint, name in declared.pairs if checkpoint.has_text_tower]
    named = {
        (one.model, one.dataset, one.input_size)
        for one in results
        if one.kind == "zeroshot" and one.protocol_version == ZEROSHOT.version
    }
    return bool(pairs) and all((one.id, name, declared.size(one)) in named for one, name in pairs)


def _trainings(declared: Declared, results: "list[Result]") -> list[dict[str, Any]]:
    """Returns the fine-tunes that every pair has."""
    known, trained = declared.registry.finetune_protocols, trained_cells(results)
    places = [(checkpoint.id, name, declared.size(checkpoint)) for checkpoint, name in declared.pairs]
    shots: dict[tuple[str, str, int | None], list[Shots]] = defaultdict(list)
    for name, version, label, one, trials in sorted({cell[3:] for cell in trained}, key=str):
        protocol, mode = known.get(name), label.split(",")[0]
        whole = all((*place, name, version, label, one, trials) in trained for place in places)
        if protocol is not None and version == protocol.version and label == mode_label(mode, protocol) and whole:
            draws = None if one == "full" or trials == protocol.draws else trials
            shots[name, mode, draws].append(one)
    return [
        {"protocol": name, "mode": mode, "shots": in_order(held), "draws": draws}
        for (name, mode, draws), held in shots.items()
    ]
