"""How often the study is wrong: made-up tables with a known truth, put through it whole.

    python benchmarks/study.py [--tables 500] [--only NAME ...]

Every scenario plants what is true and counts what the study says: wrong verdicts, right ones (power), and how often the
95% interval holds the truth. Tables differ by their seed alone.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.study.ask import ask
from probebench.study.claims import Claim
from probebench.study.observations import Observation, Track

Array = npt.NDArray[np.float64]
SHOTS: tuple[Any, ...] = (1, 5, 10, 20, "full")
TRACK = Track(provenance="measured", kind="probe", mode="linear", protocol="default", version=3, metric="accuracy")


@dataclass(frozen=True)
class World:
    """What is true of made-up sources. Effects are on the logit scale unless ``points`` says otherwise.

    Attributes:
        base: Mean at each number of shots, as a logit, or as an accuracy with ``points``.
        spread: SD between sources at each number of shots.
        shared: Share of its variance that all data sets have in common.
        agree: Correlation of the source effects between numbers of shots.
        run: SD between runs of a source that all data sets have in common.
        run_set: SD of the part of a run that each data set has of its own.
        runs: Runs of a source.
        elsewhere: Whether the last two are measured on the second half of the data sets, and the others on the first.
        images: Test images.
        draws: Few-shot draws, shared by the sources.
        draw: SD of a draw that all sources share.
        own_draw: SD of a draw that is a source's own.
        image_shared: Share of the noise of images that sources have in common.
        chance: Floor of accuracy.
        ceiling: And its upper end.
        missing: Share of (source, data set) without scores.
        settings: Tunings of each source; () where a protocol chooses.
        tuning: SD between tunings.
        tuning_shared: Share of its variance that all sources and data sets have in common.
    """

    sources: int = 6
    datasets: int = 8
    base: tuple[float, ...] = (-2.4, -0.85, -0.2, 0.2, 1.5)
    spread: float | tuple[float, ...] = 0.15
    shared: float = 0.5
    agree: float = 0.8
    run: float = 0.0
    run_set: float = 0.0
    runs: int = 1
    elsewhere: bool = False
    images: int = 5000
    draws: int = 5
    draw: float = 0.1
    own_draw: float = 0.03
    dataset: float = 0.6
    image_shared: float = 0.3
    chance: float = 0.0
    ceiling: float = 1.0
    points: bool = False
    missing: float = 0.0
    settings: tuple[int, ...] = ()
    tuning: float = 0.3
    tuning_shared: float = 0.5


@dataclass(frozen=True)
class Side:
    """One source of a table: its words, and what they are worth on the logit scale."""

    name: str
    samples: int = 2_700_000
    method: str = "language-image"
    objective: str = "clip"
    labels: str = "captions"
    curation: str = "unknown"
    effect: float = 0.0
    label_noise: float | None = None
    key: str = ""


def effects(g: np.random.Generator, world: World, count: int) -> Array:
    """Returns source effects [source, data set, level]."""
    spread = np.broadcast_to(np.asarray(world.spread, float), len(world.base))

    def part(datasets: int) -> Array:
        every, each = g.standard_normal((count, datasets, 1)), g.standard_normal((count, datasets, len(spread)))
        found: Array = (math.sqrt(world.agree) * every + math.sqrt(1 - world.agree) * each) * spread
        return found

    return math.sqrt(world.shared) * part(1) + math.sqrt(1 - world.shared) * part(world.datasets)


def accuracies(g: np.random.Generator, world: World, effect: Array) -> Array:
    """Returns true accuracies [source, data set, level, run]; sets ``effect`` into them."""
    count, levels = effect.shape[0], len(world.base)
    scale = 0.05 if world.points else 1.0
    eta = np.asarray(world.base) + effect + scale * world.dataset * g.standard_normal((world.datasets, 1))
    runs = world.run * g.standard_normal((count, 1, 1, world.runs))
    runs = runs + world.run_set * g.standard_normal((count, world.datasets, 1, world.runs))
    eta = eta[..., None] + runs
    value = eta if world.points else 1 / (1 + np.exp(-eta))
    found: Array = np.clip(world.chance + (world.ceiling - world.chance) * value, 0.002, 0.998)
    assert found.shape == (count, world.datasets, levels, world.runs)
    return found


def table(g: np.random.Generator, world: World, sides: Sequence[Side], effect: Array) -> list[Observation]:
    """Makes the observations of one table: draws and images are shared by all sources."""
    true = accuracies(g, world, effect)
    found = []
    for d in range(world.datasets):
        gone = g.random(len(sides)) < world.missing
        for at, shots in enumerate(SHOTS[-len(world.base) :] if len(world.base) < len(SHOTS) else SHOTS):
            draws = 1 if shots == "full" else world.draws
            common = g.standard_normal(world.runs)
            shared = world.draw * g.standard_normal(draws) if draws > 1 else np.zeros(1)
            for s, side in enumerate(sides):
                for run in range(world.runs):
                    p = float(true[s, d, at, run])
                    there = not world.elsewhere or (run >= world.runs - 2) == (2 * d >= world.datasets)
                    if gone[s] or not there:
                        continue
                    e = math.sqrt(world.image_shared) * common[run]
                    e += math.sqrt(1 - world.image_shared) * g.standard_normal()
                    own = world.own_draw * g.standard_normal(draws) if draws > 1 else np.zeros(1)
                    moved = p + math.sqrt(p * (1 - p) / world.images) * e + p * (1 - p) * (shared + own)
                    scores = np.clip(np.round(world.images * moved) / world.images, 0, 1)
                    found.append(_observation(side, world, run, f"set{d}", shots, scores))
    return found


def _observation(side: Side, world: World, run: int, dataset: str, shots: Any, scores: Array) -> Observation:
    return Observation(
        track=TRACK,
        method=side.method,
        objective=side.objective,
        architecture="open_clip/RN50",
        source=side.name,
        samples=side.samples,
        run=run if world.runs > 1 else None,
        labels=side.labels,
        curation=side.curation,
        label_noise=side.label_noise,
        dataset=dataset,
        shots=shots,
        scores={"": float(scores.mean())},
        draws=tuple((f"{dataset} {shots} {place}", float(score)) for place, score in enumerate(scores)),
        images=world.images,
        model=f"{side.method} {side.name} {side.samples} {side.label_noise} run {run}",
    )


@dataclass(frozen=True)
class Asked:
    """One question of one table, and the truth.

    Attributes:
        truth: Of the estimate; None where it is not known in closed form.
        holds: Whether "confirmed" (1) or "contradicted" (-1) is right; 0 where neither is.
    """

    claim: Claim | None
    holds: int
    truth: float | None = None
    scale: str = "logit"


Scenario = Callable[[np.random.Generator], Iterable[Asked]]


def _named(world: World) -> list[Side]:
    return [Side(f"source{place}") for place in range(world.sources)]


def sources(world: World, claims: Sequence[tuple[str, str | None, int]]) -> Scenario:
    """Asks about the sources of one group; each claim with what is right of it."""
    spread = np.broadcast_to(np.asarray(world.spread, float), len(world.base))
    scale = "points" if world.points else "logit"
    unit = 100 if world.points else 1
    truth: dict[tuple[str, str | None], float] = {
        ("fades", None): unit * float(spread[:-1].mean() - spread[-1]),
        ("source-matters", "full"): unit * float(spread[-1]),
    }

    def run(g: np.random.Generator) -> Iterable[Asked]:
        sides = _named(world)
        found = table(g, world, sides, effects(g, world, world.sources))
        if world.settings:
            found = [_tuned(g, world, one) for one in found]
        chance = {f"set{d}": world.chance for d in range(world.datasets)}
        said = ask(found, only={identity for identity, _, _ in claims}, chance=chance)
        for identity, level, holds in claims:
            claim = next((one for one in said if one.id == identity and level in (None, one.level)), None)
            plain = world.chance == 0 and not world.settings
            yield Asked(claim, holds, truth.get((identity, level)) if plain else None, scale)

    return run


def _tuned(g: np.random.Generator, world: World, cell: Observation) -> Observation:
    """Gives a cell several tunings, as a published table has them; sources share no names of settings."""
    number = world.settings[int(cell.source.removeprefix("source")) % len(world.settings)]
    seeded = np.random.default_rng([sum(map(ord, cell.source)), number])
    common = seeded.standard_normal(number)
    quality = math.sqrt(world.tuning_shared) * common
    quality = quality + math.sqrt(1 - world.tuning_shared) * g.standard_normal(number)
    eta = math.log(cell.score / (1 - cell.score)) + world.tuning * quality
    return replace(
        cell,
        scores={f"{cell.source} {place}": float(1 / (1 + math.exp(-one))) for place, one in enumerate(eta)},
        draws=(),
    )


def paired(world: World, effect: float, *, method_spread: float = 0.1) -> Scenario:
    """Holds two methods against each other at equal source; ``method_spread`` is by source, over all data sets."""

    def run(g: np.random.Generator) -> Iterable[Asked]:
        names = _named(world)
        sides = [*(replace(one, method="image-image", objective="simclr") for one in names), *names]
        common = effects(g, world, world.sources)
        away = effect + method_spread * g.standard_normal((world.sources, 1, 1))
        away = away + 0.1 * g.standard_normal((1, world.datasets, 1))
        found = table(g, world, sides, np.concatenate([common + away, common]))
        said = ask(found, only={"image-vs-language"})
        yield Asked(said[0], int(np.sign(effect)), effect)

    return run


def words(world: World, effect: float, curated: int) -> Scenario:
    """Gives some sources a word that is worth ``effect``."""

    def run(g: np.random.Generator) -> Iterable[Asked]:
        sides = [
            replace(one, curation="curated" if place < curated else "uncurated")
            for place, one in enumerate(_named(world))
        ]
        found = effects(g, world, world.sources)
        found[:curated] += effect
        yield Asked(ask(table(g, world, sides, found), only={"curation"})[0], int(np.sign(effect)), effect)

    return run


def labels(world: World, effect: float) -> Scenario:
    """Permutes half of the labels of every source, which costs ``effect``."""

    def run(g: np.random.Generator) -> Iterable[Asked]:
        names = _named(world)
        common = effects(g, world, world.sources)
        cost = (
            effect + 0.08 * g.standard_normal((world.sources, 1, 1)) + 0.08 * g.standard_normal((1, world.datasets, 1))
        )
        sides = [*names, *(replace(one, label_noise=0.5) for one in names)]
        said = ask(table(g, world, sides, np.concatenate([common, common - cost])), only={"label-noise"})
        yield Asked(said[0], int(np.sign(effect)), effect)

    return run


def ladder(world: World, sizes: Sequence[int], *, worth: float, scatter: float, slope: float = 0.25) -> Scenario:
    """Gives one source several sizes, and another one size at which it is worth ``worth`` times as much data."""

    def run(g: np.random.Generator) -> Iterable[Asked]:
        middle = sizes[len(sizes) // 2]
        sides = [*(Side("ladder", size) for size in sizes), Side("other", middle)]
        worthy = np.log2(np.array([*sizes, middle * worth]) / middle) * slope
        own = worthy[:, None, None] + scatter * g.standard_normal((len(sides), 1, 1))
        effect = np.broadcast_to(own, (len(sides), world.datasets, len(world.base))).copy()
        effect += 0.05 * g.standard_normal((len(sides), world.datasets, 1))
        said = ask(table(g, world, sides, effect), only={"data-multiple"})
        yield Asked(
            next((one for one in said if one.level == "full"), said[0]), int(np.sign(round(worth - 1, 9))), worth
        )

    return run


CONSTANT = ("fades", None, 0)
SCENARIOS: dict[str, tuple[str, Scenario]] = {
    "constant-logit": ("spread constant in logits, accuracy 8% to 82%", sources(World(), [CONSTANT])),
    "constant-points": (
        "spread constant in points",
        sources(World(points=True, base=(0.3, 0.4, 0.5, 0.6, 0.75), spread=0.02, dataset=0.6), [CONSTANT]),
    ),
    "fading": (
        "spread falls threefold, in logits and points",
        sources(World(spread=(0.3, 0.3, 0.25, 0.2, 0.08)), [("fades", None, 1)]),
    ),
    "hump": (
        "point SD 0.8 / 3.5 / 3.6 / 3.3 / 1.2 over shots",
        sources(
            World(points=True, base=(0.12, 0.4, 0.5, 0.6, 0.8), spread=(0.008, 0.035, 0.036, 0.033, 0.012)),
            [("fades", None, 1)],
        ),
    ),
    "no-source": (
        "no source effect, two runs each",
        sources(
            World(spread=0.0, run=0.03, run_set=0.03, runs=2),
            [
                ("source-matters", "few-shot", 0),
                ("source-matters", "full", 0),
                ("fades", None, 0),
                ("best-source", None, 0),
                ("ranking-carries-over", None, 0),
            ],
        ),
    ),
    "one-run": (
        "no source effect, one run each, run SD 0.7 points",
        sources(
            World(spread=0.0, run=0.03, run_set=0.03),
            [("source-matters", "few-shot", 0), ("best-source", None, 0), ("ranking-carries-over", None, 0)],
        ),
    ),
    "source": (
        "source SD 1 point, run SD 0.7, three runs",
        sources(
            World(spread=0.05, run=0.03, run_set=0.02, runs=3),
            [("source-matters", "few-shot", 1), ("source-matters", "full", 1)],
        ),
    ),
    "elsewhere": (
        "no source effect, three runs on six sets and two on six others",
        sources(
            World(spread=0.0, run=0.03, run_set=0.03, runs=5, elsewhere=True, datasets=12),
            [
                ("source-matters", "few-shot", 0),
                ("source-matters", "full", 0),
                ("fades", None, 0),
                ("best-source", None, 0),
                ("ranking-carries-over", None, 0),
            ],
        ),
    ),
    "source-elsewhere": (
        "source SD 1 point, run SD 0.7, three runs on six sets and two on six others",
        sources(
            World(spread=0.05, run=0.03, run_set=0.02, runs=5, elsewhere=True, datasets=12),
            [("source-matters", "few-shot", 1), ("source-matters", "full", 1), ("ranking-carries-over", None, 1)],
        ),
    ),
    "methods-equal": ("methods equal on average, six sources, cells missing", paired(World(missing=0.05), 0.0)),
    "methods-differ": ("image-image 0.25 logits ahead", paired(World(), 0.25)),
    "one-source": (
        "one source under two methods, one run each, run SD 0.15 logits",
        paired(World(sources=1, run=0.15), 0.0, method_spread=0.0),
    ),
    "one-curated": ("one curated source against five, no effect", words(World(), 0.0, 1)),
    "words-equal": ("three curated against three, no effect", words(World(), 0.0, 3)),
    "words-differ": ("three curated against three, 0.35 logits", words(World(), 0.35, 3)),
    "labels-equal": ("permuted labels cost nothing on average", labels(World(), 0.0)),
    "labels-cost": ("permuted labels cost 0.3 logits", labels(World(), 0.3)),
    "unequal-settings": (
        "equal sources, 24 / 12 / 3 / 3 / 3 / 3 settings",
        sources(
            World(spread=0.0, settings=(24, 12, 3, 3, 3, 3)),
            [("best-source", None, 0), ("ranking-carries-over", None, 0), ("source-matters", "few-shot", 0)],
        ),
    ),
    "ceiling": (
        "spread constant in logits, 97% at full data, 1,000 test images",
        sources(World(base=(-0.85, -0.2, 0.2, 1.5, 3.5), images=1000), [CONSTANT]),
    ),
    "floor": (
        "spread constant in logits, 1 shot at a chance of 1%",
        sources(World(chance=0.01, base=(-9.0, -0.85, -0.2, 0.2, 1.5)), [CONSTANT]),
    ),
    "order-lost": (
        "few-shot and full effects independent",
        sources(World(agree=0.0), [("few-shot-predicts-full", None, 0)]),
    ),
    "order-kept": (
        "few-shot and full effects correlate by 0.8",
        sources(World(), [("few-shot-predicts-full", None, 1)]),
    ),
    "two-checkpoints": (
        "two equal checkpoints on four data sets",
        sources(World(sources=2, spread=0.0, datasets=4), [("ranking", None, 0)]),
    ),
    "multiple-one": (
        "equal data, checkpoint SD 0.05 logits, five sizes",
        ladder(World(), (600_000, 1_200_000, 2_700_000, 6_000_000, 12_000_000), worth=1.0, scatter=0.05),
    ),
    "multiple-four": (
        "worth four times the data, five sizes",
        ladder(World(), (600_000, 1_200_000, 2_700_000, 6_000_000, 24_000_000), worth=4.0, scatter=0.05),
    ),
}


@dataclass
class Tally:
    """What was said over many tables of one claim."""

    tables: int = 0
    wrong: int = 0
    right: int = 0
    covered: int = 0
    bounded: int = 0
    silent: int = 0

    def add(self, asked: Asked) -> None:
        """Counts one answer."""
        self.tables += 1
        claim = asked.claim
        if claim is None:
            return
        said = {"confirmed": 1, "contradicted": -1}.get(claim.verdict, 0)
        self.wrong += bool(said and said != asked.holds)
        self.right += bool(said and said == asked.holds)
        self.silent += not said
        one = claim.logit if asked.scale == "logit" and claim.logit else claim.estimate
        if (
            asked.truth is not None
            and one is not None
            and not (one.low is None and one.high is None and one.value is None)
        ):
            self.bounded += 1
            low, high = -math.inf if one.low is None else one.low, math.inf if one.high is None else one.high
            self.covered += low <= asked.truth <= high


def simulate(name: str, tables: int) -> dict[str, Tally]:
    """Runs one scenario; table i has the seed (name, i)."""
    _, scenario = SCENARIOS[name]
    tallies: dict[str, Tally] = {}
    for seed in range(tables):
        generator = np.random.default_rng([sum(map(ord, name)), seed])
        for asked in scenario(generator):
            if asked.claim is not None:
                key = f"{asked.claim.id}{f' ({asked.claim.level})' if asked.claim.level else ''}"
                tallies.setdefault(key, Tally()).add(asked)
    return tallies


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    given = parser.parse_args()
    print("| scenario | claim | wrong verdicts, % | right verdicts, % | coverage, % | s a table |")
    print("|---|---|---:|---:|---:|---:|")
    for name in given.only:
        start = time.perf_counter()
        tallies = simulate(name, given.tables)
        each = (time.perf_counter() - start) / given.tables
        for claim, tally in tallies.items():
            covered = f"{100 * tally.covered / tally.bounded:.1f}" if tally.bounded else ""
            share = [f"{100 * count / tally.tables:.1f}" for count in (tally.wrong, tally.right)]
            print(f"| {SCENARIOS[name][0]} | {claim} | {share[0]} | {share[1]} | {covered} | {each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
