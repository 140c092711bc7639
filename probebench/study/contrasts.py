"""Claims about two sides at equal everything else: methods, curation, clean labels, and size."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from probebench.results.cells import counted
from probebench.study.claims import Basis, Claim, Estimate, Weighed, weigh
from probebench.study.engine import (
    Array,
    Interval,
    Mask,
    mean_interval,
    pair_interval,
    pooled_interval,
    side_interval,
    undone_by,
)
from probebench.study.observations import Track
from probebench.study.panel import SCALES, WORDS, Panel, Scale, whole

_SOURCES = 3
QUESTIONS = {
    "image-vs-language": "Does image-image pre-training beat language-image pre-training?",
    "supervised-vs-contrastive": "Does supervised pre-training beat contrastive pre-training?",
    "curation": "Do more curated sources transfer better at equal size?",
    "label-noise": "Do noisier labels transfer worse?",
    "size": "Does more data of one source transfer better?",
}

# (scale, positions of numbers of shots, without flagged scores) -> [source, data set]
Table = Callable[[Scale, Sequence[int], bool], Array]


@dataclass(frozen=True)
class Compared:
    """A difference.

    Attributes:
        general: Of sources in general: they and their runs are the random unit. Open where one source, or one data set,
            has no like.
        named: Of the named checkpoints alone, over data sets, or of the one data set; None where both are enough to
            speak for others.
        dataset: The one data set.
    """

    general: Interval
    named: Interval | None = None
    dataset: str | None = None


def _open(named: Interval) -> Interval:
    return Interval(named.value, -math.inf, math.inf)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """What is compared.

    Attributes:
        names: Of the rows of ``table``.
        table: Paired differences; where there are ``sides``, scores.
        sides: Which rows are on the first side; None where every row is a difference.
        said: "image-image over language-image", say.
        unit: What the difference is for: "" or "a doubling".
    """

    panel: Panel
    names: tuple[str, ...]
    table: Table
    sides: Mask | None
    said: str
    unit: str = ""

    def interval(self, scale: Scale, places: Sequence[int], *, clear: bool = False) -> Compared | None:
        """Returns the difference; None where nothing can be compared."""
        table, rows, columns = whole(self.table(scale, places, clear))
        if not table.size:
            return None
        # How far data sets disagree is not told by one of them.
        dataset = self.panel.datasets[columns[0]] if len(columns) == 1 else None

        def compared(found: Interval) -> Compared:
            return Compared(_open(found), found, dataset) if dataset else Compared(found)

        if self.sides is None:
            if len(rows) >= _SOURCES:
                return compared(mean_interval(table))
            named = pair_interval(table.mean(axis=0))
            return Compared(mean_interval(table) if len(rows) > 1 else _open(named), named)
        first: Mask = self.sides[rows]
        if not first.any() or first.all():
            return None
        if min(first.sum(), (~first).sum()) >= _SOURCES:
            return compared(side_interval(table, first))
        named = pair_interval(table[first].mean(axis=0) - table[~first].mean(axis=0))
        pooled = pooled_interval(table.mean(axis=1), first)
        return Compared(pooled or _open(named), named)

    def told(self) -> str:
        """Names the rows where they are too few to speak for others."""
        if self.sides is None:
            return f"on {' and '.join(self.names)}"
        sides = [
            [name for name, on in zip(self.names, self.sides, strict=True) if on == side] for side in (True, False)
        ]
        return " minus ".join(" and ".join(side) if len(side) < _SOURCES else "the rest" for side in sides)


def contrast_claim(identity: str, contrast: Contrast, group: str, track: Track) -> Claim:
    """Answers one question about two sides."""
    panel = contrast.panel
    about: dict[str, Any] = {
        "id": identity,
        "question": QUESTIONS[identity],
        "group": group,
        "track": track,
    }
    places = panel.places(panel.headline) if panel.shots else []
    columns = whole(contrast.table("points", places, False))[2] if places else []
    about["basis"] = Basis.of(panel, columns=columns or None)
    found = {scale: contrast.interval(scale, places) if places else None for scale in SCALES}
    points, logit = found["points"], found["logit"]
    if points is None or logit is None:
        return Claim(
            **about,
            verdict="not answerable",
            sentence="No data set has both sides.",
            missing="scores of both sides on the same data sets",
        )
    clear = None
    if not panel.is_clear(places):
        left = contrast.interval("points", places, clear=True)
        # Where no score is left, nothing speaks against the others but that all are at an end of the scale.
        clear = left.general if left else Interval(0.0, -math.inf, math.inf)
        if left:
            about["without_flagged"] = Estimate.of(clear)
    about |= {
        "estimate": Estimate.of(points.general),
        "logit": Estimate.of(logit.general, "logits"),
        "per_shots": tuple(_per_shots(contrast)),
        "details": {"pairs": _pairs(contrast)},
    }
    said = f"{contrast.said}: {_told(contrast, points)} at {WORDS[panel.headline]}"
    if panel.headline == "few-shot":
        full = contrast.interval("points", panel.places("full")) if panel.places("full") else None
        said += f", {_told(contrast, full)} at full data" if full else ", and no scores of both sides at full data"
    if points.named is not None:
        return _named(about, contrast, points, said)
    weighed = weigh(points.general, logit.general, clear=clear)
    return Claim(
        **about,
        verdict=weighed.verdict,
        bound=weighed.bound,
        sentence=_sentence(weighed, said, len(contrast.names)),
        missing=weighed.why,
    )


def _told(contrast: Contrast, compared: Compared) -> str:
    return f"{Estimate.of(compared.named or compared.general)}{f' {contrast.unit}' if contrast.unit else ''}"


def _sentence(weighed: Weighed, said: str, sources: int) -> str:
    ending = f" ({counted(sources, 'source')})."
    if weighed.verdict == "no effect":
        return f"No effect above {weighed.bound:.1f} points; {said}{ending}"
    start = {"confirmed": "Yes", "contradicted": "No, the other way", "not answerable": "Within noise"}
    return f"{start[weighed.verdict]}; {said}{ending}"


def _named(about: dict[str, Any], contrast: Contrast, compared: Compared, said: str) -> Claim:
    points = compared.named or compared.general
    if compared.dataset:
        alone = f"On {compared.dataset} alone, {said}."
        return Claim(**about, verdict="not answerable", sentence=alone, missing="two data sets")
    lacking = "three sources" if contrast.sides is None else "three sources a side"
    undone = ""
    if math.isfinite(points.error) and points.sign:
        undone = (
            f"; a run-to-run SD above {undone_by(points, 2 / max(about['basis'].runs, 1)):.1f} points would undo it"
        )
    return Claim(
        **about,
        verdict="not answerable",
        sentence=f"{contrast.told()[0].upper()}{contrast.told()[1:]} alone, {said}{undone}.",
        missing=lacking,
    )


def _per_shots(contrast: Contrast) -> Iterable[dict[str, Any]]:
    for place, shots in enumerate(contrast.panel.shots):
        found = {scale: contrast.interval(scale, [place]) for scale in SCALES}
        if found["points"] and found["logit"]:
            logit = Estimate.of(found["logit"].general).as_dict(unit=False)
            yield {
                "shots": shots,
                **Estimate.of(found["points"].general).as_dict(unit=False),
                **{f"{name}_logit": value for name, value in logit.items()},
            }


def _pairs(contrast: Contrast) -> list[dict[str, Any]]:
    """Returns every difference, or every score, by source and data set at each level."""
    rows = []
    for level in contrast.panel.levels:
        table = contrast.table("points", contrast.panel.places(level), False)
        for s, name in enumerate(contrast.names):
            side = {} if contrast.sides is None else {"side": "first" if contrast.sides[s] else "second"}
            rows += [
                {"level": level, "source": name, **side, "dataset": dataset, "points": round(float(table[s, d]), 4)}
                for d, dataset in enumerate(contrast.panel.datasets)
                if not math.isnan(table[s, d])
            ]
    return rows
