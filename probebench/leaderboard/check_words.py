"""What a stranger writes freely: words of an entry that name and group checkpoints, and records of an environment."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from probebench.leaderboard.check_copies import reads_as
from probebench.registry.layers import known_layers
from probebench.registry.schema import CheckpointSpec

# Letters of other scripts look like Latin ones, marks that stand alone cover what is beside them, tags are no words.
_LATIN = re.compile(r"[ -;=?-~\u00a1-\u00ac\u00ae-\u017f]+")
_LONGEST_TITLE, _LONGEST = 200, 2000
# Of an environment: values, objects inside one another, and letters of a text.
_VALUES, _DEPTH = 20_000, 5
_LARGEST = 10**18


def check_words(spec: CheckpointSpec, others: Iterable[CheckpointSpec]) -> Iterator[str]:
    """Yields words that do not read as what they are, and those that read like what others group by.

    Args:
        spec: The entry of a submission.
        others: Entries whose words are known.
    """
    for name, text in _words(spec):
        most = _LONGEST_TITLE if name == "title" else _LONGEST
        if not _LATIN.fullmatch(text) or not reads_as(text) or len(text) > most:
            yield f"{name} is {ascii(text)[:80]}: one line of at most {most} Latin letters, digits and signs"
    known: dict[str, set[str]] = {}
    for other in others:
        for name, text in _words(other):
            known.setdefault(name, set()).add(text)
    for name, text in _words(spec):
        if name not in _GROUPS or text in known.get(name, ()):
            continue
        alike = sorted(one for one in known.get(name, ()) if reads_as(one) == reads_as(text))
        if alike:
            yield f"{name} {ascii(text)} reads like {alike[0]!r}: write it so, or otherwise"
    offered = known_layers(spec.architecture) or {}
    width = offered.get(spec.output.layer, spec.output.features)
    if width != spec.output.features:
        yield f"features is {spec.output.features}, and {spec.output.layer} of its architecture has {width}"


_GROUPS = ("objective", "labels", "curation", "source")


def _words(spec: CheckpointSpec) -> Iterator[tuple[str, str]]:
    training = spec.pretraining
    yield from (("title", spec.title), ("paper", spec.paper), ("url", spec.url), ("license", spec.license))
    yield from (("objective", training.objective), ("labels", training.labels), ("curation", training.curation))
    for source in training.sources:
        yield "source", source.name


def check_environment(environment: dict[str, Any]) -> Iterator[str]:
    """Yields what no record of versions and settings holds: it has no schema, and is read by people and programs."""
    found = 0
    left: list[tuple[object, int]] = [(environment, 0)]
    while left:
        value, depth = left.pop()
        found += 1
        if found > _VALUES or depth > _DEPTH:
            yield f"environment holds more than {_VALUES} values, or more than {_DEPTH} inside one another"
            return
        if isinstance(value, dict):
            left += [(one, depth + 1) for pair in value.items() for one in pair]
        elif isinstance(value, list):
            left += [(one, depth + 1) for one in value]
        elif isinstance(value, str) and not (value.isprintable() and len(value) <= _LONGEST):
            yield f"environment holds {ascii(value)[:80]}, which is no line of text"
        elif isinstance(value, int | float) and not abs(value) <= _LARGEST:
            yield f"environment holds a number that is out of range: {str(value)[:20]}"
    # Of an installed package nobody knows whether files were changed: null.
    known = {"versions": dict, "extraction": dict, "training": dict, "dirty": bool | None}
    for name, kind in known.items():
        if name in environment and not isinstance(environment[name], kind):
            yield f"environment says {ascii(environment[name])[:80]} for {name}"
