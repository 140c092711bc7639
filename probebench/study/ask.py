"""All questions, asked of all results: measured and published ones apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probebench.results.cells import beside, gather
from probebench.results.schema import Result
from probebench.study.answer import Answer
from probebench.study.observations import Observation, group_by, observations
from probebench.study.pairs import QUESTIONS, pairs_answer
from probebench.study.predict import predict_answer, track_pairs
from probebench.study.ranks import ranks_answer
from probebench.study.scaling import scaling_answer
from probebench.study.spread import spread_answer


@dataclass(frozen=True)
class Section:
    """The answers from results of one provenance.

    Attributes:
        results: How many there were.
        cells: How many observations they make.
        beside: What there is beside the results that count, such as failed runs, a line each.
    """

    provenance: str
    results: int
    cells: int
    beside: tuple[str, ...]
    answers: tuple[Answer, ...]


def study(results: Iterable[Result]) -> list[Section]:
    """Answers every question from measured results, and from published ones, never from both."""
    by_provenance = group_by(results, lambda result: result.provenance)
    return [
        Section(name, len(held), len(found), tuple(beside(gather(held))), tuple(_answers(found)))
        for name, held in sorted(by_provenance.items())
        if (found := observations(held))
    ]


def _answers(listed: Sequence[Observation]) -> Iterable[Answer]:
    tracks = group_by(listed, lambda cell: cell.track)
    ordered = sorted(tracks)
    for track in ordered:
        yield spread_answer(tracks[track])
    for track in ordered:
        yield ranks_answer(tracks[track])
    for track in ordered:
        yield scaling_answer(tracks[track])
    for question in QUESTIONS:
        for track in ordered:
            yield pairs_answer(question, tracks[track])
    for few, full in track_pairs(ordered):
        yield predict_answer(tracks[few], tracks[full])
