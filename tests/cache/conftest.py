from pathlib import Path

import pytest

from probebench.cache.store import feature_path
from tests.cache.test_key import key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return feature_path(tmp_path, "net", "digits", key())
