"""Reads a weights file that nobody vouches for: tensors come out, and nothing in the file is run."""

import contextlib
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

import torch
from safetensors.torch import load_file

from probebench.errors import WeightsError, describe_os_error, one_line
from probebench.outside import kind_fault

_SAVE_AGAIN = "save its state_dict alone with torch.save or safetensors"
_FETCH_AGAIN = "fetch it again"
# Files list each storage once; a file of which tensors take many times its size shares storages to no honest end.
_MOST_SHARED = 8
# Bytes that tell what a file is; and of a safetensors header, which takes about 100 for each tensor.
_HEAD, _LARGEST_HEADER = 256, 2 << 20


class _Inert:
    """Stands in for every allowed object that is not a tensor: takes whatever it is given and does nothing."""

    def __new__(cls, *_: object, **__: object) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _InertMapping:
    """The same for kinds of dict, into which the unpickler puts items: only torch's own kinds take them."""

    def __new__(cls, *_: object, **__: object) -> OrderedDict[object, object]:  # type: ignore[misc]
        return OrderedDict()


# What trainers pickle beside the tensors: options, scores, paths, dates. Each name stands for an empty object of ours,
# so that not even these classes run.
_MAPPINGS = (
    "collections.defaultdict",
    "easydict.EasyDict",
    "fvcore.common.config.CfgNode",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "vissl.utils.hydra_config.AttrDict",
    "yacs.config.CfgNode",
)
_OBJECTS = (
    "argparse.Namespace",
    *(f"datetime.{kind}" for kind in ("date", "datetime", "timedelta")),
    *(f"numpy.{core}.multiarray.{maker}" for core in ("core", "_core") for maker in ("_reconstruct", "scalar")),
    *(f"numpy.{kind}" for kind in ("dtype", "ndarray")),
    *(f"omegaconf.base.{kind}" for kind in ("ContainerMetadata", "Metadata")),
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Float", "Integer", "String")),
    *(f"pathlib.{kind}" for kind in ("PosixPath", "PurePosixPath", "WindowsPath", "_local.PosixPath")),
    "types.SimpleNamespace",
    "typing.Any",
    *(f"builtins.{kind}" for kind in ("bool", "dict", "float", "int", "list", "object", "str", "tuple")),
)
_ALLOWED: list[tuple[Callable[..., object], str]] = [
    *((_InertMapping, name) for name in _MAPPINGS),
    *((_Inert, name) for name in _OBJECTS),
]


def read_checkpoint(path: Path) -> Mapping[object, object]:
    """Reads a safetensors file or a torch checkpoint, as it was saved.

    Objects that are not tensors, numbers, texts or containers of them must be on the list above, and come out empty.

    Raises:
        WeightsError: The file is missing, truncated, not a checkpoint, made to exhaust memory, or would have
            to run code to be read.
    """
    if (fault := kind_fault(path)) is not None:
        raise refusal(path, fault)
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        content = _read(path, head)
    except pickle.UnpicklingError as error:
        raise refusal(path, _unpickling(error)) from error
    except OSError as error:
        raise refusal(path, describe_os_error(error)) from error
    except WeightsError:
        raise
    except Exception as error:  # The file is somebody else's: whatever its parser stumbles over is the file's fault.
        raise refusal(path, f"is damaged or truncated ({printable(one_line(error, 120))}); {_FETCH_AGAIN}") from error
    if not isinstance(content, Mapping):
        raise refusal(path, f"holds no tensors by name (a state_dict); {_SAVE_AGAIN}")
    return content


def check_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuses tensors that are not plain arrays of what the file holds.

    Raises:
        WeightsError: A tensor is sparse, quantised, without data, or declares more values than its storage has; or all
            together are many times the file.
    """
    total = 0
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise refusal(path, f"has no plain dense tensor in {printable(name)}; {_SAVE_AGAIN}")
        size = tensor.numel() * tensor.element_size()
        total += size
        if size > tensor.untyped_storage().nbytes():
            raise refusal(
                path,
                f"{printable(name)} declares {size:,} bytes where the file holds "
                f"{tensor.untyped_storage().nbytes():,}; {_FETCH_AGAIN}",
            )
    if total > _MOST_SHARED * path.stat().st_size:
        raise refusal(path, f"of {path.stat().st_size:,} bytes declares tensors of {total:,}; {_FETCH_AGAIN}")


def printable(text: str, limit: int = 120) -> str:
    """Returns a text from a file without control characters, which could redraw a terminal, and not too long."""
    shown = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def refusal(path: Path, why: str) -> WeightsError:
    """Returns the error line for a weights file."""
    return WeightsError(f"weights file {printable(str(path), len(str(path)))} {why}")


def _read(path: Path, head: bytes) -> object:
    if not head:
        raise refusal(path, f"is empty; {_FETCH_AGAIN}")
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf")):
        raise refusal(path, "is a compressed archive; unpack it first")
    if text := _text(head):
        raise refusal(path, f"is text, which begins with {text!r}, and no weights; {_FETCH_AGAIN} as it is published")
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        _check_header(head, path)
        return load_file(path)
    if head.startswith(b"PK"):
        _check_archive(path)
    with _only_inert(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _text(head: bytes) -> str:
    """Returns the first line of a text, such as an error page or a pointer to the file; nothing of anything else."""
    if any(one < 32 and one not in b"\t\n\r" or one > 126 for one in head):
        return ""
    return printable(head.decode("ascii").strip().split("\n", 1)[0].strip(), 40)


def _check_header(head: bytes, path: Path) -> None:
    """Looks at the length of a safetensors header, which the library parses whole."""
    length, size = int.from_bytes(head[:8], "little"), path.stat().st_size
    if length > min(size, _LARGEST_HEADER):
        why = "is longer than the file" if length > size else "is longer than any network's"
        raise refusal(path, f"declares a header of {length:,} bytes, which {why}; {_FETCH_AGAIN}")


def _check_archive(path: Path) -> None:
    """Looks through a zip archive's directory before anything is unpacked.

    torch.save stores members as they are, side by side and under one folder; anything else was made otherwise.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = [member.filename for member in members]
    if any(_leads_out(name) for name in names):
        raise refusal(path, f"names files outside itself; {_FETCH_AGAIN} from a known place")
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        raise refusal(path, "is a TorchScript program, not a state dict; load it where you trust it and " + _SAVE_AGAIN)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise refusal(path, f"is compressed, as torch.save never does; {_SAVE_AGAIN}")
    if len(set(names)) != len(names) or sum(member.file_size for member in members) > path.stat().st_size:
        raise refusal(path, f"declares more than it holds; {_FETCH_AGAIN}")


def _leads_out(name: str) -> bool:
    return (
        ".." in PurePosixPath(name).parts
        or ".." in PureWindowsPath(name).parts
        or name.startswith(("/", "\\"))
        or PureWindowsPath(name).drive != ""
    )


@contextlib.contextmanager
def _only_inert() -> Iterator[None]:
    """Lets torch's restricted unpickler put empty objects in the places of the allowed names."""
    with torch.serialization.safe_globals(list(_ALLOWED)):
        yield


def _unpickling(error: pickle.UnpicklingError) -> str:
    said = str(error)
    if "unsupported" in said.lower() and "global" in said.lower() or "unrecognized function" in said:
        wanted = said.split("GLOBAL ", 1)[-1].split(" ", 1)[0] if "GLOBAL " in said else "a function"
        return f"holds more than tensors ({printable(wanted)}), and reading it could run code; " + _SAVE_AGAIN
    return f"is not a checkpoint, or damaged; {_FETCH_AGAIN}"
