"""What came of one draw, and what a result says of it."""

from dataclasses import dataclass

from probebench.datasets.draws import Draw
from probebench.probes.select import Selected
from probebench.results.schema import Trial


@dataclass(frozen=True)
class DrawOutcome:
    """A draw and its finished probe, or why there is none; and the labels of a validation split of the set's own."""

    draw: Draw
    validation: int
    own_labels: frozenset[int] | None
    selected: Selected | None
    error: str | None

    @property
    def record(self) -> Trial:
        """What a result says of it, less its score."""
        selected = self.selected
        return Trial(
            draw_seed=self.draw.seed,
            draw_digest=self.draw.digest,
            train=len(self.draw.train),
            validation=self.validation,
            selection=selected.how if selected else "validation",
            folds=selected.folds if selected else None,
            chosen=selected.chosen if selected else {},
            tried=selected.tried if selected else None,
            on_edge=selected.on_edge if selected else None,
            validation_loss=selected.loss if selected else None,
            validation_score=selected.score if selected else None,
            test_score=None,
            converged=selected.probe.converged if selected else None,
            gap=selected.probe.gap if selected else None,
            iterations=selected.probe.iterations if selected else None,
            unconverged=list(selected.unconverged) if selected else [],
            left_out=list(selected.left_out) if selected else [],
            temperature=selected.temperature if selected else None,
            error=self.error,
        )
