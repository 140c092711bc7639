"""The registry: checkpoints, data sets, protocols and suites as TOML files."""

from probebench.registry.load import Registry, validate_path
from probebench.registry.schema import CheckpointSpec, DatasetSpec, ProtocolSpec, RecipeSpec, SuiteSpec

__all__ = ["CheckpointSpec", "DatasetSpec", "ProtocolSpec", "RecipeSpec", "Registry", "SuiteSpec", "validate_path"]
