"""From the cache to results: draws, a strength chosen on validation data, and one look at the test part."""

from probebench.evaluate.cell import EVALUATOR_VERSION, Cell, Shots
from probebench.evaluate.run import evaluate, evaluate_all

__all__ = ["EVALUATOR_VERSION", "Cell", "Shots", "evaluate", "evaluate_all"]
