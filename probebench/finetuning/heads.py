"""How a classifier starts: from the probe of the same draw, or from the classes' names."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probebench.cache.index import FeatureGroup, read_index
from probebench.cache.store import FeatureFile
from probebench.datasets.draws import Draw
from probebench.errors import CacheError, UsageError
from probebench.evaluation.features import require_splits
from probebench.finetuning.task import FinetuneTask
from probebench.probes.base import FittedProbe, Labelled
from probebench.probes.select import SelectionData, select
from probebench.registry.schema import ProtocolSpec

# Below every logit of the probe: a class that it does not know is not predicted before training.
_FAR_BELOW = 20.0


@dataclass(frozen=True)
class HeadStart:
    """A head before training: logits = weight x + bias; ``unit`` divides each row of features by its norm first."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    unit: bool = False


def cached_features(task: FinetuneTask) -> FeatureGroup:
    """Returns the cached features of the task's own network on its own images.

    Raises:
        CacheError: They are not there; the line says which extract to run.
    """
    asked = task.key

    def fits(group: FeatureGroup) -> bool:
        return group.key.model_copy(update={"dtype": asked.dtype}).group == asked.group and "train" in group.paths

    index = read_index(task.home)
    found = [group for group in (*index.older, *index.groups) if group.model == task.model and fits(group)]
    if not found:
        raise CacheError(
            f"a head from the probe needs cached features of {task.model} on {task.dataset.id}; run: probebench "
            f"extract --model {task.model} --dataset {task.dataset.id} --input-size {asked.preprocessing.size}"
        )
    return next((group for group in found if group.key.dtype == asked.dtype), found[-1])


def probe_head(task: FinetuneTask, draw: Draw, probe_protocol: ProtocolSpec) -> HeadStart:
    """Returns the probe of a draw as a head: its solution under a protocol, chosen on the draw's validation images.

    It is fitted on the training images alone, whatever the protocol's last fit takes: fine-tuning chooses on the
    others again.

    The probe sees features divided by one number, and the head sees them as they are, so the weight is divided instead.
    Where the head sees unit features, the probe is solved on them too.

    Raises:
        UsageError: The protocol prepares features otherwise, so that the head would not predict what the probe does.
        CacheError: Features are missing or damaged, or lack images of the draw.
        ValueError: The draw has one class only.
    """
    from probebench.probes.backends import fitters

    if probe_protocol.probe != "logistic" or probe_protocol.normalize != "none" or probe_protocol.standardize:
        raise UsageError(
            f"a head cannot start from protocol {probe_protocol.id}, which a linear layer on plain features does not "
            'repeat; give it probe = "logistic", normalize = "none" and standardize = false, or start with --head zero'
        )
    group = cached_features(task)
    with FeatureFile(group.paths["train"]) as file:
        train = _rows(task, file, "train", draw.train)
        held = _rows(task, file, "train", draw.validation) if len(draw.validation) else None
    if task.own_validation:
        require_splits(group, "val")
        with FeatureFile(group.paths["val"]) as file:
            held = Labelled(file.read(), file.labels)
    if task.protocol.unit_features:
        probe_protocol = probe_protocol.model_copy(update={"normalize": "l2"})
    (selected,) = select([SelectionData(train, held)], probe_protocol, fitters(probe_protocol, "torch"))
    probe = selected.probe
    assert isinstance(probe, FittedProbe)
    weight = np.zeros((len(task.dataset.class_names), probe.coef.shape[1]))
    bias = np.full(len(weight), probe.intercept.min() - _FAR_BELOW)
    weight[probe.classes] = probe.coef / selected.preparation.divisor
    bias[probe.classes] = probe.intercept
    return HeadStart(weight.astype(np.float32), bias.astype(np.float32))


def _rows(task: FinetuneTask, file: FeatureFile, split: str, positions: npt.NDArray[np.int64]) -> Labelled:
    """Finds images of the data set in a feature file, which lacks those that could not be read."""
    place = {name: number for number, name in enumerate(file.ids)}
    ids = task.dataset.splits[split].ids
    try:
        rows = np.sort(np.array([place[ids[position]] for position in positions], dtype=np.int64))
    except KeyError as error:
        raise CacheError(f"feature file {file.path} lacks {error.args[0]}; repair it and extract again") from error
    return Labelled(file.read(rows), file.labels[rows])


def text_head(task: FinetuneTask) -> HeadStart:
    """Returns the embeddings of the classes' names as a head on unit features, times the network's logit scale.

    Raises:
        UsageError: The checkpoint has no text tower, or the data set no names.
        WeightsError: Weights or tokenizer are missing or out of reach.
    """
    from probebench.backbones.builders import build_language_image
    from probebench.backbones.locate import network
    from probebench.evaluation.zeroshot import class_embeddings

    spec = task.checkpoint
    if spec.output.layer != "projected":
        raise UsageError(f"{task.model}: --head text needs a language-image checkpoint with projected features")
    clip, _ = build_language_image(spec, task.home, task.key.preprocessing.size)
    with network(spec):
        embeddings = class_embeddings(clip, spec.architecture.name, task.prompts)
    weight = (embeddings * float(clip.logit_scale.detach().exp())).astype(np.float32)
    return HeadStart(weight, np.zeros(len(weight), dtype=np.float32), unit=True)
