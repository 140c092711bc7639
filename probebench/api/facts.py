"""What a user says of a checkpoint of theirs: the words of ``probebench models add`` as keywords."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from probebench.api.session import listed
from probebench.errors import UsageError

if TYPE_CHECKING:
    from probebench.registry.schema import Pretraining


class Facts(TypedDict, total=False):
    """Facts of a checkpoint; each that is not given is "unknown".

    Attributes:
        method: supervised, language-image or image-image.
        source: Pre-training data set, or several.
        samples: Samples of it that were used; one for each source.
        objective: Such as clip, simclr, cross-entropy.
        samples_seen: Samples seen in training, repeats included.
        epochs: Passes over the data.
        labels: Such as human, captions, hashtags, none.
        curation: How the data were chosen.
        run: Which of several pre-trainings that differ in the seed alone, from 0.
        label_noise: Share of images whose labels or captions were permuted.
        title: One line for readers.
        arch: Of a weights file: the architecture, by its library's name.
        library: Of a weights file: timm, open_clip or torchvision.
        keys: Of a weights file: its format, where it is not to be found out.
        uri: Of a weights file: where it is published.
        size: Of a weights file: input side in pixels; this and the five below are the library's own unless given.
        resize: shortest or squash.
        crop: Share of the resized side that is kept.
        interpolation: nearest, bilinear or bicubic.
        mean: Of RGB in [0, 1].
        std: Of RGB in [0, 1].
    """

    method: Literal["supervised", "language-image", "image-image"]
    source: str | Sequence[str]
    samples: int | Literal["unknown"] | Sequence[int | Literal["unknown"]]
    objective: str
    samples_seen: int
    epochs: float
    labels: str
    curation: str
    run: int
    label_noise: float
    title: str
    paper: str
    url: str
    license: str
    arch: str
    library: Literal["timm", "open_clip", "torchvision"]
    keys: str
    uri: str
    size: int
    resize: Literal["shortest", "squash"]
    crop: float
    interpolation: Literal["nearest", "bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


INPUT = ("size", "resize", "crop", "interpolation", "mean", "std")
TRAINING = ("objective", "samples_seen", "epochs", "labels", "curation")
# Left out of an entry where nobody says them.
OPTIONAL = ("run", "label_noise")
SAID = ("paper", "url", "license")
OF_A_FILE = ("arch", "library", "keys", "uri", *INPUT)


def refuse(facts: Facts, names: Sequence[str], why: str) -> None:
    """Refuses facts that mean nothing for a kind of model.

    Raises:
        UsageError: One was given, or one is no fact at all.
    """
    for name in facts:
        if name not in Facts.__annotations__:
            raise UsageError(f"{name}= is no fact of a checkpoint; known: {', '.join(Facts.__annotations__)}")
        if name in names:
            raise UsageError(f"{name}= {why}")


def pretraining_of(facts: Facts) -> "Pretraining":
    """Returns what is known of a pre-training; what was not given is unknown.

    Raises:
        UsageError: A fact is not what an entry can say; the line names it.
    """
    from probebench.registry.checkpoint import Pretraining, Source
    from probebench.registry.load import checked

    sources: list[str] = listed(facts.get("source", "unknown"))
    samples: list[Any] = listed(facts.get("samples"))
    if len(samples) > len(sources):
        raise UsageError(f"samples= has {len(samples)} numbers for {len(sources)} sources; give one for each")
    numbers = [*samples, *["unknown"] * (len(sources) - len(samples))]
    given: dict[str, Any] = {name: facts.get(name, "unknown") for name in ("method", *TRAINING)}
    given |= {name: facts.get(name) for name in OPTIONAL}
    pairs = tuple(checked(Source, name=name, samples=count) for name, count in zip(sources, numbers, strict=True))
    return checked(Pretraining, **given, sources=pairs)


def says_pretraining(facts: Facts) -> bool:
    """Whether any fact of the pre-training was given."""
    return any(name in facts for name in ("method", "source", "samples", *TRAINING, *OPTIONAL))


def said(facts: Facts) -> dict[str, str]:
    """Returns paper, url and license, where given."""
    return {name: facts[name] for name in SAID if name in facts}  # type: ignore[literal-required]
