"""Everything that the page shows, as data: entrants, views and their rankings."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from probebench.leaderboard.board import answers
from probebench.leaderboard.card import commands, facts, further
from probebench.leaderboard.opening import opening, sizes_apart
from probebench.leaderboard.pairs import first_pairs
from probebench.leaderboard.ranking import (
    NOTES,
    Arranged,
    CellScores,
    Ranking,
    arrange,
    only_measured,
    only_published,
    only_reproduced,
    rank,
)
from probebench.leaderboard.reproduction import Reproduced, Reproduction
from probebench.leaderboard.scores import METRICS, Scores, Scoring
from probebench.leaderboard.text import plain
from probebench.registry.probes import LABELS, PLAIN_MODES
from probebench.registry.schema import CheckpointSpec, DatasetSpec
from probebench.results.cells import (
    Cell,
    DataSet,
    Entrant,
    Setting,
    beside,
    dataset_text,
    entrant_names,
    gather,
    shots_order,
)
from probebench.results.overlap import Sources, overlap
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.scores import counted_trials

# Which results a ranking is of: what somebody has run again, all that was measured, or figures that others published.
Tier = Literal["reproduced", "all", "published"]
_OF_TIER: dict[Tier, Callable[[CellScores], CellScores]] = {
    "reproduced": lambda cells: only_reproduced(only_measured(cells)),
    "all": only_measured,
    "published": only_published,
}
_METRIC_NAMES = {"own": "each set's own", "accuracy": "accuracy", "mean-per-class": "mean per class"}


def page_data(
    results: Sequence[Result],
    predictions: Callable[[Result], Predictions | None] | None = None,
    entries: Mapping[str, CheckpointSpec] | None = None,
    versions: Mapping[str, int] | None = None,
    datasets: Mapping[str, DatasetSpec] | None = None,
    reproductions: Sequence[Reproduction] = (),
    sources: Sources | None = None,
) -> dict[str, Any]:
    """Returns the page's data, ready for JSON; scores are whole ten-thousandths of a percent.

    Args:
        results: All of them, in any order.
        predictions: Gives a result's predictions; without them no two checkpoints can be compared on the same images,
            and only each data set's own metric is there.
        entries: Checkpoints of the registry by id, for their links and licences.
        versions: The present version of each protocol; results of older ones are shown and not ranked.
        datasets: Entries of data sets by id.
        reproductions: What was run again; with any, there is a ranking of that alone, which comes first.
        sources: Entries of sources by id, for what a checkpoint has seen before.
    """
    gathered = gather(results)
    arranged = arrange(gathered)
    known = versions or {}
    by_entrant: dict[Entrant, list[Cell]] = defaultdict(list)
    for own in arranged.values():
        for entrant, found in own.items():
            by_entrant[entrant] += found.values()
    entrants = sorted(by_entrant, key=lambda one: one.order)
    sets = _datasets(arranged)
    settings = sorted({setting for setting, _ in arranged}, key=lambda one: _setting_order(one, known))
    numbers = _Numbers(
        {one: place for place, one in enumerate(entrants)}, {one: place for place, one in enumerate(sets)}
    )
    reproduced = Reproduced.of(reproductions)
    scores = Scores(predictions, versions, datasets, reproduced)
    # Runs of one checkpoint on one data set lie in one file, which this order opens once.
    for cell in sorted(gathered, key=lambda one: (one.result.model, one.result.dataset)):
        scores.score(cell, "own")
    provenances = {one.provenance for one in entrants}
    tiers: list[Tier] = ["reproduced"] if reproduced.known else []
    tiers += ["all"] if "measured" in provenances or not entrants else []
    tiers += ["published"] if "published" in provenances else []
    sizes = sizes_apart(one.input_size for one in entrants if one.provenance == "measured")
    views = []
    for (setting, shots), held in sorted(
        arranged.items(), key=lambda item: (_setting_order(item[0][0], known), shots_order(item[0][1]))
    ):
        for scoring in _scorings(results, predictions is not None):
            cells = _scored(held, scores, scoring)
            for size, part in _by_size(cells, sizes):
                views += [
                    {"setting": settings.index(setting), "shots": shots, "px": size, "metric": scoring, "tier": tier}
                    | _view(ranked, scores, scoring, numbers)
                    for tier in tiers
                    if (ranked := _OF_TIER[tier](part))
                ]
    names = entrant_names(entrants)
    told = [_setting(one) for one in settings]
    first = opening(views, tiers[0], told)
    return {
        "verdict": answers(result.checkpoint for result in results),
        "first": first,
        "pairs": _pairs(arranged, scores, first, views, settings, entrants, numbers) if predictions else {},
        "sizes": sizes,
        "entrants": [
            _entrant(key, names[one].removeprefix(one.model), by_entrant[one], entries or {})
            | {"overlap": [overlap(by_entrant[one][0].result.checkpoint, own.name, sources or {}) for own in sets]}
            | {"again": _again(by_entrant[one], reproduced)}
            for one, key in _keys(entrants).items()
        ],
        "datasets": [
            {"name": name, "metric": _metric(results, one)} for one, name in zip(sets, _names(sets), strict=True)
        ],
        "settings": told,
        "notes": NOTES,
        "tiers": tuple(tiers),
        "metrics": [
            {"id": one, "name": _METRIC_NAMES[one]}
            for one in ("own", *METRICS)
            if any(view["metric"] == one for view in views)
        ],
        "views": views,
    }


class _Numbers:
    """The numbers by which the page's data name entrants and data sets."""

    def __init__(self, entrants: Mapping[Entrant, int], datasets: Mapping[DataSet, int]) -> None:
        self.entrants, self.datasets = entrants, datasets


