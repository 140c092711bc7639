"""What a result must satisfy against the digests that its data set's entry publishes, for data that are not here."""

from collections.abc import Iterator, Sequence

from probebench.leaderboard.rules import AnyProtocol, in_words_of
from probebench.registry.dataset import DRAW_DIGITS, DatasetSpec
from probebench.registry.draws import DrawRule, takes_own_validation
from probebench.registry.protocol import ZeroshotProtocol
from probebench.results.predictions import Predictions
from probebench.results.schema import Result


def check_published(
    result: Result, predictions: Predictions, named: DatasetSpec, protocol: AnyProtocol | None
) -> Iterator[str]:
    """Yields where a result's images, labels or draws are not those of which the registry publishes digests.

    Args:
        result: What is checked.
        predictions: Its own.
        named: The entry of its data set, which publishes digests.
        protocol: Its protocol in the version that the result is of; None: its draws are not checked.
    """
    digests = named.published
    assert digests is not None
    if result.train_fingerprint not in (None, digests.train):
        yield f"its train fingerprint is not the one that the registry publishes of {named.id}"
    # Of the own side of a result on another test part, only some classes may be there.
    whole = not result.skipped_ids and not (result.shift and result.shift.labels)
    if whole and predictions.part != digests.test:
        yield f"its test ids or labels are not those of {named.id}: another digest than the registry publishes"
    if not result.skipped_ids and (counts := named.class_counts.train) != "unknown":
        each = [counts] * len(named.classes) if isinstance(counts, int) else counts
        yield from check_short_classes(result, each)
    if result.skipped_ids or protocol is None or isinstance(protocol, ZeroshotProtocol):
        return
    own = named.splits.val > 0 and takes_own_validation(protocol, result.shots)
    draws = digests.draws.get(DrawRule.of(protocol, result.shots, own).name, ())
    for trial in result.trials:
        seed = trial.draw_seed or 0
        if seed < len(draws) and trial.draw_digest[:DRAW_DIGITS] != draws[seed]:
            yield f"{in_words_of(trial)} is not the one that the registry publishes of {named.id}"


def check_short_classes(result: Result, counts: Sequence[int]) -> Iterator[str]:
    """Yields classes that are told to have fewer images than the shots and have not, or the other way round.

    A result of which most classes lack images is not ranked, so this is not its author's to say.

    Args:
        result: What is checked.
        counts: Training images of each class that could be drawn.
    """
    labels = [one.label for one in result.short_classes]
    if len(set(labels)) < len(labels):
        yield "short_classes name a class twice"
    if any(one.train + one.validation > counts[one.label] for one in result.short_classes if one.label < len(counts)):
        yield "short_classes tell of more images than their classes have"
    if result.classes not in (None, len(counts)):
        yield f"{result.classes} classes, and {result.dataset} has {len(counts)}"
    if result.shots in (0, "full"):
        return
    shots = int(result.shots)
    told = {one.label for one in result.short_classes if one.train + one.validation < shots}
    if odd := told ^ {label for label, count in enumerate(counts) if count < shots}:
        there = f"{counts[min(odd)]} training images" if min(odd) < len(counts) else "no such class"
        yield f"short_classes are not the data set's: class {min(odd)} has {there}"


def not_verifiable(result: Result, named: DatasetSpec) -> str | None:
    """Says why nobody without the data can verify a result, so that it is not ranked; None where everybody can."""
    if not named.verifiable:
        return (
            f"not verifiable, so not ranked: the registry publishes no digests of {named.id} "
            f"(who has the data runs probebench datasets show {named.id} --commit)"
        )
    if result.shots not in (0, "full") and not _has_draws(named, int(result.shots)):
        return (
            f"not verifiable without the data: the registry publishes no draws of {result.shots} shots of {named.id}, "
            "so they may have been chosen"
        )
    if result.skipped_ids:
        return (
            f"not verifiable without the data: {len(result.skipped_ids)} images of {named.id} were left out, so the "
            "published digests say nothing of the others"
        )
    return None


def _has_draws(named: DatasetSpec, shots: int) -> bool:
    draws = named.published.draws if named.published is not None else {}
    return any(name.startswith((f"{shots}+", f"{shots} less ")) for name in draws)
