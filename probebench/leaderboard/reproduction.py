"""Reproductions: what somebody ran again, in files of their own, and which results that makes count as reproduced."""

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from probebench.errors import ResultError
from probebench.fingerprint import fingerprint
from probebench.leaderboard.records import read_record
from probebench.leaderboard.rules import REPRODUCTIONS, from_scratch
from probebench.registry.checkpoint import Weights
from probebench.registry.entry import Id, Whole
from probebench.results.packed import SUFFIX, is_packed
from probebench.results.schema import Digest, Items, Record, Result, UnitScore

# Draws beyond the published ones that each few-shot probe is run on too.
FRESH_DRAWS = 2
# Seeds of published draws are 0, 1, ...; fresh ones begin here.
_FIRST_FRESH, _SEEDS = 1000, 10**6
# How far a mean may move when device, batch size or versions differ: fp32 features then agree to a relative 1e-5, so a
# prediction moves only where two classes all but tie, and a strength only where two validation losses do. 0.2 points of
# accuracy are ten times what was seen on digits, and a tenth of a small data set's interval. Of few test images, two
# may move. In half precision features agree to 1e-3, and the allowance is 1 point.
POINTS = {"fp32": 0.002, "bf16": 0.01, "fp16": 0.01}
IMAGES = 2
# Training multiplies every difference of rounding, so one trial of a fine-tune may move by this.
TRAINED_POINTS = 0.03

# A name of the domain name system, and no number or name of one network.
_PUBLIC_HOST = re.compile(r"https://(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*(?::\d+)?/", re.ASCII | re.IGNORECASE)

Line = Annotated[str, StringConstraints(pattern=r"^[ -~\u00a0-\u024f]{1,200}$")]
Moment = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Count = Annotated[int, Field(ge=0)]


class FreshDraw(Record):
    """One draw beyond the published ones: its seed, its digest, and the score on the test part."""

    seed: Annotated[int, Field(ge=_FIRST_FRESH)]
    digest: Digest
    score: UnitScore


class RerunCell(Record):
    """One cell that was run again.

    Attributes:
        predictions: sha256 of the predictions that were there.
        trial: Which one of a fine-tune's trials was trained again; None: all trials of a cell that trains no network.
        recorded: The mean that was there, of these trials.
        found: The mean now.
        moved: Predictions that are other ones now.
        differs: What differs from the recorded setting; with nothing, no prediction may move.
        fresh: Draws beyond the published ones.
    """

    predictions: Digest
    trial: Count | None = None
    recorded: UnitScore
    found: UnitScore
    moved: Count
    differs: Items[Line] = []
    fresh: Items[FreshDraw] = []


class Reproduction(Record):
    """Who ran which cells of one checkpoint again, and what came of it.

    Attributes:
        weights_digest: sha256 over the tensors; None where only untrained twins were trained again.
        weights: Where the weights were read from, as the entry says.
        commit: Of probebench, without changes of its own.
        seed: A text that chose the cells and the fresh draws.
        cells: Those that were run, by their place below the checkpoint's folder.
        covers: sha256 of the predictions of every cell that the seed could have chosen, by place.
    """

    schema_version: Annotated[Literal[1], Whole] = 1
    model: Id
    weights_digest: Digest | None
    weights: Weights
    by: Line
    when: Moment
    commit: Commit
    device: Line
    versions: dict[str, Line]
    seed: Line
    cells: dict[str, RerunCell]
    covers: dict[str, Digest]

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.model}-{fingerprint(self.model_dump(mode='json'))[:8]}.json"

    @property
    def largest(self) -> float:
        """The largest difference between a mean that was there and the mean found."""
        return max(abs(one.found - one.recorded) for one in self.cells.values())


def place_of(path: Path) -> str:
    """Returns what a reproduction calls a result: its data set's folder and its name."""
    return f"{path.parent.name.removesuffix(SUFFIX if is_packed(path) else '')}/{path.name}"


def order_of(seed: str, model: str, place: str, predictions: str) -> str:
    """Returns what cells are sorted by, and the first are run again."""
    return fingerprint([seed, model, place, predictions])


def fresh_seeds(seed: str, model: str, place: str) -> tuple[int, ...]:
    """Returns the seeds of a cell's draws beyond the published ones."""
    found: dict[int, None] = {}
    number = 0
    while len(found) < FRESH_DRAWS:
        found[_FIRST_FRESH + int(fingerprint([seed, model, place, number])[:12], 16) % _SEEDS] = None
        number += 1
    return tuple(found)


def is_public(weights: Weights) -> bool:
    """Says whether anybody can get the same weights: a package, a seed, a library's tag, or a file with its sha256."""
    if weights.scheme in ("pkg", "random", "recipe", "timm", "open_clip"):
        return True
    if weights.scheme == "https" and not _PUBLIC_HOST.match(weights.uri):
        return False
    return weights.scheme in ("hf", "https") and weights.sha256 not in ("unknown", "none")


def allowed(dtype: str | None, images: int, trained: bool) -> float:
    """Returns how far a mean may move when it is run again in another setting."""
    points = TRAINED_POINTS if trained else POINTS.get(dtype or "", POINTS["fp32"])
    return max(points, IMAGES / images)


def read_reproduction(path: Path) -> Reproduction:
    """Reads a reproduction.

    Raises:
        ResultError: It is damaged or of another schema; the line names no file.
    """
    try:
        return read_record(path, Reproduction)
    except FileNotFoundError as error:
        raise ResultError(f"cannot be read ({error.strerror})") from error


