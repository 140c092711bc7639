"""One way through the house: who may import whom, walked over the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import probebench

ROOT = Path(probebench.__file__).parent
LEAVES = {"errors", "fingerprint", "files", "engine", "network", "malloc", "device", "progress", "arrays", "outside"}
BASE = LEAVES | {"registry"}
ALLOWED = {
    **{leaf: {"errors"} for leaf in LEAVES},
    "registry": LEAVES,
    "datasets": BASE,
    "probes": BASE,
    "results": BASE,
    "backbones": BASE,
    "cache": BASE,
    "extraction": BASE | {"backbones", "datasets", "cache"},
    "evaluation": BASE | {"cache", "datasets", "probes", "results"},
    "training": BASE | {"datasets"},
    "finetuning": BASE | {"training", "evaluation", "backbones", "probes", "cache", "results", "datasets"},
    "pretraining": BASE | {"training", "backbones", "datasets"},
    "leaderboard": BASE | {"results", "plots"},
    "plots": BASE | {"results"},
    "study": BASE | {"results", "plots"},
    "tools": BASE | {"api", "backbones", "cli", "probes", "study"},
    "api": BASE
    | {"backbones", "datasets", "cache", "probes", "results", "extraction", "evaluation", "training", "finetuning"}
    | {"pretraining", "study", "leaderboard"},
    "__main__": {"cli"},
}
# Class names in words go through the checkpoint's own text tower.
ALSO = {"evaluation/zeroshot.py": {"backbones"}, "evaluation/text_start.py": {"backbones"}}
# What checks results against the data and runs them again may use all that made them, inside the functions that do.
INSIDE = {
    "api/mistakes.py": {"plots"},
    "leaderboard/check_choice.py": {"probes"},
    "leaderboard/check_data.py": {"cache", "datasets", "evaluation"},
    "leaderboard/reproduce.py": {"backbones", "pretraining", "training"},
    "leaderboard/rerun.py": {
        *("backbones", "cache", "datasets", "evaluation", "extraction", "finetuning", "probes", "training")
    },
}
# Names of the front door, which are functions.
FUNCTIONS = {*probebench.__all__}
# A dataclass of more fields than this is built by keyword: nobody can count further.
COUNTED = 5
# The solver itself: whoever asks for it has asked for torch.
SOLVER = {
    "objective",
    "stream",
    "rows",
    "problem",
    "newton",
    "precondition",
    "direct",
    "regularization_path",
    "fits",
    "logistic",
    "optimizers",
    "estimator",
    "certificate",
    # Backends, loaded when a fit begins; the certificate judges what they find.
    "sklearn_",
    "lbfgs",
    "cuml_",
}
# Heavy libraries that must not load with the module, in the packages that promise to start at once.
LAZY = {
    *("torch", "timm", "open_clip", "torchvision", "sklearn", "scipy", "cuml", "ray", "matplotlib", "jinja2", "rich"),
    *("webdataset", "datasets", "pandas"),
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


def package(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def ours(names: Iterator[str]) -> set[str]:
    """The packages of ours among some imports."""
    return {name.split(".")[1] for name in names if name.startswith("probebench.")}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path: Path) -> None:
    own, tree = package(path), ast.parse(path.read_text())
    if own == "__init__":
        assert ours(imported(tree)) <= {"api", "errors", "probes"}
        assert not ours(imported(tree, top_level=True))
        return
    if own == "cli":
        return
    where = path.relative_to(ROOT).as_posix()
    allowed = {own} | ALLOWED[own] | ALSO.get(where, set())
    assert ours(imported(tree, top_level=True)) <= allowed
    assert ours(imported(tree)) <= allowed | INSIDE.get(where, set())


def is_command(path: Path) -> bool:
    return any(
        isinstance(node, ast.FunctionDef) and node.name == "command" for node in ast.parse(path.read_text()).body
    )


def test_no_command_imports_another() -> None:
    commands = {f"probebench.cli.{path.stem}": path for path in (ROOT / "cli").glob("*.py") if is_command(path)}
    assert len(commands) > 10
    found = {
        (name, other)
        for name, path in commands.items()
        for other in imported(ast.parse(path.read_text()))
        if other in commands and other != name
    }
    assert not found


@pytest.mark.parametrize(
    "name", ["extract", "eval", "zeroshot", "finetune", "pretrain", "run", "quickstart", "results", "study", "steps"]
)
def test_a_command_that_has_a_function_of_the_front_door_calls_it(name: str) -> None:
    tree = ast.parse((ROOT / "cli" / f"{name}.py").read_text())
    used = {*imported(tree)}
    assert name == "eval" or any(one.startswith("probebench.api.") for one in used)
    computing = (
        "extraction.extract",
        "evaluation",
        "finetuning",
        "training",
        "pretraining",
        "probes",
        "backbones",
        "datasets",
        "cache",
    )
    assert not [one for one in used for package in computing if one.startswith(f"probebench.{package}")]


def test_functions_and_packages_have_names_of_their_own() -> None:
    assert not FUNCTIONS & {package(path) for path in modules()}


@pytest.mark.parametrize("own", ["cache", "study", "leaderboard", "results", "registry", "datasets"])
def test_what_needs_no_network_never_loads_torch(own: str) -> None:
    for path in (ROOT / own).rglob("*.py"):
        assert "torch" not in {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}, path


def fields(node: ast.ClassDef) -> int:
    """The number of fields that a class's own body declares."""
    declared = [one for one in node.body if isinstance(one, ast.AnnAssign)]
    return sum("ClassVar" not in ast.unparse(one.annotation) for one in declared)


def dataclass_of(node: ast.ClassDef) -> ast.expr | None:
    """The @dataclass of a class."""
    for decorator in node.decorator_list:
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(name).split(".")[-1] == "dataclass":
            return decorator
    return None


def test_large_dataclasses_are_built_by_keyword() -> None:
    found = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef) or fields(node) <= COUNTED:
                continue
            decorator = dataclass_of(node)
            if decorator is not None and "kw_only=True" not in ast.unparse(decorator):
                found.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert not found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_load_lazily(path: Path) -> None:
    own = package(path)
    if own in ("backbones", "extraction", "training", "finetuning", "pretraining") or (
        own == "probes" and path.stem in SOLVER
    ):
        return
    heavy = LAZY | ({"h5py"} if own != "cache" else set())
    names = {name.split(".")[0] for name in imported(ast.parse(path.read_text()), top_level=True)}
    assert not names & heavy


def test_the_solver_loads_only_when_it_is_asked_for() -> None:
    """Nothing outside the solver imports it at the top of a file, so listings start without torch."""
    for path in modules():
        if path.stem in SOLVER and package(path) == "probes":
            continue
        names = set(imported(ast.parse(path.read_text()), top_level=True))
        assert not names & {f"probebench.probes.{name}" for name in SOLVER}, path


def test_no_file_outgrows_a_reader() -> None:
    long = {str(path): count for path in modules() if (count := len(path.read_text().splitlines())) > 350}
    assert not long
