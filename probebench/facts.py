"""The facts about a checkpoint that a result of any kind carries."""

from probebench.cache.key import FeatureKey
from probebench.registry.schema import CheckpointSpec
from probebench.results.schema import CheckpointFacts, SourceFact


def checkpoint_facts(spec: CheckpointSpec, key: FeatureKey, width: int) -> CheckpointFacts:
    """Gathers the facts that the study groups results by.

    What the features were made with comes from their key, since an entry may have been edited since; what only the
    entry knows comes from there.
    """
    return CheckpointFacts(
        title=spec.title,
        method=spec.pretraining.method,
        objective=spec.pretraining.objective,
        sources=[SourceFact(name=source.name, samples=source.samples) for source in spec.pretraining.sources],
        samples_seen=spec.pretraining.samples_seen,
        labels=spec.pretraining.labels,
        curation=spec.pretraining.curation,
        architecture=f"{key.architecture.library}/{key.architecture.name}",
        layer=key.layer,
        features=width,
    )