def check_reproduction(path: Path, one: Reproduction, results: Mapping[str, Result]) -> Iterator[str]:
    """Yields what is wrong with a reproduction by itself, and against the results of its checkpoint.

    Args:
        path: Its file.
        one: What it says.
        results: Those that are there, by place; one that has changed since is not covered, and no fault.
    """
    if path.name != one.file:
        yield f"must be called {one.file}"
    if not one.cells:
        yield "no cell was run again"
    if not _has_been(one.when):
        yield f"{one.when} is no time that has been"
    if not is_public(one.weights):
        yield f"the weights of {one.model} are not public ({one.weights.uri}), so nobody else can run it"
    ordered = sorted(one.covers, key=lambda place: order_of(one.seed, one.model, place, one.covers[place]))
    if set(ordered[: len(one.cells)]) != set(one.cells):
        yield "its cells are not those that its seed chooses"
    for place, cell in one.cells.items():
        if cell.predictions != one.covers.get(place):
            yield f"{place} is not the cell that it covers"
        result = results.get(place)
        if result is not None and _predictions(result) == cell.predictions:
            for fault in _check_cell(one, place, cell, result):
                yield f"{place}: {fault}"


def _has_been(when: str) -> bool:
    """Says whether a moment is one, and past; clocks of other machines may be a day ahead."""
    try:
        found = datetime.datetime.fromisoformat(when)
    except ValueError:
        return False
    return found <= datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)


def _check_cell(one: Reproduction, place: str, cell: RerunCell, result: Result) -> Iterator[str]:
    trained = result.kind == "finetune"
    if result.weights_digest != one.weights_digest and not from_scratch(result):
        yield "of other weights"
    if trained != (cell.trial is not None) or (cell.trial or 0) >= len(result.trials):
        yield f"trial {cell.trial} of {len(result.trials)}"
        return
    told = result.mean if cell.trial is None else result.trials[cell.trial].test_score
    if told is None or abs(told - cell.recorded) > 1e-9:
        yield f"recorded is {cell.recorded:.4f}, and the result says {told}"
    if (fault := moved_too_far(result, cell)) is not None:
        yield fault
    few_shot = result.shots not in (0, "full") and not trained
    if [draw.seed for draw in cell.fresh] != list(fresh_seeds(one.seed, one.model, place) if few_shot else ()):
        yield "its fresh draws are not those that its seed chooses"


def moved_too_far(result: Result, cell: RerunCell) -> str | None:
    """Says what is wrong where a cell that was run again is not what its result tells; None where nothing is."""
    most = allowed(result.dtype, result.n_test or 1, cell.trial is not None)
    if abs(cell.found - cell.recorded) > most:
        return f"mean is {cell.recorded:.4f}, and run again {cell.found:.4f}: further apart than {most:.4f}"
    if cell.moved and not cell.differs and cell.trial is None:
        return f"{cell.moved} predictions are other ones when run again in the same setting"
    return worse_on_fresh_draws(result, cell)


def worse_on_fresh_draws(result: Result, cell: RerunCell) -> str | None:
    """Says that draws which nobody knew are far below the published ones: by a t-test, at one in a thousand.

    The better of them counts, as one draw. At one shot a single draw may fall to chance by itself: one of 40 did, of a
    checkpoint whose other draws scored 15%.
    """
    from math import sqrt

    from scipy.stats import t

    known = [trial.test_score for trial in result.trials if trial.test_score is not None]
    if not cell.fresh or len(known) < 2:
        return None
    mean, fresh = sum(known) / len(known), max(one.score for one in cell.fresh)
    spread = sqrt(sum((score - mean) ** 2 for score in known) / (len(known) - 1))
    error = spread * sqrt(1 / len(known) + 1)
    least = mean - float(t.isf(1e-3, len(known) - 1)) * error - IMAGES / (result.n_test or 1)
    if fresh >= least:
        return None
    return (
        f"draws that nobody knew score {fresh:.4f}, and the published ones {mean:.4f}: below {least:.4f}, by no chance"
    )


def _predictions(result: Result) -> str | None:
    return (result.predictions or {}).get("sha256")


@dataclass
class Reproduced:
    """Which results count as reproduced."""

    _by: dict[tuple[str, str], Reproduction] = field(default_factory=dict)

    @classmethod
    def of(cls, reproductions: Iterable[Reproduction]) -> "Reproduced":
        """Gathers reproductions that were verified; of several of one result, that with most cells counts."""
        found = cls()
        for one in sorted(reproductions, key=lambda one: (len(one.cells), one.when)):
            for predictions in one.covers.values():
                found._by[one.model, predictions] = one
        return found

    @property
    def known(self) -> bool:
        """Whether there is any reproduction: without one, a page ranks what everybody reports."""
        return bool(self._by)

    def by(self, result: Result) -> Reproduction | None:
        """Returns the reproduction that covers a result."""
        return self._by.get((result.model, _predictions(result) or ""))


def read_reproductions(folders: Iterable[Path]) -> list[Reproduction]:
    """Reads the reproductions beside some results folders; ``leaderboard verify`` says what is wrong with others."""
    found = {}
    for folder in folders:
        for path in sorted((folder.parent / REPRODUCTIONS).glob("*.json")):
            try:
                one = read_reproduction(path)
            except ResultError:
                continue
            if one.cells and is_public(one.weights):
                found[path.name] = one
    return list(found.values())
