"""Whole networks trained on the probes' draws: a rate chosen on validation data, one look at the test part."""

from probebench.finetune.cell import FINETUNER_VERSION, Cell, Mode, Shots

__all__ = ["FINETUNER_VERSION", "Cell", "Mode", "Shots"]
