"""What takes no part in a study, and why."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from probebench.results.cells import counted, shots_text, size_text
from probebench.study.observations import Observation, group_by, same_sizes
from probebench.study.panel import IMAGES, level_of
from probebench.study.panels import PanelMaker

# So many equal figures, and half of those that can be compared: two published checkpoints are one written twice.
_REPEATED = 2
# Equal but for rounding to two decimals of a percent.
_ROUNDING = 6e-5


@dataclass(frozen=True)
class Dropped:
    """What took no part, and why."""

    provenance: str
    what: str
    why: str


@dataclass
class Part:
    """One provenance, while it is asked."""

    provenance: str
    maker: PanelMaker
    tolerance: float
    dropped: list[Dropped] = field(default_factory=list)

    def drop(self, what: str, why: str) -> None:
        """Notes what takes no part, once."""
        one = Dropped(self.provenance, what, why)
        if one not in self.dropped:
            self.dropped.append(one)


def recipe(cell: Observation) -> tuple[str, str, str]:
    """Returns what sources are compared within, beside their size."""
    return cell.method, cell.objective, cell.architecture


def newest(found: Sequence[Observation], part: Part) -> list[Observation]:
    """Leaves out results of older versions of a protocol."""

    def setting(cell: Observation) -> tuple[str, ...]:
        return cell.track.kind, cell.track.mode, cell.track.protocol

    newest = {key: max(cell.track.version for cell in own) for key, own in group_by(found, setting).items()}
    old = [cell for cell in found if cell.track.version < newest[setting(cell)]]
    for (protocol, version), count in Counter((cell.track.protocol, cell.track.version) for cell in old).items():
        part.drop(
            counted(count, "score"), f"of {protocol} v{version}, an older version of the protocol than others have"
        )
    return [cell for cell in found if cell.track.version == newest[setting(cell)]]


def unrepeated(found: Sequence[Observation], part: Part) -> list[Observation]:
    """Leaves out published checkpoints whose figures repeat those of another that has more: one was written twice.

    Only the best figure of large test sets is looked at: on small ones equal figures are chance.
    """
    if part.provenance != "published":
        return list(found)
    best: dict[tuple[object, ...], dict[tuple[object, ...], float]] = defaultdict(dict)
    for cell in found:
        if cell.shots != 0 and 0 < cell.score < 1 and (cell.images or IMAGES) >= IMAGES:
            best[cell.pretraining][cell.track, cell.dataset, cell.shots] = cell.score
    names = {cell.pretraining: f"{cell.source} ({size_text(cell.samples)}, {cell.architecture})" for cell in found}
    suspect: set[object] = set()
    for one, other in combinations(sorted(best, key=lambda facts: (len(best[facts]), str(facts))), 2):
        common = [place for place in best[one] if place in best[other]]
        same = sum(abs(best[one][place] - best[other][place]) < _ROUNDING for place in common)
        if same >= _REPEATED and 2 * same > len(common):
            suspect |= {one} if len(best[one]) < len(best[other]) else {one, other}
            part.drop(names[one], f"suspect data: {same} of {len(common)} figures repeat those of {names[other]}")
    return [cell for cell in found if cell.pretraining not in suspect]


def sized(cells: Sequence[Observation], part: Part) -> list[tuple[Observation, int]]:
    """Pairs cells of known size with their size class, and says which sizes have no equal."""
    known = [(cell, cell.samples) for cell in cells if cell.samples]
    for source in sorted({cell.source for cell in cells if not cell.samples}):
        part.drop(source, "its number of images is unknown: in no comparison at equal size")
    place = same_sizes((samples for _, samples in known), part.tolerance)
    for made_by, own in group_by(known, lambda one: recipe(one[0])).items():
        by_size: dict[int, set[str]] = defaultdict(set)
        for cell, samples in own:
            by_size[place[samples]].add(cell.source)
        matched = [size for size, names in by_size.items() if len(names) > 1]
        for size, names in sorted(by_size.items()):
            if len(names) == 1 and matched and size not in matched:
                (name,) = names
                near = min(matched, key=lambda other: max(other, size) / min(other, size))
                factor = max(near, size) / min(near, size)
                mend = f"; --size-tolerance {factor:.2f} would take them as one" if factor <= 1.5 else ""
                part.drop(
                    f"{name} at {size_text(size)} ({', '.join(made_by)})",
                    f"no other source has this size; the nearest that has is {size_text(near)}, {factor:.3g}x{mend}",
                )
    levels = group_by({cell.shots for cell in cells}, level_of)
    for shots in sorted(levels.get(None, ()) if "few-shot" in levels else (), key=str):
        part.drop(shots_text(shots), "neither few-shot (up to 50) nor full: shown, and in no verdict")
    return [(cell, place[samples]) for cell, samples in known]
