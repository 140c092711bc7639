"""Claims about two sides at equal everything else: methods, curation, clean labels, and size."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probebench.results.cells import counted, size_text
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
from probebench.study.observations import Observation, Track, group_by
from probebench.study.panel import SCALES, WORDS, Panel, PanelMaker, Scale, whole

_SOURCES = 3
# Words of the entries' ``curation`` and ``labels``.
BY_PEOPLE = frozenset({"human", "source-selected", "curated"})
UNCURATED = frozenset({"none", "uncurated"})
CLEAN = frozenset({"human", "clean"})
NOISY = frozenset({"captions", "hashtags", "noisy"})
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
        general: Of sources in general: they and their runs are the random unit. Open where one source has no like.
        named: Of the named checkpoints alone, over data sets; None where sources are enough to speak for others.
    """

    general: Interval
    named: Interval | None = None


def _open(named: Interval) -> Interval:
    return Interval(named.value, -math.inf, math.inf)


@dataclass(frozen=True)
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
        table, rows, _ = whole(self.table(scale, places, clear))
        if not table.size:
            return None
        if self.sides is None:
            if len(rows) >= _SOURCES:
                return Compared(mean_interval(table))
            named = pair_interval(table.mean(axis=0))
            return Compared(mean_interval(table) if len(rows) > 1 else _open(named), named)
        first: Mask = self.sides[rows]
        if not first.any() or first.all():
            return None
        if min(first.sum(), (~first).sum()) >= _SOURCES:
            return Compared(side_interval(table, first))
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
        "basis": Basis.of(panel.used(), int(panel.runs.min()), int(panel.settings.max())),
    }
    places = panel.places(panel.headline)
    found = {scale: contrast.interval(scale, places) for scale in SCALES}
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
        return _named(about, contrast, points.named, said)
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


def _named(about: dict[str, Any], contrast: Contrast, points: Interval, said: str) -> Claim:
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


# ---------------------------------------------------------------- which sides there are


def _paired(panel: Panel, said: str) -> Contrast | None:
    """Pairs rows (side, source), side 0 less side 1."""
    rows = {row: place for place, row in enumerate(panel.rows)}
    sources = sorted({row[1] for row in rows if (0, row[1]) in rows and (1, row[1]) in rows})
    if not sources:
        return None
    first, second = ([rows[side, source] for source in sources] for side in (0, 1))

    def table(scale: Scale, places: Sequence[int], clear: bool) -> Array:
        means = panel.means(scale, places, clear=clear)
        difference: Array = means[first] - means[second]
        return difference

    return Contrast(panel.only([*first, *second]), tuple(sources), table, None, said)


def method_claims(cells: Sequence[tuple[Observation, int]], maker: PanelMaker, track: Track) -> list[Claim]:
    """Holds methods against each other at equal source, architecture and size."""
    claims = []
    for identity, ahead, behind in (
        ("image-vs-language", "image-image", ("language-image",)),
        ("supervised-vs-contrastive", "supervised", ("image-image", "language-image")),
    ):
        for (architecture, size), held in group_by(cells, lambda one: (one[0].architecture, one[1])).items():
            by_method = group_by([cell for cell, _ in held], lambda cell: (cell.method, cell.objective))
            for first, own in by_method.items():
                for second, other in by_method.items():
                    if first[0] == ahead and second[0] in behind:
                        sides = {first: 0, second: 1}
                        panel = _shared_sources([own, other], sides, maker)
                        if panel is None:
                            continue
                        words = [f"{method} ({objective})" for method, objective in (first, second)]
                        contrast = _paired(panel, f"{first[0]} over {second[0]}")
                        if contrast is not None:
                            group = f"{words[0]} against {words[1]}, {architecture}, {size_text(size)}"
                            claims.append(contrast_claim(identity, contrast, group, track))
    return claims


def _shared_sources(
    held: Sequence[Sequence[Observation]], sides: dict[tuple[str, str], int], maker: PanelMaker
) -> Panel | None:
    shared = set.intersection(*({cell.source for cell in own} for own in held))
    chosen = [cell for own in held for cell in own if cell.source in shared]
    if not chosen:
        return None
    return maker.make(chosen, lambda cell: (sides[cell.method, cell.objective], cell.source), tuned_by_source=True)


def _grade(cell: Observation) -> int | None:
    if cell.curation == "unknown":
        return None
    return 2 if cell.curation in BY_PEOPLE else 0 if cell.curation in UNCURATED else 1


