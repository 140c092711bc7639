"""Whether a checkpoint has seen a data set before: yes, no, or unknown."""

from collections.abc import Mapping
from typing import Literal

from probebench.registry.source import Shared, SourceSpec
from probebench.results.schema import CheckpointFacts

Overlap = Literal["yes", "no", "unknown"]
Sources = Mapping[str, SourceSpec]

# Pre-training sources that hold a data set's own images, by what their authors say of their making: ImageNet-21k holds
# ImageNet-1k (Russakovsky et al., 2015) and so does LVD-142M (Oquab et al., 2023, Table 15); STL-10 was taken from
# ImageNet (Coates et al., 2011); Country211 from YFCC100M (Radford et al., 2021).
_HOLDS = {
    "imagenet1k": {"imagenet1k", "imagenet21k", "lvd142m"},
    "stl10": {"imagenet21k"},
    "country211": {"yfcc100m"},
}
# Share of the test images, from which on a data set counts as seen: single pictures that look alike are chance.
SEEN = 0.01


def overlap(facts: CheckpointFacts, dataset: str, sources: Sources) -> Overlap:
    """Says whether pre-training used images of a data set.

    "yes" where a source is the data set itself, is known to hold it, or was found to share 1% of its test images,
    pixel by pixel or nearly; "no" where there was no pre-training, or all sources were searched and share
    less; and "unknown" in every other case: nobody has searched, and a web crawl may hold anything. Things that both
    show, drawn in another style, are told by ``shared_concepts``.

    Args:
        facts: Of the checkpoint.
        dataset: Id of the data set.
        sources: Entries of sources, by id.
    """
    if facts.method == "none":
        return "no"
    name = _plain(dataset.rpartition(":")[2])
    holders = _HOLDS.get(name, set()) | {name}
    if any(_plain(source.name) in holders for source in facts.sources):
        return "yes"
    searched = _searched(facts, dataset, sources)
    if any(one and one.exact + one.near >= SEEN * one.test for one in searched):
        return "yes"
    return "no" if searched and all(searched) else "unknown"


def shared_concepts(facts: CheckpointFacts, dataset: str, sources: Sources) -> float:
    """Returns the share of a data set's test images that show what a source shows too; 0 where nobody has searched."""
    return max((one.concepts / one.test for one in _searched(facts, dataset, sources) if one), default=0.0)


def _searched(facts: CheckpointFacts, dataset: str, sources: Sources) -> list[Shared | None]:
    return [sources[one.name].shared.get(dataset) if one.name in sources else None for one in facts.sources]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
