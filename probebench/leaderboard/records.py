"""Reads a record that came with a submission, trusting nothing in it."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from probebench.errors import ResultError
from probebench.leaderboard.rules import LARGEST
from probebench.outside import explain, read_json
from probebench.results.store import newer_schema

Kind = TypeVar("Kind", bound=BaseModel)


def read_record(path: Path, kind: type[Kind]) -> Kind:
    """Reads one JSON file as a record.

    Raises:
        FileNotFoundError: It is not there.
        ResultError: It cannot be read, is damaged or of another schema; the line names no file.
    """
    try:
        content = read_json(path, LARGEST[".json"])
        if (version := newer_schema(content)) is not None:
            raise ResultError(version)
        return kind.model_validate_json(content, strict=True)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ResultError(f"cannot be read ({error.strerror})") from error
    except ValidationError as error:
        told = explain(error, whole="record", most=3)
        raise ResultError(f"is damaged or of another schema ({told})") from error
    except ValueError as error:
        raise ResultError(f"is damaged ({error})") from error
