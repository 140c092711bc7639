"""What a cell is, which of several results counts for it, and how shots and sizes are ordered and written.

A cell is one number of the final table: one checkpoint, measured in one way on one data set at one number of shots.
Several results may be of one cell: of two backends, of more or fewer draws, of a run that failed and of one that did
not. Command line, page, study, submit, verify and compare all ask here which of them counts, so they agree.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from probebench.fingerprint import canonical_json, fingerprint
from probebench.registry.entry import Metric, Shots
from probebench.results.schema import CheckpointFacts, Result
from probebench.results.scores import COUNTED_DRAWS, counted_trials, has_score, score_of

# Sources of a mixture that are named one by one.
MANY = 3
# Of results that differ in their solver alone, the first of these counts: ours is certified to be at the optimum.
BACKENDS = ("torch", "sklearn", "cuml")


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """Who is measured: a checkpoint as its results state it, at one input size and in one arithmetic.

    Attributes:
        model: Checkpoint id.
        weights_digest: Other weights under one id are another entrant; None for published figures.
        facts: What is known of its pre-training and its network, but for its title.
        layer: Which features.
        input_size: Side of the input in pixels.
        dtype: Arithmetic of the forward pass.
        provenance: Published figures are entrants apart.
    """

    model: str
    weights_digest: str | None = None
    facts: tuple[object, ...] = ()
    layer: str = "unknown"
    input_size: int | None = None
    dtype: str | None = None
    provenance: Literal["measured", "published"] = "measured"

    @property
    def order(self) -> tuple[object, ...]:
        """What entrants are sorted by where their scores do not."""
        return (
            *(self.model, self.input_size or 0, self.weights_digest or "", self.layer, self.dtype or ""),
            *(self.provenance, str(self.facts)),
        )


@dataclass(frozen=True, order=True)
class Setting:
    """How it is measured; scores of different settings are never ranked together.

    Attributes:
        tested: The other data set whose test part the scores are of; "" where that is the set's own.
    """

    kind: str
    mode: str
    protocol: str
    version: int
    tested: str = ""


@dataclass(frozen=True)
class DataSet:
    """On what: a data set by name and content, since other images under the same name are another data set."""

    name: str
    fingerprint: str | None

    @property
    def order(self) -> tuple[str, str]:
        """What data sets are sorted by."""
        return self.name, self.fingerprint or ""


@dataclass(frozen=True, kw_only=True)
class CellKey:
    """What two results of one cell share.

    Attributes:
        tuning: Hyper-parameters of the transfer that a published table lists as runs of their own, and which of
            several runs of them, as JSON; "" where a protocol chooses them.
    """

    entrant: Entrant
    setting: Setting
    dataset: DataSet
    metric: Metric
    shots: Shots
    tuning: str = ""

    @classmethod
    def of(cls, result: Result) -> "CellKey":
        """Returns the key of a result's cell."""
        facts = result.checkpoint
        said = result.environment if result.provenance == "published" else {}
        tuning = {"settings": said.get("settings"), "repeat": said.get("imported", {}).get("repeat", 1)}
        return cls(
            entrant=Entrant(
                model=result.model,
                weights_digest=result.weights_digest,
                facts=pretraining_facts(facts),
                layer=facts.layer,
                input_size=result.input_size,
                dtype=result.dtype,
                provenance=result.provenance,
            ),
            setting=Setting(
                result.kind, result.mode, result.protocol, result.protocol_version, result.test_dataset or ""
            ),
            dataset=DataSet(dataset_text(result), _fingerprint(result)),
            metric=result.metric,
            shots=result.shots,
            tuning=canonical_json(tuning) if said else "",
        )

    @property
    def order(self) -> tuple[object, ...]:
        """What cells are sorted by."""
        return (
            *self.entrant.order,
            *(self.dataset.order, self.setting, self.metric, shots_order(self.shots), self.tuning),
        )

    def __str__(self) -> str:
        """Returns it in words."""
        size = f" at {self.entrant.input_size} px" if self.entrant.input_size else ""
        layer = f", {self.entrant.layer}" if self.entrant.layer != "unknown" else ""
        how = f"{shots_text(self.shots)}, {self.setting.protocol}"
        return f"{self.entrant.model}{size}{layer} on {self.dataset.name}, {how}"


