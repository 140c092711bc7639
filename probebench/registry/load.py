"""Reads the registry's TOML files and finds entries by id, glob or comma list."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from probebench.errors import RegistryError, UsageError, did_you_mean, one_line
from probebench.outside import explain, read_toml, strictly
from probebench.registry.architectures import TABLE, read_architectures
from probebench.registry.names import expand, split_list
from probebench.registry.protocol import ZEROSHOT
from probebench.registry.schema import (
    CheckpointSpec,
    DatasetSpec,
    Entry,
    ExperimentSpec,
    FinetuneProtocol,
    ProtocolSpec,
    RecipeSpec,
    SourceSpec,
    SuiteSpec,
)

KINDS: dict[str, type[Entry]] = {
    "checkpoints": CheckpointSpec,
    "datasets": DatasetSpec,
    "protocols": ProtocolSpec,
    "recipes": RecipeSpec,
    "sources": SourceSpec,
    "suites": SuiteSpec,
    "experiments": ExperimentSpec,
}
E_ = TypeVar("E_", bound=Entry)


def shipped_registry() -> Path:
    """Returns the folder of the entries that come with probebench, in a wheel or in a checkout."""
    packaged = Path(__file__).parent / "data"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "registry"


def checked(kind: type[E_], **values: object) -> E_:
    """Makes a part of an entry from what a user gave.

    Raises:
        UsageError: A value is not what it can be; the line names it.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(explain(error, facts=kind is not ExperimentSpec)) from error


def read_file(path: Path, kind: type[E_]) -> E_:
    """Reads and checks a file, whatever it is called.

    Raises:
        RegistryError: It cannot be read, is not TOML or does not follow the schema.
    """
    try:
        values = read_toml(path)
    except OSError as error:
        raise RegistryError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RegistryError(f"{path}: not TOML: {one_line(error)}") from error
    try:
        if kind is ExperimentSpec:
            # In it one value stands for a list of it, and its own types are strict.
            return kind.model_validate(values)
        return strictly(kind, values)
    except ValidationError as error:
        raise RegistryError(f"{path}: {explain(error, facts=kind is not ExperimentSpec)}") from error


def read_entry(path: Path, kind: type[E_]) -> E_:
    """Reads and checks one entry.

    Raises:
        RegistryError: The file is not TOML, does not follow the schema, or its name is not its id.
    """
    entry = read_file(path, kind)
    entry_id = getattr(entry, "id", None)
    if entry_id != path.stem:
        raise RegistryError(f"{path}: the id is {entry_id!r}, so the file must be called {entry_id}.toml")
    return entry


def _schema_of(path: Path, kind: str) -> type[Entry]:
    """Returns the schema of an entry: protocols that fine-tune have one of their own."""
    if kind != "protocols":
        return KINDS[kind]
    try:
        probe = read_toml(path).get("probe")
    except (OSError, ValueError):
        # read_entry says what is wrong with it.
        return ProtocolSpec
    return FinetuneProtocol if probe == "finetune" else ProtocolSpec


@cache
def _shipped(path: Path, kind: str, written: int) -> Entry:
    """Reads a shipped entry once, and again when it was written anew: a process loads the registry many times."""
    return read_entry(path, _schema_of(path, kind))


def _collect(folder: Path, kind: str, into: dict[str, Entry], problems: list[str], seen: dict[str, Path]) -> None:
    shipped = folder == shipped_registry().resolve()
    for path in sorted((folder / kind).glob("*.toml")):
        try:
            if shipped:
                entry = _shipped(path, kind, path.lstat().st_mtime_ns)
            else:
                entry = read_entry(path, _schema_of(path, kind))
        except RegistryError as error:
            problems.append(str(error))
            continue
        name = path.stem
        if name in seen:
            problems.append(f"{path}: the id {name!r} is already taken by {seen[name]}; choose another")
            continue
        seen[name] = path
        into[name] = entry


