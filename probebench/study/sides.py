"""Which two sides results have: methods, grades of curation, clean and noisy labels, and sizes of one source."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from probebench.results.cells import size_text
from probebench.study.claims import Claim
from probebench.study.contrasts import Contrast, contrast_claim
from probebench.study.engine import Array
from probebench.study.observations import Observation, Track, group_by, source_of
from probebench.study.panel import Panel, Scale, averaged
from probebench.study.panels import PanelMaker

# Words of the entries' ``curation`` and ``labels``.
BY_PEOPLE = frozenset({"human", "source-selected", "curated"})
UNCURATED = frozenset({"none", "uncurated"})
CLEAN = frozenset({"human", "clean"})
NOISY = frozenset({"captions", "hashtags", "noisy"})

# Of a method: it and its objective.
Method = tuple[str, str]


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

    return Contrast(panel=panel.only([*first, *second]), names=tuple(sources), table=table, sides=None, said=said)


def method_claims(cells: Sequence[tuple[Observation, int]], maker: PanelMaker, track: Track) -> list[Claim]:
    """Holds methods against each other at equal source, architecture and size, and against the mean of several."""
    claims = []
    for identity, ahead, behind in (
        ("image-vs-language", "image-image", ("language-image",)),
        ("supervised-vs-contrastive", "supervised", ("image-image", "language-image")),
    ):
        for (architecture, size), held in group_by(cells, lambda one: (one[0].architecture, one[1])).items():
            by_method = group_by([cell for cell, _ in held], lambda cell: (cell.method, cell.objective))
            for first in (method for method in by_method if method[0] == ahead):
                against: dict[tuple[Method, ...], Panel] = {}
                for second in sorted(method for method in by_method if method[0] in behind):
                    if (panel := _pair(by_method, first, second, maker)) is not None:
                        against[second,] = panel
                if len(against) > 1:
                    together = tuple(second for (second,) in against)
                    against[together] = averaged(list(against.values()))
                for seconds, panel in against.items():
                    contrast = _paired(panel, f"{first[0]} over {' and '.join(method for method, _ in seconds)}")
                    if contrast is not None and panel.shots:
                        named = " and ".join(f"{method} ({objective})" for method, objective in seconds)
                        group = f"{first[0]} ({first[1]}) against {named}, {architecture}, {size_text(size)}"
                        claims.append(contrast_claim(identity, contrast, group, track))
    return claims


def _pair(
    by_method: Mapping[Method, Sequence[Observation]], first: Method, second: Method, maker: PanelMaker
) -> Panel | None:
    """Returns a panel of rows (side, source), of the sources that both methods have; None where there is none."""
    shared = {cell.source for cell in by_method[first]} & {cell.source for cell in by_method[second]}
    if not shared:
        return None
    chosen = [cell for method in (first, second) for cell in by_method[method] if cell.source in shared]
    side = {first: 0, second: 1}
    return maker.make(chosen, lambda cell: (side[cell.method, cell.objective], cell.source), tuned_by_source=True)


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

    return contrast_claim(identity, Contrast(panel=panel, names=names, table=table, sides=sides, said=said), *where)


def size_claim(cells: Sequence[Observation], maker: PanelMaker, group: str, track: Track) -> Claim | None:
    """Returns points a doubling over the sources of one method, objective and architecture; None without a ladder."""
    sizes = {
        source: sorted({cell.samples for cell in own if cell.samples})
        for source, own in group_by(cells, source_of).items()
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

    contrast = Contrast(
        panel=panel, names=names, table=table, sides=None, said="more data of one source", unit="a doubling"
    )
    return contrast_claim("size", contrast, group, track)


def _slopes(sizes: Sequence[int], scores: Array) -> Array:
    """Returns the slope over log2 of the size on each data set, of the sizes that were measured there."""
    found = np.full(scores.shape[1], np.nan)
    for d in range(scores.shape[1]):
        there = ~np.isnan(scores[:, d])
        x = np.log2(np.asarray(sizes, float)[there])
        if len(x) > 1:
            found[d] = float((x - x.mean()) @ scores[there, d] / ((x - x.mean()) ** 2).sum())
    return found
