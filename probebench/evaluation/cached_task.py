"""What tasks on cached features share."""

from dataclasses import dataclass

from probebench.cache.index import FeatureGroup
from probebench.cache.key import FeatureKey
from probebench.cache.store import home_of
from probebench.datasets.opened import recall
from probebench.registry.schema import CheckpointSpec


@dataclass(frozen=True)
class CachedTask:
    """The cached features of one checkpoint on one data set.

    Attributes:
        group: The cached features.
        checkpoint: Their checkpoint's entry.
    """

    group: FeatureGroup
    checkpoint: CheckpointSpec

    @property
    def model(self) -> str:
        """Id of the checkpoint."""
        return self.group.model

    @property
    def dataset_id(self) -> str:
        """Id of the data set."""
        return self.group.dataset

    @property
    def key(self) -> FeatureKey:
        """The key of its features on the train split."""
        return self.group.key

    @property
    def shared_with_train(self) -> int | None:
        """Test images of the data set that are in train too; None where nobody looked."""
        path = next(iter(self.group.paths.values()))
        known = recall(self.dataset_id, home_of(path) / "datasets")
        return known.shared_with_train if known else None
