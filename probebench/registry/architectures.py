"""Which names mean one network: torchvision's resnet50 is timm's, so both have results of one architecture."""

from functools import cache
from pathlib import Path

from probebench.errors import RegistryError, one_line
from probebench.outside import read_toml

# The table lies beside the folders of entries.
TABLE = "architectures.toml"
LIBRARIES = ("timm", "open_clip", "torchvision")


def canonical_architecture(name: str) -> str:
    """Returns the one name of an architecture, ``library/name`` as results write it; its own where it has no other.

    Raises:
        RegistryError: The shipped table is malformed.
    """
    return _shipped().get(name, name)


@cache
def _shipped() -> dict[str, str]:
    # load checks the table with the entries, so it imports this.
    from probebench.registry.load import shipped_registry

    return read_architectures(shipped_registry() / TABLE)


def read_architectures(path: Path) -> dict[str, str]:
    """Reads a table of equivalents and returns the canonical name of every other name.

    Raises:
        RegistryError: It cannot be read, a name occurs twice, or one is not ``library/name``; the line names it.
    """
    try:
        table = read_toml(path)
    except OSError as error:
        raise RegistryError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RegistryError(f"{path}: not TOML: {one_line(error)}") from error
    canonical: dict[str, str] = {}
    seen: set[str] = set()
    for first, others in table.items():
        if not isinstance(others, list) or not others or not all(isinstance(one, str) for one in others):
            raise RegistryError(f'{path}: {first}: write a list of names, such as ["torchvision/resnet50"]')
        for name in (first, *others):
            library, _, architecture = name.partition("/")
            if library not in LIBRARIES or not architecture or "/" in architecture:
                raise RegistryError(f"{path}: {name!r} is not library/name with a library of {', '.join(LIBRARIES)}")
            if name in seen:
                raise RegistryError(f"{path}: {name!r} occurs twice; one network has one line")
            seen.add(name)
        canonical |= dict.fromkeys(others, first)
    return canonical
