"""One way through the house: who may import whom, walked over the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import probebench

ROOT = Path(probebench.__file__).parent
LEAVES = {"errors", "fingerprint", "files", "engine", "network", "malloc", "device", "progress", "arrays"}
MADE_OF = {"registry", "backbones", "datasets", "cache", "probes", "results"}
ALLOWED = {
    **{leaf: {"errors"} for leaf in LEAVES},
    "registry": LEAVES,
    "datasets": LEAVES | {"registry"},
    "probes": LEAVES | {"registry"},
    "results": LEAVES | {"registry"},
    "backbones": LEAVES | {"registry"},
    "cache": LEAVES | {"registry"},
    "extraction": LEAVES | {"registry", "backbones", "datasets", "cache"},
    "evaluation": LEAVES | MADE_OF,
    "training": LEAVES | {"datasets", "registry"},
    "finetuning": LEAVES | MADE_OF | {"training", "evaluation"},
    "leaderboard": LEAVES | {"registry", "results"},
    "study": LEAVES | {"registry", "results"},
    "tools": LEAVES | {"registry", "backbones", "cli"},
}
# What checks results against the data and runs them again may use all that made them; lazily, so the others stay quick.
ALSO = {
    "leaderboard/check_data.py": {"cache", "datasets", "evaluation"},
    "leaderboard/reproduce.py": {"backbones", "cache", "datasets", "evaluation", "extraction", "probes"},
}
# The solver itself: whoever asks for it has asked for torch.
SOLVER = {
    "objective",
    "rows",
    "problem",
    "newton",
    "precondition",
    "regularization_path",
    "fits",
    "logistic",
    "optimizers",
    "estimator",
}
# Heavy libraries that must not load with the module, in the parts that promise to start at once.
LAZY = {
    *("torch", "timm", "open_clip", "torchvision", "sklearn", "scipy", "cuml", "ray", "matplotlib", "jinja2", "rich"),
    *("webdataset", "datasets"),
}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py"))


def imported(tree: ast.AST, *, top_level: bool = False) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def part(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path: Path) -> None:
    own = part(path)
    if own in ("cli", "__init__", "__main__"):
        return
    allowed = ALLOWED[own] | ALSO.get(path.relative_to(ROOT).as_posix(), set())
    for name in imported(ast.parse(path.read_text())):
        if name.startswith("probebench."):
            target = name.split(".")[1]
            assert target == own or target in allowed, f"{path} must not import {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_load_lazily(path: Path) -> None:
    own = part(path)
    if own in ("backbones", "extraction", "training", "finetuning") or (own == "probes" and path.stem in SOLVER):
        return
    heavy = LAZY | ({"h5py"} if own not in ("cache", "evaluation") else set())
    names = {name.split(".")[0] for name in imported(ast.parse(path.read_text()), top_level=True)}
    assert not names & heavy


def test_the_solver_loads_only_when_it_is_asked_for() -> None:
    """Nothing outside the solver imports it at the top of a file, so listings start without torch."""
    for path in modules():
        if path.stem in SOLVER and part(path) == "probes":
            continue
        names = set(imported(ast.parse(path.read_text()), top_level=True))
        assert not names & {f"probebench.probes.{name}" for name in SOLVER}, path


def test_no_file_outgrows_a_reader() -> None:
    long = {str(path): count for path in modules() if (count := len(path.read_text().splitlines())) > 350}
    assert not long
