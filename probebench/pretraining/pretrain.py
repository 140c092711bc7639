"""Trains a checkpoint by its recipe, keeps its weights, and writes its entry."""

import importlib.metadata
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probebench.backbones.construct import construct
from probebench.backbones.preprocess import build_transform
from probebench.backbones.user_weights import UserWeights
from probebench.backbones.weights import state_digest
from probebench.device import device_name, in_threads
from probebench.errors import FeatureError, UsageError
from probebench.files import write_whole
from probebench.fingerprint import canonical_json, file_sha256
from probebench.pretraining.noise import permuted
from probebench.pretraining.norms import synchronise
from probebench.pretraining.objectives import Captioned, ImageImage, Labelled, LanguageImage, Paired, Supervised
from probebench.pretraining.pixels import stored_pixels
from probebench.pretraining.task import PretrainTask
from probebench.pretraining.views import BatchViews, image_views
from probebench.progress import Progress
from probebench.registry.schema import CheckpointSpec
from probebench.registry.write import write_entry
from probebench.training.checkpoint import Progressed
from probebench.training.data import ImageItems, ImageSubset, Items, StoredItems
from probebench.training.loop import run
from probebench.training.objective import Objective
from probebench.training.predict import accelerator
from probebench.training.seeds import seeded
from probebench.training.training import Training

# Steps, at least, from one state that is kept to the next: writing one takes the time of a step or two.
_STEPS_A_STATE = 32


@dataclass(frozen=True)
class Pretrained:
    """A checkpoint that was made here.

    Attributes:
        spec: Its entry.
        digest: Of its weights.
        losses: Mean loss of each epoch; none of one that was there already.
    """

    spec: CheckpointSpec
    digest: str
    losses: tuple[float, ...] = ()


def pretrain(task: PretrainTask, known: CheckpointSpec | None, folder: Path, progress: Progress) -> Pretrained:
    """Trains what is not there yet, from where an earlier call was cut off.

    Args:
        task: What to train.
        known: The entry that the registry has under the task's id.
        folder: The registry folder that takes a new entry.
        progress: Hears how far it is.

    Raises:
        UsageError: The registry's entry of that id says something else, or was made from other images.
        ProbebenchError: An image cannot be read, memory runs out, or the loss is not finite any more.
    """
    place, spec = accelerator(task.options), task.entry("unknown")
    if known is not None and _facts(known) != _facts(spec):
        raise UsageError(
            f"the registry has an entry {task.id} that says something else of its pre-training; "
            f"remove it (probebench models remove {task.id}), or make it by the recipe that it names"
        )
    kept = UserWeights.find(task.home, task.id)
    if known is not None and kept is not None:
        if _source_of(task) != task.source.fingerprint:
            raise UsageError(
                f"{task.id} was made from other images of {' + '.join(task.asked.sources)} than are here now; "
                f"remove it (probebench models remove {task.id}) to make it again"
            )
        progress.note(f"{task.id} is there already")
        return Pretrained(known, kept.digest)
    began = time.perf_counter()
    training = training_of(task)
    progress.start(task.id, training.images, 0)
    with in_threads(task.threads):
        done = run(training, task.options, progress)
    progress.finish()
    if done.error or done.weights is None:
        raise FeatureError(
            f"{task.id}: {done.error}; lower the recipe's learning rate. To try the same again, remove {task.path}"
        )
    losses = tuple(epoch.train_loss for epoch in done.history)
    if place.is_main_process:
        _keep(task, done, place.num_processes, time.perf_counter() - began)
    place.wait_for_everyone()
    kept = UserWeights.find(task.home, task.id)
    assert kept is not None
    made = task.entry(file_sha256(kept.path))
    if known is None and place.is_main_process:
        write_entry(made, folder)
    elif known is not None and made.weights.sha256 != known.weights.sha256:
        progress.note(
            f"{task.id}: these weights are not the entry's to the last bit, as on another kind of CPU or GPU, or with "
            "another number of threads"
        )
    if place.is_main_process:
        task.path.unlink(missing_ok=True)
    place.wait_for_everyone()
    return Pretrained(known or made, kept.digest, losses)


