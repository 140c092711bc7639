"""What entries of the registry may say: every schema under one name."""

from probebench.registry.checkpoint import Architecture, CheckpointSpec, Input, Output, Pretraining, Source, Weights
from probebench.registry.dataset import DatasetSpec, Splits, SuiteSpec
from probebench.registry.entry import Entry
from probebench.registry.experiment import ExperimentSpec
from probebench.registry.finetune_protocol import Augment, FinetuneProtocol
from probebench.registry.protocol import Grid, ProtocolSpec, Selection, Solver
from probebench.registry.recipe import RecipeSpec
from probebench.registry.source import SourceSpec

__all__ = [
    "Architecture",
    "Augment",
    "CheckpointSpec",
    "DatasetSpec",
    "Entry",
    "ExperimentSpec",
    "Grid",
    "Input",
    "Output",
    "Pretraining",
    "ProtocolSpec",
    "RecipeSpec",
    "FinetuneProtocol",
    "Selection",
    "Solver",
    "Source",
    "SourceSpec",
    "Splits",
    "SuiteSpec",
    "Weights",
]
