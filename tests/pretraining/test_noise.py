import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probebench.errors import UsageError
from probebench.pretraining.noise import permuted


@given(st.integers(2, 200), st.floats(0, 1), st.integers(0, 2**40))
def test_the_share_is_permuted_and_nothing_else(images: int, share: float, seed: int) -> None:
    count = round(share * images)
    if count == 1:
        with pytest.raises(UsageError, match="is one image, which has none to change with"):
            permuted(images, share, seed)
        return
    whose = permuted(images, share, seed)
    assert sorted(whose) == list(range(images)) and (whose != np.arange(images)).sum() == count
    assert np.array_equal(whose, permuted(images, share, seed))


def test_a_smaller_share_is_among_a_larger_one_and_seeds_differ() -> None:
    moved = [set(np.flatnonzero(permuted(100, share, 7) != np.arange(100))) for share in (0.25, 0.5, 1.0)]
    assert moved[0] < moved[1] < moved[2] == set(range(100))
    assert not np.array_equal(permuted(100, 0.5, 7), permuted(100, 0.5, 8))
