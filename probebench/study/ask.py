"""All questions, asked of all results: measured and published ones apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probebench.results.schema import Result
from probebench.study.answer import Answer
from probebench.study.cells import Cell, cells, group_by
from probebench.study.pairs import QUESTIONS, pairs_answer
from probebench.study.predict import predict_answer, track_pairs
from probebench.study.ranks import ranks_answer
from probebench.study.scaling import scaling_answer
from probebench.study.spread import spread_answer


@dataclass(frozen=True)
class Section:
    """The answers from results of one provenance, and how many results and cells there were."""

    provenance: str
    results: int
    cells: int
    answers: tuple[Answer, ...]


def study(results: Iterable[Result]) -> list[Section]:
    """Answers every question from measured results, and from published ones, never from both."""
    by_provenance = group_by(results, lambda result: result.provenance)
    return [
        Section(name, len(by_provenance[name]), len(found), tuple(_answers(found)))
        for name in sorted(by_provenance)
        if (found := cells(by_provenance[name]))
    ]


def _answers(listed: Sequence[Cell]) -> Iterable[Answer]:
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
