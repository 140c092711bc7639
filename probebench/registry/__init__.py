"""The registry: checkpoints, data sets, protocols, sources, suites and experiments as TOML files."""

from probebench.registry.load import Registry, validate_path
from probebench.registry.schema import (
    CheckpointSpec,
    DatasetSpec,
    ExperimentSpec,
    FinetuneProtocol,
    ProtocolSpec,
    SourceSpec,
    SuiteSpec,
)

__all__ = [
    "CheckpointSpec",
    "DatasetSpec",
    "ExperimentSpec",
    "ProtocolSpec",
    "FinetuneProtocol",
    "Registry",
    "SourceSpec",
    "SuiteSpec",
    "validate_path",
]
