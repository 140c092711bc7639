"""Few-shot draws: which images train and which validate, by hash of ids, the same on every machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from probebench.arrays import Labels, Positions
from probebench.datasets.splits import order_within_classes, share
from probebench.errors import TooFewImagesError
from probebench.fingerprint import fingerprint
from probebench.registry.draws import DrawRule
from probebench.registry.entry import ShortClass, Shots


def part_fingerprint(ids: Sequence[str], labels: Labels) -> str:
    """Returns the sha256 over one part's ids and labels; nothing of the test part can move that of train."""
    return fingerprint({"ids": list(ids), "labels": [int(label) for label in labels]})


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One draw: positions into the training split.

    Attributes:
        seed: The draw's seed; None for the one draw at full data.
        shots: Images a class asked for; None at full data.
        train: Positions that the probe is fitted on.
        validation: Positions that choose the strength; disjoint from ``train``.
        short: Classes that had fewer than were asked for.
        digest: sha256 over the ids of both, by class order.
    """

    seed: int | None
    shots: int | None
    train: Positions
    validation: Positions
    short: tuple[ShortClass, ...]
    digest: str


@dataclass(frozen=True)
class TrainingSplit:
    """Ids and labels of all training images: everything that a draw may depend on.

    Attributes:
        ids: Those that can be drawn.
        labels: Theirs, (N,).
        whole: Ids and labels of the whole split where some images had to be left out; None where none had. The order of
            images depends on it, so a draw hardly moves with the images that are missing.
    """

    ids: Sequence[str]
    labels: Labels
    whole: tuple[Sequence[str], Labels] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """The train fingerprint."""
        return part_fingerprint(*(self.whole or (self.ids, self.labels)))

    @cached_property
    def _orders(self) -> dict[int | str, dict[int, Positions]]:
        return {}

    def _order(self, salt: int | str) -> dict[int, Positions]:
        """Returns each class's positions in a seed's hash order, which draws of any number of shots begin with."""
        if salt not in self._orders:
            self._orders[salt] = order_within_classes(self.ids, self.labels, self.fingerprint, salt)
        return self._orders[salt]

    def draw(self, rule: DrawRule, seed: int | None) -> Draw:
        """Draws by a protocol's rule; the seed is None at full data, where there is one draw."""
        if rule.shots == "full":
            return self.full(rule.share)
        assert seed is not None
        if rule.share:
            return self.few_shot_held_inside(rule.shots, rule.share, seed)
        return self.few_shot(rule.shots, rule.validation, seed)

    def few_shot(self, shots: int, validation: int, seed: int) -> Draw:
        """Draws the first ``shots`` of each class's hash order, and validates on the last ``validation``.

        The 1-shot draw lies inside the 5-shot draw of the same seed. A class with too few images gives what it has,
        training first.
        """
        train, held, short = [], [], []
        for label, positions in self._order(seed).items():
            count = len(positions)
            chosen = min(shots, count)
            left = min(validation, count - chosen)
            train.append(positions[:chosen])
            held.append(positions[count - left :])
            if chosen < shots or left < validation:
                short.append(ShortClass(label, chosen, left))
        return self._draw(seed, shots, train, held, short)

    def few_shot_held_inside(self, shots: int, fraction: float, seed: int) -> Draw:
        """Draws ``shots`` of each class and validates on the last ``fraction`` of them, at least one of two or more."""
        train, held, short = [], [], []
        for label, positions in self._order(seed).items():
            chosen = positions[:shots]
            left = min(max(1, share(len(chosen), fraction)), len(chosen) - 1)
            train.append(chosen[: len(chosen) - left])
            held.append(chosen[len(chosen) - left :])
            if len(chosen) < shots or not left:
                short.append(ShortClass(label, len(chosen) - left, left))
        return self._draw(seed, shots, train, held, short)

    def folds(self, draw: Draw, count: int) -> Positions:
        """Deals each class's images of a draw to ``count`` folds in turn, in the draw's order; (len(draw.train),)."""
        fold = np.empty(len(draw.train), dtype=np.int64)
        labels = self.labels[draw.train]
        for label in np.unique(labels):
            own = np.flatnonzero(labels == label)
            fold[own] = np.arange(len(own)) % count
        return fold

    def full(self, holdout: float) -> Draw:
        """Takes everything, less a fixed share of each class for validation (0: none, where a data set has its own)."""
        train, held, short = [], [], []
        for label, positions in self._order("validation").items():
            count = len(positions)
            left = share(count, holdout)
            train.append(positions[: count - left])
            held.append(positions[count - left :])
            if holdout and not left:
                short.append(ShortClass(label, count, 0))
        return self._draw(None, None, train, held, short)

    def _draw(
        self,
        seed: int | None,
        shots: int | None,
        train: list[Positions],
        held: list[Positions],
        short: list[ShortClass],
    ) -> Draw:
        digest = fingerprint(
            {
                "train": [[self.ids[position] for position in positions] for positions in train],
                "validation": [[self.ids[position] for position in positions] for positions in held],
            }
        )
        return Draw(
            seed=seed,
            shots=shots,
            train=np.concatenate(train),
            validation=np.concatenate(held),
            short=tuple(short),
            digest=digest,
        )


def require_shots(dataset: str, labels: Labels, shots: Shots) -> None:
    """Refuses a number of shots that no class has.

    Args:
        dataset: The data set's id.
        labels: All training labels.
        shots: Images a class.

    Raises:
        TooFewImagesError: It is larger than every class; the line names the largest.
    """
    largest = int(np.unique(labels, return_counts=True)[1].max())
    if shots != "full" and shots > largest:
        raise TooFewImagesError(
            f"{dataset}: no class has {shots} training images, and the largest has {largest}; ask for at most "
            f"--shots {largest}, or for full"
        )


def short_classes(draw: Draw, train: Labels, own: frozenset[int] | None, test: Labels) -> list[ShortClass]:
    """Returns a draw's short classes, those that a set's own validation split lacks, and those that only test has.

    Args:
        draw: The draw.
        train: All training labels.
        own: Labels of the validation split of the set's own, where that is what chooses.
        test: Test labels.
    """
    short = {one.label: one for one in draw.short}
    labels, counts = np.unique(train, return_counts=True)
    for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
        if own is not None and label not in own:
            short[label] = ShortClass(label, count, 0)
    for label in np.setdiff1d(test, labels).tolist():
        short[label] = ShortClass(label, 0, 0)
    return [short[label] for label in sorted(short)]
