"""Paired questions: image-image against language-image, curated against uncurated, clean against noisy labels."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from probebench.registry.entry import Shots
from probebench.results.cells import counted, in_order, shots_text, size_text
from probebench.results.stats import Comparison, holm, paired
from probebench.study.answer import ALPHA, Answer, Estimate, Table, Value, refusal, rests_on, selection_note
from probebench.study.noise import values
from probebench.study.observations import Observation, rectangle, sized

_PAIRS = 3
# Words of the entries' ``curation`` and ``labels``.
BY_PEOPLE = frozenset({"human", "source-selected", "curated"})
UNCURATED = frozenset({"none", "uncurated"})
CLEAN = frozenset({"human", "clean"})
NOISY = frozenset({"captions", "hashtags", "noisy"})


@dataclass(frozen=True, kw_only=True)
class Question:
    """A paired question.

    Attributes:
        grade: The cell's grade; None takes no part. At equal ``base`` the highest grade is held against the lowest.
        base: What the two sides must share beside architecture, size, data set and shots.
        shared: That, in words.
    """

    key: str
    title: str
    first: str
    second: str
    grade: Callable[[Observation], int | None]
    base: Callable[[Observation], str]
    shared: str
    note: str = ""


def _method_grade(cell: Observation) -> int | None:
    return {"image-image": 1, "language-image": 0}.get(cell.method)


def _curation_grade(cell: Observation) -> int | None:
    if cell.curation == "unknown":
        return None
    return 2 if cell.curation in BY_PEOPLE else 0 if cell.curation in UNCURATED else 1


def _labels_grade(cell: Observation) -> int | None:
    return 1 if cell.labels in CLEAN else 0 if cell.labels in NOISY else None


QUESTIONS = (
    Question(
        key="methods",
        title="Does image-image pre-training beat language-image pre-training?",
        first="image-image",
        second="language-image",
        grade=_method_grade,
        base=lambda cell: cell.source,
        shared="source, architecture and size",
    ),
    Question(
        key="curation",
        title="Do curated sources beat less curated ones?",
        first="more curated",
        second="less curated",
        grade=_curation_grade,
        base=lambda cell: f"{cell.method} ({cell.objective})",
        shared="method, architecture and size",
        note=f"Grades of curation: by people ({', '.join(sorted(BY_PEOPLE))}), filtered by machine (every other word), "
        f"and none ({', '.join(sorted(UNCURATED))}). The highest grade at hand is held against the lowest.",
    ),
    Question(
        key="labels",
        title="Do clean labels beat noisy ones?",
        first="clean",
        second="noisy",
        grade=_labels_grade,
        base=lambda cell: f"{cell.method} ({cell.objective})",
        shared="method, architecture and size",
        note=f"Clean: {', '.join(sorted(CLEAN))}. Noisy: {', '.join(sorted(NOISY))}. Other words take no part.",
    ),
)

Side = tuple[list[Observation], list[Observation]]


def pairs_answer(question: Question, listed: Sequence[Observation]) -> Answer:
    """Answers one paired question for one track."""
    track = str(listed[0].track)
    rows: list[dict[str, Value]] = []
    single: list[dict[str, Value]] = []
    used: list[Observation] = []
    best = 0
    for shots, table in _matched(question, listed).items():
        single += [
            {"shots": shots_text(shots), "base": base, "dataset": dataset, **_pair(sides)}
            for base, row in table.items()
            for dataset, sides in row.items()
        ]
        bases, datasets = rectangle(table)
        best = max(best, len(bases) * len(datasets))
        if len(bases) * len(datasets) < _PAIRS:
            continue
        chosen = [[table[base][dataset] for dataset in datasets] for base in bases]
        used += [cell for row in chosen for sides in row for side in sides for cell in side]
        points, log = (_compare(chosen, scale) for scale in ("points", "log"))
        rows.append(
            {
                "shots": shots_text(shots),
                "bases": len(bases),
                "datasets": len(datasets),
                "difference": Estimate(points.difference, *points.ci95),
                "p": points.p_value,
                "difference_log": Estimate(log.difference, *log.ci95),
            }
        )
    if not rows:
        why = (
            f"{counted(best, 'pair')} of {question.first} and {question.second} checkpoints on a data set with equal "
            f"{question.shared}; it takes {_PAIRS}"
        )
        return refusal(question.key, question.title, track, why)
    for row, value in zip(rows, holm([_number(row["p"]) for row in rows]), strict=True):
        row["p"] = value
    found = tuple(_finding(question, row) for row in rows if _number(row["p"]) < ALPHA)
    return Answer(
        question=question.key,
        title=question.title,
        track=track,
        verdict=_verdict(question, rows),
        found=found,
        tables=(_table(question, rows), _single_table(question, single)),
        notes=(*_notes(question), *selection_note(dict.fromkeys(used))),
        basis=rests_on(dict.fromkeys(used)),
    )


def _matched(question: Question, listed: Sequence[Observation]) -> dict[Shots, dict[str, dict[str, Side]]]:
    """Returns shots -> what is shared -> data set -> the cells of both sides, where both are there."""
    graded: dict[tuple[Shots, str, str], dict[int, list[Observation]]] = defaultdict(lambda: defaultdict(list))
    for cell, size in sized(listed):
        grade = question.grade(cell)
        if grade is not None:
            base = f"{question.base(cell)}, {cell.architecture}, {size_text(size)}"
            graded[cell.shots, base, cell.dataset][grade].append(cell)
    table: dict[Shots, dict[str, dict[str, Side]]] = defaultdict(lambda: defaultdict(dict))
    for shots in in_order(key[0] for key in graded):
        for (at, base, dataset), grades in graded.items():
            if at == shots and len(grades) > 1:
                table[shots][base][dataset] = grades[max(grades)], grades[min(grades)]
    return {shots: dict(rows) for shots, rows in table.items()}


def _compare(chosen: Sequence[Sequence[Side]], scale: str) -> Comparison:
    """Compares sides over (what is shared, data set), two crossed random factors (``results.stats.paired``)."""
    tables = [[[_mean(sides[side], scale) for sides in row] for row in chosen] for side in (0, 1)]
    return paired(np.array(tables[0]), np.array(tables[1]))


def _mean(side: Sequence[Observation], scale: str) -> float:
    """Averages the checkpoints that share a side: taking the best would favour the side that has more."""
    return float(values(side, "points" if scale == "points" else "log").mean())


def _pair(sides: Side) -> dict[str, Value]:
    first, second = (_mean(side, "points") for side in sides)
    models = [", ".join(sorted({cell.model for cell in side})) for side in sides]
    return {"first": first, "second": second, "difference": first - second, "who": f"{models[0]} - {models[1]}"}


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else 1.0


def _verdict(question: Question, rows: Sequence[dict[str, Value]]) -> str:
    clear = [row for row in rows if _number(row["p"]) < ALPHA]
    if not clear:
        return f"No difference beyond noise at equal {question.shared}."
    said = []
    for ahead in dict.fromkeys(_finding(question, row).rsplit(" at ", 1)[0] for row in clear):
        where = [str(row["shots"]) for row in clear if _finding(question, row).startswith(ahead)]
        said.append(f"{ahead} at {', '.join(where)}")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}, at equal {question.shared}."


def _finding(question: Question, row: dict[str, Value]) -> str:
    difference = row["difference"]
    ahead = isinstance(difference, Estimate) and (difference.value or 0) > 0
    winner, loser = (question.first, question.second) if ahead else (question.second, question.first)
    return f"{winner} beats {loser} at {row['shots']}"


def _notes(question: Question) -> tuple[str, ...]:
    crossed = "The interval takes what is shared and the data sets as samples: it speaks of others like them."
    return (crossed, question.note) if question.note else (crossed,)


def _table(question: Question, rows: Sequence[dict[str, Value]]) -> Table:
    return Table(
        "differences",
        f"{question.first} minus {question.second}, at equal {question.shared}",
        (
            ("shots", "shots", "text"),
            ("bases", "matched settings", "count"),
            ("datasets", "data sets", "count"),
            ("difference", "difference, points", "points"),
            ("p", "p (Holm)", "p"),
            ("difference_log", "difference, log-error", "log"),
        ),
        tuple(rows),
    )


def _single_table(question: Question, rows: Sequence[dict[str, Value]]) -> Table:
    return Table(
        "pairs",
        "Every matched pair",
        (
            ("shots", "shots", "text"),
            ("base", "shared", "text"),
            ("dataset", "data set", "text"),
            ("first", question.first, "points"),
            ("second", question.second, "points"),
            ("difference", "difference, points", "points"),
            ("who", "checkpoints", "text"),
        ),
        tuple(rows),
    )
