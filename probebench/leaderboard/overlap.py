"""Whether a checkpoint has seen a data set before: yes, no, or unknown."""

from typing import Literal

from probebench.results.schema import CheckpointFacts

Overlap = Literal["yes", "no", "unknown"]

# Pre-training sources that hold a data set's own images, by what their authors say of their making: ImageNet-21k holds
# ImageNet-1k (Russakovsky et al., 2015) and so does LVD-142M (Oquab et al., 2023, Table 15); STL-10 was taken from
# ImageNet (Coates et al., 2011); Country211 from YFCC100M (Radford et al., 2021).
_HOLDS = {
    "imagenet1k": {"imagenet1k", "imagenet21k", "lvd142m"},
    "stl10": {"imagenet21k"},
    "country211": {"yfcc100m"},
}


def overlap(facts: CheckpointFacts, dataset: str) -> Overlap:
    """Says whether pre-training used images of a data set.

    "yes" where a source is the data set itself or is known to hold it, "no" where there was no pre-training, and
    "unknown" in every other case: nobody has searched, and a web crawl may hold anything.
    """
    if facts.method == "none":
        return "no"
    name = _plain(dataset.rpartition(":")[2])
    holders = _HOLDS.get(name, set()) | {name}
    return "yes" if any(_plain(source.name) in holders for source in facts.sources) else "unknown"


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
