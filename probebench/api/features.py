"""Features as the front door hands them out: read from the cache when they are asked for."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from probebench.arrays import Features as Array
    from probebench.arrays import Labels
    from probebench.cache.index import FeatureGroup
    from probebench.cache.key import FeatureKey


class SplitFeatures:
    """The features of one split. Each array is read at its first use, checked against its checksums, and kept.

    Attributes:
        path: The file in the cache.
    """

    def __init__(self, path: Path) -> None:
        """Takes the file; opens nothing yet."""
        self.path = path

    @cached_property
    def X(self) -> "Array":
        """Features (N, D): float32 of fp32 arithmetic, float16 of half precision.

        Raises:
            CacheError: The file was damaged or removed since it was written.
        """
        return self.read()

    def read(self, positions: "npt.NDArray[Any] | None" = None) -> "Array":
        """Reads rows at some positions (None: all), in that order, without keeping them.

        Returns:
            (len(positions), D).

        Raises:
            CacheError: The file was damaged or removed since it was written.
            IndexError: There is no such row.
        """
        from probebench.cache.store import FeatureFile

        with FeatureFile(self.path) as file:
            return file.read(positions)

    @property
    def y(self) -> "Labels":
        """Labels (N,): positions in the data set's class names."""
        return self._rows[1]

    @property
    def ids(self) -> tuple[str, ...]:
        """Sample ids (N,), in the order of rows."""
        return self._rows[0]

    @property
    def shape(self) -> tuple[int, int]:
        """N images and D features."""
        return self._rows[2]

    @property
    def skipped(self) -> tuple[str, ...]:
        """Ids of images that could not be read and were left out."""
        return self._rows[3]

    def __len__(self) -> int:
        """The number of images N."""
        return self.shape[0]

    def __repr__(self) -> str:
        """Says how many there are."""
        return f"SplitFeatures({self.shape[0]} x {self.shape[1]})"

    @cached_property
    def _rows(self) -> "tuple[tuple[str, ...], Labels, tuple[int, int], tuple[str, ...]]":
        from probebench.cache.store import FeatureFile

        with FeatureFile(self.path) as file:
            return file.ids, file.labels, (file.rows, file.width), file.skipped.ids


class Features:
    """The cached features of one checkpoint on one data set.

    Attributes:
        model: The checkpoint's id.
        dataset: The data set's id.
        key: Everything that can change a byte of them; ``key.group`` names the extraction.
        class_names: One a label; None where only the cache was at hand, which does not hold them.
        paths: The file of each split.
    """

    def __init__(
        self,
        model: str,
        dataset: str,
        key: "FeatureKey",
        paths: Mapping[str, Path],
        class_names: tuple[str, ...] | None,
    ) -> None:
        """Takes what the cache says of an extraction that is whole."""
        self.model, self.dataset, self.key, self.class_names = model, dataset, key, class_names
        self.paths = {name: paths[name] for name in ("train", "val", "test") if name in paths}
        self._splits = {name: SplitFeatures(path) for name, path in self.paths.items()}

    @property
    def train(self) -> SplitFeatures:
        """What draws are taken from."""
        return self["train"]

    @property
    def val(self) -> SplitFeatures | None:
        """The data set's own validation split; None where it has none."""
        return self._splits.get("val")

    @property
    def test(self) -> SplitFeatures:
        """What probes are scored on; nothing is chosen on it."""
        return self._splits["test"]

    @property
    def input_size(self) -> int:
        """Side of the input in pixels."""
        return self.key.preprocessing.size

    @property
    def layer(self) -> str:
        """Which features."""
        return self.key.layer

    @property
    def dtype(self) -> str:
        """Arithmetic of the forward pass."""
        return self.key.dtype

    @property
    def group(self) -> "FeatureGroup":
        """The extraction as evaluation takes it."""
        from probebench.cache.index import FeatureGroup

        return FeatureGroup(
            model=self.model,
            dataset=self.dataset,
            key=self.key,
            paths=self.paths,
            missing=(),
            modified=max(path.stat().st_mtime for path in self.paths.values()),
        )

    def __getitem__(self, split: str) -> SplitFeatures:
        """Returns one split by its name.

        Raises:
            UsageError: There is no such split.
        """
        if split not in self._splits:
            raise UsageError(f"{self.dataset} has no {split} split; it has {', '.join(self._splits)}")
        return self._splits[split]

    def __repr__(self) -> str:
        """Says whose they are, and how many."""
        parts = ", ".join(f"{name} {split.shape[0]} x {split.shape[1]}" for name, split in self._splits.items())
        return f"Features({self.model} on {self.dataset} at {self.input_size} px, {self.layer}, {self.dtype}: {parts})"
