"""What the study says: claims, each with its verdict, its size on two scales, and what it rests on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from probebench.results.cells import counted
from probebench.study.engine import Interval
from probebench.study.observations import Track
from probebench.study.panel import Panel

Verdict = Literal["confirmed", "contradicted", "no effect", "not answerable"]
# Differences below these many points are of no practical weight: an interval within them is "no effect".
SMALLEST = 2.0
# The same of a standard deviation between sources.
SMALLEST_SD = 1.0
# The largest run-to-run SD of a mean over data sets, in points, that is thought possible where no runs say.
LARGEST_RUN_SD = 2.0


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; an end that is None is open, a value that is None lies outside what is measured.

    Attributes:
        unit: "points", "logits", "ratio", or "rank correlation".
    """

    value: float | None
    low: float | None
    high: float | None
    unit: str = "points"

    @classmethod
    def of(cls, interval: Interval, unit: str = "points") -> "Estimate":
        """Takes over an interval; what is not finite is open."""
        value, low, high = (
            round(one, 6) if math.isfinite(one) else None for one in (interval.value, interval.low, interval.high)
        )
        return cls(value, low, high, unit)

    def as_dict(self, *, unit: bool = True) -> dict[str, Any]:
        """Returns it as plain JSON."""
        plain = {"value": self.value, "low": self.low, "high": self.high}
        return plain | {"unit": self.unit} if unit else plain

    def __str__(self) -> str:
        """Returns it as people read it: 4.2 points [1.0, 7.4]."""
        ends = ", ".join("open" if one is None else _digits(one, self.unit) for one in (self.low, self.high))
        if self.value is None:
            return f"[{ends}]"
        unit = {"ratio": "x", "points": " points"}
        return f"{_digits(self.value, self.unit)}{unit.get(self.unit, '')} [{ends}]"


def _digits(value: float, unit: str) -> str:
    if unit == "points":
        return f"{value:.1f}".replace("-0.0", "0.0")
    return f"{value:.3g}" if unit == "ratio" else f"{value:.2f}".replace("-0.00", "0.00")


@dataclass(frozen=True)
class Basis:
    """What a claim rests on.

    Attributes:
        runs: Of the source that has fewest, on the data set on which it has fewest.
        settings: Tunings behind a score, the most; 1 where a protocol chooses.
    """

    sources: tuple[str, ...] = ()
    runs: int = 0
    datasets: tuple[str, ...] = ()
    settings: int = 0
    checkpoints: tuple[str, ...] = ()

    @classmethod
    def of(cls, panel: Panel, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None) -> "Basis":
        """Names what some rows and data sets of a panel rest on, by position; all by default."""
        listed = panel.used(rows, columns)
        settings = panel.settings if columns is None else panel.settings[list(columns)]
        return cls(
            tuple(sorted({cell.source for cell in listed})),
            panel.fewest_runs(rows, columns),
            tuple(sorted({cell.dataset for cell in listed})),
            int(settings.max(initial=0)),
            tuple(sorted({one.model for cell in listed for one in cell.results} or {cell.model for cell in listed})),
        )

    def __str__(self) -> str:
        """Returns it in a few words."""
        parts = [f"{counted(len(self.sources), 'source')} x {counted(self.runs, 'run')}"]
        parts += [counted(len(self.datasets), "data set")]
        return ", ".join([*parts, f"best of {self.settings}"] if self.settings > 1 else parts)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence, and what the results say to it.

    Attributes:
        id: Names the sentence that "confirmed" confirms (docs/study.md).
        level: "few-shot", "full" or "zero-shot" where there is a claim for each; None where one claim speaks of all.
        group: What all checkpoints of it share, in words.
        track: How they were measured.
        sentence: The answer, with its number in it.
        estimate: Its size in points, as a ratio or a rank correlation; positive where it speaks for the sentence.
        logit: The same on the logit scale.
        bound: Where there is no effect: the smallest that would have been seen.
        per_shots: The size at each number of shots.
        missing: What it would take to answer.
        without_flagged: The size without scores at chance or at the ceiling, where there are some.
        details: Tables behind it, by name; each a list of rows.
    """

    id: str
    question: str
    group: str
    track: Track
    verdict: Verdict
    sentence: str
    level: str | None = None
    estimate: Estimate | None = None
    logit: Estimate | None = None
    bound: float | None = None
    per_shots: tuple[dict[str, Any], ...] = ()
    basis: Basis = field(default_factory=Basis)
    missing: str | None = None
    without_flagged: Estimate | None = None
    details: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        """Whether there is an answer."""
        return self.verdict != "not answerable"

    def as_dict(self) -> dict[str, Any]:
        """Returns it as plain JSON, keys of DESIGN's contract first."""
        plain = {
            "id": self.id,
            "question": self.question,
            "group": self.group,
            "verdict": self.verdict,
            "estimate": self.estimate.as_dict() if self.estimate else None,
            "logit": self.logit.as_dict(unit=False) if self.logit else None,
            "per_shots": list(self.per_shots),
            "basis": {
                "sources": list(self.basis.sources),
                "runs": self.basis.runs,
                "datasets": list(self.basis.datasets),
                "settings": self.basis.settings,
                "checkpoints": list(self.basis.checkpoints),
            },
            "missing": self.missing,
        }
        if self.bound is not None and self.estimate is not None:
            plain["bound"] = {"value": self.bound, "unit": self.estimate.unit}
        return plain | {
            "level": self.level,
            "sentence": self.sentence,
            "provenance": self.track.provenance,
            "track": str(self.track),
            "without_flagged": self.without_flagged.as_dict() if self.without_flagged else None,
            "details": self.details,
        }


@dataclass(frozen=True)
class Weighed:
    """A verdict with what it took: see ``weigh``."""

    verdict: Verdict
    bound: float | None = None
    why: str | None = None


def weigh(points: Interval, logit: Interval, smallest: float = SMALLEST, clear: Interval | None = None) -> Weighed:
    """Decides between confirmed, contradicted, no effect and not answerable.

    An effect must be there on both scales. No effect is said where the whole interval in points lies within the
    smallest effect that would matter. Both must hold without scores at chance or at the ceiling, where all are alike.

    Args:
        points: Positive where it speaks for the sentence.
        logit: The same on the logit scale.
        smallest: Effect that matters.
        clear: Points without flagged scores, where there are some.
    """
    if not all(math.isfinite(one) for part in (points, logit) for one in (part.value, part.low, part.high)):
        return Weighed("not answerable", None, "more than one source or data set")
    if points.sign == logit.sign != 0:
        if clear is not None and clear.sign != points.sign:
            return Weighed(
                "not answerable", None, "scores off chance and ceiling: without such scores it is not beyond noise"
            )
        return Weighed("confirmed" if points.sign > 0 else "contradicted")
    bound = max(abs(points.low), abs(points.high))
    if points.sign == logit.sign and bound <= smallest:
        if clear is not None and not max(abs(clear.low), abs(clear.high)) <= smallest:
            return Weighed(
                "not answerable", None, "scores off chance and ceiling: without such scores an effect is not ruled out"
            )
        return Weighed("no effect", round(bound, 2))
    if points.sign == logit.sign:
        return Weighed("not answerable", None, "more sources or data sets: the interval holds both signs")
    said = {1: "for it", -1: "against it", 0: "neither way"}
    return Weighed(
        "not answerable",
        None,
        f"scales that agree: points speak {said[points.sign]}, logits {said[logit.sign]}",
    )
