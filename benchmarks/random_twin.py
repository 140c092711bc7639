"""How much an untrained twin's score depends on its seed and on its input's normalisation.

EfficientNet-Lite0 on digits at 96 px under the default protocol: trained, and random with several seeds, with the
entry's own normalisation and with ImageNet's mean and std. Run: .venv/bin/python benchmarks/random_twin.py
"""

import tempfile
from pathlib import Path

from probebench.backbones.builders import build_backbone
from probebench.cache.index import read_index
from probebench.datasets.open import open_dataset
from probebench.evaluation import ProbeTask, evaluate
from probebench.extraction import ExtractionOptions, extract
from probebench.registry import CheckpointSpec, Registry

SEEDS = range(6)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def variants(registry: Registry) -> list[CheckpointSpec]:
    """Returns the trained checkpoint and its twins, each with both normalisations."""
    trained, twin = registry.checkpoint("efficientnet_lite0_in1k"), registry.checkpoint("efficientnet_lite0_random")
    specs = [("trained", trained)]
    for seed in SEEDS:
        weights = twin.weights.model_copy(update={"uri": f"random:{seed}"})
        specs.append((f"random-{seed}", twin.model_copy(update={"weights": weights})))
    return [
        spec.model_copy(update={"id": f"{name}-{norm}", "input": spec.input.model_copy(update=change)})
        for norm, change in (("own", {}), ("imagenet", IMAGENET))
        for name, spec in specs
    ]


def main() -> None:
    """Prints accuracy in percent at 1, 5 and 10 shots, 5 draws, for each variant."""
    registry = Registry.load()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        dataset = open_dataset("digits", registry, home / "datasets")
        for spec in variants(registry):
            extract(build_backbone(spec, home, 96), dataset, home, ExtractionOptions.resolve(dtype="fp32"))
            (group,) = (group for group in read_index(home).groups if group.model == spec.id)
            means = []
            for shots in (1, 5, 10):
                task = ProbeTask(
                    group=group,
                    checkpoint=spec,
                    protocol=registry.protocol("default"),
                    shots=shots,
                    draws=5,
                    backend="sklearn",
                )
                means.append(evaluate(task, home / "results")[0].mean or 0.0)
            print(f"{spec.id:20s}", *(f"{100 * mean:5.1f}" for mean in means), flush=True)


if __name__ == "__main__":
    main()
