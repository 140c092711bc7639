"""The registry: checkpoints, data sets, protocols, suites and experiments as TOML files."""

from probebench.registry.load import Registry, validate_path
from probebench.registry.schema import (
    CheckpointSpec,
    DatasetSpec,
    ExperimentSpec,
    FinetuneProtocol,
    ProtocolSpec,
    SuiteSpec,
)

__all__ = [
    "CheckpointSpec",
    "DatasetSpec",
    "ExperimentSpec",
    "ProtocolSpec",
    "FinetuneProtocol",
    "Registry",
    "SuiteSpec",
    "validate_path",
]
