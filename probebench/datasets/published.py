"""What an entry publishes of its data set, so that who lacks the images can still check results: digests alone."""

from pathlib import Path

from probebench.datasets.base import Dataset
from probebench.datasets.draws import TrainingSplit, part_fingerprint
from probebench.registry.dataset import DRAW_DIGITS, PUBLISHED_DRAWS, Published
from probebench.registry.draws import DrawRule, takes_own_validation
from probebench.registry.entry import Shots
from probebench.registry.load import Registry
from probebench.registry.schema import FinetuneProtocol, ProtocolSpec
from probebench.registry.write import write_published

# Numbers of shots whose draws are published.
_SHOTS: tuple[Shots, ...] = (1, 5, 10, 20, "full")


def published(dataset: Dataset, registry: Registry) -> Published:
    """Returns the digests of a data set that is on this machine, and of the draws of all protocols.

    Args:
        dataset: The data set.
        registry: Whose protocols draw.
    """
    test = dataset.splits["test"]
    test_part = part_fingerprint(test.ids, test.labels)
    if (train := dataset.splits.get("train")) is None:
        return Published(test=test_part, draws={})
    part = TrainingSplit(train.ids, train.labels)
    protocols: list[ProtocolSpec | FinetuneProtocol] = [*registry.protocols.values()]
    protocols += registry.finetune_protocols.values()
    rules = {
        DrawRule.of(spec, shots, "val" in dataset.splits and takes_own_validation(spec, shots))
        for spec in protocols
        for shots in _SHOTS
    }
    draws = {
        rule.name: tuple(
            part.draw(rule, seed).digest[:DRAW_DIGITS]
            for seed in ((None,) if rule.shots == "full" else range(PUBLISHED_DRAWS))
        )
        for rule in rules
    }
    return Published(
        train=part.fingerprint,
        test=test_part,
        draws=dict(sorted(draws.items(), key=lambda item: (item[0].startswith("full"), len(item[0]), item[0]))),
    )


def commit_published(dataset: Dataset, registry: Registry) -> Path:
    """Writes what an entry publishes of a data set that is on this machine, and returns the entry's file.

    Raises:
        OSError: The entry cannot be written.
    """
    path = registry.entry_file("datasets", dataset.id)
    write_published(path, dataset.fingerprint, published(dataset, registry))
    return path
