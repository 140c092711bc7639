"""The controlled study, from a clone: its placebo, and how its answers stand at other learning rates.

    python benchmarks/controlled.py placebo leaderboard/results --times 50    sources' names shuffled: no verdict
    python benchmarks/controlled.py rates                                     half and twice each recipe's rate
    python benchmarks/controlled.py cost results                              seconds of each step, memory

``rates`` needs the sources emoji_twemoji, icons_mdi and openclipart and the suite ``mini``, prepared; it works in a
home of its own below $PROBEBENCH_HOME. ``cost`` reads what a run of ``probebench run controlled`` wrote into results.
"""

import argparse
import json
import os
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from pretrain import METHODS, SAMPLES, SMALL, own_home, write_recipe

import probebench as pb
from probebench.api.report import read_results
from probebench.api.tables import Results
from probebench.errors import UnfinishedError
from probebench.registry import Registry
from probebench.results.schema import CheckpointFacts, Result

# Claims whose unit is the source's name: shuffled names leave nothing of them to find.
OF_NAMES = ("source-matters", "fades", "best-source", "ranking-carries-over", "data-multiple")
SOURCES = ("emoji_twemoji", "icons_mdi", "openclipart")
# At the recipe's own rate it is the shipped run 0.
FACTORS = (0.5, 2.0)


def shuffled(results: Results, seed: int) -> Results:
    """The same results, with sources and runs dealt out anew among checkpoints of one method, size and noise.

    Of these among such as were measured on the same data sets.
    """
    facts = {one.model: one.checkpoint for one in results}
    datasets: dict[str, set[str]] = defaultdict(set)
    for one in results:
        datasets[one.model].add(one.dataset)
    groups: dict[Any, list[str]] = defaultdict(list)
    for model, said in sorted(facts.items()):
        if len(said.sources) == 1:
            alike = said.method, said.architecture, said.sources[0].samples, said.label_noise
            groups[*alike, frozenset(datasets[model])].append(model)
    chance, given = np.random.default_rng(seed), {}
    for models in groups.values():
        for model, other in zip(models, chance.permutation(models), strict=True):
            given[model] = {"sources": facts[other].sources, "run": facts[other].run}

    def changed(said: CheckpointFacts, model: str) -> CheckpointFacts:
        return said.model_copy(update=given.get(model, {}))

    pairs = zip(results.paths, results, strict=True)
    return Results(
        (path, one.model_copy(update={"checkpoint": changed(one.checkpoint, one.model)})) for path, one in pairs
    )


def placebo(folder: str, times: int) -> None:
    """How often a study finds something where there is nothing."""
    # Of probes alone: they lead, and the other ways of measuring would take as long again.
    held = read_results(folder)
    results = Results((path, one) for path, one in zip(held.paths, held, strict=True) if one.kind == "probe")
    found: Counter[tuple[str, str]] = Counter()
    for seed in range(times):
        for claim in pb.run_study(shuffled(results, seed), out=None).leading:
            if claim.id in OF_NAMES:
                found[f"{claim.id} ({claim.level})" if claim.level else claim.id, claim.verdict] += 1
    verdicts = ("confirmed", "contradicted", "no effect", "not answerable")
    print(f"claim, of {times} shuffles | " + " | ".join(verdicts))
    for name in sorted({name for name, _ in found}):
        print(f"{name} | " + " | ".join(str(found[name, verdict]) for verdict in verdicts))


def at_other_rates(folder: Path) -> None:
    """Three sources and three methods, run 0, at half and twice the rate: order of sources and of methods."""
    shipped = Registry.load()
    recipes = []
    for method in METHODS:
        spec = shipped.recipe(method)
        for factor in FACTORS:
            optimizer = spec.optimizer.model_copy(update={"learning_rate": factor * spec.optimizer.learning_rate})
            named = spec.model_copy(update={"id": f"{method}_x{factor:g}".replace(".", ""), "optimizer": optimizer})
            write_recipe(folder, named)
            recipes.append(named.id)
    experiment = {
        "pretrain": [{"recipes": recipes, "sources": list(SOURCES), "samples": SAMPLES}],
        "datasets": list(SMALL),
        "shots": [5, "full"],
    }
    (folder / "rates.toml").write_text(tomli_w.dumps(experiment))
    try:
        done = pb.run_experiment(folder / "rates.toml", out=folder / "results", study=None, site=None).results
    except UnfinishedError as error:
        done = error.done.results
        warnings.warn(str(error), stacklevel=1)
    own = [one for one in read_results("leaderboard/results") if _as_asked(one)]
    scores: dict[tuple[str, str, Any], list[float]] = defaultdict(list)
    for one in (*own, *done):
        recipe, source, *_ = one.model.split("-")
        # What a source shares with the set is no transfer.
        if one.mean is not None and not (source == "openclipart" and one.dataset == "openclipart_categories"):
            scores[recipe, source, one.shots].append(one.mean)
    print("recipe | " + " | ".join(f"{source}, {shots} shots" for shots in (5, "full") for source in SOURCES))
    for recipe in (*METHODS, *recipes):
        cells = [100 * np.mean(scores[recipe, source, shots]) for shots in (5, "full") for source in SOURCES]
        print(f"{recipe} | " + " | ".join(f"{cell:.1f}" for cell in cells))


def _as_asked(one: Result) -> bool:
    """Says whether a shipped result is what this experiment would have computed at the recipe's own rate."""
    model = one.model in {f"{method}-{source}-{SAMPLES}-run0" for method in METHODS for source in SOURCES}
    measured = one.kind == "probe" and one.checkpoint.layer == "pooled" and one.protocol == "default"
    return model and measured and one.dataset in SMALL and one.shots in (5, "full")


def cost(folder: str) -> None:
    """Seconds of pre-training (of the weights at home), of probes and of fine-tunes, over all results of a folder."""
    home = Path(os.environ["PROBEBENCH_HOME"])
    seconds: dict[str, float] = defaultdict(float)
    for record in home.glob("weights/*/pretraining.json"):
        seconds[f"pre-training, {record.parent.name.split('-')[0]}"] += json.loads(record.read_text())["last_seconds"]
    for one in read_results(folder):
        seconds[one.kind] += one.timings.get("total_s", 0.0)
    for name, total in sorted(seconds.items()):
        print(f"{name} | {total / 60:.0f} min")


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("placebo", "rates", "cost"))
    parser.add_argument("folder", nargs="?", default="leaderboard/results")
    parser.add_argument("--times", type=int, default=50)
    asked = parser.parse_args()
    if asked.what == "placebo":
        placebo(asked.folder, asked.times)
    elif asked.what == "rates":
        at_other_rates(own_home("rates"))
    else:
        cost(asked.folder)


if __name__ == "__main__":
    main()