def curation_claim(cells: Sequence[Observation], maker: PanelMaker, group: str, track: Track) -> Claim | None:
    """Holds the most curated sources of a group against the least curated; None where all are alike."""
    return _worded("curation", cells, _grade, "more curated over less curated", maker, (group, track))


def _clean(cell: Observation) -> int | None:
    return 1 if cell.labels in CLEAN else 0 if cell.labels in NOISY else None


def label_claim(
    clean: Sequence[Observation], permuted: Sequence[Observation], maker: PanelMaker, group: str, track: Track
) -> Claim | None:
    """Holds clean labels against noisy ones; None where all are alike.

    Where labels of one source were permuted on purpose, the same source without is the other side, and the highest
    share that most sources have counts; else sources whose labels are clean are held against sources whose are not.

    Args:
        clean: Cells of the group without permuted labels.
        permuted: And with.
        maker: Of panels.
        group: In words.
        track: How they were measured.
    """
    by_share = group_by(permuted, lambda cell: cell.label_noise or 0.0)
    plain = {cell.source for cell in clean}
    if counts := {share: len({cell.source for cell in own} & plain) for share, own in by_share.items()}:
        share = max(counts, key=lambda one: (counts[one], one))
        noisy = [cell for cell in by_share[share] if cell.source in plain]
        sources = {cell.source for cell in noisy}
        if noisy:
            panel = maker.make(
                [*(cell for cell in clean if cell.source in sources), *noisy],
                lambda cell: (int(bool(cell.label_noise)), cell.source),
                tuned_by_source=True,
            )
            contrast = _paired(panel, f"clean over {100 * share:.0f}% permuted labels")
            if contrast is not None:
                return contrast_claim("label-noise", contrast, group, track)
    return _worded("label-noise", clean, _clean, "clean labels over noisy ones", maker, (group, track))


def _worded(
    identity: str,
    cells: Sequence[Observation],
    grade: Callable[[Observation], int | None],
    said: str,
    maker: PanelMaker,
    where: tuple[str, Track],
) -> Claim | None:
    """Holds the sources of the highest grade against those of the lowest."""
    graded = {cell.source: grade(cell) for cell in cells}
    grades = sorted({one for one in graded.values() if one is not None})
    if len(grades) < 2:
        return None
    chosen = [cell for cell in cells if graded[cell.source] in (grades[0], grades[-1])]
    panel = maker.make(chosen, lambda cell: cell.source)
    names = tuple(str(row) for row in panel.rows)
    sides = np.array([graded[name] == grades[-1] for name in names])

    def table(scale: Scale, places: Sequence[int], clear: bool) -> Array:
        return panel.means(scale, places, clear=clear)

    return contrast_claim(identity, Contrast(panel, names, table, sides, said), *where)


def size_claim(cells: Sequence[Observation], maker: PanelMaker, group: str, track: Track) -> Claim | None:
    """Returns points a doubling over the sources of one method, objective and architecture; None without a ladder."""
    sizes = {
        source: sorted({cell.samples for cell in own if cell.samples}) for source, own in _by_source(cells).items()
    }
    ladders = {source: found for source, found in sizes.items() if len(found) > 1}
    if not ladders:
        return None
    chosen = [cell for cell in cells if cell.source in ladders and cell.samples]
    panel = maker.make(chosen, lambda cell: (cell.source, cell.samples), tuned_by_source=True)
    rows = {row: place for place, row in enumerate(panel.rows)}
    names = tuple(sorted(ladders))

    def table(scale: Scale, places: Sequence[int], clear: bool) -> Array:
        means = panel.means(scale, places, clear=clear)
        return np.array([_slopes(ladders[name], means[[rows[name, size] for size in ladders[name]]]) for name in names])

    contrast = Contrast(panel, names, table, None, "more data of one source", "a doubling")
    return contrast_claim("size", contrast, group, track)


def _by_source(cells: Sequence[Observation]) -> dict[str, list[Observation]]:
    return group_by(cells, lambda cell: cell.source)


def _slopes(sizes: Sequence[int], scores: Array) -> Array:
    """Returns the slope over log2 of the size on each data set, of the sizes that were measured there."""
    found = np.full(scores.shape[1], np.nan)
    for d in range(scores.shape[1]):
        there = ~np.isnan(scores[:, d])
        x = np.log2(np.asarray(sizes, float)[there])
        if len(x) > 1:
            found[d] = float((x - x.mean()) @ scores[there, d] / ((x - x.mean()) ** 2).sum())
    return found
