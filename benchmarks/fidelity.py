"""Every preset with a published name beside its source's own function, on the same features.

Run from the checkout: .venv/bin/python -m benchmarks.fidelity --sources DIR [--write] [--more N]

DIR holds clones of the sources, named as on their hosts (``SOURCES``). benchmarks/peers/fidelity_sources.py imports
their functions and runs them, each in a process of its own: under --python, which needs what they import (jax, yacs,
vision-evaluation), and the CLIP authors' under --old-python, with scikit-learn before 1.4. The table of docs/probes.md
is printed. --write records the sources' labels as the golden files that tests/probes/test_fidelity.py compares with;
--more N also compares on N more generated sets of features.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probebench.registry import Registry
from tests.probes.fidelity_cases import GOLDEN, SHOTS, Case, cases, fits, labels_of, made_up, whole

PEER = Path(__file__).parent / "peers" / "fidelity_sources.py"


@dataclass(frozen=True)
class Source:
    """A preset's source: the clone's folder, what of it is run, and whether it needs the old scikit-learn."""

    preset: str
    folder: str
    what: str
    old: bool = False


SOURCES = {
    "clip": Source("clip_lbfgs", "CLIP", "the lines of README.md that fit and predict", old=True),
    "clip_search": Source("clip_lbfgs", "CLIP", "the same in the search of the paper's appendix A.3", old=True),
    "mieb": Source("mieb", "mteb", "AbsTaskClassification._run_experiment"),
    "clip_benchmark": Source("clip_benchmark", "CLIP_benchmark", "metrics/linear_probe.py: evaluate, train"),
    "elevater": Source("elevater", "Elevater_Toolkit_IC", "full_model_finetune"),
    "dinov2": Source("dinov2_logreg", "dinov2", "eval/log_regression.py: sweep_C_values, train_for_C"),
    "big_vision": Source("big_vision_lsr", "big_vision", "evaluators/fewshot_lsr.py"),
    "dino": Source("knn", "dino", "eval_knn.py: knn_classifier"),
}


def run(name: str, python: Path, sources: Path, held: dict[str, Case], seeds: int) -> dict[str, Any]:
    """Returns what a source's own function gives on some cases, with its commit and versions."""
    source = SOURCES[name]
    folder = sources / source.folder
    with tempfile.TemporaryDirectory() as place:
        rows, out = Path(place) / "rows.npz", Path(place) / "out.json"
        fields = ("train", "train_labels", "val", "val_labels", "test", "test_labels", "text")
        arrays = {f"{case.name}/{field}": getattr(case, field) for case in held.values() for field in fields}
        np.savez(rows, **arrays)
        command = [python, PEER, name, folder, rows, out, "--seeds", str(seeds)]
        subprocess.run([str(part) for part in command], check=True)
        found: dict[str, Any] = json.loads(out.read_text())
    commit = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {"source": f"{source.folder}: {source.what}", "commit": commit, **found}


def compared(registry: Registry, name: str, found: dict[str, Any], held: dict[str, Case]) -> Iterator[str]:
    """Yields a line of the table for each case."""
    preset = SOURCES[name].preset
    for title, case in held.items():
        told = found["cases"][title]
        said = []
        if "fits" in told:
            differ = {
                key: int((mine != theirs).sum()) for key, theirs, mine in fits(registry, preset, case, told["fits"])
            }
            said.append(", ".join(f"{count} at {key}" for key, count in differ.items()))
        if told.get("whole"):
            mine, _ = whole(registry, preset, case)
            said.append(_beside(mine, [labels_of(one) for one in told["whole"]], case.test_labels))
        yield f"| `{preset}` | {title} | {'; '.join(said)} |"


def _beside(mine: Any, theirs: Sequence[Any], labels: Any) -> str:
    """Says how many labels differ; of several runs of the source, how many do between two of them, and accuracies."""
    if len(theirs) == 1:
        return f"{int((mine != theirs[0]).sum())} whole"
    ours = [int((mine != one).sum()) for one in theirs]
    own = [int((one != other).sum()) for at, one in enumerate(theirs) for other in theirs[:at]]
    scores = [100 * float((one == labels).mean()) for one in theirs]
    score = 100 * float((mine == labels).mean())
    return (
        f"whole {min(ours)} to {max(ours)}, between two of its seeds {min(own)} to {max(own)}; "
        f"accuracy {score:.1f}, its seeds {min(scores):.1f} to {max(scores):.1f}"
    )


def main() -> None:
    """Runs the sources and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--old-python", type=Path)
    parser.add_argument("--only", nargs="*", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--more", type=int, default=0)
    asked = parser.parse_args()
    registry = Registry.load(environ={})
    further = {
        case.name: case
        for seed in range(1, asked.more + 1)
        for shots in SHOTS
        for case in [Case.of(f"gaussian {seed},", *made_up(seed), shots)]
    }
    held = {**cases(), **further}
    print("| preset | features, shots | labels of the test rows that differ |\n|---|---|---|")
    for name in asked.only:
        python = asked.old_python if SOURCES[name].old else asked.python
        if python is None:
            parser.error(f"{name} needs --old-python, a Python with scikit-learn before 1.4")
        found = run(name, python, asked.sources, held, asked.seeds)
        for line in compared(registry, name, found, held):
            print(line, flush=True)
        if asked.write:
            kept = {**found, "cases": {title: found["cases"][title] for title in cases()}}
            (GOLDEN / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
