"""Digests of a data set that its entry publishes, and the command that writes them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.datasets.draws import TrainingSplit
from probebench.datasets.open import open_named
from probebench.datasets.published import published
from probebench.fingerprint import fingerprint
from probebench.registry import Registry
from probebench.registry.load import read_entry
from probebench.registry.schema import DatasetSpec
from tests.conftest import Ran

ENTRY = Path(__file__).parents[2] / "registry" / "datasets" / "digits.toml"


def test_what_digits_publishes_is_what_its_data_give(shipped: Registry, tmp_path: Path) -> None:
    dataset = open_named(shipped.dataset("digits"), tmp_path)
    found = published(dataset, shipped)
    assert found == shipped.dataset("digits").published
    train, test = dataset.splits["train"], dataset.splits["test"]
    assert found.test == fingerprint({"ids": list(test.ids), "labels": test.labels.tolist()})
    part = TrainingSplit(train.ids, train.labels)
    assert found.draws["5+4"] == tuple(part.few_shot(5, 4, seed).digest[:32] for seed in range(5))
    assert found.draws["full less 0.2"] == (part.full(0.2).digest[:32],)


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    """A data set of one's own: digits under another name, with nothing published."""
    folder = tmp_path / "entries" / "datasets"
    folder.mkdir(parents=True)
    text = ENTRY.read_text().split("[published]")[0].replace('id = "digits"', 'id = "mine"')
    (folder / "mine.toml").write_text("\n".join(line for line in text.splitlines() if "fingerprint" not in line) + "\n")
    return folder


def test_commit_writes_into_the_entry_and_nothing_else(
    run: Callable[..., Ran], entries: Path, shipped: Registry
) -> None:
    before = (entries / "mine.toml").read_text()
    assert not read_entry(entries / "mine.toml", DatasetSpec).verifiable
    for _ in range(2):
        done = run("datasets", "show", "mine", "--commit", "--registry", entries.parent)
        assert done.code == 0 and "committed: " in done.out, done.err
    spec = read_entry(entries / "mine.toml", DatasetSpec)
    digits = shipped.dataset("digits")
    assert spec.verifiable and (spec.fingerprint, spec.published) == (digits.fingerprint, digits.published)
    kept = (entries / "mine.toml").read_text()
    assert [line for line in before.splitlines() if line and line not in kept.splitlines()] == []
    assert kept.count("[published]") == kept.count("[published.draws]") == kept.count("fingerprint = ") == 1


def test_commit_replaces_what_is_between_other_tables(run: Callable[..., Ran], entries: Path) -> None:
    path = entries / "mine.toml"
    zeros = "0" * 64
    head, _, splits = path.read_text().partition("[splits]")
    table = f'[published]\ntrain = "{zeros}"\ntest = "{zeros}"\n\n[published.draws]\n"1+1" = ["{zeros[:32]}"]\n\n'
    path.write_text(f"{head}{table}[splits]{splits}")
    assert run("datasets", "show", "mine", "--commit", "--registry", entries.parent).code == 0
    spec = read_entry(path, DatasetSpec)
    assert spec.published is not None and spec.published.train != zeros and spec.splits.train == 898


def test_commit_needs_the_data_and_an_entry(run: Callable[..., Ran], tmp_path: Path) -> None:
    assert "not on this machine" in run("datasets", "show", "eurosat", "--commit").error
    (tmp_path / "images").mkdir()
    assert "has none" in run("datasets", "show", f"folder:{tmp_path / 'images'}", "--commit").error


def test_an_entry_may_not_publish_more_draws_than_count(shipped: Registry, tmp_path: Path) -> None:
    path = tmp_path / "datasets" / "digits.toml"
    path.parent.mkdir()
    shutil.copy(ENTRY, path)
    path.write_text(path.read_text() + '"99+1" = [' + ", ".join([f'"{"0" * 32}"'] * 6) + "]\n")
    with pytest.raises(Exception, match="at most 5"):
        read_entry(path, DatasetSpec)