@dataclass(frozen=True)
class Cell:
    """A cell with the result that counts.

    Attributes:
        others: The other results of the cell, in the order in which they would count.
    """

    key: CellKey
    result: Result
    others: tuple[Result, ...] = ()

    @property
    def failed(self) -> int:
        """How many of the other results are of runs that failed."""
        return sum(not has_score(other) for other in self.others)


def dataset_text(result: Result) -> str:
    """Returns the data set of a result; "a -> b" where probes of a are scored on the test part of b."""
    return f"{result.dataset} -> {result.test_dataset}" if result.test_dataset else result.dataset


def _fingerprint(result: Result) -> str | None:
    if result.shift is None:
        return result.dataset_fingerprint
    return fingerprint([result.dataset_fingerprint, result.shift.fingerprint])


def gather(results: Iterable[Result]) -> list[Cell]:
    """Puts results into cells, in an order that does not depend on theirs."""
    grouped: dict[CellKey, list[Result]] = defaultdict(list)
    for result in results:
        grouped[CellKey.of(result)].append(result)
    cells = []
    for key in sorted(grouped, key=lambda one: one.order):
        counting, *others = sorted(grouped[key], key=preference) if len(grouped[key]) > 1 else grouped[key]
        cells.append(Cell(key, counting, tuple(others)))
    return cells


def preference(result: Result) -> tuple[object, ...]:
    """Returns what decides which of several results of a cell counts: the smallest does. No test score is in it.

    One that was not selected on test comes before one that was, one that has a score before a failed one, then the one
    with most of the draws that are scored, then the backends' order; what is left is fixed and means nothing.
    """
    backend = result.backend or ""
    scores = {"mean", "ci95", "ci95_covers", "trials", "predictions", "timings"}
    return (
        selected_on_test(result),
        not has_score(result),
        -len(counted_trials(result)),
        BACKENDS.index(backend) if backend in BACKENDS else len(BACKENDS),
        backend,
        -len(result.trials),
        fingerprint(result.model_dump(mode="json", exclude=scores)),
        [(trial.draw_seed is not None, trial.draw_seed or 0, trial.draw_digest) for trial in result.trials],
        (result.predictions or {}).get("sha256", ""),
        fingerprint([result.model_dump(mode="json", include={"trials"}), result.mean]),
    )


def selected_on_test(result: Result) -> bool:
    """Says whether a test label had a part in a result's choices; such results are shown and never ranked."""
    return result.selection == "test" or any(trial.selection == "test" for trial in result.trials)


def beside(cells: Sequence[Cell], versions: Mapping[str, int] = MappingProxyType({})) -> list[str]:
    """Says in a line each what there is beside the results that count.

    These are failed runs, results of other backends, draws beyond those that count, and cells of older versions.

    Args:
        cells: All of them.
        versions: The present version of each protocol; of those that it lacks, nothing is said.
    """
    failed = [cell for cell in cells if cell.failed and has_score(cell.result)]
    others = [(cell, scored) for cell in cells if (scored := [one for one in cell.others if has_score(one)])]
    more = [cell for cell in cells if len(cell.result.trials) > len(counted_trials(cell.result))]
    lines = []
    if failed:
        runs = sum(cell.failed for cell in failed)
        told = _told([str(cell.key) for cell in failed])
        lines.append(f"{counted(runs, 'failed run')} beside results that count: {told}")
    if others:
        count = sum(len(scored) for _, scored in others)
        told = _told([f"{cell.key} ({_which(cell.result, scored)})" for cell, scored in others])
        lines.append(f"{counted(count, 'other result')} of cells that are shown once: {told}")
    if more:
        lines.append(
            f"{counted(len(more), 'cell')} with more draws, scored on draws 0 to {COUNTED_DRAWS - 1} "
            f"as all others are: {_told([str(cell.key) for cell in more])}"
        )
    if old := [cell.key.setting for cell in cells if superseded(cell.result, versions)]:
        names = sorted({f"{one.protocol} v{one.version}, now v{versions[one.protocol]}" for one in old})
        lines.append(
            f"{counted(len(old), 'cell')} of an older version of the protocol, shown and never ranked; eval again for "
            f"the present one: {_told(names)}"
        )
    if new := [cell.key.setting for cell in cells if of_unknown_version(cell.result, versions)]:
        names = sorted({f"{one.protocol} v{one.version}, here v{versions[one.protocol]}" for one in new})
        lines.append(
            f"{counted(len(new), 'cell')} of a version of the protocol that is not known here, shown and never ranked; "
            f"update probebench: {_told(names)}"
        )
    return lines


