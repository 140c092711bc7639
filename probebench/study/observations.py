"""The study's tidy list: one observation for each checkpoint, transfer, data set and number of shots."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from probebench.registry.architectures import canonical_architecture
from probebench.registry.entry import Shots
from probebench.results.cells import Cell, gather, source_name, source_samples
from probebench.results.overlap import Sources, overlap, shared_concepts
from probebench.results.schema import Result
from probebench.results.scores import DECIMALS, counted_trials, draw_scores, score_of
from probebench.results.short import on_too_few
from probebench.study.order import best_of

# Sizes that differ by less than this are one size: a fixed crawl loses some images between downloads.
SAME_SIZE = 1.1

# Gives the scores of a result's draws that count, from its predictions; None where these are not at hand.
Recomputed = Callable[[Result], Sequence[float] | None]

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


@dataclass(frozen=True, order=True, kw_only=True)
class Track:
    """One way of measuring. Numbers of different tracks never meet, but for few-shot against full fine-tuning.

    Attributes:
        metric: Where it is not the one by which most were measured on a data set; "" there: each set has its own.
        layer: Which features, where they are not of the layer that stands for a checkpoint; "" there.
        pixels: Side of the input, where it is not the one at which most were measured on a data set; 0 there.
    """

    provenance: str
    kind: str
    mode: str
    protocol: str
    version: int
    metric: str = ""
    layer: str = ""
    pixels: int = 0

    def __str__(self) -> str:
        """Returns it in words."""
        mode = "" if self.mode == self.kind else f" ({self.mode})"
        metric = f", {self.metric}" if self.metric else ""
        layer = f", layer {self.layer}" if self.layer else ""
        pixels = f", {self.pixels} px" if self.pixels else ""
        return f"{self.kind}{mode}, {self.protocol} v{self.version}{metric}{layer}{pixels}"


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One checkpoint on one data set at one number of shots.

    Attributes:
        components: The sources of a mixture; none where there is one source, or none.
        samples: Images that the sources hold together; None where it is unknown.
        run: Which of several pre-trainings that differ in the seed alone; None where the facts do not say.
        label_noise: Share of images whose labels or captions were permuted; None where the facts do not say.
        scores: By tuning of the transfer; of one tuning where a protocol chooses it.
        draws: Digest and test score of every draw that counts.
        images: Test images behind the score; None where it is unknown.
        selection: "test" also where the best of several tunings is taken by test score.
        results: Behind the score, one where there is one tuning.
    """

    track: Track
    method: str
    objective: str
    architecture: str
    source: str
    samples: int | None
    run: int | None
    labels: str
    curation: str
    label_noise: float | None
    components: tuple[str, ...] = ()
    dataset: str
    shots: Shots
    scores: dict[str, float]
    draws: tuple[tuple[str, float], ...] = ()
    images: int | None = None
    selection: str = "validation"
    model: str
    results: tuple[Result, ...] = ()

    @property
    def score(self) -> float:
        """The score; the best of several tunings."""
        return max(self.scores.values())

    @property
    def pretraining(self) -> tuple[object, ...]:
        """Everything that is known of the checkpoint, but for its name."""
        facts = (self.method, self.objective, self.architecture, self.source, self.samples, self.run)
        return (*facts, self.labels, self.curation, self.label_noise)


def source_of(cell: Observation) -> str:
    """Returns the source."""
    return cell.source


def observations(results: Iterable[Result], recomputed: Recomputed = lambda result: None) -> list[Observation]:
    """Makes observations of cells; no failed runs, and none whose classes lack images.

    Results that share a cell count once, by a rule that looks at no test score (``results.cells``). Only a published
    table lists tunings of one pre-training: these are one observation of several scores.

    Args:
        results: Any.
        recomputed: Gives the scores of a result's draws from its predictions, which count whatever the result says.
    """
    cells = [cell for cell in gather(results) if not on_too_few(cell.result)]
    fingerprints: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        if cell.key.dataset.fingerprint:
            fingerprints[cell.key.dataset.name].add(cell.key.dataset.fingerprint)
    layers, pixels, metrics = _standing_layers(cells), _standing_pixels(cells), _standing_metrics(cells)
    found = []
    for group in group_by(cells, _shared).values():
        key = group[0].key
        several = len(fingerprints[key.dataset.name]) > 1 and key.dataset.fingerprint
        name = f"{key.dataset.name} ({str(key.dataset.fingerprint)[:8]})" if several else key.dataset.name
        if (made := _observation(name, group, recomputed)) is not None:
            entrant = key.entrant
            layer = "" if entrant.layer == layers[_less_layer(group[0])] else entrant.layer
            size = 0 if entrant.input_size == pixels[_measured_as(group[0])] else entrant.input_size or 0
            metric = "" if key.metric == metrics[_on_dataset(group[0])] else key.metric
            found.append(replace(made, track=replace(made.track, metric=metric, layer=layer, pixels=size)))
    return found


def unseen(results: Iterable[Result], sources: Sources, share: float) -> tuple[list[Result], list[tuple[str, str]]]:
    """Leaves out results of checkpoints on data sets that they have seen in pre-training.

    Args:
        results: Any.
        sources: Entries of sources, by id.
        share: Of test images that may show what a source shows too, in another style.

    Returns:
        The rest, and what was left out and why.
    """
    kept, seen = list[Result](), list[tuple[str, str]]()
    for result in results:
        what = f"{source_name(result.checkpoint)} on {result.dataset}"
        if overlap(result.checkpoint, result.dataset, sources) == "yes":
            seen.append((what, "seen before: the source holds test images"))
        elif (shared := shared_concepts(result.checkpoint, result.dataset, sources)) > share:
            seen.append((what, f"the source shows what {shared:.0%} of the test images show"))
        else:
            kept.append(result)
    return kept, seen


