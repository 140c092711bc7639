import os

# Two test processes on two cores: one thread each, or they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Modules stay compiled, or each of the many processes that tests start compiles torch anew: ten seconds and more.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import ctypes
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from probebench.registry import CheckpointSpec, Registry
from probebench.registry.load import read_entry

TINY = """
id = "{id}"
title = "A tiny network for tests"
paper = "none"
url = "none"
license = "Apache-2.0"

[architecture]
library = "{library}"
name = "{name}"

[pretraining]
method = "{method}"
objective = "none"
sources = {sources}
samples_seen = 0
epochs = 0
labels = "none"
curation = "none"

[weights]
uri = "{uri}"
sha256 = "{sha256}"
keys = "plain"

[input]
size = {size}
resize = "shortest"
crop = 0.875
interpolation = "bicubic"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[output]
features = {features}
layer = "{layer}"
"""


def entry_text(**changes: object) -> str:
    facts: dict[str, object] = {
        "id": "tiny",
        "library": "timm",
        "name": "test_resnet",
        "method": "none",
        "sources": "[]",
        "uri": "random:0",
        "sha256": "none",
        "size": 32,
        "features": 96,
        "layer": "pooled",
    }
    facts |= changes
    if not str(facts["uri"]).startswith("random:") and "method" not in changes:
        facts |= {"method": "supervised", "sources": '[{ name = "unknown", samples = "unknown" }]'}
    return TINY.format(**facts)


def write_entry(folder: Path, **changes: object) -> Path:
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    path = checkpoints / f"{changes.get('id', 'tiny')}.toml"
    path.write_text(entry_text(**changes))
    return path


def make_entry(tmp_path: Path, **changes: object) -> CheckpointSpec:
    return read_entry(write_entry(tmp_path, **changes), CheckpointSpec)


def make_images(folder: Path, classes: int = 3, each: int = 8, seed: int = 0, size: int = 24) -> Path:
    """Class folders of noise around a colour of the class: easy, but not trivial, to tell apart."""
    generator = np.random.default_rng(seed)
    for label in range(classes):
        place = folder / f"class{label}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(each):
            colour = np.roll([200, 120, 40], label) + generator.normal(0, 60, (size, size, 3))
            Image.fromarray(colour.clip(0, 255).astype(np.uint8)).save(place / f"{number:03d}.png")
    return folder


# A process takes a whole file at a time: these begin first, or one of them runs on alone at the end.
SLOWEST = (
    "leaderboard/test_page_in_browser.py",
    "finetuning/test_finetune.py",
    "cli/test_quickstart.py",
    "extraction/test_extract.py",
    "extraction/test_shards.py",
    "test_engine.py",
    "finetuning/test_fidelity.py",
    "registry/test_architectures.py",
    "extraction/test_several_layers.py",
    "cli/test_extract_eval.py",
    "leaderboard/test_hostile_submissions.py",
    "test_docs_tutorial.py",
    "cli/test_run.py",
    "leaderboard/test_hostile_page.py",
    "training/test_loop.py",
    "test_golden.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    turns = {Path(__file__).parent / name: turn for turn, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: turns.get(item.path, len(turns)))


@pytest.fixture(autouse=True, scope="module")
def freed_memory_goes_back() -> Iterator[None]:
    """Once something ran on a CPU, a process keeps all memory that it frees (probebench/malloc.py): up to 3 GB here."""
    yield
    if hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


HOMES = itertools.count()


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own for every test, and no entries of the developer's."""
    # Not mktemp, which looks through all the folders that it made before: thousands.
    folder = tmp_path_factory.getbasetemp() / "homes" / str(next(HOMES))
    folder.mkdir(parents=True)
    monkeypatch.setenv("PROBEBENCH_HOME", str(folder))
    monkeypatch.delenv("PROBEBENCH_REGISTRY", raising=False)
    return folder


@pytest.fixture(scope="session")
def shipped() -> Registry:
    return Registry.load(environ={})


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one error line; fails when there are more, or a traceback."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("error: ")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Ran]]:
    """Runs a command line in this process, in a folder of its own."""
    from probebench.cli.main import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["probebench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err, said.err
        return Ran(int(stopped.value.code or 0), said.out, said.err)

    yield call
