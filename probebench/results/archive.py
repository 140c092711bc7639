"""Reads the arrays of a predictions file, whoever wrote it: no array before its header is known to be as expected."""

import contextlib
import math
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probebench.errors import ResultError
from probebench.outside import kind_fault
from probebench.results.predictions import MEASURES, Measure

_MEMBERS = {"test_ids.npy": "U", "y_true.npy": "i", "y_pred.npy": "i"}
# The same of the own test part, where a run is on that of another data set: all three or none.
OWN = ("own_test_ids", "own_y_true", "own_y_pred")
_OWN = {f"{name}.npy": kind for name, kind in zip(OWN, _MEMBERS.values(), strict=True)}
# Members that a run may have or not, float32 like y_pred's shape.
_OPTIONAL = tuple(f"{name}.npy" for name in MEASURES)
# Images, and predictions in all draws together, of any data set that there is; ImageNet has 50,000.
_IMAGES, _PREDICTIONS = 1_000_000, 20_000_000
# Arrays of one file, unpacked, and letters of one id.
_UNPACKED, _LETTERS = 256 << 20, 1024
# The archive's own list of fourteen members takes some 1000 bytes.
_DIRECTORY = 4096
_END, _ZIP64 = b"PK\x05\x06", b"PK\x06\x07"


Arrays = tuple[npt.NDArray[np.generic], ...]


def read_arrays(
    path: Path, expected: tuple[int, int] | None = None
) -> tuple[Arrays, dict[str, Measure], Arrays | None]:
    """Reads test ids (images,), labels (images,) and predictions (trials, images), and what else is there.

    These are measures, and ids, labels and predictions of the own test part where the run is on another's.

    Args:
        path: The file.
        expected: How many trials and test images its result tells of; None: any numbers that a data set may have.

    Raises:
        ResultError: It holds anything but these arrays; the line says what, and names no file.
    """
    with opened_archive(path, ".npz", _MEMBERS, (*_OPTIONAL, *_OWN)) as archive:
        arrays, (trials, images) = _read_three(archive, _MEMBERS, expected)
        own = None
        if there := sorted(set(archive.namelist()) & set(_OWN)):
            if len(there) < len(_OWN):
                raise ResultError(f"holds {_listed(there)} without the others of its own test part")
            own, (own_trials, _) = _read_three(archive, _OWN, None)
            if own_trials != trials:
                raise ResultError(f"holds {own_trials} trials on its own test part, and {trials} on the other")
        return arrays, read_measures(archive, (trials, images)), own


def _read_three(
    archive: zipfile.ZipFile, members: Mapping[str, str], expected: tuple[int, int] | None
) -> tuple[Arrays, tuple[int, int]]:
    """Reads ids, labels and predictions by these names, and returns trials and images too."""
    shapes = [_shape(archive, name, kind) for name, kind in members.items()]
    _check_shapes(shapes, expected)
    trials, images = shapes[2]
    return tuple(_array(archive, name) for name in members), (trials, images)


def read_measures(archive: zipfile.ZipFile, shape: tuple[int, ...] | None) -> dict[str, Measure]:
    """Reads the measures in an open archive, by name; ``shape`` is what each must have, None any of two axes.

    Raises:
        ResultError: One is something else.
    """
    found: dict[str, Measure] = {}
    for member in sorted(set(archive.namelist()) & set(_OPTIONAL)):
        has = _shape(archive, member, "f")
        if shape is not None and has != shape:
            raise ResultError(f"its member {member} has shape {has}, and its predictions {shape}")
        values = _array(archive, member)
        if values.dtype != np.dtype("<f4"):
            raise ResultError(f"its member {member} has dtype {values.dtype}, where float32 belongs")
        found[member.removesuffix(".npy")] = values.astype(np.float32)
    return found


@contextlib.contextmanager
def opened_archive(
    path: Path, ending: str, names: Collection[str], optional: Collection[str] = ()
) -> Iterator[zipfile.ZipFile]:
    """Opens an archive that holds members of some names, each once, and no other; nothing of it is believed.

    Args:
        path: The file.
        ending: What such a file is called by.
        names: Of its members.
        optional: Of members that it may hold too, each once.

    Raises:
        ResultError: It is damaged, within the block too, or something else; the line names no file.
    """
    if (fault := kind_fault(path)) is not None:
        raise ResultError(fault)
    try:
        _check_directory(path, ending, names)
        with zipfile.ZipFile(path) as archive:
            _check_members(archive.infolist(), names, optional)
            yield archive
    except ResultError:
        raise
    # A damaged archive makes zipfile, zlib and numpy raise some ten kinds of errors.
    except Exception as error:
        raise ResultError(f"is damaged or no {ending} file ({type(error).__name__})") from error


