"""What a checkpoint's card says: facts of its entry, and the commands that make its results again."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from json import loads
from pathlib import Path
from shlex import join
from typing import Any

from probebench.leaderboard.text import plain, sources_text, web_link
from probebench.registry.architectures import canonical_architecture
from probebench.registry.probes import OF_KIND
from probebench.registry.recipe_uri import SCHEME, RecipeUri
from probebench.registry.schema import CheckpointSpec
from probebench.results.cells import MANY, dataset_text, in_order, shots_text, source_samples
from probebench.results.schema import CheckpointFacts, Result


@cache
def _parameters() -> dict[str, int]:
    """Parameters of shipped architectures by canonical name (``make docs``)."""
    counts: dict[str, int] = loads(Path(__file__).with_name("parameters.json").read_text())
    return counts


def _title(said: CheckpointFacts) -> str:
    """Returns a checkpoint's title; where it lists the sources of a mixture of many, their number stands for them."""
    names = [source.name for source in said.sources]
    return said.title.replace(" + ".join(names), f"{len(names)} sources") if len(names) > MANY else said.title


def facts(result: Result, entries: Mapping[str, CheckpointSpec]) -> dict[str, Any]:
    """Returns what the page shows of a checkpoint, as its result states it; links and licence are its entry's.

    An entry of the same name counts only where method, sources and architecture are those of the result.
    """
    said = result.checkpoint
    shown: dict[str, Any] = {
        "id": plain(result.model),
        "title": plain(_title(said)),
        "method": plain(said.method),
        "objective": plain(said.objective),
        "source": plain(sources_text(said)),
        "sources": sorted({plain(source.name) for source in said.sources}) or ["none"],
        "samples": source_samples(said),
        "seen": said.samples_seen if said.samples_seen != "unknown" else None,
        "labels": plain(said.labels),
        "curation": plain(said.curation),
        "noise": said.label_noise or None,
        "arch": plain(said.architecture),
        "layer": plain(said.layer),
        "features": said.features,
        "parameters": _parameters().get(canonical_architecture(said.architecture)),
        "px": result.input_size,
        "dtype": result.dtype,
        "digest": result.weights_digest,
        "provenance": result.provenance,
    }
    entry = entries.get(result.model)
    if entry is not None and _agrees(entry, result):
        shown |= {"paper": plain(entry.paper), "licence": plain(entry.license), "weights": plain(entry.weights.uri)}
        shown["links"] = {"paper": web_link(entry.paper), "url": web_link(entry.url)}
    return shown


def _agrees(entry: CheckpointSpec, result: Result) -> bool:
    said, stated = entry.pretraining, result.checkpoint
    return (said.method, [(one.name, one.samples) for one in said.sources]) == (
        stated.method,
        [(one.name, one.samples) for one in stated.sources],
    ) and f"{entry.architecture.library}/{entry.architecture.name}" == stated.architecture


def further(results: Iterable[Result]) -> list[str]:
    """Says in a line each what results tell beside a score: drops on another test part, and what retrieval found."""
    lines = []
    for one in results:
        where = f"{dataset_text(one)}, {one.protocol}, {shots_text(one.shots)}"
        if (shift := one.shift) is not None and shift.drop is not None and shift.own_mean is not None:
            low, high = (100 * end for end in shift.drop_ci95 or (shift.drop, shift.drop))
            lines.append(
                f"{where}: a drop of {100 * shift.drop:.1f} points [{low:.1f}, {high:.1f}] from "
                f"{100 * shift.own_mean:.1f} on {one.dataset}'s own test part."
            )
        if (found := one.retrieval) is not None:
            recall = "/".join(
                f"{100 * share:.1f}" for share in (found.recall_at_1, found.recall_at_5, found.recall_at_10)
            )
            precision = f"{100 * found.mean_average_precision:.1f}"
            lines.append(f"{where}: recall at 1/5/10 {recall}, mean average precision {precision}.")
    return lines


def commands(results: Iterable[Result], entry: CheckpointSpec | None = None) -> list[str]:
    """Returns the command lines that make one entrant's results again, ready for a shell; none for published ones.

    Args:
        results: Of one entrant.
        entry: Its checkpoint's, whose own layer need not be named.
    """
    measured = [result for result in results if result.provenance == "measured"]
    if not measured:
        return []
    lines = []
    layer = measured[0].checkpoint.layer
    own = layer == entry.output.layer if entry is not None else layer in ("pooled", "projected", "unknown")
    which = [] if own else ["--layer", plain(layer, 100)]
    if entry is not None and entry.weights.scheme == SCHEME:
        made = RecipeUri.parse(entry.weights.uri)
        lines += [join(["probebench", "sources", "prepare", ",".join(made.sources)]), made.command]
    if any(result.feature_key for result in measured):
        dtypes = sorted({result.dtype for result in measured if result.feature_key and result.dtype})
        extracted = [result for result in measured if result.feature_key]
        sets = _unique(name for result in extracted for name in (result.dataset, result.test_dataset) if name)
        lines += [_line("extract", measured[0], sets, "--dtype", dtype, *which) for dtype in dtypes]
    runs: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for result in measured:
        how = result.kind, result.mode, result.protocol, result.backend or "", result.test_dataset or ""
        runs[how].append(result)
    for (kind, mode, protocol, backend, tested), same in sorted(runs.items()):
        sets = _unique(result.dataset for result in same)
        if kind == "zeroshot":
            lines.append(_line("zeroshot", same[0], sets))
            continue
        flags = ["--protocol", protocol, "--shots", ",".join(map(str, in_order(result.shots for result in same)))]
        if kind == "finetune":
            flags += ["--mode", mode]
            lines += [_line("finetune", same[0], [one], *flags, *_draws(same)) for one in sets]
            continue
        flags += [*which, *_draws(same), "--probe", OF_KIND[kind].name]
        flags += ["--test-dataset", tested] if tested else []
        lines.append(_line("eval", same[0], sets, *flags, *(["--backend", backend] if backend else [])))
    return lines


def _line(verb: str, result: Result, datasets: Sequence[str], *flags: str) -> str:
    size = ["--input-size", str(result.input_size)] if result.input_size else []
    return join(["probebench", verb, "--model", result.model, "--dataset", ",".join(datasets), *size, *flags])


def _unique(names: Iterable[str]) -> list[str]:
    return sorted(set(names))


def _draws(results: Iterable[Result]) -> list[str]:
    counts = [len(result.trials) for result in results if result.shots != "full"]
    return ["--draws", str(max(counts))] if counts else []
