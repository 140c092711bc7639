"""Whole networks trained on the probes' draws: a rate chosen on validation data, one look at the test split."""

from probebench.finetuning.task import FINETUNER_VERSION, FinetuneTask, Mode

__all__ = ["FINETUNER_VERSION", "FinetuneTask", "Mode"]
