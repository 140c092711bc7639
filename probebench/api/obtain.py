"""What an experiment takes from packages of npm and Debian: fetched and drawn before anything else."""

from typing import TYPE_CHECKING

from filelock import FileLock

from probebench.api.declared import Declared
from probebench.errors import ProbebenchError
from probebench.files import home
from probebench.registry.names import is_source

if TYPE_CHECKING:
    from probebench.registry.schema import DatasetSpec, SourceSpec


def obtain(declared: Declared) -> list[str]:
    """Prepares sources and packaged data sets that are not on this machine, one process at a time.

    Data sets that are downloaded from elsewhere, some of them very large, are left to ``datasets prepare``.

    Returns:
        A line for each that cannot be had.
    """
    registry, root = declared.registry, home() / "datasets"
    sources = dict.fromkeys(name for asked in declared.made for name in asked.sources)
    datasets = dict.fromkeys(name for _, name in declared.pairs if not is_source(name))
    wanted: list[SourceSpec | DatasetSpec] = [registry.source(name) for name in sources if not is_source(name)]
    wanted += [registry.dataset(name) for name in datasets]
    if not any(map(_is_missing, wanted)):
        return []
    root.mkdir(parents=True, exist_ok=True)
    problems = []
    with FileLock(root / ".obtain.lock"):
        for spec in wanted:
            try:
                _prepare(spec)
            except ProbebenchError as error:
                problems.append(str(error))
    return problems


def _is_missing(spec: "SourceSpec | DatasetSpec") -> bool:
    from probebench.datasets.captioned import open as captioned
    from probebench.datasets.named.loader import loader_of
    from probebench.datasets.open import record_path
    from probebench.registry.schema import SourceSpec

    root = home() / "datasets"
    if isinstance(spec, SourceSpec):
        return not captioned.record_path(spec, root).is_file()
    return loader_of(spec).packaged and not record_path(spec.id, root).is_file()


def _prepare(spec: "SourceSpec | DatasetSpec") -> None:
    """Prepares one, unless it is there: another process may have done it while this one waited."""
    from probebench.datasets.captioned.prepare import prepare_source
    from probebench.datasets.named.prepare import prepare
    from probebench.registry.schema import SourceSpec

    if not _is_missing(spec):
        return
    if isinstance(spec, SourceSpec):
        prepare_source(spec, home() / "datasets")
    else:
        prepare(spec, home() / "datasets")