def _scorings(results: Iterable[Result], recomputed: bool) -> list[Scoring]:
    """Returns the metrics of the switch: where all sets share one, it is "own" and not named twice."""
    own = {result.metric for result in results}
    others: list[Scoring] = [metric for metric in METRICS if {metric} != own] if recomputed else []
    return ["own", *others]


def _scored(held: Mapping[Entrant, Mapping[DataSet, Cell]], scores: Scores, scoring: Scoring) -> CellScores:
    found = {
        entrant: {dataset: one for dataset, cell in own.items() if (one := scores.score(cell, scoring)) is not None}
        for entrant, own in held.items()
    }
    return {entrant: own for entrant, own in found.items() if own}


def _by_size(cells: CellScores, sizes: Sequence[int]) -> Iterator[tuple[int, CellScores]]:
    """Yields the scores of all input sizes as 0, and those of each size that has not all of them."""
    if cells:
        yield 0, cells
    for size in sizes:
        own = {entrant: scores for entrant, scores in cells.items() if entrant.input_size == size}
        if 0 < len(own) < len(cells):
            yield size, own


def _pairs(
    arranged: Arranged,
    scores: Scores,
    first: Mapping[str, Any],
    views: Sequence[Mapping[str, Any]],
    settings: Sequence[Setting],
    entrants: Sequence[Entrant],
    numbers: "_Numbers",
) -> dict[int, list[list[Any]]]:
    """Returns the paired differences of the first lines of the view that the page opens on."""
    view = next(
        (
            one
            for one in views
            if all(one[key] == first[key] for key in ("setting", "shots", "px")) and one["metric"] == "own"
        ),
        None,
    )
    if view is None:
        return {}
    cells = _scored(arranged[settings[first["setting"]], first["shots"]], scores, "own")
    ranked = [entrants[line[0]] for line in view["rows"] if line[1] is not None]
    return first_pairs(ranked, cells, scores, (numbers.entrants, numbers.datasets))


def _view(cells: CellScores, scores: Scores, scoring: Scoring, numbers: _Numbers) -> dict[str, Any]:
    paired = scores.paired(scoring)
    whole = rank(cells, paired)
    single = {}
    for dataset in sorted({one for own in cells.values() for one in own}, key=lambda one: numbers.datasets[one]):
        alone = {entrant: {dataset: own[dataset]} for entrant, own in cells.items() if dataset in own}
        ranking = rank(alone, paired, [dataset]) if whole.datasets != (dataset,) else whole
        single[numbers.datasets[dataset]] = _places(ranking, numbers, alone, dataset)
    return {
        "sets": [numbers.datasets[one] for one in whole.datasets],
        "rows": _places(whole, numbers),
        "single": single,
    }


