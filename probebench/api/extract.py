"""From a model and a data set to features in the cache, and from the cache to arrays."""

import os
import pickle
from typing import TYPE_CHECKING, Any, Literal, Unpack

from probebench.api.data import DatasetLike, Ids, open_data, place_of
from probebench.api.facts import Facts
from probebench.api.features import Features
from probebench.api.session import EngineName, Folders, open_registry, started, warn, watched
from probebench.errors import CacheError, UsageError
from probebench.files import home
from probebench.progress import Progress

if TYPE_CHECKING:
    from probebench.api.models import ModelLike, Transform
    from probebench.registry import Registry


def extract(
    model: "ModelLike",
    dataset: DatasetLike,
    *,
    transform: "Transform | None" = None,
    name: str | None = None,
    ids: Ids | None = None,
    dataset_name: str | None = None,
    layer: str | None = None,
    input_size: int | None = None,
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    compile: Literal["auto", "on", "off"] = "auto",
    engine: EngineName = "local",
    limit: int | None = None,
    registry: Folders = (),
    progress: bool | Progress = False,
    **facts: Unpack[Facts],
) -> Features:
    """Runs every image of a data set through a model, once, and returns the cached features.

    A second call finds them and computes nothing; an interrupted one goes on where it stopped. They are the files that
    ``probebench extract`` writes, so the command line finds them too.

    A module's code and transform cannot be hashed: its weights digest covers its tensors and what it gives for three
    fixed images, so a module that changed under the same name is extracted afresh, with a warning.

    Args:
        model: Id of a checkpoint; a library's name with its tag (``timm/resnet50.a1_in1k``, ``open_clip/RN50:openai``,
            ``torchvision/resnet50:IMAGENET1K_V2``); a weights file with its facts, as ``probebench models add`` takes
            them; or a ``torch.nn.Module`` that maps a batch to features (B, D), with its transform.
        dataset: Id of a data set; a folder of class folders (its path, or ``folder:PATH``); ``wds:SHARDS``,
            ``hf:NAME``; or images in memory: a sequence of (image, label) or (id, image, label), which is cut by the
            committed rule, or one by split. An image is a PIL image, or uint8 (H, W) or (H, W, 3).
        transform: Of a module: from an RGB PIL image to a float tensor (channels, side, side). A lambda will do: what
            cannot be pickled is run in this process, whatever ``workers`` says.
        name: Id of a module (its class's name in lower case unless given), or of a weights file's new entry.
        ids: Of images in memory, one each; draws are made from ids, so numbers are only as good as the order.
        dataset_name: What the id of images in memory says.
        layer: Which features, of those that the model offers (``probebench layers``); None: the entry's.
        input_size: Side of the input in pixels; None: the entry's.
        dtype: Arithmetic; auto is bf16 on GPUs that have it, else fp32.
        device: Where to compute.
        batch_size: Images a batch; None: what fits.
        workers: Decoding processes; None: by cores and images.
        on_error: At an image that cannot be read: stop, or leave it out and record its id.
        compile: torch.compile; auto tries it on runs of three minutes or more.
        engine: Compute here, or on Ray: the cluster of RAY_ADDRESS, else this machine's cores and GPUs. A module of
            yours is computed here.
        limit: At most so many images of each split, for a trial run under an id of its own, which is never ranked.
        registry: Folders of your own entries; a new entry goes to the first, or of $PROBEBENCH_REGISTRY, or the home.
        progress: Whether to show a bar, or what hears how far it is.
        **facts: Of a checkpoint without an entry: ``method``, ``source``, ``samples``, ... (``api.facts.Facts``).

    Raises:
        UsageError: There is no such model or data set, or options do not fit together.
        WeightsError: Weights are missing, damaged, out of reach or of another architecture.
        DatasetError: Images or labels are missing or cannot be used.
        FeatureError: A module or its transform failed, or gives features that cannot be used.
    """
    from probebench.api.models import build, note_change
    from probebench.datasets.part import part_of

    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 2):
        raise UsageError(f"limit= takes a whole number of images from 2 on, not {limit!r}")
    data = open_data(open_registry(registry), dataset, ids, dataset_name)
    data = data if limit is None else part_of(data, limit)
    backbone = build(
        model, transform=transform, name=name, layer=layer, input_size=input_size, facts=facts, registry=registry
    )
    from probebench.extraction import ExtractionOptions
    from probebench.extraction import extract as fill

    if transform is not None:
        if engine != "local":
            raise UsageError("engine= is for checkpoints that other machines can build; a module is computed here")
        note_change(backbone, home() / "features" / backbone.spec.id / data.id.replace(":", "-"))
        workers = workers if _can_travel(transform) else 0
    with started(engine) as cluster, watched(progress, "images") as told:
        gpus = cluster.gpus if cluster else None
        options = ExtractionOptions.resolve(device, dtype, batch_size, workers, on_error, compile, gpus)
        done = fill(backbone, data, home(), options, told, cluster)
    paths = dict(zip(data.splits, (one.path for one in done), strict=True))
    return _features(paths, data.class_names)


