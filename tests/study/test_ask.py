import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from probebench.registry import Registry
from probebench.registry.source import Shared
from probebench.results.schema import Result, SourceFact
from probebench.study.ask import QUESTIONS, Study, study
from probebench.study.observations import Observation, observations, unseen
from probebench.study.report import write_report
from tests.study.make import DATASETS, SOURCES, Pretraining, results

LOGITS = {1: -1.4, 5: -0.3, 10: 0.1, 20: 0.4, "full": 1.4}
SETS = [*DATASETS, "caltech101", "domainnet_real", "domainnet_clipart"]


def score(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def made(
    grid: list[Pretraining],
    effect: Callable[[Pretraining, str, int | str], float],
    *,
    seed: int = 0,
    runs: int = 1,
    run: float = 0.0,
    **changes: Any,
) -> list[Result]:
    """Results whose effects are planted in logits; runs differ by ``run`` on all data sets at once."""
    generator = np.random.default_rng(seed)
    hard = dict(zip(SETS, 0.5 * generator.standard_normal(len(SETS)), strict=True))
    found = []
    for number in range(runs):
        off = {one.name: run * generator.standard_normal() for one in grid}

        def truth(one: Pretraining, dataset: str, shots: int | str, off: dict[str, float] = off) -> float:
            return score(LOGITS[shots] + hard[dataset] + off[one.name] + effect(one, dataset, shots))

        for result in results(generator, grid, truth, datasets=SETS, images=4000, **changes):
            facts = {"run": number} if runs > 1 else {}
            update = {"checkpoint": result.checkpoint.model_copy(update=facts), "model": f"{result.model}_{number}"}
            found.append(result.model_copy(update=update))
    return found


def by_source(worth: dict[str, float]) -> Callable[[Pretraining, str, int | str], float]:
    return lambda one, _dataset, _shots: worth.get(one.source, 0.0)


def said(found: Study, identity: str, level: str | None = None) -> str:
    claim = found.claim(identity, level)
    assert claim is not None
    return claim.verdict


GRID = [Pretraining(source) for source in SOURCES]


def test_with_runs_a_planted_source_effect_is_confirmed_and_none_is_not() -> None:
    worth = dict(zip(SOURCES, (0.3, 0.15, 0.0, -0.1, -0.2, -0.3), strict=True))
    found = study(made(GRID, by_source(worth), runs=2, run=0.03))
    assert said(found, "source-matters", "few-shot") == said(found, "source-matters", "full") == "confirmed"
    assert said(found, "ranking-carries-over") == "confirmed"
    best = found.claim("best-source")
    assert best is not None and best.verdict == "confirmed" and "LAION leads YFCC" in best.sentence
    claim = found.claim("source-matters", "few-shot")
    assert claim is not None and claim.basis.runs == 2 and claim.estimate is not None and claim.estimate.low > 0  # type: ignore[operator]
    none = study(made(GRID, by_source({}), runs=2, run=0.1))
    for identity in ("source-matters", "best-source", "ranking-carries-over"):
        assert said(none, identity) in ("not answerable", "no effect")


def test_one_run_a_source_never_confirms_that_sources_matter_and_says_what_would_undo_it() -> None:
    found = study(made(GRID, by_source({"LAION": 0.4, "WIT": -0.4})))
    claim = found.claim("source-matters", "few-shot")
    assert claim is not None and claim.verdict == "not answerable"
    assert "One run a source" in claim.sentence and "run-to-run SD is below" in claim.sentence
    assert "second pre-training run" in (claim.missing or "")


def test_a_spread_that_falls_fades_and_one_that_stays_in_logits_does_not() -> None:
    worth = dict(zip(SOURCES, (0.5, 0.3, 0.1, -0.1, -0.3, -0.5), strict=True))

    def falls(one: Pretraining, _dataset: str, shots: int | str) -> float:
        return worth[one.source] * (0.1 if shots == "full" else 1)

    assert said(study(made(GRID, falls)), "fades") == "confirmed"
    assert said(study(made(GRID, by_source(worth))), "fades") != "confirmed"
    fades = study(made(GRID, falls)).claim("fades")
    assert fades is not None and [row["shots"] for row in fades.per_shots] == [1, 5, 10, 20, "full"]
    assert {row["without"] for row in fades.details["left out one at a time"]} == {*SOURCES, *SETS}


def test_methods_are_held_against_each_other_at_equal_source() -> None:
    grid = [*GRID, *(Pretraining(source, method="image-image", objective="simclr") for source in SOURCES)]

    def ahead(one: Pretraining, dataset: str, shots: int | str) -> float:
        return (0.3 if one.method == "image-image" else 0.0) + 0.05 * (sum(map(ord, one.source + dataset)) % 3)

    found = study(made(grid, ahead))
    claim = found.claim("image-vs-language")
    assert claim is not None and claim.verdict == "confirmed" and len(claim.basis.sources) == 6
    assert claim.estimate is not None and 4 < (claim.estimate.value or 0) < 9
    assert claim.logit is not None and claim.logit.value == pytest.approx(0.3, abs=0.05)
    # Of two sources nothing is said in general: they are named.
    few = study(made([one for one in grid if one.source in SOURCES[:2]], ahead)).claim("image-vs-language")
    assert few is not None and few.verdict == "not answerable" and few.missing == "three sources"
    assert "LAION and YFCC alone" in few.sentence


def test_one_data_set_says_nothing_of_others() -> None:
    grid = [*GRID, *(Pretraining(source, method="image-image", objective="simclr") for source in SOURCES)]

    def ahead(one: Pretraining, _dataset: str, _shots: int | str) -> float:
        return (0.3 if one.method == "image-image" else 0.0) + 0.1 * SOURCES.index(one.source)

    one_set = [result for result in made(grid, ahead) if result.dataset == "dtd"]
    for identity in ("image-vs-language", "few-shot-predicts-full"):
        claim = study(one_set).claim(identity)
        assert claim is not None and claim.verdict == "not answerable" and claim.missing == "two data sets"
        assert "On dtd alone" in claim.sentence and claim.estimate is not None
        assert said(study(made(grid, ahead)), identity) == "confirmed"
    runs = [result for result in made(GRID, ahead, runs=3, run=0.01) if result.dataset == "dtd"]
    matters = study(runs).claim("source-matters", "few-shot")
    assert matters is not None and matters.sentence.startswith("The source matters on dtd: ")


@pytest.mark.parametrize("rate", [0.0, 0.01, 1.0])
def test_scores_at_an_end_of_the_scale_say_nothing(rate: float) -> None:
    grid = [*GRID, *(Pretraining(source, method="image-image", objective="simclr") for source in SOURCES)]
    generator = np.random.default_rng(0)
    found = study(
        [
            one.model_copy(
                update={"checkpoint": one.checkpoint.model_copy(update={"run": run}), "model": f"{one.model}{run}"}
            )
            for run in range(2)
            for one in results(generator, grid, lambda *_: rate, datasets=SETS, images=4000)
        ],
        chance=dict.fromkeys(SETS, 0.01),
    )
    assert {claim.verdict for claim in found.claims} == {"not answerable"}


def test_scores_that_are_all_equal_have_no_order() -> None:
    alike = [
        one.model_copy(
            update={"mean": 0.5, "trials": [trial.model_copy(update={"test_score": 0.5}) for trial in one.trials]}
        )
        for one in made(GRID, by_source({}))
    ]
    claim = study(alike).claim("few-shot-predicts-full")
    assert claim is not None and claim.verdict == "not answerable" and "scores that differ" in (claim.missing or "")


def test_one_curated_source_is_a_named_pair_and_three_a_side_are_a_claim() -> None:
    def curated(count: int) -> list[Pretraining]:
        return [replace(one, curation="curated" if place < count else "uncurated") for place, one in enumerate(GRID)]

    def ahead(one: Pretraining, dataset: str, shots: int | str) -> float:
        return 0.5 * (one.curation == "curated") + 0.04 * SOURCES.index(one.source)

    alone = study(made(curated(1), ahead)).claim("curation")
    assert alone is not None and alone.verdict == "not answerable" and "LAION minus the rest alone" in alone.sentence
    assert said(study(made(curated(3), ahead)), "curation") == "confirmed"


def test_permuted_labels_are_paired_by_source_and_stay_out_of_all_else() -> None:
    clean = made(GRID, by_source({}))
    noisy = [
        one.model_copy(
            update={
                "checkpoint": one.checkpoint.model_copy(update={"label_noise": 0.5}),
                "model": f"{one.model}_noisy",
            }
        )
        for one in made(GRID, lambda *_: -0.4, seed=1)
    ]
    found = study([*clean, *noisy])
    claim = found.claim("label-noise")
    assert claim is not None and claim.verdict == "confirmed" and "50% permuted labels" in claim.sentence
    matters = found.claim("source-matters", "few-shot")
    assert matters is not None and not any("noisy" in name for name in matters.basis.checkpoints)


def test_a_ladder_gives_points_a_doubling_and_a_multiple() -> None:
    grid = [Pretraining(source, size) for source in SOURCES[:3] for size in (675_000, 1_350_000, 2_700_000, 5_400_000)]

    def grown(one: Pretraining, _dataset: str, _shots: int | str) -> float:
        worth = 0.25 * float(np.log2(one.samples / 2_700_000))
        return worth + {"LAION": 0.0, "YFCC": 0.15, "RedCaps": -0.05}[one.source]

    found = study(made(grid, grown, levels=[5, "full"]))
    size = found.claim("size")
    assert size is not None and size.verdict == "confirmed" and "a doubling" in size.sentence
    assert size.logit is not None and size.logit.value == pytest.approx(0.25, abs=0.03)
    multiple = found.claim("data-multiple", "full")
    assert multiple is not None and multiple.estimate is not None and multiple.estimate.unit == "ratio"
    rows = {(row["source"], row["target"]): row["value"] for row in multiple.details["multiples"]}
    assert rows["LAION", "YFCC at 2.7M"] == pytest.approx(1.5, rel=0.25)


def test_a_source_that_does_not_gain_from_its_size_has_no_multiple() -> None:
    sizes = (675_000, 1_350_000, 2_700_000, 5_400_000)
    grid = [*(Pretraining("LAION", size) for size in sizes), Pretraining("YFCC", 2_700_000)]

    def falling(one: Pretraining, _dataset: str, _shots: int | str) -> float:
        return 0.02 if one.source == "YFCC" else -0.05 * float(np.log2(one.samples / 2_700_000))

    multiple = study(made(grid, falling, levels=["full"])).claim("data-multiple", "full")
    assert multiple is not None and multiple.verdict == "not answerable"
    assert multiple.sentence.startswith("More of LAION is no better at full data, from 675k to 5.4M: no amount of it")
    assert multiple.missing == "a source that gains from its size"


def test_unequal_tuning_is_no_order_of_sources() -> None:
    cells = observations(made(GRID, by_source({})))
    generator = np.random.default_rng(0)
    tuned: list[Observation] = []
    for cell in cells:
        count = (12, 6, 3, 3, 3, 3)[SOURCES.index(cell.source)]
        scores = {f"{cell.source}{place}": min(0.99, cell.score + 0.03 * generator.random()) for place in range(count)}
        tuned.append(replace(cell, scores=scores, draws=()))
    from probebench.study.ask import ask

    claims = {claim.id: claim for claim in ask(tuned)}
    assert claims["best-source"].verdict == claims["ranking-carries-over"].verdict == "not answerable"
    assert "tun" in (claims["best-source"].missing or "") and claims["source-matters"].basis.settings == 3


def test_two_checkpoints_are_ranked_and_the_rest_is_one_line() -> None:
    grid = [Pretraining("LAION", 400_000_000), Pretraining("IN1k", 1_281_167, "supervised", "cross-entropy")]
    found = study(made(grid, by_source({"IN1k": 0.5})))
    ranking = found.claim("ranking")
    assert ranking is not None and ranking.verdict == "confirmed" and ranking.estimate is not None
    assert "in1k" in ranking.sentence.split(" leads ")[0]
    assert [claim.id for claim in found.leading if claim.estimate] == ["ranking"]
    assert {claim.id for claim in found.leading} == set(QUESTIONS)
    even = study(made(grid, by_source({}))).claim("ranking")
    assert even is not None and even.verdict in ("not answerable", "no effect")


def test_measured_and_published_results_are_apart() -> None:
    measured = made(GRID[:3], by_source({}))
    bare: dict[str, Any] = {"provenance": "published", "predictions": None, "weights_digest": None}
    published = made(GRID[3:], by_source({}), **bare)
    found = study([*measured, *published])
    assert [one.provenance for one in found.asked] == ["measured", "published"]
    for claim in found.claims:
        names = {one.model for one in (measured if claim.track.provenance == "measured" else published)}
        assert set(claim.basis.checkpoints) <= names


def test_what_takes_no_part_is_told() -> None:
    old = [one.model_copy(update={"protocol_version": 1}) for one in made(GRID[:2], by_source({}), seed=2)]
    unknown = made([Pretraining("Mystery", samples="unknown")], by_source({}))  # type: ignore[arg-type]
    unknown = [
        one.model_copy(update={"checkpoint": one.checkpoint.model_copy(update={"sources": []})}) for one in unknown
    ]
    near = made([Pretraining("Near", 3_500_000)], by_source({}), seed=3)
    few = [one for one in made(GRID, by_source({})) if one.shots != 20 or one.dataset == SETS[0]]
    newer = [one.model_copy(update={"protocol_version": 2}) for one in [*few, *near, *unknown]]
    found = study([*newer, *old])
    told = " | ".join(f"{one.what}: {one.why}" for one in found.dropped)
    assert "an older version of the protocol" in told and "only 1 of 8 data sets have it" in told
    assert "--size-tolerance 1.30 would take them as one" in told
    wider = study(newer, size_tolerance=1.3).claim("source-matters", "few-shot")
    assert wider is not None and "Near" in wider.basis.sources


def test_what_a_checkpoint_has_seen_takes_no_part_and_is_named() -> None:
    grid = [Pretraining(source) for source in ("emoji_noto", "emoji_fluent", "LAION")]
    held = made(grid, lambda one, dataset, shots: LOGITS[shots])
    entries = Registry.load(environ={}).sources
    noto, fluent = (
        entries[name].model_copy(update={"shared": {"dtd": Shared(exact=exact, near=0, concepts=30, test=100)}})
        for name, exact in (("emoji_noto", 5), ("emoji_fluent", 0))
    )
    known = {"emoji_noto": noto, "emoji_fluent": fluent}
    told = [(one.what, one.why) for one in study(held, entries=known).dropped]
    assert ("emoji_noto on dtd", "seen before: the source holds test images") in told
    assert not [what for what, _ in told if what == "emoji_fluent on dtd"]
    # Nothing of it is in a number.
    kept, _ = unseen(held, known, 1.0)
    assert {one.dataset for one in kept if one.checkpoint.sources[0].name == "emoji_noto"} == set(SETS) - {"dtd"}
    # Things drawn in another style stay, unless they are asked away.
    assert ("emoji_fluent on dtd", "the source shows what 30% of the test images show") in unseen(held, known, 0.2)[1]


def test_a_published_checkpoint_that_repeats_another_is_suspect() -> None:
    bare: dict[str, Any] = {"provenance": "published", "predictions": None, "weights_digest": None}
    published = made(GRID, by_source({}), levels=["full"], **bare)
    copied = [
        one.model_copy(
            update={
                "model": "copy",
                "checkpoint": one.checkpoint.model_copy(update={"architecture": "open_clip/ViT-B-32"}),
            }
        )
        for one in published[: 2 * len(GRID) : len(GRID)]
    ]
    found = study([*published, *copied])
    assert any("suspect data: 2 of 2 figures" in one.why for one in found.dropped)
    assert not any("copy" in claim.basis.checkpoints for claim in found.claims)


def test_the_json_is_the_contract() -> None:
    plain = study(made(GRID, by_source({}))).as_dict()
    keys = ["id", "question", "group", "verdict", "estimate", "logit", "per_shots", "basis", "missing"]
    for claim in plain["claims"]:
        assert list(claim)[: len(keys)] == keys
        assert claim["verdict"] in ("confirmed", "contradicted", "no effect", "not answerable")
        assert (claim["verdict"] == "no effect") == ("bound" in claim)
        assert claim["estimate"] is None or set(claim["estimate"]) == {"value", "low", "high", "unit"}
        assert set(claim["basis"]) == {"sources", "runs", "datasets", "settings", "checkpoints"}
        assert claim["missing"] if claim["verdict"] == "not answerable" else True
    assert {claim["id"] for claim in plain["claims"]} == set(QUESTIONS)


@pytest.fixture(scope="module")
def simulator() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "study.py"
    spec = importlib.util.spec_from_file_location("study_simulator", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["study_simulator"] = module
    spec.loader.exec_module(module)
    return module


# The whole table, of 500 tables each, is in benchmarks/README.md.
@pytest.mark.parametrize(
    ("name", "tables", "wrong", "right"),
    [
        ("constant-logit", 10, 2, 0),
        ("one-run", 8, 1, 0),
        ("methods-equal", 10, 2, 0),
        ("one-curated", 15, 0, 0),
        ("words-equal", 10, 2, 0),
        ("unequal-settings", 8, 1, 0),
        ("methods-differ", 6, 0, 5),
        ("fading", 6, 0, 4),
        ("source", 3, 0, 2),
        ("multiple-one", 4, 1, 0),
    ],
)
def test_on_a_seeded_few_of_the_simulated_tables(
    simulator: ModuleType, name: str, tables: int, wrong: int, right: int
) -> None:
    for tally in simulator.simulate(name, tables).values():
        assert tally.wrong <= wrong and tally.right >= right
        assert tally.covered >= 0.7 * tally.bounded


@pytest.mark.parametrize("seed", [*range(16), 57])
def test_any_results_are_answered(seed: int, tmp_path: Path) -> None:
    """Whatever is missing, at the ends of the scale, or repeated: claims, a report and no error."""
    generator = np.random.default_rng(seed)
    words = {
        "method": ("image-image", "language-image", "supervised", "none"),
        "labels": ("human", "captions", "unknown"),
        "curation": ("curated", "none", "unknown"),
        "samples": ("unknown", 1000, 1050, 2000, 4000, 8000),
        "source": SOURCES[:4],
    }
    grid = [
        Pretraining(**{key: found[generator.integers(len(found))] for key, found in words.items()})  # type: ignore[arg-type]
        for _ in range(int(generator.integers(1, 14)))
    ]
    named = {one.name: one for one in grid}
    shots = [level for level in (0, 1, 5, 100, "full") if generator.random() < 0.7] or [1]
    sets = list(SETS[: int(generator.integers(1, 5))])
    levels: dict[tuple[str, str, int | str], float] = {}

    def truth(one: Pretraining, dataset: str, level: int | str) -> float:
        place = one.name, dataset, level
        if place not in levels:
            levels[place] = float(generator.choice([0.0, 0.01, 0.5, 0.99, 1.0, generator.random()]))
        return levels[place]

    listed = results(
        generator, list(named.values()), truth, datasets=sets, levels=shots, images=int(generator.choice([10, 1000]))
    )
    kept = [one for one in listed if generator.random() < 0.8] or listed[:1]
    bare: dict[str, Any] = {
        "provenance": "published",
        "trials": [],
        "predictions": None,
        "weights_digest": None,
        "n_test": None,
    }
    told = [one.model_copy(update=bare) if generator.random() < 0.3 else one for one in kept]
    runs = [
        one.model_copy(update={"checkpoint": one.checkpoint.model_copy(update={"run": int(generator.integers(3))})})
        for one in told
    ]
    found = study(runs, chance={"dtd": 0.02})
    assert found.claims
    for claim in found.claims:
        assert (claim.missing is None) == claim.answered, claim
    # Figures take most of the time.
    if seed % 5 == 2:
        write_report(found, tmp_path)


def test_a_mixture_of_the_sources_is_a_candidate_and_no_further_source() -> None:
    """It lies between sources and would hide what varies between them; yet it may be the best of all."""
    worth = dict(zip(SOURCES, (0.3, 0.15, 0.0, -0.1, -0.2, -0.3), strict=True))
    mixture = Pretraining("mixture")
    found = made([*GRID, mixture], by_source(worth | {"mixture": 1.5}), runs=2, run=0.03)
    parts = [SourceFact(name=name, samples=100) for name in SOURCES]

    def mixed(result: Result, parts: list[SourceFact]) -> Result:
        if result.checkpoint.sources[0].name != "mixture":
            return result
        total = result.checkpoint.sources[0].samples
        assert isinstance(total, int)
        sized = [one.model_copy(update={"samples": total // len(parts)}) for one in parts]
        sized[0] = sized[0].model_copy(update={"samples": total - (len(parts) - 1) * (total // len(parts))})
        return result.model_copy(update={"checkpoint": result.checkpoint.model_copy(update={"sources": sized})})

    told = study([mixed(one, parts) for one in found])
    without = study([one for one in found if one.checkpoint.sources[0].name != "mixture"])
    for identity in ("source-matters", "fades", "ranking-carries-over", "few-shot-predicts-full"):
        one, other = told.claim(identity), without.claim(identity)
        assert one is not None and other is not None
        assert (one.verdict, one.estimate, one.basis.sources) == (other.verdict, other.estimate, other.basis.sources)
    best = told.claim("best-source")
    assert best is not None and best.verdict == "confirmed" and best.sentence.startswith("mixture of 6 sources (")
    # One of which a part is not here alone is a source like any other.
    elsewhere = study([mixed(one, [*parts[:5], SourceFact(name="elsewhere", samples=100)]) for one in found])
    claim = elsewhere.claim("source-matters")
    assert claim is not None and len(claim.basis.sources) == len(SOURCES) + 1


def test_no_verdict_chooses_what_leads() -> None:
    """Of groups with equally many sources the first leads, though another one has something to say."""
    quiet = [Pretraining(source, method="image-image", objective="simclr") for source in SOURCES]
    # With another source in one's place: of the very same sources both would count together.
    others = [*SOURCES[:-1], "Another"]
    loud = [Pretraining(source, method="supervised", objective="cross-entropy") for source in others]
    worth = dict(zip(others, (0.3, 0.15, 0.0, -0.1, -0.2, -0.3), strict=True))

    def effect(one: Pretraining, _dataset: str, _shots: int | str) -> float:
        return worth[one.source] if one.method == "supervised" else 0.0

    found = study(made([*quiet, *loud], effect, runs=2, run=0.03))
    told = [claim for claim in found.claims if claim.id == "source-matters" and claim.level == "few-shot"]
    assert told[0] in found.leading and told[1].verdict == "confirmed" != told[0].verdict


def test_methods_with_the_very_same_sources_lead_together() -> None:
    methods = {"language-image": "clip", "image-image": "simclr", "supervised": "cross-entropy"}
    grid = [
        Pretraining(source, method=name, objective=objective)
        for source in SOURCES
        for name, objective in methods.items()
    ]
    worth = dict(zip(SOURCES, (0.2, 0.1, 0.0, 0.0, -0.1, -0.2), strict=True))

    def effect(one: Pretraining, dataset: str, shots: int | str) -> float:
        # What a source is worth to one method alone averages out.
        own = 0.3 * math.sin(sum(map(ord, one.source + one.method)))
        return worth[one.source] + own + (0.1 if one.method == "supervised" else 0.0)

    found = study(made(grid, effect, runs=3, run=0.05))
    claim = found.claim("source-matters", "few-shot")
    assert claim is not None and claim.group.startswith("3 methods, ") and claim.verdict == "confirmed"
    assert len(claim.basis.sources) == 6 and len(claim.basis.checkpoints) == 54 and claim.basis.runs == 3
    alone = [one for one in found.others if (one.id, one.level) == (claim.id, claim.level)]
    assert {one.group.split(" (")[0] for one in alone} == set(methods)
    heat = {row["source"]: row for row in (found.claim("best-source") or claim).details["heat map"]}
    singles = [one for one in found.others if one.id == "best-source"]
    for source in SOURCES:
        for dataset in SETS:
            each = [next(r for r in one.details["heat map"] if r["source"] == source)[dataset] for one in singles]
            assert heat[source][dataset] == pytest.approx(np.mean(each), abs=0.002)
    against = found.claim("supervised-vs-contrastive")
    assert against is not None and "supervised over image-image and language-image" in against.sentence
    pairs = [one for one in found.others if one.id == "supervised-vs-contrastive"]
    assert against.estimate is not None and against.estimate.value == pytest.approx(
        np.mean([one.estimate.value for one in pairs if one.estimate]), abs=1e-4
    )


@pytest.mark.parametrize("worth", [0.1, 0.0])
def test_runs_that_were_measured_on_other_data_sets_count_there(worth: float) -> None:
    def effect(one: Pretraining, dataset: str, _shots: int | str) -> float:
        # What is harder for all is no difference between runs.
        return worth * (3 - SOURCES.index(one.source)) - 1.5 * (dataset in SETS[4:])

    cells = made(GRID, effect, runs=5, run=0.05)
    found = study([cell for cell in cells if ((cell.checkpoint.run or 0) >= 3) == (cell.dataset in SETS[4:])])
    for identity in ("source-matters", "ranking-carries-over"):
        claim = found.claim(identity, "few-shot")
        assert claim is not None and (claim.verdict == "confirmed") == (worth > 0), claim
        # The fewest on any data set.
        assert claim.basis.runs == 2 and len(claim.basis.datasets) == len(SETS)


def test_methods_that_lack_a_source_of_the_others_stand_apart() -> None:
    grid = [*GRID, *(Pretraining(source, method="image-image", objective="simclr") for source in SOURCES[1:])]
    found = study(made(grid, by_source({}), runs=2, run=0.05))
    assert not [claim for claim in found.claims if "methods" in claim.group]
    claim = found.claim("source-matters", "few-shot")
    assert claim is not None and claim.group.startswith("language-image")


@pytest.mark.parametrize("apart", ["data sets", "shots"])
def test_methods_that_were_measured_elsewhere_have_no_mean(apart: str) -> None:
    sizes = (675_000, 1_350_000, 2_700_000)
    one = made([Pretraining(source, size) for source in SOURCES[:3] for size in sizes], by_source({}))
    grid = [
        Pretraining(source, size, method="image-image", objective="simclr") for source in SOURCES[:3] for size in sizes
    ]
    other = made(grid, by_source({}), seed=1)
    if apart == "shots":
        kept = [cell for cell in one if cell.shots != "full"] + [cell for cell in other if cell.shots == "full"]
    else:
        kept = [cell for cell in one if cell.dataset in SETS[:3]] + [cell for cell in other if cell.dataset in SETS[3:]]
    found = study(kept)
    assert found.claims and not [claim for claim in found.claims if "methods" in claim.group]


def test_methods_meet_on_runs_of_one_name() -> None:
    methods = {"language-image": "clip", "image-image": "simclr"}
    grid = [
        Pretraining(source, method=name, objective=objective)
        for source in SOURCES
        for name, objective in methods.items()
    ]
    worth = by_source(dict(zip(SOURCES, (0.3, 0.2, 0.1, 0.0, -0.1, -0.2), strict=True)))
    cells = made(grid, worth, runs=5, run=0.05)
    # Of one method run 1 is not there, so that its second run is run 2; and each half of the sets has runs of its own.
    kept = [
        cell
        for cell in cells
        if ((cell.checkpoint.run or 0) >= 3) == (cell.dataset in SETS[4:])
        and (cell.checkpoint.method == "language-image" or cell.checkpoint.run != 1)
    ]
    claim = study(kept).claim("source-matters", "few-shot")
    assert claim is not None and claim.group.startswith("2 methods") and claim.verdict == "confirmed"
    assert claim.basis.runs == 2 and set(claim.basis.datasets) == set(SETS)


def test_a_claim_rests_on_the_data_sets_that_it_compares() -> None:
    sizes = (675_000, 1_350_000, 2_700_000, 5_400_000)
    grid = [Pretraining(source, size) for source in SOURCES[:3] for size in sizes] + GRID[3:]
    cells = made(grid, by_source({}), runs=2, run=0.05)
    # Elsewhere all have one size.
    kept = [cell for cell in cells if cell.dataset in SETS[:4] or cell.checkpoint.sources[0].samples == 2_700_000]
    found = study(kept)
    for identity, level in (("size", None), ("data-multiple", "few-shot"), ("data-multiple", "full")):
        claim = found.claim(identity, level)
        assert claim is not None and set(claim.basis.datasets) == set(SETS[:4]), claim
    matters = found.claim("source-matters", "few-shot")
    assert matters is not None and set(matters.basis.datasets) == set(SETS)
