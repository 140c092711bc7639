from pathlib import Path

import pytest

from probebench.errors import RegistryError
from probebench.registry import CheckpointSpec
from probebench.registry.load import read_entry
from tests.conftest import entry_text, make_entry, write_entry


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('paper = "none"\n', "", "paper: missing"),
        ('license = "Apache-2.0"', 'license = "Apache-2.0"\nlicence = "x"', "licence: unknown key"),
        ('library = "timm"', 'library = "keras"', "architecture.library"),
        ("size = 32", "size = 0", "input.size"),
        ("std = [0.5, 0.5, 0.5]", "std = [0.5, 0.0, 0.5]", "std must be positive"),
        ("crop = 0.875", "crop = 1.5", "input.crop"),
        ('uri = "random:0"', 'uri = "ftp://host/x"', "is none of pkg://"),
        ('sha256 = "none"', 'sha256 = "abc"', "64 lower-case hexadecimal"),
        ('method = "none"', 'method = "supervised"', "name at least one source"),
        ("sources = []", 'sources = [{ name = "a", samples = 1 }]', "sources must be empty"),
        ("samples_seen = 0", 'samples_seen = "a lot"', "samples_seen"),
        ("features = 96", "features = 0", "output.features"),
    ],
)
def test_each_fault_is_named_with_its_key(tmp_path: Path, before: str, after: str, said: str) -> None:
    text = entry_text()
    assert before in text
    path = tmp_path / "tiny.toml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(RegistryError, match="tiny.toml") as caught:
        read_entry(path, CheckpointSpec)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_facts_are_written(tmp_path: Path) -> None:
    spec = make_entry(
        tmp_path, uri="user", method="supervised", sources='[{ name = "LAION", samples = "unknown" }]', id="mine"
    )
    assert spec.pretraining.sources[0].samples == "unknown"
    assert spec.weights.scheme == "user"


def test_random_weights_and_no_pretraining_go_together(tmp_path: Path) -> None:
    path = write_entry(tmp_path, method="supervised", sources='[{ name = "a", samples = 1 }]')
    with pytest.raises(RegistryError, match="go together"):
        read_entry(path, CheckpointSpec)


def test_input_size_changes_nothing_else(tmp_path: Path) -> None:
    own = make_entry(tmp_path).input
    assert own.at_size(None) is own
    assert own.at_size(96).model_dump() == {**own.model_dump(), "size": 96}
