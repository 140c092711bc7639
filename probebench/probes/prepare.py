"""What a protocol does to features before a probe sees them; everything is measured on training rows only."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.probes.base import Matrix, as_source, host
from probebench.registry.schema import ProtocolSpec


@dataclass(frozen=True)
class Preparation:
    """Normalises rows, standardises features, and divides by one number, each where the protocol says so.

    Attributes:
        l2: Whether each row is divided by its norm; a row of zeros stays.
        mean: Subtracted from each feature, (D,); None where features are not standardised.
        deviation: Divides each feature, (D,).
        divisor: Divides everything.
    """

    l2: bool = False
    mean: Matrix | None = None
    deviation: Matrix | None = None
    divisor: float = 1.0

    @classmethod
    def of(cls, features: Any, protocol: ProtocolSpec) -> "Preparation":
        """Measures on training rows (N, D), an array or a row source, in blocks.

        The "rms" divisor is the root mean squared norm of the centred rows: sqrt(1/N sum_i ||x_i - mean||^2). One
        image, or images that are all alike, have no spread and are left as they are; so is a constant feature.
        """
        first = cls(protocol.normalize == "l2")
        if protocol.standardize:
            mean, variance = _moments(features, first)
            # What rounding leaves of a constant feature is no spread; the bound is scikit-learn's.
            rounding = as_source(features).shape[0] * np.finfo(np.float64).eps
            constant = variance <= rounding * variance + (rounding * mean) ** 2
            deviation = np.sqrt(variance) + (protocol.epsilon or 0.0)
            first = cls(first.l2, mean, np.where(constant, 1.0, deviation))
        if protocol.scale == "none":
            return first
        _, variance = _moments(features, first)
        return cls(first.l2, first.mean, first.deviation, float(np.sqrt(variance.sum())) or 1.0)

    def __call__(self, features: Any) -> Any:
        """Returns prepared features, (N, D) float64: of an array, or on the device of a float64 tensor."""
        rows = features if hasattr(features, "detach") else np.asarray(features, dtype=np.float64)
        if self.l2:
            norms = (rows * rows).sum(1)[:, None] ** 0.5
            rows = rows / (norms + (norms == 0))
        if self.mean is not None and self.deviation is not None:
            rows = (rows - self.mean) / self.deviation
        return rows / self.divisor

    def on(self, device: Any) -> "Preparation":
        """Returns what prepares tensors on a torch device."""
        import torch

        def there(value: Any) -> Any:
            return None if value is None else torch.as_tensor(value, device=device)

        return replace(self, mean=there(self.mean), deviation=there(self.deviation))


@dataclass(frozen=True)
class PreparedRows:
    """A row source whose rows are prepared as they are read."""

    features: Any
    preparation: Preparation

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return as_source(self.features).shape

    def read(self, positions: npt.NDArray[Any]) -> Matrix:
        """Returns the prepared rows at ``positions``."""
        prepared: Matrix = self.preparation(as_source(self.features).read(positions))
        return prepared


@dataclass(frozen=True)
class Joined:
    """The rows of one source after those of another."""

    first: Any
    second: Any

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        rows, width = as_source(self.first).shape
        return rows + as_source(self.second).shape[0], width

    def read(self, positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the rows at ``positions``."""
        split = as_source(self.first).shape[0]
        late = positions >= split
        rows = np.empty((len(positions), self.shape[1]))
        for part, where, shift in ((self.first, ~late, 0), (self.second, late, split)):
            if where.any():
                rows[where] = as_source(part).read(positions[where] - shift)
        return rows


@dataclass(frozen=True)
class Picked:
    """Some rows of a source, at ascending places (N,), which need not fit into memory."""

    features: Any
    places: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return len(self.places), as_source(self.features).shape[1]

    def read(self, positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the rows at ``positions`` among these."""
        return as_source(self.features).read(self.places[positions])


def _moments(features: Any, preparation: Preparation) -> tuple[Matrix, Matrix]:
    """Returns mean and variance of each prepared feature, (D,), in two passes; on a GPU where there is one."""
    from probebench.probes.stream import blocks_on, pick_device

    device, count = pick_device("auto"), as_source(features).shape[0]
    there = preparation if device.type == "cpu" else preparation.on(device)
    mean = sum(there(block).sum(0) / count for _, block in blocks_on(features, device))
    variance = sum(((there(block) - mean) ** 2).sum(0) / count for _, block in blocks_on(features, device))
    return host(mean), host(variance)
