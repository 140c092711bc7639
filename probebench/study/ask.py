"""All claims, asked of all results: measured and published ones apart, one way of measuring and one group at a time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from probebench.results.cells import beside, counted, gather, size_text
from probebench.results.overlap import Sources
from probebench.results.schema import Result
from probebench.results.short import on_too_few
from probebench.study import checkpoints, contrasts, sides, sizes, sources
from probebench.study.claims import Claim
from probebench.study.noise import Noise, Read
from probebench.study.observations import SAME_SIZE, Observation, Track, group_by, observations, source_of, unseen
from probebench.study.panels import PanelMaker
from probebench.study.taking_part import Dropped, Part, newest, recipe, sized, unrepeated

QUESTIONS = {
    **sources.QUESTIONS,
    "data-multiple": sizes.QUESTION,
    **contrasts.QUESTIONS,
    **checkpoints.QUESTIONS,
}
# What it takes to ask at all, where results do not have it.
_TAKES = {
    **dict.fromkeys(sources.QUESTIONS, "two sources or more of one method, objective, architecture and size"),
    "data-multiple": "one source at three sizes, and another of the same method, objective and architecture",
    "image-vs-language": "both methods on one source, architecture and size",
    "supervised-vs-contrastive": "both methods on one source, architecture and size",
    "curation": "sources of two grades of curation at one method, objective, architecture and size",
    "label-noise": "clean and noisy labels at one method, objective, architecture and size",
    "size": "one source at two sizes",
    "few-shot-predicts-full": "pre-trained checkpoints with scores at few shots and at full data",
    "ranking": "two checkpoints",
}


@dataclass(frozen=True)
class Asked:
    """How many results of one provenance were asked, and what there is beside those that count."""

    provenance: str
    results: int
    cells: int
    beside: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """The answers.

    Attributes:
        leading: Of each provenance the claims of one way of measuring and of the group with most sources, data sets and
            checkpoints, each once.
        others: What other groups and other ways of measuring say.
        dropped: What took no part.
        asked: The results.
    """

    leading: tuple[Claim, ...]
    others: tuple[Claim, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    asked: tuple[Asked, ...] = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims, the leading ones first."""
        return *self.leading, *self.others

    def claim(self, identity: str, level: str | None = None) -> Claim | None:
        """Returns the leading claim of an id, at a level where there are several."""
        return next((one for one in self.leading if one.id == identity and level in (None, one.level)), None)

    def as_dict(self) -> dict[str, Any]:
        """Returns it as plain JSON: DESIGN's ``claims``, and what they were made of."""
        return {
            "claims": [
                {**claim.as_dict(), "leading": place < len(self.leading)} for place, claim in enumerate(self.claims)
            ],
            "dropped": [vars(one) for one in self.dropped],
            "results": [vars(one) | {"beside": list(one.beside)} for one in self.asked],
        }


def study(
    results: Iterable[Result],
    *,
    read: Read | None = None,
    chance: Mapping[str, float] | None = None,
    versions: Mapping[str, int] | None = None,
    size_tolerance: float = SAME_SIZE,
    entries: Sources | None = None,
    shared_share: float = 1.0,
) -> Study:
    """Asks every question of measured results, and of published ones, never of both.

    Args:
        results: Any.
        read: Reads a result's predictions, of which scores are computed again, and with which noise that checkpoints
            share is not counted; None takes scores as results tell them.
        chance: Score of guessing, by data set.
        versions: The present version of each protocol.
        size_tolerance: Sizes within this factor are one size.
        entries: Sources by id, whose entries say what of a data set each holds; such pairs are left out.
        shared_share: Pairs are left out too where the source shows what more than this share of the test images show.
    """
    leading: list[Claim] = []
    others: list[Claim] = []
    dropped: list[Dropped] = []
    asked: list[Asked] = []
    for name, held in sorted(group_by(results, lambda result: result.provenance).items()):
        noise = Noise(read)
        part = Part(name, PanelMaker(noise, chance or {}), size_tolerance)
        if elsewhere := sum(result.test_dataset is not None for result in held):
            part.drop(counted(elsewhere, "result"), "on the test part of another data set")
            held = [result for result in held if result.test_dataset is None]
        held, seen = unseen(held, entries or {}, shared_share)
        for what, why in seen:
            part.drop(what, why)
        found = observations(held, noise.draw_scores)
        if not found:
            continue
        if few := sum(on_too_few(result) for result in held):
            part.drop(counted(few, "result"), "fewer than half of the classes have that many images, or a trial run")
        first, rest = _ask(found, part)
        leading += first
        others += rest
        dropped += part.dropped
        asked.append(Asked(name, len(held), len(found), tuple(beside(gather(held), versions or {}))))
    return Study(tuple(leading), tuple(others), tuple(dropped), tuple(asked))


