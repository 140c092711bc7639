"""Results on fewer images than their names say: of classes that lack some, and of trial runs. Shown, never ranked."""

from probebench.registry.names import TRIAL
from probebench.results.schema import Result


def with_shots(result: Result) -> tuple[int, int] | None:
    """Returns how many classes have as many labelled images as the shots say, and how many classes there are.

    Results from before classes were counted have images of the draw to tell it by, which is exact but for protocols
    that validate inside the shots; there it counts too few by the share that validates.

    Returns:
        None where no class lacks any.
    """
    if result.shots in ("full", 0) or not result.trials:
        return None
    shots = int(result.shots)
    lacking = [one for one in result.short_classes if one.train + one.validation < shots]
    if not lacking:
        return None
    if result.classes is not None:
        return result.classes - len(lacking), result.classes
    have = (result.trials[0].train - sum(one.train for one in lacking)) // shots
    return have, have + len(lacking)


def is_trial(result: Result) -> bool:
    """Says whether a result is of a trial run on some images of a data set; never ranked."""
    return TRIAL in result.dataset


def on_too_few(result: Result) -> bool:
    """Says whether a result is of a trial run, or lacks images: it is compared with no other."""
    return is_trial(result) or lacks_images(result)


def lacks_images(result: Result) -> bool:
    """Says whether fewer than half of the classes have as many labelled images as the shots say; never ranked."""
    counted = with_shots(result)
    return counted is not None and 2 * counted[0] < counted[1]
