"""The study's tidy list: one observation for each pre-training, transfer, data set and number of shots."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from probebench.registry.architectures import canonical_architecture
from probebench.registry.entry import Shots
from probebench.results.cells import Cell, gather, source_name, source_samples
from probebench.results.schema import Result
from probebench.results.scores import counted_trials, draw_scores, score_of
from probebench.results.short import on_too_few

# Sizes that differ by less than this are one size: a fixed crawl loses some images between downloads.
SAME_SIZE = 1.1

Key = TypeVar("Key", bound=Hashable)
Other = TypeVar("Other", bound=Hashable)
Item = TypeVar("Item")


@dataclass(frozen=True, order=True, kw_only=True)
class Track:
    """One way of measuring. Numbers of different tracks never meet, but for few-shot against full fine-tuning.

    Attributes:
        layer: Which features, where they are not of the layer that stands for a checkpoint; "" there.
    """

    provenance: str
    kind: str
    mode: str
    protocol: str
    version: int
    metric: str
    layer: str = ""

    def __str__(self) -> str:
        """Returns it in words."""
        mode = "" if self.mode == self.kind else f" ({self.mode})"
        metric = "" if self.metric == "accuracy" else f", {self.metric}"
        layer = f", layer {self.layer}" if self.layer else ""
        return f"{self.kind}{mode}, {self.protocol} v{self.version}{metric}{layer}"


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One checkpoint on one data set at one number of shots; of published tunings of one, the best by test score.

    Attributes:
        samples: Images that the sources hold together; None where it is unknown.
        draws: Digest and test score of every draw that counts.
        images: Test images behind the score; None where it is unknown.
        ci95: The result's own interval.
        settings: How many tunings share it, failed ones included.
        selection: "test" also where the best of several tunings was taken by test score.
        model: The checkpoint.
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


def observations(results: Iterable[Result]) -> list[Observation]:
    """Makes observations of cells; no failed runs, and none whose classes lack images.

    Results that share a cell count once, by a rule that looks at no test score (``results.cells``), and checkpoints
    that share all facts are observations of their own. Only a published table lists tunings of one pre-training: of
    these the best stands for it, as its authors took it, and the observation says that it was selected on test.
    """
    cells = [cell for cell in gather(results) if not on_too_few(cell.result)]
    fingerprints: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        if cell.key.dataset.fingerprint:
            fingerprints[cell.key.dataset.name].add(cell.key.dataset.fingerprint)
    found = []
    standing = _standing(cells)
    for group in group_by(cells, _shared).values():
        dataset = group[0].key.dataset
        several = len(fingerprints[dataset.name]) > 1 and dataset.fingerprint
        name = f"{dataset.name} ({str(dataset.fingerprint)[:8]})" if several else dataset.name
        if (best := _best(name, group)) is not None:
            layer = group[0].key.entrant.layer
            if layer != standing[_less_layer(group[0])]:
                best = replace(best, track=replace(best.track, layer=layer))
            found.append(best)
    return found


def _less_layer(cell: Cell) -> Hashable:
    return replace(cell.key, entrant=replace(cell.key.entrant, layer="unknown"))


def _standing(cells: Iterable[Cell]) -> dict[Hashable, str | None]:
    """Returns the layer that stands for the checkpoint of each cell; None where it has but others.

    Which layer does is the same for all entries of a library, so that results alone tell: the projected one of
    language-image towers, as far as they were measured on it, and the pooled one of all else.
    """
    layers = {key: {one.key.entrant.layer for one in own} for key, own in group_by(cells, _less_layer).items()}
    order = ("projected", "pooled", "unknown")
    return {key: next((one for one in order if one in own), None) for key, own in layers.items()}


def _shared(cell: Cell) -> Hashable:
    """Returns what cells of one observation share."""
    key, facts = cell.key, cell.result.checkpoint
    if key.entrant.provenance == "measured":
        return key
    network = canonical_architecture(facts.architecture)
    known = (facts.method, facts.objective, network, source_name(facts), source_samples(facts))
    return key.setting, key.metric, key.dataset, key.shots, known, facts.labels, facts.curation


def _best(dataset: str, group: Sequence[Cell]) -> Observation | None:
    scored = [(mean, cell.result) for cell in group if (mean := score_of(cell.result).mean) is not None]
    if not scored:
        return None
    mean, best = max(scored, key=lambda one: one[0])
    facts, key, setting = best.checkpoint, group[0].key, group[0].key.setting
    draws = [best.trials[place].draw_digest for place in counted_trials(best)]
    return Observation(
        track=Track(
            provenance=key.entrant.provenance,
            kind=setting.kind,
            mode=setting.mode,
            protocol=setting.protocol,
            version=setting.version,
            metric=key.metric,
        ),
        method=facts.method,
        objective=facts.objective,
        architecture=canonical_architecture(facts.architecture),
        source=source_name(facts),
        samples=source_samples(facts),
        labels=facts.labels,
        curation=facts.curation,
        dataset=dataset,
        shots=best.shots,
        score=mean,
        draws=tuple(zip(draws, draw_scores(best), strict=True)),
        images=best.n_test,
        ci95=best.ci95 if len(draws) == len(best.trials) else None,
        settings=len(group),
        selection="test" if len(scored) > 1 else best.selection,
        model=best.model,
    )


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


def pretrained(listed: Iterable[Observation]) -> list[Observation]:
    """Leaves out untrained networks."""
    return [cell for cell in listed if cell.method != "none"]


def sized(listed: Iterable[Observation]) -> list[tuple[Observation, int]]:
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


def average(members: Sequence[Observation]) -> Observation:
    """Returns one observation for several that stand for the same thing; taking the best would favour who has more.

    Draws are averaged where all have the same, and are unknown otherwise.
    """
    first, *others = members
    if not others:
        return first
    digests = {tuple(digest for digest, _ in one.draws) for one in members}
    scores = np.mean([[score for _, score in one.draws] for one in members], axis=0) if len(digests) == 1 else ()
    return replace(
        first,
        score=float(np.mean([one.score for one in members])),
        draws=tuple((digest, float(score)) for (digest, _), score in zip(first.draws, scores, strict=False)),
        ci95=None,
        settings=sum(one.settings for one in members),
        selection="test" if any(one.selection == "test" for one in members) else first.selection,
        model=", ".join(one.model for one in members),
    )
