"""What a result must satisfy against its images: the data where they are here, else the digests that are published."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from probebench.leaderboard.check_data import (
    DataHere,
    check_against_data,
    check_finetune,
    check_other_part,
    check_probe,
)
from probebench.leaderboard.check_published import check_published, not_verifiable
from probebench.leaderboard.check_shift import check_other_published, other_not_verifiable, own_side
from probebench.leaderboard.findings import Findings
from probebench.leaderboard.rules import protocol_of
from probebench.registry.layers import is_layer
from probebench.registry.load import Registry
from probebench.registry.schema import CheckpointSpec, DatasetSpec, FinetuneProtocol, ProtocolSpec
from probebench.results.predictions import Predictions
from probebench.results.schema import Result


@dataclass(frozen=True)
class Images:
    """Compares results with images.

    Attributes:
        findings: Hears what is wrong, and what cannot be told here.
        registry: Entries and protocols.
        here: The data sets of this machine.
    """

    findings: Findings
    registry: Registry
    here: DataHere

    def check(self, path: Path, result: Result, predictions: Predictions, entry: CheckpointSpec | None) -> None:
        """Compares a result with the data, where they are here, else with the digests that the registry publishes."""
        other = None
        if result.test_dataset is not None:
            self._check_other(path, result, predictions)
            if predictions.own is None or result.test_dataset not in self.registry.datasets:
                return
            other = self.here.open(result.test_dataset)
            result, predictions = own_side(result), predictions.own
        dataset, named = self.here.open(result.dataset), self.registry.datasets[result.dataset]
        if isinstance(dataset, str):
            self._check_published(path, result, predictions, named, dataset)
            return
        part = self.here.part(result, dataset)
        for fault in check_against_data(result, predictions, dataset, part):
            self.findings.fail(path, fault)
        protocol = protocol_of(self.registry, result.protocol)
        if entry is None or protocol is None or protocol.version != result.protocol_version:
            return
        if not is_layer(result.checkpoint.layer):
            # check_facts has told, and no key can be made of it.
            return
        faults: Iterable[str] = ()
        if isinstance(protocol, FinetuneProtocol):
            faults = check_finetune(result, protocol, dataset, part)
        elif isinstance(protocol, ProtocolSpec):
            faults = check_probe(path, result, entry, protocol, dataset, part, named, other)
        for fault in faults:
            self.findings.fail(path, fault)

    def _check_other(self, path: Path, result: Result, predictions: Predictions) -> None:
        """Compares a result with the other data set whose test part it is on, or with its published digests."""
        own, named = (self.registry.datasets.get(name or "") for name in (result.dataset, result.test_dataset))
        if own is None or named is None:
            return
        dataset = self.here.open(named.id)
        if not isinstance(dataset, str):
            faults = check_other_part(result, predictions, dataset, own.classes)
        else:
            faults = check_other_published(result, predictions, own, named)
            left = other_not_verifiable(result, named) or f"images and features of {named.id}"
            self.findings.pass_over(path, f"{left}: {dataset}")
        for fault in faults:
            self.findings.fail(path, fault)

    def _check_published(
        self, path: Path, result: Result, predictions: Predictions, named: DatasetSpec, why: str
    ) -> None:
        """Compares a result with published digests, and says what these leave open; ``why`` the data are not here."""
        if (left := not_verifiable(result, named)) is not None:
            self.findings.pass_over(path, f"{left}; {why}")
        if named.published is None:
            return
        protocol = protocol_of(self.registry, result.protocol)
        current = protocol if protocol is not None and protocol.version == result.protocol_version else None
        for fault in check_published(result, predictions, named, current):
            self.findings.fail(path, fault)
        if left is None:
            self.findings.pass_over(path, f"images and features: {why}")
