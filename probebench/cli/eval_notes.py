"""What ``probebench eval`` tells about results beside their scores."""

from collections.abc import Sequence
from typing import Any

from probebench.cli.console import warn


def warn_about(result: Any, prescribed: bool) -> None:
    """Says once for each result what a reader should know before trusting it.

    Args:
        result: The result.
        prescribed: Whether the protocol itself fixes the strength.
    """
    from probebench.results.cells import shots_text

    what = f"{result.model} on {result.dataset}, {shots_text(result.shots)}"
    if result.short_classes and result.shots != "full":
        fewest = min(short.train for short in result.short_classes)
        bare = sum(short.validation == 0 for short in result.short_classes)
        warn(
            f"{what}: {len(result.short_classes)} classes have too few training images and give what they have "
            f"(the smallest {fewest}; {bare} have none left for validation)"
        )
    elif result.short_classes:
        warn(f"{what}: {len(result.short_classes)} classes have no validation image, or no training image at all")
    if result.selection == "fixed" and not prescribed:
        values = ", ".join(f"{name} = {value:g}" for name, value in result.trials[0].chosen.items())
        warn(f"{what}: no validation image is left, so {values} was taken unselected")
    chosen_short = sum(trial.converged is False for trial in result.trials)
    short = sum(len(trial.unconverged) for trial in result.trials)
    if short:
        warn(
            f"{what} ({result.protocol}): the solver stopped short of its tolerance in {short} fits, in {chosen_short} "
            f"of {len(result.trials)} draws at the chosen strength; the result lists them"
        )
    if result.skipped_ids:
        warn(f"{what}: {len(result.skipped_ids)} images could not be read and were left out; the result lists them")
    for trial in result.trials:
        if trial.error:
            warn(f"{what}, draw {trial.draw_seed}: failed: {trial.error}")


def edges(results: Sequence[Any]) -> str | None:
    """Says how many choices lie at the end of what was tried, widened grids included; None where none does."""
    trials = [trial for result in results for trial in result.trials if trial.selection == "validation"]
    ends = sum(
        trial.tried is not None
        and trial.tried[0] != trial.tried[1]
        and any(value in trial.tried for name, value in trial.chosen.items() if name != "learning_rate")
        for trial in trials
    )
    if not ends:
        return None
    return f"{ends} of {len(trials)} choices are the smallest or largest value that was tried (on_edge in the results)"
