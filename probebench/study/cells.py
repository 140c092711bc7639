"""The study's tidy list: one cell for each pre-training, transfer, data set and number of shots."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from probebench.results.schema import CheckpointFacts, Result

Shots = int | Literal["full"]
# Sizes that differ by less than this are one size: a fixed crawl loses some images between downloads.
SAME_SIZE = 1.1

Key = TypeVar("Key", bound=Hashable)
Other = TypeVar("Other", bound=Hashable)
Item = TypeVar("Item")


@dataclass(frozen=True, order=True)
class Track:
    """One way of measuring. Numbers of different tracks never meet, but for few-shot against full fine-tuning."""

    provenance: str
    kind: str
    mode: str
    protocol: str
    version: int
    metric: str

    def __str__(self) -> str:
        """Returns it in words."""
        mode = "" if self.mode == self.kind else f" ({self.mode})"
        metric = "" if self.metric == "accuracy" else f", {self.metric}"
        return f"{self.kind}{mode}, {self.protocol} v{self.version}{metric}"


@dataclass(frozen=True)
class Cell:
    """The best setting of one pre-training on one data set at one number of shots.

    Attributes:
        samples: Images that the sources hold together; None where it is unknown.
        draws: Digest and test score of every draw.
        images: Test images behind the score; None where it is unknown.
        ci95: The result's own interval.
        settings: How many settings or checkpoints share this cell, failed ones included.
        selection: "test" also where the best of several was taken by test score.
        model: The checkpoint that holds the best.
    """

    track: Track
    method: str
    objective: str
    architecture: str
    source: str
    samples: int | None
    labels: str
    curation: str
    dataset: str
    shots: Shots
    score: float
    draws: tuple[tuple[str, float], ...]
    images: int | None
    ci95: tuple[float, float] | None
    settings: int
    selection: str
    model: str

    @property
    def pretraining(self) -> tuple[object, ...]:
        """Everything that is known of the checkpoint, but for its name."""
        facts = (self.method, self.objective, self.architecture, self.source, self.samples, self.labels)
        return (*facts, self.curation)


def cells(results: Iterable[Result]) -> list[Cell]:
    """Gathers results into cells, best setting of each; failed runs count as settings and never as scores."""
    listed = list(results)
    fingerprints: dict[str, set[str | None]] = defaultdict(set)
    for result in listed:
        if result.provenance == "measured":
            fingerprints[result.dataset].add(result.dataset_fingerprint)
    grouped: dict[tuple[object, ...], list[Result]] = defaultdict(list)
    for result in listed:
        several = len(fingerprints[result.dataset]) > 1 and result.dataset_fingerprint
        dataset = f"{result.dataset} ({str(result.dataset_fingerprint)[:8]})" if several else result.dataset
        facts = result.checkpoint
        source, samples = _sources(facts)
        pretraining = (facts.method, facts.objective, facts.architecture, source, samples, facts.labels, facts.curation)
        grouped[_track(result), pretraining, dataset, result.shots].append(result)
    return [cell for (_, _, dataset, _), group in grouped.items() if (cell := _best(str(dataset), group)) is not None]


def _track(result: Result) -> Track:
    return Track(result.provenance, result.kind, result.mode, result.protocol, result.protocol_version, result.metric)


def _sources(facts: CheckpointFacts) -> tuple[str, int | None]:
    counts = [source.samples for source in facts.sources]
    known = [count for count in counts if count != "unknown"]
    name = " + ".join(sorted(source.name for source in facts.sources)) or "none"
    return name, sum(known) if known and len(known) == len(counts) else None


def _best(dataset: str, group: Sequence[Result]) -> Cell | None:
    scored = [result for result in group if result.mean is not None]
    if not scored:
        return None
    best = max(scored, key=lambda result: result.mean or 0.0)
    facts = best.checkpoint
    source, samples = _sources(facts)
    draws = [(trial.draw_digest, trial.test_score) for trial in best.trials if trial.test_score is not None]
    return Cell(
        track=_track(best),
        method=facts.method,
        objective=facts.objective,
        architecture=facts.architecture,
        source=source,
        samples=samples,
        labels=facts.labels,
        curation=facts.curation,
        dataset=dataset,
        shots=best.shots,
        score=best.mean or 0.0,
        draws=tuple(draws),
        images=best.n_test,
        ci95=best.ci95,
        settings=len(group),
        selection="test" if len(scored) > 1 else best.selection,
        model=best.model,
    )


def shots_order(shots: Iterable[Shots]) -> list[Shots]:
    """Returns the numbers of shots ascending, full last."""
    return sorted(set(shots), key=lambda one: (one == "full", one if one != "full" else 0))


def shots_text(shots: Shots) -> str:
    """Returns "full", "zero-shot", "1 shot" or "5 shots"."""
    if shots == "full":
        return "full"
    return "zero-shot" if shots == 0 else f"{shots} shot{'' if shots == 1 else 's'}"


def size_text(samples: int | None) -> str:
    """Returns a size such as 2.7M."""
    if samples is None:
        return "unknown size"
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if samples >= unit:
            return f"{samples / unit:.3g}{letter}"
    return str(samples)


def same_sizes(samples: Iterable[int]) -> dict[int, int]:
    """Maps each size to the smallest that counts as the same (``SAME_SIZE``)."""
    place: dict[int, int] = {}
    smallest = 0
    for size in sorted(set(samples)):
        if not smallest or size > smallest * SAME_SIZE:
            smallest = size
        place[size] = smallest
    return place


def group_by(listed: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Groups items by a key, in the order of first occurrence."""
    grouped: dict[Key, list[Item]] = defaultdict(list)
    for item in listed:
        grouped[key(item)].append(item)
    return dict(grouped)


def pretrained(listed: Iterable[Cell]) -> list[Cell]:
    """Leaves out untrained networks."""
    return [cell for cell in listed if cell.method != "none"]


def sized(listed: Iterable[Cell]) -> list[tuple[Cell, int]]:
    """Pairs every pre-trained cell of known size with its size class."""
    known = [(cell, cell.samples) for cell in pretrained(listed) if cell.samples]
    place = same_sizes(samples for _, samples in known)
    return [(cell, place[samples]) for cell, samples in known]


def rectangle(held: Mapping[Key, Iterable[Other]]) -> tuple[list[Key], list[Other]]:
    """Drops rows and columns, the emptiest first, until every row left has every column left."""
    rows = {row: set(columns) for row, columns in held.items()}
    columns = list(dict.fromkeys(column for listed in held.values() for column in listed))
    while rows and columns:
        gaps = {column: sum(column not in listed for listed in rows.values()) for column in columns}
        worst_row = min(rows, key=lambda row: len(rows[row] & set(columns)))
        row_gap = (len(columns) - len(rows[worst_row] & set(columns))) / len(columns)
        worst_column = max(columns, key=lambda column: gaps[column])
        column_gap = gaps[worst_column] / len(rows)
        if not row_gap and not column_gap:
            break
        if row_gap >= column_gap:
            del rows[worst_row]
        else:
            columns.remove(worst_column)
    return list(rows), columns if rows else []
