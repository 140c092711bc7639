"""Which facts of a checkpoint nobody has said, and which questions of the study each of them closes to it."""

from probebench.registry.checkpoint import CheckpointSpec

UNKNOWN = "unknown"
_SIZE = "how much of one source is worth, and how much of another it takes to match it"
# The facts that the study groups and pairs checkpoints by (study/observations.py).
_CLOSES = {
    "method": "image-image against language-image, and supervised against contrastive",
    "objective": "curation and labels, which pair checkpoints of one method and objective",
    "source": "which source is best, at how many shots that fades, and whether data sets agree on it",
    "samples": _SIZE,
    "labels": "clean labels against noisy ones",
    "curation": "curated sources against less curated ones",
    "samples_seen": "",
    "epochs": "",
}


def unknown_facts(spec: CheckpointSpec) -> list[tuple[str, str]]:
    """Returns the facts of a pre-training that are unknown, each with the questions that it closes ("" for none)."""
    training = spec.pretraining
    said: dict[str, list[object]] = {
        "method": [training.method],
        "objective": [training.objective],
        "source": [source.name for source in training.sources],
        "samples": [source.samples for source in training.sources],
        **{name: [getattr(training, name)] for name in ("labels", "curation", "samples_seen", "epochs")},
    }
    return [(name, _CLOSES[name]) for name, values in said.items() if UNKNOWN in values]
