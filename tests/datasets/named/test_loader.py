import subprocess
import sys
from pathlib import Path

import pytest

from probebench.datasets.named.layout import Layout, SplitsByName
from probebench.datasets.named.loader import loader, loader_of
from probebench.datasets.named.prepare import prepare
from probebench.datasets.open import open_dataset
from probebench.errors import RegistryError
from probebench.registry import Registry
from tests.datasets.replicas import with_entries


def test_every_shipped_entry_has_a_loader(shipped: Registry) -> None:
    for spec in shipped.datasets.values():
        assert callable(loader_of(spec).open), spec.id


def test_a_set_whose_files_have_addresses_is_fetched(shipped: Registry) -> None:
    by_hand = {spec.id for spec in shipped.datasets.values() if not spec.archives and loader_of(spec).fetch is None}
    assert by_hand == {"cassava", "imagenet1k", "imagenet_v2", "imagenet_sketch"}


@pytest.mark.parametrize("prepared", [False, True])
def test_an_unknown_loader_is_said_in_one_line(shipped: Registry, tmp_path: Path, prepared: bool) -> None:
    wrong = shipped.dataset("cifar100").model_copy(update={"loader": "cifar10"})
    with pytest.raises(
        RegistryError, match="data set cifar100: .*unknown loader 'cifar10'; did you mean cifar100"
    ) as said:
        if prepared:
            prepare(wrong, tmp_path)
        else:
            open_dataset("cifar100", with_entries(shipped, wrong), tmp_path)
    assert "\n" not in str(said.value)


def test_two_loaders_of_one_name_are_refused(shipped: Registry) -> None:
    before = loader_of(shipped.dataset("digits"))

    def another(layout: Layout) -> SplitsByName:
        return {}

    with pytest.raises(RegistryError, match="two loaders of data sets are called 'digits'"):
        loader("digits")(another)
    assert loader_of(shipped.dataset("digits")) is before


def test_loaders_are_imported_when_first_needed_and_without_the_libraries() -> None:
    code = """
import sys
import probebench.datasets.open
assert "probebench.datasets.named.files" not in sys.modules
from probebench.datasets.named.loader import loader_of
from probebench.registry import Registry
loader_of(Registry.load(environ={}).dataset("dtd"))
assert "probebench.datasets.named.files" in sys.modules and "torchvision" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