def _can_travel(transform: Any) -> bool:
    """Whether a decoding process can be given a transform, however such processes are started."""
    try:
        pickle.dumps(transform)
    except Exception:
        # Pickling runs whatever code a class has for it.
        return False
    return True


def _features(paths: "dict[str, Any]", class_names: tuple[str, ...] | None) -> Features:
    from probebench.cache.store import FeatureFile

    # A set to test on may have nothing to train on.
    with FeatureFile(paths.get("train") or next(iter(paths.values()))) as file:
        return Features(file.model, file.dataset, file.key, paths, class_names)


def load_features(
    model: str,
    dataset: str | os.PathLike[str],
    *,
    layer: str | None = None,
    input_size: int | None = None,
    dtype: Literal["fp32", "bf16", "fp16"] | None = None,
    registry: Folders = (),
) -> Features:
    """Returns cached features; computes nothing and loads no torch.

    Args:
        model: Id of a checkpoint, a library's name with its tag, or the name that a module was extracted under.
        dataset: Id of a data set as the cache has it, a folder's path, ``wds:SHARDS`` or ``hf:NAME``.
        layer: Which features, where there are several.
        input_size: Side of the input in pixels, likewise.
        dtype: Arithmetic, likewise.
        registry: Folders of your own entries.

    Raises:
        CacheError: They are not there, or not whole; the line names the call that extracts them.
        UsageError: There is no such model or data set, or several extractions fit.
    """
    from probebench.api.models import model_id
    from probebench.evaluation.extractions import choose_extractions

    entries = open_registry(registry)
    place, own = place_of(entries, dataset), model_id(entries, model)
    found = choose_extractions(entries, home(), [own], [place], input_size)
    for warning in found.warnings:
        warn(warning)
    groups = [group for group in found.groups if layer in (None, group.key.layer) and dtype in (None, group.key.dtype)]
    call = f"probebench.extract({model!r}, {os.fspath(dataset)!r})"
    if not groups or groups[0].missing:
        lacks = f" whole (the {', '.join(groups[0].missing)} split is missing)" if groups else ""
        asked = "".join(f", {key}={value!r}" for key, value in _asked(layer, input_size, dtype) if value is not None)
        raise CacheError(
            f"no features of {own} on {os.fspath(dataset)} are cached{lacks} in {home() / 'features'}; "
            f"run: {call[:-1]}{asked})"
        )
    if len(groups) > 1:
        settings = [group.setting for group in groups]
        there = "; ".join(f"{one} on {where} at {size} px, {last}, {kind}" for one, where, size, kind, last in settings)
        raise UsageError(f"several extractions fit: {there}; say model, dataset, input_size=, layer= or dtype=")
    (group,) = groups
    return Features(group.model, group.dataset, group.key, group.paths, _class_names(entries, group.dataset, place))


def _asked(layer: str | None, input_size: int | None, dtype: str | None) -> tuple[tuple[str, object], ...]:
    return ("layer", layer), ("input_size", input_size), ("dtype", dtype)


def _class_names(registry: "Registry", dataset: str, place: str) -> tuple[str, ...] | None:
    from probebench.datasets.open import open_dataset
    from probebench.registry.names import is_source

    if dataset in registry.datasets:
        return registry.datasets[dataset].classes
    # Named by where it lies, it was opened already to learn its id.
    return (
        open_dataset(place, registry, home() / "datasets").class_names
        if is_source(place) and place != dataset
        else None
    )
