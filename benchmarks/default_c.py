"""What the figures behind the `default` protocol are: its value at one shot, its folds, its last fit, its one divisor.

Run: .venv/bin/python benchmarks/default_c.py fixed | none-left | refit | isotropic

All of it happens inside training splits: what is left of one after a draw judges, and no test image is read. Features
are those in the cache (extract the offline suite first) and generated ones (features.py). Everything is in the units of
the protocol, features divided by the root mean squared norm of the centred training rows.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from features import make

from probebench.arrays import Positions
from probebench.cache.index import read_index
from probebench.cache.store import FeatureFile
from probebench.datasets.draws import TrainingSplit
from probebench.files import home
from probebench.probes import torch_
from probebench.probes.base import FittedProbe, Labelled
from probebench.probes.prepare import Preparation
from probebench.probes.select import Selected, SelectionData, select
from probebench.registry import ProtocolSpec, Registry

GRID = np.logspace(-4, 8, 25)
DRAWS = 5
JUDGES = 2000
# Classes, features and rows a class of the generated sets.
GENERATED = ((2, 512, 200), (10, 128, 100), (10, 2048, 100), (100, 768, 40))


@dataclass(frozen=True)
class Features:
    """A training split: rows (N, D), labels (N,), and ids that draws are made by."""

    family: str
    name: str
    rows: npt.NDArray[Any]
    split: TrainingSplit

    def labelled(self, positions: Positions) -> Labelled:
        """Returns rows with their labels."""
        return Labelled(self.rows[positions].astype(np.float64), self.split.labels[positions])

    def judges(self, *used: Positions) -> Labelled:
        """Returns at most JUDGES rows that are in none of ``used``."""
        left = np.setdiff1d(np.arange(len(self.split.labels)), np.concatenate(used))
        return self.labelled(np.sort(np.random.default_rng(0).permutation(left)[:JUDGES]))


def feature_sets(most: int | None = None) -> Iterator[Features]:
    """Yields the cached training splits, at most ``most`` rows of each, and the generated ones."""
    for group in read_index(home()).groups:
        with FeatureFile(group.paths["train"]) as file:
            rows, labels, ids = file.read(), file.labels, file.ids
        if most and len(labels) > most:
            kept = np.sort(np.random.default_rng(0).permutation(len(labels))[:most])
            rows, labels, ids = rows[kept], labels[kept], tuple(ids[one] for one in kept)
        name = f"{group.model} on {group.dataset} at {group.key.preprocessing.size} px"
        yield Features(group.dataset, name, rows, TrainingSplit(ids, labels))
    for classes, width, each in GENERATED:
        made = make(classes, each, width, "default")
        split = TrainingSplit(tuple(f"{number}" for number in range(len(made.labels))), made.labels)
        yield Features("generated", f"{classes} classes, {width} features", made.train, split)


def accuracies(train: Labelled, judges: Labelled, strengths: Sequence[float]) -> tuple[Any, Any]:
    """Returns accuracy and mean log-loss on ``judges`` at each strength."""
    preparation = Preparation.of(train.features, PROTOCOL)
    (path,) = torch_.fit_paths([Labelled(preparation(train.features), train.labels)], strengths)
    judged = FittedProbe.judge(path, preparation(judges.features), judges.labels)
    return np.array([hits.mean() for _, hits in judged]), np.array([losses.mean() for losses, _ in judged])


def accuracy(selected: Selected, judges: Labelled) -> float:
    """Returns the accuracy of a chosen probe."""
    return float((selected.probe.predict(selected.preparation(judges.features)) == judges.labels).mean())


def chosen(*data: SelectionData) -> list[Selected]:
    """Lets the protocol choose."""
    return select(data, PROTOCOL, lambda rate, last: torch_.fit_paths)


def fixed(several: Sequence[int]) -> None:
    """Prints, for each strength, how far it lies below the best one of a set, by shots and family."""
    for shots in several:
        below: dict[str, list[Any]] = {}
        excess: dict[str, list[Any]] = {}
        for one in feature_sets():
            draws = [one.split.few_shot(shots, 0, seed).train for seed in range(DRAWS)]
            told = [accuracies(one.labelled(draw), one.judges(draw), GRID.tolist()) for draw in draws]
            hits = np.mean([hits for hits, _ in told], axis=0)
            losses = np.mean([losses for _, losses in told], axis=0)
            below.setdefault(one.family, []).append(100 * (hits.max() - hits))
            excess.setdefault(one.family, []).append(losses - losses.min())
        means = {family: np.mean(values, axis=0) for family, values in below.items()}
        overall = np.mean(list(means.values()), axis=0)
        worst = np.max(np.concatenate(list(below.values())), axis=0)
        nats = np.mean([np.mean(values, axis=0) for values in excess.values()], axis=0)
        print(f"\n{shots} shots: points below the best strength of each set, a mean over sets of a family")
        print(f"| C | {' | '.join(means)} | mean of families | worst set | log-loss above its best, nats |")
        print("|---|" + "---|" * (len(means) + 3))
        for place, C in enumerate(GRID):
            cells = [*(values[place] for values in means.values()), overall[place], worst[place]]
            print(f"| {C:.4g} | {' | '.join(f'{cell:.2f}' for cell in cells)} | {nats[place]:.3f} |", flush=True)
        print(f"least log-loss, which is what the protocol chooses by: C = {GRID[int(np.argmin(nats))]:.4g}")


def none_left(several: Sequence[int]) -> None:
    """Prints how ways to choose do where validation images are few or none: points below the best strength."""
    for shots in several:
        below: dict[str, dict[str, list[float]]] = {}
        for one in feature_sets():
            kinds = np.unique(one.split.labels)
            held_out = min(shots, 4)
            if np.bincount(one.split.labels).min() < shots + held_out + 5:
                continue
            draws = [one.split.few_shot(shots, held_out, seed) for seed in range(DRAWS)]
            data: dict[str, list[SelectionData]] = {}
            for seed, draw in enumerate(draws):
                train = one.labelled(np.sort(draw.train))
                order = np.random.default_rng(seed).permutation(kinds)
                fold = one.split.folds(draw, min(5, shots))[np.argsort(draw.train, kind="stable")]
                data.setdefault("C = 1", []).append(SelectionData(train, value=1.0))
                data.setdefault(f"C = {FALLBACK:g}", []).append(SelectionData(train, value=FALLBACK))
                data.setdefault("folds", []).append(SelectionData(train, fold=fold))
                for share in (1.0, 0.5, 0.25, 0.1):
                    some = order[: max(1, round(share * len(kinds)))]
                    held = draw.validation[np.isin(one.split.labels[draw.validation], some)]
                    name = f"{share:.0%} of classes validate"
                    data.setdefault(name, []).append(SelectionData(train, one.labelled(np.sort(held))))
            judges = [one.judges(draw.train, draw.validation) for draw in draws]
            hits = [accuracies(one.labelled(d.train), j, GRID.tolist())[0] for d, j in zip(draws, judges, strict=True)]
            best = np.mean(hits, axis=0).max()
            for name, each in data.items():
                scores = [accuracy(s, j) for s, j in zip(chosen(*each), judges, strict=True)]
                below.setdefault(name, {}).setdefault(one.family, []).append(100 * (best - np.mean(scores)))
        families = list(next(iter(below.values())))
        print(f"\n{shots} shots: points below the best fixed strength of each set")
        print(f"| chosen by | {' | '.join(families)} | worst set |")
        print("|---|" + "---|" * (len(families) + 1))
        for name, values in below.items():
            cells = [np.mean(values[family]) for family in families]
            print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} | "
                  f"{max(max(one) for one in values.values()):.2f} |", flush=True)  # fmt: skip


def refit(most: int) -> None:
    """Prints what a last fit on training and validation images together gains; a quarter of each split judges."""
    print(f"| set, at most {most:,} images | a fifth held out | fitted again on all | gain |")
    print("|---|---|---|---|")
    gains: dict[str, list[float]] = {}
    for one in feature_sets(most):
        scores = []
        for seed in range(3 if len(one.split.labels) < most else 1):
            order = np.random.default_rng(seed).permutation(len(one.split.labels))
            cut = len(order) // 4
            judges, rest = one.labelled(np.sort(order[:cut])), np.sort(order[cut:])
            inner = TrainingSplit([one.split.ids[place] for place in rest], one.split.labels[rest]).full(0.2)
            train, held = (one.labelled(rest[np.sort(part)]) for part in (inner.train, inner.validation))
            (plain,) = chosen(SelectionData(train, held))
            (again,) = chosen(SelectionData(one.labelled(rest), value=plain.chosen["C"]))
            scores.append((accuracy(plain, judges), accuracy(again, judges)))
        before, after = (100 * value for value in np.mean(scores, axis=0))
        gains.setdefault(one.family, []).append(after - before)
        print(f"| {one.name} | {before:.2f} | {after:.2f} | {after - before:+.2f} |", flush=True)
    for family, values in gains.items():
        print(f"{family}: {np.mean(values):+.2f} points, {sum(v > 0 for v in values)} of {len(values)} sets gain")


def isotropic() -> None:
    """Prints what one feature blown up 100 times costs at 5 shots, and how often the choice is the grid's edge."""
    print("| set | as it is | one of 10 features times 100, mean (worst) | on the edge |")
    print("|---|---|---|---|")
    for one in feature_sets():
        if one.family == "fashion_mnist":
            continue
        draws = [one.split.few_shot(5, 4, seed) for seed in range(DRAWS)]

        def score(rows: npt.NDArray[Any], one: Features = one, draws: Any = draws) -> tuple[float, float]:
            blown = Features(one.family, one.name, rows, one.split)
            data = [SelectionData(blown.labelled(d.train), blown.labelled(d.validation)) for d in draws]
            picked = chosen(*data)
            judges = [blown.judges(d.train, d.validation) for d in draws]
            hits = [accuracy(s, j) for s, j in zip(picked, judges, strict=True)]
            return 100 * float(np.mean(hits)), float(np.mean([bool(s.on_edge) for s in picked]))

        plain, _ = score(one.rows)
        alive = np.flatnonzero(one.rows.std(axis=0) > 0)
        told = []
        for feature in np.random.default_rng(0).choice(alive, 10, replace=False):
            rows = one.rows.copy()
            rows[:, feature] *= 100
            told.append(score(rows))
        costs = np.array([plain - hits for hits, _ in told])
        edge = np.mean([share for _, share in told])
        print(f"| {one.name} | {plain:.1f} | {-costs.mean():+.1f} ({-costs.max():+.1f}) | {edge:.0%} |", flush=True)


PROTOCOL: ProtocolSpec = Registry.load().protocol("default")
FALLBACK = PROTOCOL.fallback


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fixed", "none-left", "refit", "isotropic"])
    parser.add_argument("--rows", type=int, default=10_000, help="refit: rows of a split that are used")
    parser.add_argument("--shots", nargs="+", type=int, help="fixed: 1 by default; none-left: 2, 5 and 10")
    arguments = parser.parse_args()
    if arguments.what == "fixed":
        fixed(arguments.shots or [1])
    elif arguments.what == "none-left":
        none_left(arguments.shots or [2, 5, 10])
    elif arguments.what == "refit":
        refit(arguments.rows)
    else:
        isotropic()


if __name__ == "__main__":
    main()
