"""Holds what we ask of cuML against its own source, without a GPU: ``python benchmarks/cuml_source.py WHEEL``.

The wheel is cuML's (``pip download --no-deps cuml-cu13``), and nothing of it is run. Every argument that we pass must
be one of LogisticRegression's, every default that we rely on must be as we think it is, and every attribute that we
read must be set by ``fit``.
"""

import ast
import sys
import zipfile
from pathlib import Path
from typing import Any

from probebench.probes.cuml_ import ARGUMENTS, ATTRIBUTES, DEFAULTS

SOURCE = "cuml/linear_model/logistic_regression.py"


def problems(wheel: Path) -> list[str]:
    """Returns a line for each thing that is not as we take it to be."""
    with zipfile.ZipFile(wheel) as archive:
        if SOURCE not in archive.namelist():
            return [f"{wheel.name} has no {SOURCE}"]
        tree = ast.parse(archive.read(SOURCE))
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "LogisticRegression"]
    if not found:
        return [f"{SOURCE} has no LogisticRegression"]
    methods = {node.name: node for node in found[0].body if isinstance(node, ast.FunctionDef)}
    known = _defaults(methods["__init__"])
    lines = [f"LogisticRegression takes no {name}" for name in ["C", *ARGUMENTS] if name not in known]
    for name, value in DEFAULTS.items():
        if known.get(name, "nothing") != value:
            lines.append(f"{name} is {known.get(name, 'nothing')!r} by default, not {value!r}")
    taken = [argument.arg for argument in methods["fit"].args.args]
    if taken[:3] != ["self", "X", "y"]:
        lines.append(f"fit takes {', '.join(taken)}")
    stored = {node.attr for node in ast.walk(methods["fit"]) if isinstance(node, ast.Attribute) and _is_stored(node)}
    return lines + [f"fit sets no {name}" for name in ATTRIBUTES if name not in stored]


def _defaults(function: ast.FunctionDef) -> dict[str, Any]:
    """Returns the arguments of a function by name, with their defaults; ... where there is none."""
    arguments = function.args
    positional = [None] * (len(arguments.args) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [
        *zip(arguments.args, positional, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return {argument.arg: ... if value is None else ast.literal_eval(value) for argument, value in pairs}


def _is_stored(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"


def main() -> None:
    """Prints what differs, and fails if anything does."""
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/cuml_source.py WHEEL")
    found = problems(Path(sys.argv[1]))
    print("\n".join(found) or f"{sys.argv[1]}: all as the wrapper takes it to be")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