def read_packed(archive: zipfile.ZipFile) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    """Reads labels y_true (images,) and predictions y_pred (images, trials) of an open archive: integers of any width.

    Raises:
        ResultError: They are something else.
    """
    (images,), (rows, trials) = (_shape(archive, name, "iu") for name in ("y_true.npy", "y_pred.npy"))
    if images != rows or images > _IMAGES or images * trials > _PREDICTIONS:
        raise ResultError(f"holds {images:,} labels, and predictions of shape ({rows:,}, {trials:,})")
    return _array(archive, "y_true.npy"), _array(archive, "y_pred.npy")


def _check_directory(path: Path, ending: str, names: Collection[str]) -> None:
    """Looks at the archive's last bytes, before the library makes an object of each member that it lists."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - 42, 0))
        end = stream.read()
    if len(end) < 22 or not end[-22:].startswith(_END):
        raise ResultError(f"is damaged or no {ending} file (it does not end as one)")
    if end[:4] == _ZIP64 or int.from_bytes(end[-10:-6], "little") > _DIRECTORY:
        raise ResultError(f"must hold {_listed(names)}, each once, and lists far more")


def _listed(names: Collection[str]) -> str:
    *some, last = (name.removesuffix(".npy") for name in names)
    return f"{', '.join(some)} and {last}" if some else last


def _check_members(members: list[zipfile.ZipInfo], names: Collection[str], optional: Collection[str]) -> None:
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or member.filename.startswith(("/", "\\")) or ":" in parts[0]:
            raise ResultError(f"its member {member.filename!r} points outside")
        if member.filename not in names and member.filename not in optional:
            raise ResultError(f"its member {member.filename!r} does not belong there")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 0x1:
            raise ResultError(f"its member {member.filename} is encrypted or compressed in a way that NumPy never uses")
    listed = [member.filename for member in members]
    if sorted(name for name in listed if name not in optional) != sorted(names) or len(listed) > len(set(listed)):
        raise ResultError(f"must hold {_listed(names)}, each once")
    if min(member.header_offset for member in members):
        raise ResultError("holds something else before its first member")
    if (size := sum(member.file_size for member in members)) > _UNPACKED:
        raise ResultError(f"is too large: {size / 1e6:.0f} MB unpacked, where {_UNPACKED / 1e6:.0f} are allowed")


def _shape(archive: zipfile.ZipFile, name: str, kinds: str) -> tuple[int, ...]:
    """Returns what an array's header says, which must agree with the member's size: numpy would believe it."""
    member = archive.getinfo(name)
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream, max_header_size=1000)
        if dtype.hasobject:
            raise ResultError(f"its member {member.filename} holds pickled objects, which could run code")
        wide = dtype.itemsize > (4 * _LETTERS if dtype.kind == "U" else 8)
        if dtype.kind not in kinds or len(shape) != _axes(member.filename) or wide:
            raise ResultError(f"its member {member.filename} has dtype {dtype} and shape {shape}")
        if min(shape) < 0 or stream.tell() + math.prod((*shape, dtype.itemsize)) != member.file_size:
            raise ResultError(f"its member {member.filename} is not as long as its header says")
        return shape


def _axes(member: str) -> int:
    return 1 if member.removeprefix("own_") in ("test_ids.npy", "y_true.npy") else 2


def _check_shapes(shapes: Sequence[tuple[int, ...]], expected: tuple[int, int] | None) -> None:
    ids, labels, (trials, images) = shapes
    if ids != (images,) or labels != (images,):
        raise ResultError(f"has {ids[0]} ids, {labels[0]} labels and {images} images")
    if images > _IMAGES or trials * images > _PREDICTIONS:
        raise ResultError(f"holds {images:,} images in {trials:,} trials: no data set has so many")
    if expected is not None and (trials, images) != expected:
        raise ResultError(
            f"holds {images} images in {trials} trials, and its result tells of {expected[1]} in {expected[0]}"
        )


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[np.generic]:
    with archive.open(name) as stream:
        array: npt.NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=1000)
    return array