@dataclass(frozen=True, kw_only=True)
class Registry:
    """All entries by id; ``finetune_protocols`` are the protocols that fine-tune.

    ``problems`` lists the entries that could not be read, one line each.
    """

    checkpoints: Mapping[str, CheckpointSpec]
    datasets: Mapping[str, DatasetSpec]
    protocols: Mapping[str, ProtocolSpec]
    finetune_protocols: Mapping[str, FinetuneProtocol]
    recipes: Mapping[str, RecipeSpec]
    sources: Mapping[str, SourceSpec]
    suites: Mapping[str, SuiteSpec]
    experiments: Mapping[str, ExperimentSpec]
    folders: tuple[Path, ...]
    problems: tuple[str, ...]

    @classmethod
    def load(cls, extra: Sequence[Path] = (), environ: Mapping[str, str] = os.environ) -> "Registry":
        """Loads the shipped entries, then $PROBEBENCH_REGISTRY's, then those of ``extra`` folders.

        Raises:
            UsageError: A folder does not exist.
            RegistryError: An entry is malformed or two entries share an id.
        """
        registry = cls.load_leniently(extra, environ)
        if registry.problems:
            more = (
                f" (and {len(registry.problems) - 1} more: probebench models validate)" if registry.problems[1:] else ""
            )
            raise RegistryError(registry.problems[0] + more)
        return registry

    @classmethod
    def load_leniently(cls, extra: Sequence[Path] = (), environ: Mapping[str, str] = os.environ) -> "Registry":
        """Like load, but keeps the problems in ``problems`` instead of raising for the first."""
        named = [Path(part) for part in environ.get("PROBEBENCH_REGISTRY", "").split(os.pathsep) if part]
        folders = list(dict.fromkeys([shipped_registry().resolve(), *(path.resolve() for path in [*named, *extra])]))
        for folder in folders:
            if not folder.is_dir():
                raise UsageError(f"registry folder {folder} does not exist; check --registry and PROBEBENCH_REGISTRY")
        entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        problems: list[str] = []
        for kind in KINDS:
            seen: dict[str, Path] = {}
            for folder in folders:
                _collect(folder, kind, entries[kind], problems, seen)
        for suite in entries["suites"].values():
            assert isinstance(suite, SuiteSpec)
            problems += [
                f"suite {suite.id}: no data set {name!r}" for name in suite.datasets if name not in entries["datasets"]
            ]
        protocols = entries["protocols"]
        entries["finetune_protocols"] = {
            name: entry for name, entry in protocols.items() if isinstance(entry, FinetuneProtocol)
        }
        entries["protocols"] = {
            name: protocols[name] for name in protocols.keys() - entries["finetune_protocols"].keys()
        }
        entries["protocols"] = dict(sorted(entries["protocols"].items()))
        return cls(**entries, folders=tuple(folders), problems=tuple(problems))  # type: ignore[arg-type]

    @property
    def versions(self) -> dict[str, int]:
        """The present version of each protocol."""
        specs = (*self.protocols.values(), *self.finetune_protocols.values(), ZEROSHOT)
        return {spec.id: spec.version for spec in specs}

    def entry_file(self, kind: str, name: str) -> Path:
        """Returns the file of an entry that is there."""
        return next(path for folder in self.folders if (path := folder / kind / f"{name}.toml").is_file())

    def checkpoint(self, name: str) -> CheckpointSpec:
        """Returns the checkpoint of that id; raises UsageError with the nearest names."""
        return _get("model", self.checkpoints, name, "probebench models list")

    def dataset(self, name: str) -> DatasetSpec:
        """Returns the data set of that id; raises UsageError with the nearest names."""
        return _get("data set", self.datasets, name, "probebench datasets list")

    def source(self, name: str) -> SourceSpec:
        """Returns the source of that id; raises UsageError with the nearest names."""
        return _get("source", self.sources, name, "probebench sources list")

    def recipe(self, name: str) -> RecipeSpec:
        """Returns the recipe of that id; raises UsageError with the nearest names."""
        return _get("recipe", self.recipes, name, f"known: {', '.join(self.recipes)}")

    def experiment(self, name: str) -> ExperimentSpec:
        """Returns the experiment of that id; raises UsageError with the nearest names."""
        return _get("experiment", self.experiments, name, f"known: {', '.join(self.experiments)}; or name a .toml file")

    def protocol(self, name: str) -> ProtocolSpec:
        """Returns the protocol of that id; raises UsageError with the nearest names."""
        if name in self.finetune_protocols:
            raise UsageError(f"protocol {name} fine-tunes; run it with probebench finetune --protocol {name}")
        return _get("protocol", self.protocols, name, f"known: {', '.join(sorted(self.protocols))}")

    def finetune_protocol(self, name: str) -> FinetuneProtocol:
        """Returns the fine-tune protocol of that id; raises UsageError with the nearest names."""
        if name in self.protocols:
            raise UsageError(f"protocol {name} is for probes; run it with probebench eval --protocol {name}")
        return _get(
            "fine-tune protocol", self.finetune_protocols, name, f"known: {', '.join(sorted(self.finetune_protocols))}"
        )

    def expand_protocols(self, patterns: Iterable[str]) -> list[str]:
        """Expands comma lists and globs into ids of probe protocols; one that fine-tunes is refused by name."""
        return self._expand(patterns, self.protocols, self.finetune_protocols, self.protocol)

    def expand_finetune_protocols(self, patterns: Iterable[str]) -> list[str]:
        """Expands comma lists and globs into ids of fine-tune protocols; one for probes is refused by name."""
        return self._expand(patterns, self.finetune_protocols, self.protocols, self.finetune_protocol)

    def _expand(
        self, patterns: Iterable[str], own: Iterable[str], others: Iterable[str], get: Callable[[str], Entry]
    ) -> list[str]:
        names = split_list(patterns, "protocol")
        for name in names:
            if name in others:
                get(name)
        return expand("protocol", names, own, f"known: {', '.join(sorted(own))}")


def _get(kind: str, entries: Mapping[str, E_], name: str, listing: str) -> E_:
    if name not in entries:
        raise UsageError(f"unknown {kind} {name!r}{did_you_mean(name, entries)} ({listing})")
    return entries[name]


def validate_path(path: Path) -> list[str]:
    """Checks one entry file, or every entry under a folder, and returns one line per problem.

    A file's kind follows from its folder (checkpoints, datasets, protocols, recipes, sources, suites, experiments);
    elsewhere it is a checkpoint, or by its name the table of architectures.

    Raises:
        UsageError: There is nothing to check at ``path``.
    """
    if path.is_dir():
        files = sorted(path.rglob("*.toml"))
    elif path.is_file():
        files = [path]
    else:
        raise UsageError(f"{path} does not exist")
    if not files:
        raise UsageError(f"{path} holds no .toml entry")
    problems: list[str] = []
    seen: dict[tuple[str, str], Path] = {}
    for file in files:
        kind = file.parent.name if file.parent.name in KINDS else "checkpoints"
        try:
            if file.name == TABLE and file.parent.name != kind:
                read_architectures(file)
                continue
            read_entry(file, _schema_of(file, kind))
        except RegistryError as error:
            problems.append(str(error))
        if (kind, file.stem) in seen:
            problems.append(f"{file}: the id {file.stem!r} is already taken by {seen[kind, file.stem]}; choose another")
        seen[kind, file.stem] = file
    return problems
