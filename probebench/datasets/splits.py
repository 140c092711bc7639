"""Orders images by hash, and cuts fixed splits where a data set has none of its own."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from probebench.arrays import Labels, Positions
from probebench.fingerprint import canonical_json


def hash_order(ids: Sequence[str], *salt: str | int) -> list[int]:
    """Returns positions in the order of sha256(salt, id)."""
    prefix = hashlib.sha256(canonical_json(list(salt)).encode())
    keys = []
    for name in ids:
        digest = prefix.copy()
        digest.update(name.encode())
        keys.append(digest.digest())
    return sorted(range(len(ids)), key=keys.__getitem__)


def order_within_classes(ids: Sequence[str], labels: Labels, *salt: str | int) -> dict[int, Positions]:
    """Orders each class's positions by sha256(salt, id), and returns them by class.

    The order of an image depends on its own id and the salt only, so it does not move when others come or go.
    """
    by_class: dict[int, list[int]] = {int(label): [] for label in np.unique(labels)}
    for position in hash_order(ids, *salt):
        by_class[int(labels[position])].append(position)
    return {label: np.array(positions, dtype=np.int64) for label, positions in by_class.items()}


def share(count: int, fraction: float) -> int:
    """Returns ``fraction`` of ``count``, rounded half up."""
    return math.floor(count * fraction + 0.5)


def cut_test_split(ids: Sequence[str], labels: Labels, fraction: float = 0.2) -> tuple[Positions, Positions]:
    """Cuts a fixed test split from data that has none: the last share of each class in its hash order.

    Returns:
        Positions of train and of test, each in ascending order.
    """
    ordered = order_within_classes(ids, labels, "probebench test part")
    test = [positions[len(positions) - share(len(positions), fraction) :] for positions in ordered.values()]
    in_test = np.zeros(len(ids), dtype=bool)
    in_test[np.concatenate(test)] = True
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def cut_train_split(ids: Sequence[str], labels: Labels, each: int) -> tuple[Positions, Positions]:
    """Cuts a fixed training split of ``each`` images a class: the first of each class in its hash order.

    Returns:
        Positions of train and of test (all others), each in ascending order.
    """
    ordered = order_within_classes(ids, labels, "probebench train part")
    in_train = np.zeros(len(ids), dtype=bool)
    in_train[np.concatenate([positions[:each] for positions in ordered.values()])] = True
    return np.flatnonzero(in_train), np.flatnonzero(~in_train)
