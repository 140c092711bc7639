"""The uri of weights that a recipe makes: all that was asked for, and so the command that makes them again."""

import re
import shlex
from dataclasses import dataclass
from typing import Literal, Self, TypedDict
from urllib.parse import parse_qsl, quote

from probebench.fingerprint import fingerprint

Captions = Literal["names", "templates"]
SCHEME = "recipe"
_LONGEST = 100


class Options(TypedDict):
    """What is asked beside the recipe and its sources, by the names that pre-training takes it under."""

    samples: int
    label_noise: float
    captions: Captions
    run: int
    epochs: int | None


@dataclass(frozen=True, kw_only=True)
class RecipeUri:
    """What ``probebench pretrain`` was asked for.

    Attributes:
        recipe: Its id.
        sources: Ids of the sources, in order; of several, equal parts.
        samples: Images in all.
        run: The seed, which alone differs between runs.
        label_noise: Share of images whose labels or captions were permuted.
        captions: Captions as they are, or within sentences.
        epochs: Passes; None: the recipe's length.
    """

    recipe: str
    sources: tuple[str, ...]
    samples: int
    run: int = 0
    label_noise: float = 0.0
    captions: Captions = "names"
    epochs: int | None = None

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Reads a uri.

        Raises:
            ValueError: It is none, or not written as ``str`` of this class writes it.
        """
        scheme, _, rest = uri.partition("://")
        recipe, _, query = rest.partition("?")
        values = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        known = dict(values)
        try:
            made = cls(
                recipe=recipe,
                sources=tuple(value for key, value in values if key == "source"),
                samples=int(known["samples"]),
                run=int(known["run"]),
                label_noise=float(known.get("label_noise", 0)),
                captions=known.get("captions", "names"),  # type: ignore[arg-type]
                epochs=int(known["epochs"]) if "epochs" in known else None,
            )
        except (KeyError, ValueError) as error:
            raise ValueError(_form(uri)) from error
        if scheme != SCHEME or str(made) != uri or not made._sensible():
            raise ValueError(_form(uri))
        return made

    def _sensible(self) -> bool:
        return (
            re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", self.recipe) is not None
            and bool(self.sources)
            and all(self.sources)
            and self.samples >= len(self.sources)
            and self.run >= 0
            and 0 <= self.label_noise <= 1
            and self.captions in ("names", "templates")
            and (self.epochs is None or self.epochs >= 1)
        )

    def __str__(self) -> str:
        """Writes the uri; what is as the recipe has it is left out."""
        pairs = [("source", one) for one in self.sources]
        pairs += [("samples", f"{self.samples}"), ("run", f"{self.run}"), *self._unusual()]
        return f"{SCHEME}://{self.recipe}?" + "&".join(f"{key}={quote(value, safe=':')}" for key, value in pairs)

    def _unusual(self) -> list[tuple[str, str]]:
        noise = [("label_noise", f"{float(self.label_noise)!r}")] if self.label_noise else []
        captions = [("captions", self.captions)] if self.captions != "names" else []
        return noise + captions + ([("epochs", f"{self.epochs}")] if self.epochs else [])

    @property
    def options(self) -> Options:
        """What is asked beside the recipe and its sources."""
        return {
            "samples": self.samples,
            "label_noise": self.label_noise,
            "captions": self.captions,
            "run": self.run,
            "epochs": self.epochs,
        }

    @property
    def parts(self) -> tuple[int, ...]:
        """Images of each source: equal parts, what is left over going to the first ones."""
        each, left = divmod(self.samples, len(self.sources))
        return tuple(each + (place < left) for place in range(len(self.sources)))

    @property
    def command(self) -> str:
        """The command that makes the weights."""
        said = [("source", one) for one in self.sources]
        said += [("samples", f"{self.samples}"), *self._unusual(), ("run", f"{self.run}")]
        words = " ".join(f"--{key.replace('_', '-')} {shlex.quote(value)}" for key, value in said)
        return f"probebench pretrain --recipe {self.recipe} {words}"

    @property
    def checkpoint(self) -> str:
        """The id of the checkpoint: recipe, source, size, what is unusual, run."""
        source = self.sources[0] if len(self.sources) == 1 else f"mix{len(self.sources)}"
        parts = [self.recipe, re.sub(r"[^a-z0-9_.]+", "_", source.lower()), f"{self.samples}"]
        parts += [f"{_SHORT[key]}{value}" for key, value in self._unusual()]
        if len(self.sources) > 1:
            parts.append(fingerprint(list(self.sources))[:6])
        name = "-".join([*parts, f"run{self.run}"])
        # A name that is too long keeps its ends, and says by a digest what it was.
        return name if len(name) <= _LONGEST else f"{name[:60]}-{fingerprint(name)[:12]}-run{self.run}"


_SHORT = {"label_noise": "noise", "captions": "", "epochs": "epochs"}


def _form(uri: str) -> str:
    return (
        f"{ascii(uri[:200])} is not recipe://ID?source=ID&samples=N&run=N, with label_noise=, captions=templates and "
        "epochs= after these where they are not the recipe's"
    )