def ask(
    found: Sequence[Observation], *, only: Iterable[str] = QUESTIONS, chance: Mapping[str, float] | None = None
) -> list[Claim]:
    """Asks some of the questions of observations of one provenance; returns the leading claims (for simulations)."""
    part = Part(found[0].track.provenance, PanelMaker(Noise(), chance or {}), SAME_SIZE)
    return _ask(found, part, set(only))[0]


def _ask(
    found: Sequence[Observation], part: Part, only: Iterable[str] = frozenset(QUESTIONS)
) -> tuple[list[Claim], list[Claim]]:
    tracks = group_by(newest(unrepeated(found, part), part), lambda cell: cell.track)
    by_track = {track: _track_claims(cells, part, set(only)) for track, cells in tracks.items()}
    if "few-shot-predicts-full" in only:
        _across(tracks, by_track, part)
    # Neither here nor among groups does a verdict choose what leads: of several that say nothing, one may by chance.
    lead = max(by_track, key=lambda track: (_most_sources(by_track[track]), len(tracks[track]), str(track)))
    elsewhere = [claim for track, claims in sorted(by_track.items()) if track != lead for claim in claims]
    leading = _one_each(by_track[lead], elsewhere, lead, set(only))
    rest = [claim for track in (lead, *(one for one in sorted(by_track) if one != lead)) for claim in by_track[track]]
    chosen = {id(claim) for claim in leading}
    others = [claim for claim in rest if id(claim) not in chosen and (claim.answered or claim.estimate)]
    return leading, others


def _most_sources(claims: Sequence[Claim]) -> int:
    """Returns the sources of the group that has most."""
    of_groups = [len(claim.basis.sources) for claim in claims if claim.id in ("source-matters", "image-vs-language")]
    return max(of_groups, default=0)


def _one_each(claims: Sequence[Claim], elsewhere: Sequence[Claim], track: Track, only: set[str]) -> list[Claim]:
    """Returns each question once, of the group with most sources, data sets and checkpoints.

    Of equals the first leads. What this way of measuring cannot be asked at all is taken from another one; what no
    way can be asked says what it takes.
    """
    chosen: list[Claim] = []
    for identity, question in QUESTIONS.items():
        if identity not in only:
            continue
        of_it = [claim for claim in claims if claim.id == identity]
        of_it = of_it or [claim for claim in elsewhere if claim.id == identity]
        best = max(of_it, key=_size, default=None)
        if best is not None:
            chosen += [claim for claim in of_it if (claim.group, claim.track) == (best.group, best.track)]
            continue
        takes = _TAKES[identity]
        chosen.append(
            Claim(
                id=identity,
                question=question,
                group="none",
                track=track,
                verdict="not answerable",
                sentence=f"It takes {takes}.",
                missing=takes,
            )
        )
    return chosen


def _size(claim: Claim) -> tuple[int, ...]:
    basis = claim.basis
    return len(basis.sources), len(basis.datasets), len(basis.checkpoints)