def of_unknown_version(result: Result, versions: Mapping[str, int]) -> bool:
    """Says whether a measured result is of a later version of its protocol than the present one."""
    return result.provenance == "measured" and result.protocol_version > versions.get(result.protocol, math.inf)


def superseded(result: Result, versions: Mapping[str, int]) -> bool:
    """Says whether a measured result is of an earlier version of its protocol than the present one."""
    return result.provenance == "measured" and result.protocol_version < versions.get(result.protocol, 0)


def _told(texts: Sequence[str]) -> str:
    return "; ".join(texts[:3]) + (f"; and {len(texts) - 3} more" if len(texts) > 3 else "")


def _which(counts: Result, others: Sequence[Result]) -> str:
    """Says which result counts, and the scores of the others."""
    scores = [f"{one.backend or 'another'} {100 * (score_of(one).mean or 0):.1f}" for one in others]
    return f"{counts.backend or 'the first'} counts, beside it {', '.join(scores)}"


def pretraining_facts(facts: CheckpointFacts) -> tuple[object, ...]:
    """Returns everything that is known of a checkpoint, but for its names and the features that are taken of it."""
    sources = tuple(sorted((source.name, source.samples) for source in facts.sources))
    return (
        *(facts.method, facts.objective, sources, facts.samples_seen),
        *(facts.labels, facts.curation, facts.architecture, facts.run or 0, facts.label_noise or 0.0),
    )


def source_name(facts: CheckpointFacts) -> str:
    """Returns the pre-training sources in one text; "none" where there was no pre-training.

    A mixture of many is told by their number, and by a digest from others of as many.
    """
    names = sorted(source.name for source in facts.sources)
    if len(names) > MANY:
        return f"mixture of {len(names)} sources ({fingerprint(names)[:6]})"
    return " + ".join(names) or "none"


def source_samples(facts: CheckpointFacts) -> int | None:
    """Returns the samples that the sources hold together; None where one is unknown, or there is none."""
    known = [source.samples for source in facts.sources if source.samples != "unknown"]
    return sum(known) if known and len(known) == len(facts.sources) else None


def entrant_names(entrants: Iterable[Entrant]) -> dict[Entrant, str]:
    """Names entrants by their model, and by what sets them apart from others of the same model and input size."""
    groups: dict[tuple[str, int | None], list[Entrant]] = defaultdict(list)
    for entrant in dict.fromkeys(entrants):
        groups[entrant.model, entrant.input_size].append(entrant)
    names = {}
    for (model, _), members in groups.items():
        marks = [
            (one.dtype or "unknown dtype", one.layer, one.provenance, f"weights {str(one.weights_digest)[:8]}")
            for one in members
        ]
        differ = [place for place in range(len(marks[0])) if len({mark[place] for mark in marks}) > 1]
        for one, mark in zip(members, marks, strict=True):
            told = ", ".join(mark[place] for place in differ)
            names[one] = f"{model} ({told})" if told else model
    return names


def shots_order(shots: Shots) -> tuple[bool, int]:
    """Returns what numbers of shots are sorted by: ascending, full last."""
    return (True, 0) if shots == "full" else (False, int(shots))


def in_order(shots: Iterable[Shots]) -> list[Shots]:
    """Returns the numbers of shots that occur, ascending, full last, each once."""
    return sorted(set(shots), key=shots_order)


def shots_text(shots: Shots) -> str:
    """Returns "full", "zero-shot", "1 shot" or "5 shots"."""
    if shots == "full":
        return "full"
    return "zero-shot" if shots == 0 else counted(shots, "shot")


def size_text(samples: int | None) -> str:
    """Returns a size such as 2.7M."""
    if samples is None:
        return "unknown size"
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if samples >= unit:
            return f"{samples / unit:.3g}{letter}"
    return str(samples)


def counted(count: int, what: str) -> str:
    """Returns a count with its noun, such as "3 data sets"."""
    return f"{count} {what}{'' if count == 1 else 's'}"
