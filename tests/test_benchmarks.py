"""The acceptance script for GPUs, dry, so that it cannot rot; and what holds cuML's wheel against our wrapper."""

import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
CUML = """
class LogisticRegression:
    def __init__(self, *, penalty="l2", tol=1e-4, C=1.0, fit_intercept={intercept}, class_weight=None, max_iter=1000,
                 {linesearch}=50, l1_ratio=None, solver="qn", penalty_normalized=True, output_type=None):
        pass

    def fit(self, X, y, sample_weight=None):
        self.coef_ = self.intercept_ = 0
        self.{steps} = 1
"""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import cuml_source
    import gpu

    return {"gpu": gpu, "cuml_source": cuml_source}


def test_every_phase_runs_dry(scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gpu = scripts["gpu"]
    assert gpu.main(["--dry", "--out", "out"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "gpu.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in lines] == [*gpu.LIMITS]
    assert all(f"| {name} |" in (tmp_path / "out" / "gpu.md").read_text() for name in gpu.LIMITS)
    assert sum(gpu.LIMITS.values()) <= 400
    (tuned,) = (line for line in lines if line["phase"] == "finetune")
    assert tuned["resumed loss off by"] == 0


def test_a_phase_that_fails_is_told_of_and_the_others_run(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu_phases

    def breaks(asked: object) -> None:
        raise RuntimeError("no such card")

    monkeypatch.setattr(gpu_phases, "PHASES", {"rates": breaks, "cheap": lambda asked: {"fine": 1}})
    gpu = scripts["gpu"]
    monkeypatch.setattr(gpu, "LIMITS", {"rates": 1, "cheap": 1})
    assert gpu.main(["--dry", "--out", str(tmp_path)]) == 1
    broken, fine = (json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines())
    assert broken["failed"] == "RuntimeError: no such card" and fine["fine"] == 1


def wheel(folder: Path, **changes: str) -> Path:
    facts = {"intercept": "True", "linesearch": "linesearch_max_iter", "steps": "n_iter_"} | changes
    path = folder / "cuml.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cuml/linear_model/logistic_regression.py", CUML.format(**facts))
    return path


def test_cumls_source_is_held_against_what_we_ask_of_it(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    problems = scripts["cuml_source"].problems
    assert problems(wheel(tmp_path)) == []
    assert problems(wheel(tmp_path, intercept="False")) == ["fit_intercept is False by default, not True"]
    assert problems(wheel(tmp_path, linesearch="ls")) == ["LogisticRegression takes no linesearch_max_iter"]
    assert problems(wheel(tmp_path, steps="steps_")) == ["fit sets no n_iter_"]
