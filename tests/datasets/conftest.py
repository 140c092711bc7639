from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.datasets.shards import Host, write_shards


@pytest.fixture
def root(home: Path) -> Path:
    return home / "datasets"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    folder = tmp_path / "served"
    write_shards(folder / "cars" / "train" / "%03d.tar", range(30))
    write_shards(folder / "cars" / "test" / "%03d.tar", range(30, 40))
    (folder / "cars" / "classnames.txt").write_text("red\ngreen\nblue\n")
    served = Host(folder)
    yield served
    served.stop()
