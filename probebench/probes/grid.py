"""The values that a protocol tries."""

from typing import Literal

import numpy as np

from probebench.registry.schema import ProtocolSpec


def strengths(protocol: ProtocolSpec) -> list[float]:
    """Returns the protocol's grid, ascending; none where there is nothing to choose."""
    grid = protocol.grid
    if grid is None:
        return []
    if grid.start is None or grid.stop is None or grid.num is None:
        return list(grid.values)
    return [float(value) for value in np.logspace(grid.start, grid.stop, grid.num)]


def tries(protocol: ProtocolSpec) -> int:
    """Returns how many values are tried, less those of a widened grid."""
    grid, count = protocol.grid, len(strengths(protocol))
    if grid is None or not grid.coarse:
        return count
    step = (count - 1) // (grid.coarse - 1)
    return grid.coarse + 2 * (step.bit_length() - 1)


def fits_planned(protocol: ProtocolSpec, folds: int, refit: bool) -> int:
    """Returns how many fits choosing takes for one draw and a last fit, less those of a widened grid."""
    again = refit or folds > 1
    return tries(protocol) * max(folds, 1) * max(len(protocol.solver.learning_rates), 1) + again


def beyond(protocol: ProtocolSpec, side: Literal[-1, 1]) -> list[float]:
    """Returns the values by which a protocol widens its grid below (-1) or above (1), in its own steps outwards."""
    grid = protocol.grid
    if grid is None or grid.start is None or grid.stop is None or grid.num is None or not grid.widen:
        return []
    step = (grid.stop - grid.start) / (grid.num - 1)
    edge = grid.start if side < 0 else grid.stop
    return [float(10.0 ** (edge + side * number * step)) for number in range(1, round(grid.widen / step) + 1)]
