"""The shipped entries against the packages themselves: ``make packages``, which fetches what is not there yet."""

import os
import warnings
from pathlib import Path

import pytest

from probebench.datasets.captioned.prepare import prepare_source
from probebench.datasets.named.prepare import prepare
from probebench.errors import ProbebenchWarning
from probebench.registry import Registry

REGISTRY = Registry.load(environ={})
# The folder that holds data sets, with packages/ in it: that of a home, or one to fill.
PLACE = os.environ.get("PROBEBENCH_PACKAGES", "")
pytestmark = pytest.mark.skipif(not PLACE, reason="PROBEBENCH_PACKAGES names no folder of packages (make packages)")


@pytest.mark.parametrize("name", sorted(REGISTRY.sources))
def test_a_source_is_what_its_entry_says(name: str) -> None:
    spec = REGISTRY.source(name)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ProbebenchWarning)
        found = prepare_source(spec, Path(PLACE))
    # Another renderer moves pixels, and says so.
    assert found.fingerprint == spec.fingerprint or any("its pixels are not" in str(one.message) for one in told)


@pytest.mark.parametrize("name", sorted(name for name, spec in REGISTRY.datasets.items() if spec.drawn))
def test_a_data_set_is_what_its_entry_says(name: str) -> None:
    spec = REGISTRY.dataset(name)
    assert prepare(spec, Path(PLACE)).fingerprint == spec.fingerprint
