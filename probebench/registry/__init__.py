"""The registry: checkpoints, data sets, protocols, sources and suites as TOML files."""

from probebench.registry.load import Registry, validate_path
from probebench.registry.schema import (
    CheckpointSpec,
    DatasetSpec,
    FinetuneProtocol,
    ProtocolSpec,
    SourceSpec,
    SuiteSpec,
)

__all__ = [
    "CheckpointSpec",
    "DatasetSpec",
    "ProtocolSpec",
    "FinetuneProtocol",
    "Registry",
    "SourceSpec",
    "SuiteSpec",
    "validate_path",
]
