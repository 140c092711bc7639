"""Everything that is to be measured on one GPU, in about seven minutes: ``python benchmarks/gpu.py --out DIR``.

Phases run in the order of their importance, each in a process and a time limit of its own, and write one JSON line each
to DIR/gpu.jsonl; DIR/gpu.md is the table of them. ``--phase NAME`` runs one; ``--dry`` runs all at toy size on the CPU,
in this process, so that the tests can hold the script together. Nothing is fetched: what is missing is said, and what
needs it is left out (benchmarks/gpu_wheels.sh collects it).
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

# Seconds that each phase may take, 400 in all; and more of them that a process may take to start and to end.
LIMITS = {
    "rates": 15,
    "tests": 25,
    "sweep": 150,
    "few-shot": 20,
    "rn50": 55,
    "jpegs": 25,
    "fp32": 20,
    "bf16": 20,
    "finetune": 50,
    "cheap": 10,
    "cuml": 10,
}
START = 20
NEEDED = [
    *("torch", "timm", "torchvision", "h5py", "numpy", "scipy", "sklearn", "pandas", "accelerate", "safetensors"),
    *("huggingface_hub", "click", "rich", "filelock", "xxhash", "jinja2", "matplotlib", "PIL", "tqdm"),
    *("pydantic", "annotated_types", "typing_inspection", "platformdirs", "tomli_w", "open_clip", "ftfy", "wcwidth"),
]

Facts = dict[str, Any]


def missing(names: Sequence[str]) -> list[str]:
    """Returns those libraries that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def run(name: str, dry: bool, out: Path) -> Facts:
    """Runs a phase here, and returns what it found; a failure is told in "failed"."""
    import gpu_phases

    began = time.perf_counter()
    try:
        facts: Facts = gpu_phases.PHASES[name](gpu_phases.Asked(dry=dry, out=out, limit=LIMITS[name]))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        facts = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"}
    return {"phase": name, **facts, "seconds": round(time.perf_counter() - began, 1)}


def run_apart(name: str, out: Path) -> Facts:
    """Runs a phase in a process of its own, which is stopped at its limit."""
    command = [sys.executable, __file__, "--out", str(out), "--phase", name, "--here"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMITS[name] + START, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return {"phase": name, "failed": f"stopped after {LIMITS[name] + START} s"}
    sys.stderr.write(ran.stderr)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    if not lines:
        return {"phase": name, "failed": f"ended with exit code {ran.returncode} and said nothing"}
    facts: Facts = json.loads(lines[-1])
    return facts


def table(lines: Sequence[Facts]) -> str:
    """Returns the Markdown table of all phases."""
    rows = ["| phase | measured | asked | seconds |", "|---|---|---|---|"]
    for line in lines:
        inner = {name: value for name, value in line.items() if name not in ("phase", "asked", "seconds")}
        measured = "; ".join(f"{name} {_shown(value)}" for name, value in inner.items())
        rows.append(f"| {line['phase']} | {measured} | {line.get('asked', '')} | {line.get('seconds', '')} |")
    return "\n".join(rows) + "\n"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the phases and writes the table; returns 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.jsonl and gpu.md")
    parser.add_argument("--phase", choices=[*LIMITS], help="this one alone")
    parser.add_argument("--dry", action="store_true", help="toy sizes on the CPU")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.dry:
        import torch

        torch.set_num_threads(1)
    os.environ["PROBEBENCH_HOME"] = str((asked.out / "home").absolute())
    if absent := missing(NEEDED):
        print(f"missing: {', '.join(absent)}; benchmarks/gpu_wheels.sh DIR collects them", file=sys.stderr)
    names = [asked.phase] if asked.phase else [*LIMITS]
    lines = []
    for name in names:
        here = asked.dry or asked.here
        lines.append(run(name, asked.dry, asked.out) if here else run_apart(name, asked.out.absolute()))
        print(json.dumps(lines[-1]), flush=True)
    if not asked.here:
        (asked.out / "gpu.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (asked.out / "gpu.md").write_text(table(lines))
    return int(any("failed" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