def _less_layer(cell: Cell) -> Hashable:
    return replace(cell.key, entrant=replace(cell.key.entrant, layer="unknown"))


def _standing_layers(cells: Iterable[Cell]) -> dict[Hashable, str | None]:
    """Returns the layer that stands for the checkpoint of each cell; None where it has but others.

    Which layer does is the same for all entries of a library, so that results alone tell: the projected one of
    language-image towers, as far as they were measured on it, and the pooled one of all else.
    """
    layers = {key: {one.key.entrant.layer for one in own} for key, own in group_by(cells, _less_layer).items()}
    order = ("projected", "pooled", "unknown")
    return {key: next((one for one in order if one in own), None) for key, own in layers.items()}


def _measured_as(cell: Cell) -> Hashable:
    return cell.key.setting, cell.key.dataset, cell.key.metric


def _standing_pixels(cells: Iterable[Cell]) -> dict[Hashable, int | None]:
    """Returns the input size at which most cells of a data set were measured, the largest of equals."""
    counts = {
        key: Counter(one.key.entrant.input_size for one in own) for key, own in group_by(cells, _measured_as).items()
    }
    return {key: max((count, size or 0, size) for size, count in own.items())[2] for key, own in counts.items()}


def _on_dataset(cell: Cell) -> Hashable:
    return cell.key.setting, cell.key.dataset


def _standing_metrics(cells: Iterable[Cell]) -> dict[Hashable, str]:
    """Returns the metric by which most cells of a data set were measured, accuracy of equals."""
    counts = {key: Counter(one.key.metric for one in own) for key, own in group_by(cells, _on_dataset).items()}
    return {key: max(own, key=lambda one: (own[one], one == "accuracy", one)) for key, own in counts.items()}


def _shared(cell: Cell) -> Hashable:
    """Returns what cells of one observation share."""
    key, facts = cell.key, cell.result.checkpoint
    if key.entrant.provenance == "measured":
        return key
    network = canonical_architecture(facts.architecture)
    known = (facts.method, facts.objective, network, source_name(facts), source_samples(facts), facts.run)
    words = facts.labels, facts.curation, facts.label_noise
    return key.setting, key.metric, key.dataset, key.shots, known, words


def _observation(dataset: str, group: Sequence[Cell], recomputed: Recomputed) -> Observation | None:
    scored = [(cell, mean) for cell in group if (mean := score_of(cell.result).mean) is not None]
    if not scored:
        return None
    draws = recomputed(scored[0][0].result) if len(scored) == 1 else None
    if draws:
        scored = [(scored[0][0], round(sum(draws) / len(draws), DECIMALS))]
    scores: dict[str, float] = {}
    for cell, mean in scored:
        tuning, copies = cell.key.tuning, 1
        while tuning in scores:
            copies += 1
            tuning = f"{cell.key.tuning} {copies}"
        scores[tuning] = mean
    first, key = scored[0][0].result, group[0].key
    facts, setting = first.checkpoint, key.setting
    digests = [first.trials[place].draw_digest for place in counted_trials(first)]
    images = [cell.result.n_test for cell, _ in scored]
    return Observation(
        track=Track(
            provenance=key.entrant.provenance,
            kind=setting.kind,
            mode=setting.mode,
            protocol=setting.protocol,
            version=setting.version,
        ),
        method=facts.method,
        objective=facts.objective,
        architecture=canonical_architecture(facts.architecture),
        source=source_name(facts),
        components=tuple(sorted(one.name for one in facts.sources)) if len(facts.sources) > 1 else (),
        samples=source_samples(facts),
        run=facts.run,
        labels=facts.labels,
        curation=facts.curation,
        label_noise=facts.label_noise,
        dataset=dataset,
        shots=first.shots,
        scores=scores,
        draws=tuple(zip(digests, draws or draw_scores(first), strict=True)) if len(scores) == 1 else (),
        images=min((one for one in images if one), default=None),
        selection="test" if len(scored) > 1 else first.selection,
        model=first.model,
        results=tuple(cell.result for cell, _ in scored),
    )


def equally_tuned(cells: Sequence[Observation]) -> tuple[list[float], int, bool]:
    """Returns scores of equal tuning effort, the number of settings behind each, and whether these are the same ones.

    The settings that all share count; where they share none, the expected best of as many as the one with fewest has.
    """
    shared = set.intersection(*(set(cell.scores) for cell in cells))
    if shared:
        return [max(cell.scores[name] for name in shared) for cell in cells], len(shared), True
    count = min(len(cell.scores) for cell in cells)
    return [best_of(list(cell.scores.values()), count) for cell in cells], count, False


def same_sizes(samples: Iterable[int], tolerance: float = SAME_SIZE) -> dict[int, int]:
    """Maps each size to the smallest that counts as the same."""
    place: dict[int, int] = {}
    smallest = 0
    for size in sorted(set(samples)):
        if not smallest or size > smallest * tolerance:
            smallest = size
        place[size] = smallest
    return place


def group_by(listed: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Groups items by a key, in the order of first occurrence."""
    grouped: dict[Key, list[Item]] = defaultdict(list)
    for item in listed:
        grouped[key(item)].append(item)
    return dict(grouped)
