"""From the cache to results: draws, a strength chosen on validation data, and one look at the test split."""

from probebench.evaluation.probe_task import EVALUATOR_VERSION, ProbeTask
from probebench.evaluation.probing import evaluate, evaluate_all

__all__ = ["EVALUATOR_VERSION", "ProbeTask", "evaluate", "evaluate_all"]
