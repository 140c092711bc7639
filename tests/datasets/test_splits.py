import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probebench.datasets.splits import cut_test_split, order_within_classes, share


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=6), st.integers(0, 3)), unique_by=lambda pair: pair[0], min_size=1)
)
def test_order_keeps_every_position_once_and_is_by_id(pairs: list[tuple[str, int]]) -> None:
    pairs = [pair for pair in pairs if pair[0].isprintable()] or [("a", 0)]
    ids, labels = [name for name, _ in pairs], np.array([label for _, label in pairs])
    ordered = order_within_classes(ids, labels, "salt", 1)
    assert sorted(np.concatenate(list(ordered.values())).tolist()) == list(range(len(ids)))
    for label, positions in ordered.items():
        assert (labels[positions] == label).all()
    back = order_within_classes(ids[::-1], labels[::-1], "salt", 1)
    for label, positions in ordered.items():
        assert [ids[i] for i in positions] == [ids[::-1][i] for i in back[label]]


def test_salt_moves_the_order() -> None:
    ids, labels = [str(number) for number in range(50)], np.zeros(50, dtype=int)
    first, second = (order_within_classes(ids, labels, "x", seed)[0].tolist() for seed in (0, 1))
    assert first != second


def test_share_rounds_half_up() -> None:
    assert [share(count, 0.2) for count in (1, 2, 3, 5, 7, 8, 10)] == [0, 0, 1, 1, 1, 2, 2]


def test_test_split_is_a_fixed_fifth_of_each_class() -> None:
    ids, labels = [f"{number}.png" for number in range(30)], np.repeat([0, 1], [10, 20])
    train, test = cut_test_split(ids, labels)
    assert np.bincount(labels[test]).tolist() == [2, 4]
    assert sorted([*train, *test]) == list(range(30))
    # One image more in a class moves at most one other across.
    more, _ = cut_test_split([*ids, "30.png"], np.append(labels, 1))
    assert len(set(train) - set(more)) <= 1
