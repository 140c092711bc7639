"""What an entry says of a pre-trained checkpoint. A fact that nobody knows is written "unknown"."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from probebench.registry.entry import MOST, Count, Entry, Id, PositiveInt, Text, Whole, check_unverified
from probebench.registry.recipe_uri import SCHEME, RecipeUri

Three = tuple[float, float, float]

# Names that a library's table can hold: no path, no address, no letter that looks like another.
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}"
_URI = re.compile(
    rf"(pkg://[A-Za-z_]\w*/.+|(timm|open_clip)://{_NAME}|hf://[^/\s]+/[^/\s]+/\S+|https://\S+|file:.+|user|module"
    r"|random:\d{1,18}|recipe://.+)",
    re.ASCII,
)


# State-dict adapters: how a trainer's names map onto the architecture's (backbones/adapters.py has the rules).
Keys = Literal[
    "plain",
    "by-order",
    "prefixed",
    "trunk",
    "mae",
    "dino",
    "moco",
    "slip",
    "open-clip-visual",
    "lightly",
    "solo-learn",
    "vissl",
]


Library = Literal["timm", "open_clip", "torchvision"]
Method = Literal["supervised", "language-image", "image-image", "none"]
# The library, and the uri, of a torch.nn.Module that lives in a Python session and that no entry can build.
MODULE = "module"
# All that an entry may tell a library's builder: what changes the network and nothing else. Builders take much more;
# what names a path, an address, weights or how they are read would fetch or run what a stranger chose.
_CLASSES, _HEADS = range(100_001), range(1, 129)
ARGUMENTS: dict[str, dict[str, range | type[bool]]] = {
    "timm": {"num_classes": _CLASSES, "num_heads": _HEADS, "img_size": range(1, 4097)},
    "open_clip": {"force_quick_gelu": bool},
    "torchvision": {"num_classes": _CLASSES},
    MODULE: {},
}


class Architecture(Entry):
    """The network, by the name that its library gives it; ``module`` is one of a Python session, named by its class.

    Attributes:
        kwargs: Arguments of the library's builder, of those in ``ARGUMENTS``.
    """

    library: Literal[Library, "module"]
    name: Text
    kwargs: dict[str, Any] = {}

    @model_validator(mode="after")
    def _a_name_is_in_a_library(self) -> "Architecture":
        if self.library != MODULE and not re.fullmatch(_NAME, self.name):
            raise ValueError(f"{ascii(self.name)} is no name of an architecture: letters, digits and . _ + - only")
        return self

    @model_validator(mode="after")
    def _arguments_are_allowed(self) -> "Architecture":
        allowed = ARGUMENTS[self.library]
        for name, value in self.kwargs.items():
            wanted = allowed.get(name)
            if wanted is None:
                others = f"only {' and '.join(allowed)}" if allowed else "none"
                raise ValueError(f"kwargs: an entry may not give {self.library} {ascii(name)}: {others}")
            if isinstance(wanted, range):
                if type(value) is not int or value not in wanted:
                    raise ValueError(f"kwargs: {name} is a whole number from {wanted[0]} to {wanted[-1]}")
            elif type(value) is not wanted:
                raise ValueError(f"kwargs: {name} is true or false")
        return self


class Source(Entry):
    """One pre-training data set and how many samples of it were used."""

    name: Text
    samples: Count


class MadeBy(Entry):
    """The recipe that a checkpoint was made by, with its version then."""

    id: Id
    version: PositiveInt


class Pretraining(Entry):
    """How the checkpoint came to be: the facts that the study groups by.

    Attributes:
        recipe: The recipe, of one that was pre-trained here; left out otherwise.
        run: Which of several pre-trainings that differ in the seed alone, counted from 0; left out where there is one.
        label_noise: Share of images whose labels or captions were permuted; left out where nobody permuted any.
    """

    method: Literal[Method, "unknown"]
    objective: Text
    sources: tuple[Source, ...]
    samples_seen: Count
    epochs: Annotated[float, Field(ge=0, le=MOST)] | Literal["unknown"]
    labels: Text
    curation: Text
    recipe: MadeBy | None = Field(default=None, exclude_if=lambda value: value is None)
    run: Annotated[int, Whole, Field(ge=0, le=MOST)] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )
    label_noise: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )

    @model_validator(mode="after")
    def _sources_fit_method(self) -> "Pretraining":
        if self.method == "none" and self.sources:
            raise ValueError('method "none" means no pre-training, so sources must be empty')
        if self.method != "none" and not self.sources:
            raise ValueError('name at least one source; where nobody knows it, name = "unknown"')
        return self


class Weights(Entry):
    """Where the tensors come from and how their names map onto the architecture."""

    uri: Annotated[str, Field(max_length=2000)]
    sha256: str
    keys: Keys = "plain"

    @field_validator("uri")
    @classmethod
    def _known_scheme(cls, uri: str) -> str:
        if not _URI.fullmatch(uri):
            raise ValueError(
                f"{uri!r} is none of pkg://package/path, timm://tag, open_clip://tag, hf://owner/repo/file, "
                "https://..., file:path, user, random:SEED, recipe://ID?source=..&samples=..&run=.., module"
            )
        if uri.startswith(f"{SCHEME}:"):
            RecipeUri.parse(uri)
        return uri

    @field_validator("uri")
    @classmethod
    def _stays_in_its_place(cls, uri: str) -> str:
        if not uri.isprintable() or "\\" in uri or (".." in uri.split("/") and not uri.startswith("file:")):
            raise ValueError(f"{uri!r} leads out of the place that it names; write it without .. and backslashes")
        host = uri.removeprefix("https://").split("/", 1)[0]
        if uri.startswith(("https:", "hf:")) and (not uri.isascii() or (uri.startswith("https:") and "@" in host)):
            raise ValueError(f"{ascii(uri)} is written in ASCII, and names no user before the host")
        return uri

    @model_validator(mode="after")
    def _a_sha256_is_of_a_file(self) -> "Weights":
        if self.scheme in ("timm", "open_clip", "random", MODULE) and self.sha256 not in ("unknown", "none"):
            raise ValueError(
                f"sha256 is of one file; {self.scheme}:// lets its library fetch and its tensors are pinned instead: "
                'write "unknown", or name the file by hf:// or https://'
            )
        return self

    @field_validator("sha256")
    @classmethod
    def _hexadecimal(cls, sha256: str) -> str:
        if sha256 not in ("unknown", "none") and not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError(
                'sha256 must be 64 lower-case hexadecimal digits, "unknown", or "none" where there is no file'
            )
        return sha256

    @property
    def scheme(self) -> str:
        """The part of the uri that says how to get the weights: pkg, timm, user, random, ..."""
        return self.uri.split(":", 1)[0]


class Input(Entry):
    """Preprocessing at evaluation, in this order: resize, centre crop, scale to [0, 1], normalise.

    ``resize = "shortest"`` brings the shorter side to ``floor(size / crop)`` pixels and keeps the aspect ratio;
    ``"squash"`` brings both sides there. The crop is ``size`` x ``size`` pixels. ``"own"`` is the transform of a module
    of a Python session, which no entry can say: it gives ``size`` pixels a side, and the other keys say nothing.
    """

    size: Annotated[int, Whole, Field(ge=1, le=4096)]
    resize: Literal["shortest", "squash", "own"]
    crop: Annotated[float, Field(gt=0, le=1)]
    interpolation: Literal["nearest", "bilinear", "bicubic"]
    mean: Three
    std: Three

    @field_validator("std")
    @classmethod
    def _positive(cls, std: Three) -> Three:
        if min(std) <= 0:
            raise ValueError("std must be positive")
        return std

    def at_size(self, size: int | None) -> "Input":
        """Returns the same preprocessing at another input size in pixels (None: unchanged)."""
        return self if size is None else self.model_copy(update={"size": size})


class Output(Entry):
    """What is taken as the feature: its width D and the layer."""

    features: Annotated[int, Whole, Field(ge=1, le=1 << 24)]
    layer: Literal["pooled", "projected"]


class CheckpointSpec(Entry):
    """One pre-trained checkpoint.

    Attributes:
        unverified: Keys such as "pretraining.epochs" whose values were taken from their source and could not be checked
            against the weights themselves.
    """

    id: Id
    title: Text
    paper: Text
    url: Text
    license: Text
    unverified: tuple[Text, ...] = ()
    architecture: Architecture
    pretraining: Pretraining
    weights: Weights
    input: Input
    output: Output

    @property
    def has_text_tower(self) -> bool:
        """Whether its features can be compared with class names in words."""
        return self.architecture.library == "open_clip" and self.weights.keys != "open-clip-visual"

    @model_validator(mode="after")
    def _random_is_untrained(self) -> "CheckpointSpec":
        if (self.weights.scheme == "random") != (self.pretraining.method == "none"):
            raise ValueError('method "none" and uri "random:SEED" go together')
        return self

    @model_validator(mode="after")
    def _a_recipe_says_what_the_facts_say(self) -> "CheckpointSpec":
        made = self.pretraining.recipe
        if (self.weights.scheme == SCHEME) != (made is not None):
            raise ValueError("pretraining.recipe and uri recipe:// go together")
        if made is None:
            return self
        asked, facts = RecipeUri.parse(self.weights.uri), self.pretraining
        told = (made.id, tuple(one.name for one in facts.sources), facts.run, facts.label_noise or 0.0)
        if told != (asked.recipe, asked.sources, asked.run, asked.label_noise):
            raise ValueError("weights.uri and pretraining differ in recipe, sources, run or label_noise")
        if [one.samples for one in facts.sources] != list(asked.parts):
            raise ValueError(f"pretraining.sources: {asked.samples} samples in equal parts are {list(asked.parts)}")
        return self

    @model_validator(mode="after")
    def _a_module_is_all_its_own(self) -> "CheckpointSpec":
        own = {self.architecture.library == MODULE, self.weights.scheme == MODULE, self.input.resize == "own"}
        if len(own) > 1:
            raise ValueError('library "module", uri "module" and resize "own" go together')
        return self

    @model_validator(mode="after")
    def _unverified_names_keys(self) -> "CheckpointSpec":
        check_unverified(self, self.unverified)
        return self


_SCRATCH = "@scratch"


def untrained(spec: CheckpointSpec, seed: int) -> CheckpointSpec:
    """Returns the entry of a checkpoint's twin with random weights, whose facts say so."""
    return spec.model_copy(
        update={
            # No weights that a user registered for the checkpoint are those of its twin.
            "id": f"{spec.id.removesuffix(_SCRATCH)}{_SCRATCH}",
            "pretraining": Pretraining(
                method="none", objective="none", sources=(), samples_seen=0, epochs=0, labels="none", curation="none"
            ),
            "weights": Weights(uri=f"random:{seed}", sha256="none", keys=spec.weights.keys),
        }
    )