def training_of(task: PretrainTask) -> Training:
    """Returns the training of a task.

    Raises:
        DatasetError: An image cannot be read.
        RegistryError: The library does not know the architecture, or it cannot run at the recipe's input size.
    """
    recipe = task.recipe
    per_epoch = len(task.source) // recipe.batch(len(task.source))
    epochs = -(-task.steps // per_epoch)
    begin, objective = _method(task)
    several = accelerator(task.options).num_processes > 1
    return Training(
        begin=(lambda: synchronise(begin().to(accelerator(task.options).device))) if several else begin,
        train=_items(task),
        validation=None,
        objective=objective,
        judge=None,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        ema=None,
        rate=recipe.optimizer.learning_rate,
        weight_decay=recipe.optimizer.weight_decay,
        epochs=epochs,
        batch_size=recipe.batch_size,
        # All methods see as many images.
        drop_last=True,
        most_steps=task.steps,
        keeps="last",
        seeds=task.seeds,
        frozen_norms=False,
        path=task.path,
        saved_every=max(1, _STEPS_A_STATE // per_epoch),
        fused=True,
        name=task.id,
    )


def _items(task: PretrainTask) -> Items:
    recipe, source = task.recipe, task.source
    if recipe.store is not None:
        return StoredItems(stored_pixels(source, recipe.store, task.home / "datasets"))
    places = np.arange(len(source))
    view = image_views(recipe.views, recipe.input, recipe.objective == "simclr")
    return ImageItems(
        ImageSubset(source.images, source.ids, places, places), build_transform(recipe.input), view, task.seeds
    )


def _method(task: PretrainTask) -> tuple[Callable[[], torch.nn.Module], Objective]:
    """Returns what makes the network with its head, and what it is trained for."""
    recipe, width = task.recipe, task.width
    draw = BatchViews(recipe.views, recipe.input, recipe.objective == "simclr")
    whose = permuted(len(task.source), task.asked.label_noise, task.noise_seed)

    def begin(head: Callable[[Any], torch.nn.Module]) -> Callable[[], torch.nn.Module]:
        def network() -> torch.nn.Module:
            # The same weights as those of the untrained twin random:RUN.
            backbone = construct(recipe.architecture, seed=task.asked.run)
            with seeded(task.seeds("head")):
                return head(backbone).to(memory_format=torch.channels_last)

        return network

    if recipe.objective == "cross-entropy":
        assert task.source.labels is not None
        classes, labels = np.unique(task.source.labels[whose], return_inverse=True)
        return (
            begin(lambda backbone: Labelled(backbone, width, len(classes))),
            Supervised(draw, torch.from_numpy(labels.reshape(-1)), recipe.label_smoothing),
        )
    if recipe.objective == "clip":
        return begin(Captioned), LanguageImage(draw, _tokens(task, whose))
    assert recipe.temperature is not None
    return (
        begin(lambda backbone: Paired(backbone, width, recipe)),
        ImageImage(draw, torch.from_numpy(whose), recipe.temperature),
    )


def _tokens(task: PretrainTask, whose: Any) -> torch.Tensor:
    """Returns tokens (N, T, L) of each image's caption in T sentences; L is as long as the longest needs."""
    import open_clip

    tokenize = open_clip.get_tokenizer(task.recipe.architecture.name)
    sentences = task.recipe.templates if task.asked.captions == "templates" else ("{}",)
    captions = [task.source.captions[one] for one in whose]
    rows = [tokenize([sentence.replace("{}", caption) for sentence in sentences]) for caption in captions]
    return torch.stack(rows)


def _facts(spec: CheckpointSpec) -> dict[str, Any]:
    """Returns what two makings of one checkpoint share: all but the bits of the weights."""
    values = spec.model_dump(mode="json", exclude={"title"})
    return {**values, "weights": values["weights"]["uri"]}


def _record(task: PretrainTask) -> Path:
    return task.home / "weights" / task.id / "pretraining.json"


def _source_of(task: PretrainTask) -> str:
    """Returns the fingerprint of the images that kept weights were made from; the task's own where nobody said."""
    try:
        return str(json.loads(_record(task).read_bytes())["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return task.source.fingerprint


def _keep(task: PretrainTask, done: Progressed, processes: int, seconds: float) -> None:
    """Keeps the backbone's weights, and beside them how the training went."""
    assert done.weights is not None
    prefix = "backbone."
    state = {name.removeprefix(prefix): one for name, one in done.weights.items() if name.startswith(prefix)}
    UserWeights.register(task.home, task.id, state, state_digest(state), Path(str(task.asked)))
    record = {
        "digest": task.digest,
        "source": task.source.fingerprint,
        "losses": [epoch.train_loss for epoch in done.history],
        "last_seconds": seconds,
        "environment": {
            "device": device_name(task.options.device),
            "dtype": task.options.dtype,
            "processes": processes,
            "threads": task.threads or torch.get_num_threads(),
            **{name: importlib.metadata.version(name) for name in ("torch", "timm", "open_clip_torch")},
        },
    }
    write_whole(_record(task), canonical_json(record))
