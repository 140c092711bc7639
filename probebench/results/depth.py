"""Accuracy against depth: the scores of one checkpoint on its intermediate blocks, beside its other layers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from probebench.registry.entry import Shots
from probebench.registry.layers import block_of, layer_order
from probebench.results.cells import Cell, DataSet, Entrant, Setting, entrant_names, gather, in_order
from probebench.results.schema import Result
from probebench.results.scores import score_of


@dataclass(frozen=True)
class LayerScore:
    """A score on one layer.

    Attributes:
        layer: Its name.
        width: Feature width D; None where it is unknown.
        mean: Recomputed.
        ci95: None where the predictions of a result with more draws than count would be needed.
    """

    layer: str
    width: int | None
    mean: float
    ci95: tuple[float, float] | None

    @property
    def block(self) -> tuple[int, str | None] | None:
        """The number and the pooling of an intermediate block; None of any other layer."""
        return block_of(self.layer)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One checkpoint on one data set in one setting, layer by layer.

    Attributes:
        name: The checkpoint's, with what sets it apart from others of the same id.
        scores: By number of shots; blocks from the first to the last, then the other layers.
    """

    name: str
    entrant: Entrant
    dataset: DataSet
    setting: Setting
    scores: dict[Shots, tuple[LayerScore, ...]]

    @property
    def shots(self) -> list[Shots]:
        """The numbers of shots, ascending, full last."""
        return in_order(self.scores)

    @property
    def layers(self) -> list[str]:
        """All layers: blocks from the first to the last, then the others."""
        return sorted({one.layer for row in self.scores.values() for one in row}, key=_depth_order)


def sweeps(results: Iterable[Result]) -> list[Sweep]:
    """Returns every sweep over intermediate blocks that results hold; failed runs are no scores."""
    found: dict[tuple[Entrant, DataSet, Setting], dict[Shots, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in gather(results):
        if cell.key.entrant.provenance == "measured" and score_of(cell.result).mean is not None:
            place = replace(cell.key.entrant, layer="unknown"), cell.key.dataset, cell.key.setting
            found[place][cell.key.shots].append(cell)
    names = entrant_names(entrant for entrant, _, _ in found)
    return [
        Sweep(
            name=names[entrant],
            entrant=entrant,
            dataset=dataset,
            setting=setting,
            scores={shots: _scores(cells) for shots, cells in by_shots.items()},
        )
        for (entrant, dataset, setting), by_shots in found.items()
        if any(block_of(cell.key.entrant.layer) for cells in by_shots.values() for cell in cells)
    ]


def _scores(cells: Sequence[Cell]) -> tuple[LayerScore, ...]:
    scores = []
    for cell in sorted(cells, key=lambda one: _depth_order(one.key.entrant.layer)):
        score, width = score_of(cell.result), cell.result.checkpoint.features
        assert score.mean is not None
        known = None if width == "unknown" else width
        scores.append(LayerScore(cell.key.entrant.layer, known, score.mean, score.ci95))
    return tuple(scores)


def _depth_order(layer: str) -> tuple[bool, tuple[int, int, str]]:
    return block_of(layer) is None, layer_order(layer)


def narrowed(found: Iterable[Sweep], shots: Sequence[Shots] | None) -> list[Sweep]:
    """Leaves only some numbers of shots (None: all), and what is a sweep then too."""
    kept = []
    for sweep in found:
        scores = {one: row for one, row in sweep.scores.items() if shots is None or one in shots}
        if any(one.block for row in scores.values() for one in row):
            kept.append(replace(sweep, scores=scores))
    return kept
