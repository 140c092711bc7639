"""What a reader should know of results before trusting them."""

from probebench.results.cells import dataset_text, shots_text
from probebench.results.schema import Result
from probebench.results.short import lacks_images, with_shots


def notes(result: Result, *, prescribed: bool = False) -> list[str]:
    """Returns a line for each thing beside a result's score: what it lacked, and what stopped early.

    Args:
        result: The result.
        prescribed: Whether the protocol itself fixes the hyper-parameters, so that it is no accident.
    """
    lines = []
    short = result.short_classes
    if short and result.shots != "full":
        fewest, bare = min(one.train for one in short), sum(one.validation == 0 for one in short)
        lines.append(
            f"{len(short)} classes have too few training images and give what they have "
            f"(the smallest {fewest}; {bare} have none left for validation)"
        )
        if lacks_images(result):
            have, all_classes = with_shots(result) or (0, 0)
            lines.append(f"{have} of {all_classes} classes have {result.shots} images: shown, never ranked")
    elif short:
        lines.append(f"{len(short)} classes have no validation image, or no training image at all")
    if result.selection == "fixed" and result.trials and not prescribed:
        values = ", ".join(f"{name} = {value:g}" for name, value in result.trials[0].chosen.items())
        lines.append(f"no validation image is left, so {values} was taken unselected")
    if result.selection == "test":
        lines.append(f"chosen on the test part, as {result.protocol} says; never ranked")
    if stopped := sum(len(trial.unconverged) for trial in result.trials):
        lines.append(_stopped(result, stopped))
    if result.shared_with_train:
        lines.append(f"{result.shared_with_train} of {result.n_test} test images are in train too")
    if skipped := len(result.skipped_ids) + (len(result.shift.own_skipped_ids) if result.shift else 0):
        lines.append(f"{skipped} images could not be read and were left out; the result lists them")
    return [f"{name_of(result)}: {line}" for line in lines]


def _stopped(result: Result, stopped: int) -> str:
    if result.kind == "finetune":
        rates = ", ".join(
            f"{rate:g}" for rate in sorted({rate for trial in result.trials for rate in trial.unconverged})
        )
        return f"training diverged at rate {rates}; others were chosen from"
    chosen = sum(trial.converged is False for trial in result.trials)
    return (
        f"the solver stopped short of its tolerance in {stopped} fits, in {chosen} of {len(result.trials)} draws at "
        "the chosen strength; the result lists them"
    )


def failure(result: Result) -> list[str]:
    """Returns the line that says why a result has no score; none where it has one."""
    errors = [trial.error for trial in result.trials if trial.error]
    if not errors:
        return []
    which = "the trial" if len(result.trials) == 1 else f"{len(errors)} of {len(result.trials)} trials"
    return [f"{name_of(result)}: {which} failed, so there is no score: {errors[0]}"]


def name_of(result: Result) -> str:
    """Names a result for people: checkpoint, data set, protocol and shots."""
    return f"{result.model} on {dataset_text(result)}, {result.protocol}, {shots_text(result.shots)}"
