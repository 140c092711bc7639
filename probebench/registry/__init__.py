"""The registry: checkpoints, data sets, protocols and suites as TOML files."""

from probebench.registry.load import Registry, validate_path
from probebench.registry.schema import CheckpointSpec, DatasetSpec, FinetuneProtocol, ProtocolSpec, SuiteSpec

__all__ = [
    "CheckpointSpec",
    "DatasetSpec",
    "ProtocolSpec",
    "FinetuneProtocol",
    "Registry",
    "SuiteSpec",
    "validate_path",
]
