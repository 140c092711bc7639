"""What the page opens on: the shots and the input size at which most was measured, few labels before many."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from probebench.registry.entry import Shots
from probebench.results.cells import shots_order, shots_text

# More images a class than this are few to nobody.
FEW = 50


def sizes_apart(sizes: Iterable[int | None]) -> list[int]:
    """Returns the input sizes that are worth a view of their own, most used first; none where all share one."""
    counts = Counter(size for size in sizes if size)
    if len(counts) < 2:
        return []
    return [size for size, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if count > 1]


def opening(views: Sequence[Mapping[str, Any]], tier: str, settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the view that the page opens on, and why.

    Args:
        views: The page's: setting, shots, px (0 for all sizes), metric, tier, and lines by data set in ``single``.
        tier: Which results are ranked at first.
        settings: The ways of measuring, by number.
    """

    def scores(view: Mapping[str, Any]) -> int:
        return sum(1 for lines in view["single"].values() for line in lines if line[1] is not None)

    mine = [(scores(view), view) for view in views if view["tier"] == tier and view["metric"] == "own"]
    if not any(count for count, _ in mine):
        return {"setting": 0, "shots": views[0]["shots"] if views else "full", "px": 0, "why": ""}
    sizes = [(count, view) for count, view in mine if view["px"]] or mine
    groups = [
        [one for one in sizes if _is_few(one[1]["shots"])],
        [one for one in sizes if one[1]["shots"] == "full"],
        sizes,
    ]
    held = next(group for group in groups if any(count for count, _ in group))
    most = max(count for count, _ in held)
    # Of several that have as many, the middle one: one image a class is mostly luck, and many are no few.
    best = [view for count, view in held if count == most]
    first = [view for view in best if (view["setting"], view["px"]) == (best[0]["setting"], best[0]["px"])]
    chosen = sorted(first, key=lambda view: shots_order(view["shots"]))[(len(first) - 1) // 2]
    size = f" and {chosen['px']} px" if chosen["px"] else ""
    return {
        "setting": chosen["setting"],
        "shots": chosen["shots"],
        "px": chosen["px"],
        "why": f"The page opens on {shots_text(chosen['shots'])}{size} under “{settings[chosen['setting']]['name']}”, "
        f"where most was measured: {most:,} scores.",
    }


def _is_few(shots: Shots) -> bool:
    return isinstance(shots, int) and 0 < shots <= FEW
