"""What results must agree on with one another: cells, weights, features, and the data where they are not here."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from probebench.leaderboard.rules import from_scratch
from probebench.leaderboard.sketch import Sketch
from probebench.results.cells import CellKey, dataset_text
from probebench.results.schema import Result


@dataclass(frozen=True)
class ResultFile:
    """A result with its file, and its predictions in short where they could be read."""

    path: Path
    result: Result
    sketch: Sketch | None


def check_across(entered: Sequence[ResultFile]) -> Iterator[tuple[Path, str]]:
    """Yields what is wrong with results beside one another, with the file at fault.

    Where results disagree, those that say what most say are taken to be right, and the first ones at a tie.
    """
    seen: dict[CellKey, Path] = {}
    for one in entered:
        first = seen.setdefault(CellKey.of(one.result), one.path)
        if first is not one.path:
            yield one.path, f"is a duplicate: the same cell as {'/'.join(first.parts[-3:])}"
    yield from _odd_ones(entered, _checkpoint, lambda one: one.result.weights_digest, "weights digest")
    yield from _odd_ones(entered, _extraction, _feature_keys, "feature keys")


def check_same_data(entered: Sequence[ResultFile]) -> Iterator[tuple[Path, str]]:
    """Yields results on one data set that disagree on its images, labels or draws: for data that are not here."""
    whole = [
        one
        for one in entered
        if not one.result.skipped_ids and not (one.result.shift and one.result.shift.own_skipped_ids)
    ]
    yield from _odd_ones(entered, _dataset, lambda one: one.result.dataset_fingerprint, "data set's fingerprint")
    probed = [one for one in entered if one.result.train_fingerprint]
    yield from _odd_ones(probed, _dataset, lambda one: one.result.train_fingerprint, "train fingerprint")
    yield from _odd_ones(whole, lambda one: dataset_text(one.result), _test_part, "test ids or labels")
    for seed in {trial.draw_seed for one in whole for trial in one.result.trials}:
        yield from _odd_ones(
            [one for one in whole if any(trial.draw_seed == seed for trial in one.result.trials)],
            lambda one: (one.result.dataset, one.result.kind, one.result.protocol, one.result.shots),
            lambda one, seed=seed: _draw(one, seed),  # type: ignore[misc]
            "one draw" if seed is None else f"draw {seed}",
        )


def _checkpoint(one: ResultFile) -> Hashable:
    # Position embeddings follow the input size, so tensors of one checkpoint may differ between sizes.
    return one.result.model, one.result.input_size, from_scratch(one.result)


def _extraction(one: ResultFile) -> Hashable | None:
    result = one.result
    if result.feature_key is None or result.kind == "zeroshot":
        return None
    return (
        *(result.model, result.dataset, result.test_dataset, result.input_size, result.dtype),
        result.checkpoint.layer,
    )


def _feature_keys(one: ResultFile) -> Hashable:
    return tuple(sorted((one.result.feature_key or {}).items()))


def _dataset(one: ResultFile) -> Hashable:
    return one.result.dataset


def _test_part(one: ResultFile) -> Hashable:
    return None if one.sketch is None else one.sketch.part


def _draw(one: ResultFile, seed: int | None) -> Hashable:
    return next(trial.draw_digest for trial in one.result.trials if trial.draw_seed == seed)


def _odd_ones(
    entered: Sequence[ResultFile],
    group: Callable[[ResultFile], Hashable | None],
    value: Callable[[ResultFile], Hashable],
    what: str,
) -> Iterator[tuple[Path, str]]:
    groups: dict[Hashable, list[tuple[ResultFile, Hashable]]] = defaultdict(list)
    for one in entered:
        if (name := group(one)) is not None and (told := value(one)) is not None:
            groups[name].append((one, told))
    for members in groups.values():
        (usual, count), *others = Counter(told for _, told in members).most_common()
        if not others:
            continue
        for one, told in members:
            if told != usual:
                yield one.path, f"its {what} differs from that of {count} other results of the same"
