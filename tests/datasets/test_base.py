import numpy as np
import pytest

from probebench.datasets.base import dataset_fingerprint, digests_fingerprint
from probebench.fingerprint import fingerprint


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 1500])
def test_fingerprints_in_pieces_are_those_of_the_whole(count: int) -> None:
    ids = tuple(f'é "{number}" \\' for number in range(count))
    labels = np.arange(count) % 7
    parts = {"train": (ids, labels), "test": (ids[:3], labels[:3]), "à": ((), labels[:0])}
    whole = {name: {"ids": list(names), "labels": numbers.tolist()} for name, (names, numbers) in parts.items()}
    assert dataset_fingerprint(parts) == fingerprint(whole)
    digests = [fingerprint(number) for number in range(count)]
    assert digests_fingerprint(np.array(digests, dtype="S64")) == fingerprint(digests)


def test_a_fingerprint_of_no_parts() -> None:
    assert dataset_fingerprint({}) == fingerprint({})
