from pathlib import Path

import pytest

from probebench.errors import CacheError
from probebench.extraction import space


@pytest.mark.parametrize(
    ("needed", "free", "said"),
    [
        (3_000_000, 900_000, "features need 3.0 MB in .* and 900.0 kB are free"),
        (5000, 0, "features need 5.0 kB in .* and 0 bytes are free"),
        (4 * 10**9, 4_100_000, "features need 4.0 GB in .* and 4.1 MB are free"),
    ],
)
def test_a_small_disk_is_told_in_units_that_show_it(
    needed: int, free: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "free_space", lambda folder: free)
    with pytest.raises(CacheError, match=said):
        space.require_space(needed, tmp_path)
    monkeypatch.setattr(space, "free_space", lambda folder: needed)
    space.require_space(needed, tmp_path)