def _places(
    ranking: Ranking, numbers: _Numbers, cells: CellScores | None = None, dataset: DataSet | None = None
) -> list[list[Any]]:
    """Returns the lines of a ranking: entrant, rank, mean, low, high, mean rank, note, and how many sets.

    Of a single data set the last is how many draws.
    """
    return [
        [
            numbers.entrants[place.entrant],
            place.rank,
            *(_points(value) for value in (place.mean, *(place.ci95 or (None, None)))),
            round(place.mean_rank, 2) if place.mean_rank is not None else None,
            NOTES.index(place.note),
            len(counted_trials(cells[place.entrant][dataset].cell.result)) if cells and dataset else place.present,
        ]
        for place in ranking.places
    ]


def _points(score: float | None) -> int | None:
    return None if score is None else round(1_000_000 * score)


def _keys(entrants: Sequence[Entrant]) -> dict[Entrant, str]:
    """Names entrants in addresses; several of one id, with other weights or input sizes, are numbered."""
    ids = [plain(one.model, 100) for one in entrants]
    often, seen = Counter(ids), Counter[str]()
    keys = {}
    for entrant, own in zip(entrants, ids, strict=True):
        seen[own] += 1
        keys[entrant] = own if often[own] == 1 else f"{own}~{seen[own]}"
    return keys


def _entrant(key: str, mark: str, cells: Sequence[Cell], entries: Mapping[str, CheckpointSpec]) -> dict[str, Any]:
    results = [cell.result for cell in cells]
    said = facts(results[0], entries)
    return said | {
        "key": key,
        "name": said["title"],
        # Several of one checkpoint, on other layers or in other arithmetic, tell themselves apart.
        "title": plain(said["title"] + mark),
        "beside": [plain(line, 400) for line in (*beside(cells), *further(cell.result for cell in cells))],
        "commands": [plain(line, 4000) for line in commands(results, entries.get(results[0].model))],
    }


def _again(cells: Sequence[Cell], reproduced: Reproduced) -> str | None:
    """Says who ran cells of an entrant again; None on a page without reproductions."""
    if not reproduced.known:
        return None
    files = {one.file: one for cell in cells if (one := reproduced.by(cell.result)) is not None}
    told = [
        f"{len(one.cells)} of {len(one.covers)} cells by {one.by} on {one.when[:10]} at {one.commit[:7]}, "
        f"largest difference {100 * one.largest:.2f} points"
        for one in files.values()
    ]
    return plain("; ".join(told) or "by nobody but its authors", 400)


def _datasets(arranged: Arranged) -> list[DataSet]:
    found = {dataset for held in arranged.values() for own in held.values() for dataset in own}
    return sorted(found, key=lambda one: one.order)


def _names(datasets: Sequence[DataSet]) -> list[str]:
    """Names data sets; several of one name, each with other images, tell themselves apart by their fingerprint."""
    often = Counter(one.name for one in datasets)
    return [
        plain(one.name if often[one.name] == 1 else f"{one.name} ({(one.fingerprint or 'unknown')[:8]})")
        for one in datasets
    ]


def _metric(results: Iterable[Result], dataset: DataSet) -> str:
    """Returns the metric that all results of a data set are scored by; "" where there are several."""
    found = {result.metric for result in results if dataset_text(result) == dataset.name}
    return found.pop() if len(found) == 1 else ""


def _setting(setting: Setting) -> dict[str, Any]:
    kind = LABELS[setting.kind]
    mode = "" if setting.mode in (setting.kind, *PLAIN_MODES) else f" ({setting.mode})"
    tested = f"-{setting.tested}" if setting.tested else ""
    where = f", tested on {setting.tested}" if setting.tested else ""
    return {
        "id": plain(f"{setting.kind}-{setting.mode}-{setting.protocol}-{setting.version}{tested}", 100),
        "kind": setting.kind,
        "name": plain(f"{kind}{mode}: {setting.protocol} v{setting.version}{where}"),
        "short": plain(f"{kind}{mode}{where}"),
    }


def _setting_order(setting: Setting, versions: Mapping[str, int]) -> tuple[Any, ...]:
    return (
        # Other test parts come after the sets' own.
        setting.tested,
        list(LABELS).index(setting.kind),
        setting.protocol != "default",
        setting.protocol,
        # The present version comes before those that are not ranked.
        setting.version != versions.get(setting.protocol, setting.version),
        -setting.version,
        setting.mode,
    )
