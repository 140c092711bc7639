"""Errors that a user can mend: each one is a single line that names the thing and the mend."""

import difflib
import errno
from collections.abc import Iterable
from typing import Any


class ProbebenchError(Exception):
    """Something failed; the message says what and how to mend it."""

    exit_code = 1


class UsageError(ProbebenchError):
    """The command was asked for something that does not exist or does not fit together."""

    exit_code = 2


class RegistryError(ProbebenchError):
    """An entry of the registry is malformed, misnamed or collides with another."""


class WeightsError(ProbebenchError):
    """Weights are missing, damaged, out of reach or do not fit their architecture."""


class DatasetError(ProbebenchError):
    """A data set is missing, incomplete or has an image that cannot be read."""


class TooFewImagesError(DatasetError):
    """No class of a data set has as many training images as were asked for."""


class OutOfReachError(DatasetError):
    """An image could not be fetched now; it may be whole, so nothing may leave it out."""


class FeatureError(ProbebenchError):
    """A backbone gave features that cannot be used."""


class CacheError(ProbebenchError):
    """A feature file is damaged, foreign, incomplete or of another version."""


class ResultError(ProbebenchError):
    """A result file is damaged or does not agree with its predictions."""


class UnfinishedError(ProbebenchError):
    """Some of what was asked for could not be done; all else is done and written.

    Attributes:
        done: What is done, as it would have been returned.
        problems: A line for each thing that could not be done.
    """

    def __init__(self, done: Any, problems: Iterable[object]) -> None:
        """Takes what is done, and the problems: lines or errors."""
        self.done = done
        self.problems = tuple(dict.fromkeys(str(problem) for problem in problems))
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(self.problems[0] + more)


class ProbebenchWarning(UserWarning):
    """Something that a reader of results should know; the command line prints it as a line."""


# Names beyond which comparing with each takes a tenth of a second.
_MANY = 1000


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``; did you mean a, b?`` with the nearest names, or nothing where none is near."""
    asked, names = name.lower(), sorted(known)
    if len(names) > _MANY:
        names = [one for one in names if one.lower().startswith(asked[:3])] or names
    near = difflib.get_close_matches(asked, names, n=3, cutoff=0.45)
    near.sort(key=lambda one: not one.startswith(asked))
    return f"; did you mean {', '.join(near)}?" if near else ""


def one_line(error: BaseException, limit: int = 300) -> str:
    """Returns the first line of what an error says, cut to ``limit`` characters."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def describe_os_error(error: OSError) -> str:
    """Says what an operating-system error means for the user and how to mend it."""
    where = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"no room left to write{where}: free some disk space (or set PROBEBENCH_HOME to a larger disk) "
            "and run the same command again; what was finished is kept"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"no permission to write{where}: make it writable, or set PROBEBENCH_HOME (features, weights, data) "
            "or --out (results) to a folder that is"
            if error.errno == errno.EROFS
            else f"no permission for{where}: change its rights, or set PROBEBENCH_HOME (features, weights, data) "
            "or --out (results) to a folder that you may write"
        )
    if error.errno == errno.ENOENT:
        return f"there is no file or folder{where}"
    if error.errno == errno.ENOTDIR:
        return f"a file stands where a folder should be on the way to{where or ' it'}: name another folder"
    return f"{error.strerror or one_line(error)}{':' + where if where else ''}"