def _track_claims(cells: Sequence[Observation], part: Part, only: set[str]) -> list[Claim]:
    track = cells[0].track
    maker = part.maker
    trained = [cell for cell in cells if cell.method != "none"]
    known = sized(trained, part)
    clean = [(cell, size) for cell, size in known if not cell.label_noise]
    alone = {cell.source for cell in trained if not cell.components}

    def is_mixed(cell: Observation) -> bool:
        return bool(cell.components) and alone.issuperset(cell.components)

    # A mixture of sources that are here themselves is no further source: what varies between sources does not between
    # it and them. It is a candidate for the best one.
    plain = [(cell, size) for cell, size in clean if not is_mixed(cell)]
    mixed: dict[tuple[object, ...], list[tuple[Observation, int]]] = dict(
        group_by([(cell, size) for cell, size in clean if is_mixed(cell)], lambda one: (*recipe(one[0]), one[1]))
    )
    claims: list[Claim] = []
    for group in _alike(plain, maker, source_of, with_size=True):
        if group.several and only & set(sources.QUESTIONS):
            panel = group.maker.make(group.cells, source_of)
            if not group.maker.over_methods:
                for what, why in (*panel.dropped, *panel.left_out()):
                    part.drop(f"{what} in {group.name}", why)
            further = [cell for key in group.keys for cell, _ in mixed.get(key, ())]
            candidates = group.maker.make([*group.cells, *further], source_of) if further else None
            claims += sources.source_claims(panel, group.name, track, candidates)
        if "curation" in only and group.several and not group.maker.over_methods:
            claims += _given(sides.curation_claim(group.cells, group.maker, group.name, track))
    if "label-noise" in only:
        permuted = [(cell, size) for cell, size in known if cell.label_noise]
        for group in _alike([*plain, *permuted], maker, lambda cell: (cell.source, cell.label_noise), with_size=True):
            own, noisy = ([cell for cell in group.cells if bool(cell.label_noise) == side] for side in (False, True))
            if noisy or (group.several and not group.maker.over_methods):
                claims += _given(sides.label_claim(own, noisy, group.maker, group.name, track))
    if only & {"data-multiple", "size"}:
        for ladder in _alike(plain, maker, lambda cell: (cell.source, cell.samples), with_size=False):
            if "data-multiple" in only:
                claims += sizes.multiple_claims(ladder.cells, ladder.maker, ladder.name, track)
            if "size" in only:
                claims += _given(sides.size_claim(ladder.cells, ladder.maker, ladder.name, track))
    if only & {"image-vs-language", "supervised-vs-contrastive"}:
        claims += [claim for claim in sides.method_claims(plain, maker, track) if claim.id in only]
    if "few-shot-predicts-full" in only:
        single = [cell for cell in trained if not is_mixed(cell)]
        claims += _given(checkpoints.predict_claim(single, single, maker, track))
    if "ranking" in only:
        claims += _given(checkpoints.ranking_claim(cells, maker, track))
    return [claim for claim in claims if claim.id in only]


@dataclass(frozen=True, kw_only=True)
class _Alike:
    """Checkpoints that differ in their source, or in its size, alone; of several methods their mean.

    Attributes:
        keys: Method, objective and architecture, and the size where it is one.
    """

    name: str
    keys: tuple[tuple[object, ...], ...]
    cells: list[Observation]
    maker: PanelMaker

    @property
    def several(self) -> bool:
        """Whether there are several sources."""
        return len({cell.source for cell in self.cells}) > 1


def _alike(
    cells: Sequence[tuple[Observation, int]],
    maker: PanelMaker,
    varies: Callable[[Observation], object],
    *,
    with_size: bool,
) -> list[_Alike]:
    """Returns each method's checkpoints, and together those of methods that have the very same sources.

    Args:
        cells: With their sizes.
        maker: Of their panels.
        varies: What must be the same of all methods that are averaged.
        with_size: Whether all have one size.
    """

    def name(method: str, key: Sequence[object]) -> str:
        return ", ".join([method, str(key[2]), *(size_text(one) for one in key[3:] if isinstance(one, int))])

    groups = group_by(cells, lambda one: (*recipe(one[0]), one[1]) if with_size else recipe(one[0]))
    single = [
        _Alike(name=name(f"{key[0]} ({key[1]})", key), keys=(key,), cells=[cell for cell, _ in held], maker=maker)
        for key, held in groups.items()
    ]
    same = group_by(single, lambda one: (one.keys[0][2:], frozenset(varies(cell) for cell in one.cells)))
    together = [
        _Alike(
            name=name(counted(len(held), "method"), held[0].keys[0]),
            keys=tuple(one.keys[0] for one in held),
            cells=[cell for one in held for cell in one.cells],
            maker=replace(maker, over_methods=True),
        )
        for held in same.values()
        if len(held) > 1 and held[0].several
    ]
    # Methods that were measured on other data sets, or at other numbers of shots, have no mean.
    return [*single, *(one for one in together if one.maker.make(one.cells, source_of).images.size)]


def _given(claim: Claim | None) -> list[Claim]:
    return [] if claim is None else [claim]


def _across(tracks: Mapping[Track, list[Observation]], by_track: dict[Track, list[Claim]], part: Part) -> None:
    """Holds few-shot scores of probes against full fine-tuning too."""
    for few, cells in tracks.items():
        for full, others in tracks.items():
            if few != full and full.kind == "finetune" and full.mode == "full" and full.metric == few.metric:
                # Of each track alone a data set has one metric, and these two may have chosen otherwise.
                metrics = {one.dataset: one.results[0].metric for one in cells}
                same = [one for one in others if metrics.get(one.dataset) == one.results[0].metric]
                by_track[few] += _given(checkpoints.predict_claim(cells, same, part.maker, few))


__all__ = ["QUESTIONS", "Asked", "Dropped", "Study", "ask", "study"]
