"""Classes of one data set among those of another, by their names."""

from collections.abc import Sequence

from probebench.errors import UsageError

# Names that a line gives, before it says how many more there are.
_NAMED = 3


def matched(own: Sequence[str], other: Sequence[str], names: tuple[str, str]) -> tuple[int, ...]:
    """Finds each class of one data set among those of another.

    Args:
        own: Class names of the set that probes are fitted on, by label.
        other: Those of the set that they are tested on: all of the first, or some.
        names: Ids of the two sets, for the error line.

    Returns:
        The label in the first set of each class of the second.

    Raises:
        UsageError: The second has a class that the first has not.
    """
    places = {name: label for label, name in enumerate(own)}
    if unknown := [name for name in other if name not in places]:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise UsageError(
            f"{names[1]} cannot test probes of {names[0]}, which has no class {', '.join(unknown[:_NAMED])}{more}; "
            "both need the same names of classes"
        )
    return tuple(places[name] for name in other)
