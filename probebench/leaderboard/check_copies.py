"""Whether somebody's results are somebody else's, or the same ones twice: by predictions, weights, names and titles."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probebench.leaderboard.check_across import ResultFile
from probebench.leaderboard.rules import from_scratch, in_words_of
from probebench.leaderboard.sketch import FEW, Errors, Sketch
from probebench.registry.schema import CheckpointSpec
from probebench.results.cells import CellKey
from probebench.results.schema import Trial

# Errors that two share, of who makes fewer and beyond what the classes that both confuse would make them share, above
# which one is a copy of the other. Of what ships no two networks share more than 0.78 (fine-tunes from one seed, on
# classes of unequal size), and no two draws of one network more than that.
_COPY = 0.85
# Share of the training images that a draw takes above which another can hardly have others.
_MOST = 0.8
# Standard errors of an estimated share below which no pair is looked at closely.
_ERRORS = 4
# Who makes so many times the other's errors is no copy worth having, and too unlike for an estimate.
_UNLIKE = 3
# Letters of other scripts, and digits, that read as Latin letters, beside those that Unicode itself folds.
_ALIKE: dict[int, str] = str.maketrans(
    dict(
        "аa еe оo рp сc уy хx іi кk ѕs һh ԁd ԛq ԝw мm тt вb нh гr пn αa οo ρp ιi νv τt υu κk ηn ωw χx εe βb "
        "ıi łl øo đd ħh ŧt ðd þp 0o 1l 5s 2z 8b |l !l".split()  # type: ignore[arg-type]
    )
)


@lru_cache(maxsize=10_000)
def reads_as(text: str) -> str:
    """Returns what a name looks like at a glance: without case, accents, signs, and differences that fonts hide."""
    folded = unicodedata.normalize("NFKD", text).casefold().translate(_ALIKE)
    letters = "".join(one for one in folded if one.isalnum() or one == "+")
    return letters.replace("i", "l").replace("rn", "m").replace("vv", "w")


def check_names(spec: CheckpointSpec, others: Mapping[str, CheckpointSpec]) -> Iterator[str]:
    """Yields where an entry takes the name, the title or the weights of another.

    Args:
        spec: The entry of a submission.
        others: All other entries.
    """
    for other in others.values():
        if other.id == spec.id:
            continue
        if reads_as(other.id) == reads_as(spec.id):
            yield f"its id reads like {other.id}, which is another checkpoint's"
        if reads_as(other.title) == reads_as(spec.title):
            yield f"its title reads like that of {other.id}"
        if spec.weights.sha256 not in ("unknown", "none") and spec.weights.sha256 == other.weights.sha256:
            yield f"its weights file is that of {other.id}"


def check_repeats(trials: Sequence[Trial], sketch: Sketch, share: float = 0.0) -> Iterator[str]:
    """Yields draws of one result that have the same predictions, or all but.

    Args:
        trials: The draws.
        sketch: Of their predictions.
        share: Of the training part that a draw takes: draws that take most of it are alike by right.
    """
    if share > _MOST:
        return
    for number, (trial, errors) in enumerate(zip(trials, sketch.trials, strict=True)):
        for before, other in zip(trials[:number], sketch.trials[:number], strict=True):
            # A network that says one thing of everything says it in every draw.
            if errors.count >= FEW and not errors.constant and errors.beyond_chance(other) > _COPY:
                yield f"{in_words_of(trial)} has the predictions of {in_words_of(before)}"
                return


def check_copies(entered: Sequence[ResultFile]) -> Iterator[tuple[Path, str]]:
    """Yields results that are copies of earlier ones: under another id, or in another arithmetic."""
    yield from _same_weights(entered)
    yield from _twins(entered)
    yield from _same_predictions([one for one in entered if one.sketch is not None and not from_scratch(one.result)])


def _same_weights(entered: Iterable[ResultFile]) -> Iterator[tuple[Path, str]]:
    owners: dict[str | None, str] = {}
    for one in entered:
        if not from_scratch(one.result):
            owner = owners.setdefault(one.result.weights_digest, one.result.model)
            if owner != one.result.model:
                yield one.path, f"its weights are those of {owner}, under another id"


def _twins(entered: Iterable[ResultFile]) -> Iterator[tuple[Path, str]]:
    seen: dict[CellKey, ResultFile] = {}
    for one in entered:
        key = CellKey.of(one.result)
        first = seen.setdefault(replace(key, entrant=replace(key.entrant, dtype=None)), one)
        if first.result.dtype != one.result.dtype:
            yield one.path, f"is the same cell as {first.path.name} in {one.result.dtype}: one arithmetic a cell"


def _same_predictions(entered: Iterable[ResultFile]) -> Iterator[tuple[Path, str]]:
    groups: dict[tuple[object, ...], list[tuple[Sketch, ResultFile]]] = defaultdict(list)
    for one in entered:
        assert one.sketch is not None
        result = one.result
        name = one.sketch.part, result.kind, result.mode, result.protocol, result.shots, len(result.trials)
        groups[name].append((one.sketch, one))
    for group in groups.values():
        near = _near([sketch.errors for sketch, _ in group])
        for number, (sketch, one) in enumerate(group):
            for place in np.flatnonzero(near[number, :number]):
                other, first = group[place]
                if first.result.model != one.result.model and _is_copy(sketch, other):
                    share = round(100 * sketch.errors.shared(other.errors))
                    yield (
                        one.path,
                        f"its predictions are those of {first.result.model}: {share}% of errors are the same",
                    )
                    break


def _near(errors: Sequence[Errors]) -> npt.NDArray[np.bool_]:
    """Returns which pairs (n, n) may share so many errors: by all hashes below the least of their largest ones.

    Below it everybody's hashes are known, so all pairs are counted by one product of sparse matrices.
    """
    from scipy.sparse import csr_array

    last = min((one.smallest[-1] for one in errors if one.count > len(one.smallest)), default=np.uint64(2**64 - 1))
    kept = [one.smallest[one.smallest <= last] for one in errors]
    columns = np.unique(np.concatenate(kept), return_inverse=True)[1]
    counts = np.array([len(one) for one in kept])
    shape = len(errors), len(columns)
    holds = csr_array((np.ones(len(columns)), columns, np.concatenate([[0], counts.cumsum()])), shape)
    least = np.minimum.outer(counts, counts)
    noise = _ERRORS * np.sqrt(_COPY * (1 - _COPY) / np.maximum(least, 1))
    near: npt.NDArray[np.bool_] = (holds @ holds.T).toarray() >= (_COPY - noise) * least
    return near


def _is_copy(one: Sketch, other: Sketch) -> bool:
    few, many = sorted((one.errors.count, other.errors.count))
    close = few >= FEW and many <= _UNLIKE * few and not one.errors.constant
    return close and one.errors.beyond_chance(other.errors) > _COPY
