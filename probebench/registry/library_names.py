"""How people name a network of a library: by the library's own names, which say which of its weights are meant."""

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from probebench.errors import UsageError, did_you_mean
from probebench.registry.checkpoint import Library

HUB = "hub"
_HUB_PREFIX = re.compile(r"hf[-_]hub:|hf://", re.IGNORECASE)
_LIBRARIES = {"timm": "timm", "open_clip": "open_clip", "openclip": "open_clip", "open-clip": "open_clip"}
_LIBRARIES |= {"torchvision": "torchvision"}
_WORD = r"[A-Za-z0-9][\w+-]*"
_TAG = r"[A-Za-z0-9][\w.+-]*"
# Where weights files end; a name that ends so is a path.
_FILES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".tar", ".torch", ".pkl", ".npz", ".h5", ".t7", ".onnx")


@dataclass(frozen=True)
class LibraryName:
    """A network of a library.

    Attributes:
        library: The library; ``hub`` is a repository of the Hugging Face Hub that timm can read.
        architecture: Its name there; of the Hub the repository.
        tag: Which weights; "" for the library's default, and of the Hub the revision.
    """

    library: Library | str
    architecture: str
    tag: str = ""

    @property
    def text(self) -> str:
        """Returns it in the one form that ids are made from."""
        mark = {"timm": ".", HUB: "@"}.get(self.library, ":")
        return f"{self.library}/{self.architecture}" + (f"{mark}{self.tag}" if self.tag else "")

    @property
    def id(self) -> str:
        """Returns the id of its entry: that form in lower case, with _ for whatever is no letter, digit or dot."""
        return re.sub(r"[^a-z0-9.]+", "_", self.text.lower()).strip("_.")[:100]


def library_name(text: str) -> LibraryName | None:
    """Reads the ways in which people name a network; None where a text is none of them.

    ``timm/resnet50.a1_in1k``, ``hf-hub:timm/resnet50.a1_in1k`` and ``resnet50.a1_in1k`` are timm's;
    ``open_clip/ViT-B-32:laion2b_s34b_b79k``, ``ViT-B-32:laion2b_s34b_b79k`` and ``ViT-B-32/laion2b_s34b_b79k`` are
    open_clip's; ``torchvision/resnet50`` and ``torchvision/resnet50:IMAGENET1K_V1`` torchvision's;
    ``hf-hub:owner/name`` is any other repository. Without a tag it is the library's default weights.
    """
    if text.endswith(_FILES) or text.startswith((".", "/", "~")):
        return None
    bare = _HUB_PREFIX.sub("", text, count=1)
    first, _, rest = bare.partition("/") if "/" in bare else bare.partition(":")
    library = _LIBRARIES.get(first.lower())
    if bare != text and library == "timm" and rest.partition("@")[0] not in _timm_names():
        library = None
    if library is not None and rest:
        mark = r"\." if library == "timm" else r"[.:/]"
        found = re.fullmatch(rf"({_WORD})(?:{mark}({_TAG}))?", rest)
        return LibraryName(library, found[1], found[2] or "") if found else None
    if bare != text:
        found = re.fullmatch(rf"({_TAG}/{_TAG})(?:@({_TAG}))?", bare)
        return LibraryName(HUB, found[1], found[2] or "") if found else None
    if found := re.fullmatch(rf"({_WORD})[:/]({_TAG})", text):
        return LibraryName("open_clip", found[1], found[2])
    if (found := re.fullmatch(r"([a-z0-9]\w*)\.([\w.+-]+)", text)) and text in _timm_names():
        return LibraryName("timm", found[1], found[2])
    return None


def check_known(name: LibraryName) -> None:
    """Refuses names that the installed library does not have, by its files: importing it takes seconds.

    Raises:
        UsageError: It has no such architecture, or no such weights; the line gives the nearest.
    """
    if name.library == "timm":
        known = _timm_names()
        asked = f"{name.architecture}.{name.tag}"
        if known and name.tag and asked not in known:
            raise UsageError(f"timm has no weights {asked!r}{did_you_mean(asked, known)}")
    elif name.library == "open_clip":
        known = _open_clip_names()
        if known and name.architecture not in known:
            hint = f" (a repository of the Hub is hf-hub:{name.architecture}/{name.tag})" if name.tag else ""
            raise UsageError(
                f"open_clip has no architecture {name.architecture!r}{did_you_mean(name.architecture, known)}{hint}"
            )
    elif name.library == "torchvision":
        known = _torchvision_names()
        if known and name.architecture not in known:
            raise UsageError(
                f"torchvision has no architecture {name.architecture!r}{did_you_mean(name.architecture, known)}"
            )


def weights_path(text: str) -> Path | None:
    """Returns the file that a text names in the place of a model; None where it is no path."""
    path = Path(text).expanduser()
    return path if text.endswith(_FILES) or text.startswith((".", "/", "~")) or path.is_file() else None


def _texts(package: str, pattern: str) -> Iterator[str]:
    found = importlib.util.find_spec(package)
    for place in (found.submodule_search_locations or []) if found else []:
        for path in Path(place).glob(pattern):
            yield path.read_text(encoding="utf-8", errors="replace")


@cache
def _timm_names() -> frozenset[str]:
    names = re.compile(r"""^\s*['"]([a-z0-9]\w*\.[\w.+-]+)['"]\s*:""", re.MULTILINE)
    return frozenset(name for text in _texts("timm", "models/*.py") for name in names.findall(text))


@cache
def _open_clip_names() -> frozenset[str]:
    found = importlib.util.find_spec("open_clip")
    places = (found.submodule_search_locations or []) if found else []
    return frozenset(path.stem for place in places for path in Path(place).glob("model_configs/*.json"))


@cache
def _torchvision_names() -> frozenset[str]:
    names = re.compile(r"^@register_model\([^)]*\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
    return frozenset(name for text in _texts("torchvision", "models/*.py") for name in names.findall(text))
