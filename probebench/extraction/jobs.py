"""What there is to extract: a file for each split and layer, and how far it is."""

from dataclasses import dataclass
from pathlib import Path

from probebench.backbones.base import Backbone
from probebench.cache.key import FeatureKey
from probebench.cache.store import FeatureFile, committed_rows, feature_path, mark_as_newest
from probebench.datasets.base import Dataset, Split
from probebench.extraction.options import ExtractionOptions
from probebench.extraction.space import space_needed


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """The file of one split and layer, and how it came to be.

    Attributes:
        split: Its name.
        layer: Which features.
        path: The file.
        rows: Images with features.
        computed: How many of its images this call computed (0: it was all there).
        skipped: Images that could not be read and were left out.
        seconds: Time of this call by the stage that was waited for; files that were filled in one pass share it.
    """

    split: str
    layer: str
    path: Path
    rows: int
    computed: int
    skipped: int
    seconds: dict[str, float]


def jobs_for(backbone: Backbone, dataset: Dataset, home: Path, options: ExtractionOptions) -> list["Job"]:
    """Returns what there is to do for a data set, done or not, layer by layer and split by split."""
    return [
        Job.of(backbone, dataset, name, layer, home, options) for layer in backbone.layers for name in dataset.splits
    ]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One split at one layer: where its file is and what goes into it.

    Attributes:
        key: The features' key.
        width: Feature width D.
        path: The file, there or not.
        split: Ids, labels and images.
        splits: Names of all splits.
        model: Checkpoint id.
        dataset: Data set id.
    """

    key: FeatureKey
    width: int
    path: Path
    split: Split
    splits: tuple[str, ...]
    model: str
    dataset: str

    @classmethod
    def of(
        cls, backbone: Backbone, dataset: Dataset, name: str, layer: str, home: Path, options: ExtractionOptions
    ) -> "Job":
        """Finds the file of one split at one of the backbone's layers."""
        key = FeatureKey.of(
            backbone.spec,
            weights_digest=backbone.weights_digest,
            preprocessing=backbone.input,
            dtype=options.dtype,
            dataset_fingerprint=dataset.fingerprint,
            content=dataset.content,
            split=name,
            layer=layer,
        )
        return cls(
            key=key,
            width=backbone.layers[layer],
            path=feature_path(home, backbone.spec.id, dataset.id, key),
            split=dataset.splits[name],
            splits=tuple(dataset.splits),
            model=backbone.spec.id,
            dataset=dataset.id,
        )

    def found(self) -> Extracted | None:
        """Describes the file where it is complete already.

        Raises:
            CacheError: It is damaged; told before anything is computed twice.
        """
        if not self.path.exists():
            return None
        with FeatureFile(self.path) as file:
            mark_as_newest(self.path)
            return self.extracted(file.rows, 0, len(file.skipped), {})

    def extracted(self, rows: int, computed: int, skipped: int, seconds: dict[str, float]) -> Extracted:
        """Describes the file; the arguments are as in ``Extracted``."""
        return Extracted(
            split=self.key.split,
            layer=self.key.layer,
            path=self.path,
            rows=rows,
            computed=computed,
            skipped=skipped,
            seconds=seconds,
        )

    def committed(self) -> int:
        """Returns how many rows an interrupted file has."""
        return committed_rows(self.path)

    def space(self) -> int:
        """Returns the bytes that the file still takes on the disk."""
        return space_needed(self.path, self.split.ids, self.width, self.key.dtype)
