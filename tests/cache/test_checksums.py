import numpy as np
import xxhash

from probebench.cache.checksums import RowHasher
from probebench.cache.layout import encode_ids
from tests.cache.test_key import key
from tests.cache.test_store import IDS, LABELS, ROWS

DIGEST = key().digest
HASHER = RowHasher(DIGEST)


def seed(part: int, position: int) -> int:
    return (int(DIGEST[16 * part : 16 * part + 16], 16) >> 1) + position


def test_checksums_are_xxh3_of_each_rows_bytes_seeded_by_key_and_place() -> None:
    wanted = [xxhash.xxh3_64_intdigest(row.tobytes(), seed(0, 3 + number)) for number, row in enumerate(ROWS)]
    assert HASHER.features(ROWS, range(3, 13)).tolist() == wanted
    assert HASHER.features(ROWS.T.copy().T, range(3, 13)).tolist() == wanted, "however they lie in memory"
    views = [memoryview(ROWS[row].tobytes()) for row in (4, 2)]
    assert HASHER.scattered(views, [7, 5]).tolist() == [wanted[4], wanted[2]]


def test_labels_and_ids_have_one_checksum_a_row() -> None:
    labels = LABELS.astype(np.int64)
    wanted = [
        xxhash.xxh3_64_intdigest(int(label).to_bytes(8, "little") + name.encode(), seed(1, 2 + number))
        for number, (label, name) in enumerate(zip(labels, IDS, strict=True))
    ]
    assert HASHER.records(labels, encode_ids(IDS), 2).tolist() == wanted
    assert len(HASHER.records(labels[:0], encode_ids(IDS)[:0], 0)) == 0


def test_the_same_bytes_elsewhere_have_another_checksum() -> None:
    same = np.zeros((5, 7), np.float32)
    sums = [*HASHER.features(same, range(5)), *RowHasher(key(content="other").digest).features(same, range(5))]
    sums += [*HASHER.skipped(range(5)), *HASHER.records(np.zeros(5, np.int64), np.zeros(5, "S20"), 0)]
    assert len(set(sums)) == 20
