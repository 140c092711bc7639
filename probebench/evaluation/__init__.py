"""From the cache to results: draws, a strength chosen on validation data, and one look at the test part."""

from probebench.evaluation.probe_task import EVALUATOR_VERSION, ProbeTask, Shots
from probebench.evaluation.probing import evaluate, evaluate_all

__all__ = ["EVALUATOR_VERSION", "ProbeTask", "Shots", "evaluate", "evaluate_all"]
