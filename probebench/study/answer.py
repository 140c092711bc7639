"""What the study says: answers made of tables, each with what it rests on."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal

from probebench.study.observations import Observation

ALPHA = 0.05
Form = Literal["text", "count", "points", "log", "p", "multiple", "r"]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval. An end that is None is open: the data do not bound it."""

    value: float | None
    low: float | None
    high: float | None


Value = str | int | float | Estimate | None


@dataclass(frozen=True)
class Table:
    """Rows by column key.

    Attributes:
        columns: (key, heading, form); points are fractions of 1 here and shown times 100.
    """

    key: str
    title: str
    columns: tuple[tuple[str, str, Form], ...]
    rows: tuple[dict[str, Value], ...]


@dataclass(frozen=True)
class Basis:
    """The checkpoints and data sets that an answer rests on, and how many cells."""

    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    cells: int = 0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question, asked in one track.

    Attributes:
        verdict: The answer in a sentence, or why there is none.
        found: The effects that hold at 5% after Holm's adjustment within this answer.
        refused: Whether there was too little to compare.
        notes: What to know when reading it.
        basis: What it rests on.
    """

    question: str
    title: str
    track: str
    verdict: str
    found: tuple[str, ...] = ()
    refused: bool = False
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    basis: Basis = Basis()

    def table(self, key: str) -> Table | None:
        """Returns one table."""
        return next((table for table in self.tables if table.key == key), None)


def refusal(question: str, title: str, track: str, why: str) -> Answer:
    """Returns the answer that there are not enough matched pairs."""
    return Answer(question=question, title=title, track=track, verdict=f"not enough matched pairs: {why}", refused=True)


def rests_on(used: Iterable[Observation]) -> Basis:
    """Names the checkpoints and data sets of some cells."""
    listed = list(used)
    models, datasets = {cell.model for cell in listed}, {cell.dataset for cell in listed}
    return Basis(tuple(sorted(models)), tuple(sorted(datasets)), len(listed))


def selection_note(used: Iterable[Observation]) -> tuple[str, ...]:
    """Says where the best of several settings was taken by its test score, and of how many."""
    listed = list(used)
    chosen = [cell for cell in listed if cell.selection == "test"]
    if not chosen:
        return ()
    counts = sorted(cell.settings for cell in chosen)
    many = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    return (
        f"Selected on test: {len(chosen)} of {len(listed)} cells are the best of {many} settings by test score. "
        "Such scores are too high, and more so where there were more settings or fewer test images.",
    )


def as_json(value: Any) -> Any:
    """Returns answers as plain JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, dict):
        return {key: as_json(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_json(part) for part in value]
    return value
