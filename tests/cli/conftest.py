from pathlib import Path

import pytest

from tests.conftest import write_entry


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of one's own with two untrained tiny networks, which commands find by themselves."""
    folder = tmp_path / "own"
    write_entry(folder)
    write_entry(folder, id="tiny_other", uri="random:1")
    monkeypatch.setenv("PROBEBENCH_REGISTRY", str(folder))
    return folder
