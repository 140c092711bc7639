"""What one pre-training is: a recipe on images of a source, and the checkpoint that comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from probebench.backbones.builders import feature_width
from probebench.datasets.captioned.captioned import Captioned
from probebench.datasets.captioned.mixture import mixture
from probebench.datasets.captioned.open import open_source
from probebench.datasets.captioned.subset import distinct, subset
from probebench.errors import RegistryError, UsageError, one_line
from probebench.fingerprint import fingerprint
from probebench.registry.load import Registry
from probebench.registry.recipe_entry import check_asked, check_parts, recipe_entry
from probebench.registry.recipe_uri import Captions, RecipeUri
from probebench.registry.schema import CheckpointSpec, RecipeSpec
from probebench.training.options import TrainingOptions
from probebench.training.seeds import Seeds

# Raise it when the same recipe on the same images would give other weights.
PRETRAINER_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PretrainTask:
    """A recipe on images.

    Attributes:
        recipe: The recipe.
        asked: All that was asked for; its sources are named by their ids.
        source: The images, in the order of their hashes.
        registry: What is known of the sources.
        home: The home folder.
        options: Device and the like.
    """

    recipe: RecipeSpec
    asked: RecipeUri
    source: Captioned
    registry: Registry
    home: Path
    options: TrainingOptions

    @property
    def id(self) -> str:
        """Id of the checkpoint."""
        return self.asked.checkpoint

    @property
    def samples_seen(self) -> int:
        """Images that are trained on in all: whole batches."""
        return self.steps * self.recipe.batch(len(self.source))

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.recipe.steps(len(self.source), self.asked.epochs)

    @cached_property
    def digest(self) -> str:
        """The sha256 over all that decides the weights; names the file that keeps the training's state."""
        return fingerprint(
            {
                "pretrainer": PRETRAINER_VERSION,
                "recipe": self.recipe.model_dump(mode="json", exclude={"title", "paper", "url", "origin"}),
                "asked": str(self.asked),
                "source": self.source.fingerprint,
                "dtype": self.options.dtype,
            }
        )

    @property
    def threads(self) -> int | None:
        """Threads of the CPU that it is trained in; None: as many as torch has, or none of its own on a GPU."""
        return self.recipe.threads if self.options.device == "cpu" else None

    @property
    def seeds(self) -> Seeds:
        """Of everything random; the images have a part in it, so that each source has an order of its own."""
        return Seeds(f"{self.recipe.id} v{self.recipe.version}", self.source.fingerprint, self.asked.run, 0)

    @property
    def noise_seed(self) -> int:
        """The same for all methods, so that they have the same noisy images."""
        return replace(self.seeds, protocol="label noise")("images")

    @property
    def path(self) -> Path:
        """The file that keeps the training's state until it is over."""
        return self.home / "pretrain" / f"{self.digest[:32]}.pt"

    @cached_property
    def width(self) -> int:
        """Width of the features of the recipe's layer.

        Raises:
            RegistryError: The library has no such network, or it does not run at the recipe's input size.
        """
        try:
            return feature_width(self._entry(1, "unknown"))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise RegistryError(
                f"recipe {self.recipe.id}: {self.recipe.architecture.name} cannot run at "
                f"{self.recipe.input.size} px ({one_line(error, 120)}); mend its input or its architecture"
            ) from error

    def entry(self, sha256: str) -> CheckpointSpec:
        """Returns the checkpoint's entry.

        Args:
            sha256: Of its weights file.
        """
        return self._entry(self.width, sha256)

    def _entry(self, features: int, sha256: str) -> CheckpointSpec:
        return recipe_entry(self.registry, self.recipe, self.asked, features=features, sha256=sha256)


def make_task(
    registry: Registry,
    recipe: RecipeSpec,
    sources: Sequence[str],
    *,
    samples: int | None,
    label_noise: float,
    captions: Captions,
    run: int,
    epochs: int | None,
    home: Path,
    options: TrainingOptions,
) -> PretrainTask:
    """Opens sources and takes their images.

    Args:
        registry: Where ids of sources are looked up.
        recipe: The recipe.
        sources: Ids, or places of a user's own; of several, equal parts.
        samples: Images in all; None: all that differ, of several sources as many of each as the smallest has.
        label_noise: Share of images whose labels or captions are permuted.
        captions: Captions as they are, or within the recipe's sentences.
        run: The seed.
        epochs: Passes; None: the recipe's length.
        home: The home folder.
        options: Device and the like.

    Raises:
        UsageError: There is no such source, it has too few images or no labels, or options do not fit the recipe.
        DatasetError: A source is not prepared, or is wrong.
    """
    check_asked(recipe, label_noise, captions)
    root = home / "datasets"
    opened = [open_source(name, registry, root) for name in sources]
    if recipe.method == "supervised" and (bare := [one.id for one in opened if one.labels is None]):
        raise UsageError(
            f"source {bare[0]} has no labels, from which {recipe.id} learns; take one with labels, or a recipe that "
            "learns from captions or images alone"
        )
    if len({one.id for one in opened}) < len(opened):
        raise UsageError("a source is named twice; name each once")
    if samples is None:
        samples = len(opened) * min(len(distinct(one, root)) for one in opened)
    check_parts(sources, samples)
    asked = RecipeUri(
        recipe=recipe.id,
        sources=tuple(one.id for one in opened),
        samples=samples,
        run=run,
        label_noise=label_noise,
        captions=captions,
        epochs=epochs,
    )
    taken = mixture([subset(one, count, root) for one, count in zip(opened, asked.parts, strict=True)])
    if recipe.method == "supervised" and taken.labels is not None and len(set(taken.labels.tolist())) < 2:
        raise UsageError(f"{recipe.id}: the {samples} images have one label; take more --samples")
    return PretrainTask(
        recipe=recipe,
        asked=asked,
        source=taken,
        registry=registry,
        home=home,
        options=options,
    )
