"""Pre-training in small: its rate, the choice of network and of learning rate, and what it gains over untrained twins.

    python benchmarks/pretrain.py rate                 images/s of each method against a bare loop
    python benchmarks/pretrain.py networks             transfer and time of small networks
    python benchmarks/pretrain.py rates emoji_noto     learning rates by nearest neighbours on a held-out part
    python benchmarks/pretrain.py twins emoji_noto     three runs of each method against their untrained twins

The sources and the suite ``mini`` must be prepared: probebench sources prepare emoji_noto; probebench datasets prepare
mini. All but ``rate`` work in a home folder of their own below $PROBEBENCH_HOME.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import tomli_w
import torch

import probebench as pb
from probebench.files import home
from probebench.pretraining.pretrain import training_of
from probebench.pretraining.task import PretrainTask, make_task
from probebench.progress import Silent
from probebench.registry import Registry
from probebench.registry.load import shipped_registry
from probebench.registry.schema import RecipeSpec
from probebench.training.loop import run
from probebench.training.options import TrainingOptions
from probebench.training.timing import images_a_second
from probebench.training.training import Training

CPU = TrainingOptions.resolve("cpu", "fp32", None, 0)
METHODS = ("mini_supervised", "mini_clip", "mini_simclr")
NETWORKS = ("test_resnet", "regnetx_002", "resnet10t", "tf_efficientnet_lite0")
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
SETS = ("digits", "fashion_mnist", "letters", "openclipart_categories", "openmoji_groups", "oxygen_contexts")
SMALL = tuple(name for name in SETS if name != "fashion_mnist")
SHOTS = (5,)
# Of a source, held out where the learning rate is chosen.
HELD = 0.25
SAMPLES = 1355


def cpu_seconds() -> float:
    """CPU time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def task_of(recipe: RecipeSpec, source: str, run: int = 0, **changes: Any) -> PretrainTask:
    """A recipe on images of a source."""
    asked: dict[str, Any] = {"samples": SAMPLES, "label_noise": 0.0, "captions": "names", "epochs": None, **changes}
    return make_task(Registry.load(), recipe, [source], run=run, home=home(), options=CPU, **asked)


def bare(training: Training, steps: int) -> float:
    """Images a second of forward and backward alone, on tensors that are there."""
    module = training.begin()
    module.train()
    batch = training.batches(1)[0]
    rows = training.train.__getitems__([(1, place) for place in batch])  # type: ignore[union-attr]
    inputs, targets = training.objective.mixed(rows[0], rows[1])
    for step in range(steps + 1):
        if step == 1:
            began = time.perf_counter()
        module.zero_grad()
        torch.autograd.backward(training.objective.loss(module, inputs, targets) / len(batch))
    return steps * len(batch) / (time.perf_counter() - began)


