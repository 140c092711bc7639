"""What names a file of features: everything that can change a byte of it."""

from functools import cached_property
from typing import Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field

from probebench.fingerprint import fingerprint
from probebench.registry.layers import LayerName
from probebench.registry.schema import Architecture, CheckpointSpec, Input

# Of each arithmetic; raise one when the extractor changes what it computes there. 2 of bf16 keeps small sums in fp32.
EXTRACTOR_VERSIONS = {"fp32": 1, "fp16": 1, "bf16": 2}


class FeatureKey(BaseModel):
    """The key of one file: one split of one data set seen by one checkpoint under one preprocessing.

    Attributes:
        architecture: Library, name and arguments: they change features where the tensors alone do not (activations).
        weights_digest: sha256 over the checkpoint's tensors.
        layer: Which output of the network, by its name (registry/layers.py).
        preprocessing: The entry's input settings, at the input size in force.
        dtype: Arithmetic of the forward pass; fp32 is stored as float32, fp16 and bf16 as float16.
        dataset_fingerprint: sha256 over ids, labels and splits.
        split: train, val or test.
        content: sha256 over the images of every split, so that a replaced image is a new key, for all splits together.
        extractor_version: Version of the extraction itself in that arithmetic.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture
    weights_digest: str
    layer: LayerName
    preprocessing: Input
    dtype: Literal["fp32", "fp16", "bf16"]
    dataset_fingerprint: str
    split: Literal["train", "val", "test"]
    content: str
    extractor_version: int = Field(default_factory=lambda given: EXTRACTOR_VERSIONS[given["dtype"]])

    @classmethod
    def of(
        cls,
        entry: CheckpointSpec,
        *,
        weights_digest: str,
        preprocessing: Input,
        dtype: str,
        dataset_fingerprint: str,
        content: str,
        split: str,
        layer: str | None = None,
    ) -> Self:
        """Returns the key of a checkpoint's features of one split; the arguments are as in the attributes.

        Without a layer they are of the one that stands for the checkpoint.
        """
        return cls(
            architecture=entry.architecture,
            weights_digest=weights_digest,
            layer=layer or entry.output.layer,
            preprocessing=preprocessing,
            dtype=cast(Literal["fp32", "fp16", "bf16"], dtype),
            dataset_fingerprint=dataset_fingerprint,
            split=cast(Literal["train", "val", "test"], split),
            content=content,
        )

    @cached_property
    def digest(self) -> str:
        """The sha256 that names the file."""
        return fingerprint(self.model_dump(mode="json"))

    @cached_property
    def group(self) -> str:
        """The sha256 that the splits of one extraction share: the key less the split."""
        return fingerprint(self.model_dump(mode="json", exclude={"split"}))