def measure_rates(pairs: int = 3, steps: int = 100) -> None:
    """The house's loop against forward and backward alone, in turns."""
    for name in METHODS:
        training = replace(training_of(task_of(Registry.load().recipe(name), "emoji_noto")), most_steps=steps)
        # One epoch of as many steps, in one pass over images that repeat.
        whole = replace(training, epochs=-(-steps // len(training.sizes(1))))
        ratios, ours = [], []
        for _ in range(pairs):
            base = bare(training, steps // 4)
            ours.append(images_a_second(whole, CPU))
            ratios.append(ours[-1] / base)
        print(
            f"{name}: {np.median(ours):.0f} images/s, {np.median(ratios):.2f} of bare forward and backward "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def own_home(name: str) -> Path:
    """A home of its own, with the prepared sources and sets of the user's."""
    folder = home() / name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "datasets").exists():
        (folder / "datasets").symlink_to(home() / "datasets")
    os.environ["PROBEBENCH_HOME"] = str(folder)
    return folder


def write_recipe(folder: Path, spec: RecipeSpec) -> None:
    """Puts a recipe into the home's registry."""
    path = folder / "registry" / "recipes" / f"{spec.id}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        tomli_w.dumps(spec.model_dump(mode="json", exclude_none=True, exclude={"older"}, exclude_unset=True))
    )


def on_network(spec: RecipeSpec, network: str, folder: Path) -> RecipeSpec:
    """The same recipe on another network."""
    name = network
    if spec.architecture.library == "open_clip":
        name = f"mini_{network}"
        config = json.loads((shipped_registry() / "open_clip" / f"{spec.architecture.name}.json").read_text())
        config["vision_cfg"]["timm_model_name"] = network
        (folder / "open_clip").mkdir(exist_ok=True)
        (folder / "open_clip" / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / "open_clip")
    architecture = spec.architecture.model_copy(update={"name": name})
    return spec.model_copy(update={"id": f"{spec.id}_{network}".replace("mini_", "try_"), "architecture": architecture})


def scores(model: str, sets: tuple[str, ...] = SETS, shots: tuple[int, ...] = SHOTS) -> dict[int, list[float]]:
    """Mean accuracy at each number of shots, on each set."""
    rows = {}
    for name in sets:
        features = pb.extract(model, name)
        for one in pb.evaluate(features, shots=list(shots), out=home() / "results"):
            assert one.mean is not None
            rows[name, one.shots] = one.mean
    return {one: [rows[name, one] for name in sets] for one in shots}


def told(values: dict[int, list[float]]) -> str:
    """Means over sets, in points."""
    return " | ".join(f"{100 * np.mean(one):.1f}" for one in values.values())


def each(values: dict[int, list[float]]) -> str:
    """The sets at 5 shots, in points."""
    return " ".join(f"{100 * one:.1f}" for one in values[5])


def choose_network(networks: list[str], methods: list[str], epochs: int | None) -> None:
    """Each network under each method, and untrained."""
    folder, shipped = own_home("networks"), Registry.load()
    print("network | method | CPU s | 5 shots, mean over five sets | each set | sets above the twin")
    for network in networks:
        twin = untrained(folder, shipped.recipe("mini_supervised"), network)
        base = scores(twin, SMALL, (5,))
        print(f"{network} | untrained | 0 | {told(base)} | {each(base)}", flush=True)
        for method in methods:
            spec = on_network(shipped.recipe(method), network, folder)
            write_recipe(folder, spec)
            began = cpu_seconds()
            model = pb.pretrain(spec.id, "emoji_noto", samples=SAMPLES, epochs=epochs)
            took = cpu_seconds() - began
            found = scores(model, SMALL, (5,))
            above = sum(one > other for one, other in zip(found[5], base[5], strict=True))
            print(f"{network} | {method} | {took:.0f} | {told(found)} | {each(found)} | {above}", flush=True)


def untrained(folder: Path, spec: RecipeSpec, network: str) -> str:
    """The id of an untrained twin, whose entry is written where there is none."""
    from probebench.backbones.builders import feature_width
    from probebench.registry.checkpoint import CheckpointSpec, Output, Pretraining, Weights
    from probebench.registry.write import write_entry

    name = f"{network}_mini_random"
    if not (folder / "registry" / "checkpoints" / f"{name}.toml").exists():
        draft = CheckpointSpec(
            id=name,
            title=f"{network}, untrained",
            paper="unknown",
            url="unknown",
            license="unknown",
            architecture=spec.architecture.model_copy(update={"name": network}),
            pretraining=Pretraining(
                method="none", objective="none", sources=(), samples_seen=0, epochs=0, labels="none", curation="none"
            ),
            weights=Weights(uri="random:0", sha256="none"),
            input=spec.input,
            output=Output(features=1, layer="pooled"),
        )
        width = Output(features=feature_width(draft), layer="pooled")
        write_entry(draft.model_copy(update={"output": width}), folder / "registry")
    return name


def choose_rate(source: str, methods: list[str], rates: list[float], runs: int = 1) -> None:
    """By the nearest neighbour's label, of held-out images among those that were trained on."""
    from sklearn.neighbors import KNeighborsClassifier

    shipped = Registry.load()
    print(f"held-out nearest-neighbour accuracy on {source} | " + " | ".join(f"{rate:g}" for rate in rates))
    for method in methods:
        row = []
        for rate in rates:
            spec = shipped.recipe(method)
            optimizer = spec.optimizer.model_copy(update={"learning_rate": rate})
            spec = spec.model_copy(update={"optimizer": optimizer})
            found = []
            for seed in range(runs):
                whole = task_of(spec, source, seed)
                cut = round((1 - HELD) * len(whole.source))
                task = task_of(spec, source, seed, samples=cut)
                found.append(neighbours(task, whole, cut, KNeighborsClassifier(1, metric="cosine")))
            row.append(f"{100 * np.mean(found):.1f}")
        print(f"{method} | " + " | ".join(row), flush=True)


def neighbours(task: PretrainTask, whole: PretrainTask, cut: int, classifier: Any) -> float:
    """Subsets are nested, so the images of the whole after the first ``cut`` are held out."""
    training = training_of(task)
    with tempfile.TemporaryDirectory() as folder:
        done = run(replace(training, path=Path(folder) / "tried.pt"), task.options, Silent())
    if done.weights is None:
        return 0.0
    module: Any = training.begin()
    module.load_state_dict(done.weights)
    rows = np.concatenate(list(embedded(module.backbone, whole)))
    labels = whole.source.labels
    assert labels is not None
    classifier.fit(rows[:cut], labels[:cut])
    return float(classifier.score(rows[cut:], labels[cut:]))


def embedded(backbone: Any, task: PretrainTask) -> Iterator[Any]:
    """Pooled features, in the order of the images."""
    from probebench.backbones.preprocess import build_transform

    transform, images = build_transform(task.recipe.input), task.source.images
    trunk = backbone.visual.trunk if hasattr(backbone, "visual") else backbone
    trunk.eval()
    for start in range(0, len(task.source), 256):
        batch = [transform(images.load(one)) for one in range(start, min(start + 256, len(task.source)))]
        with torch.inference_mode():
            yield trunk(torch.stack(batch)).numpy()


def against_twins(source: str, methods: list[str], runs: int = 3) -> None:
    """Gains over untrained twins, run by run."""
    own_home("twins")
    network = Registry.load().recipe("mini_supervised").architecture.name
    twins = [scores(f"{network}_random{seed}") for seed in range(runs)]
    print(f"{source}, gain over the untrained twin of the same run, points: mean (standard error) over {runs} runs")
    print("method | shots | " + " | ".join(SETS))
    for method in methods:
        found = [scores(pb.pretrain(method, source, samples=SAMPLES, run=seed)) for seed in range(runs)]
        for shots in SHOTS:
            gains = 100 * np.array([one[shots] for one in found]) - 100 * np.array([one[shots] for one in twins])
            cells = zip(gains.mean(axis=0), gains.std(axis=0, ddof=1) / np.sqrt(runs), strict=True)
            print(f"{method} | {shots} | " + " | ".join(f"{mean:+.1f} ({se:.1f})" for mean, se in cells), flush=True)


def main() -> None:
    """Parses and runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["rate", "networks", "rates", "twins"])
    parser.add_argument("source", nargs="?", default="emoji_noto")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--epochs", type=int, help="of networks, so that costs are equal")
    parser.add_argument("--grid", nargs="+", type=float, default=list(RATES))
    asked = parser.parse_args()
    if asked.what == "rate":
        measure_rates()
    elif asked.what == "networks":
        choose_network(asked.networks, asked.methods, asked.epochs)
    elif asked.what == "rates":
        choose_rate(asked.source, asked.methods, asked.grid)
    else:
        against_twins(asked.source, asked.methods)


if __name__ == "__main__":
    main()
