"""A probe to take away: from a saved file and images to classes."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from probebench.api.session import Folders, Path_, warn, watched
from probebench.errors import UsageError, WeightsError
from probebench.files import home, write_whole
from probebench.progress import Progress

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas

    from probebench.backbones.base import Backbone
    from probebench.evaluation.saved_probe import ProbeFacts, SavedProbe
    from probebench.probes.base import Matrix


@dataclass(frozen=True)
class Prediction:
    """What a probe says of one image, best class first.

    Attributes:
        image: Its path, its key in a shard, or its position where it was in memory.
        classes: Names of the classes.
        scores: The probability of each; of a ridge probe its score, which is no probability.
    """

    image: str
    classes: tuple[str, ...]
    scores: tuple[float, ...]


class Predicted(Sequence[Prediction]):
    """Predictions, in the order of the images.

    Attributes:
        measure: What their scores are: "probability", or "score" of a ridge probe.
        failed: Images that could not be read and were left out.
    """

    def __init__(self, predictions: Iterable[Prediction], measure: str, failed: Sequence[str] = ()) -> None:
        """Takes predictions."""
        self._predictions, self.measure, self.failed = tuple(predictions), measure, tuple(failed)

    @overload
    def __getitem__(self, place: int) -> Prediction: ...

    @overload
    def __getitem__(self, place: slice) -> "Predicted": ...

    def __getitem__(self, place: int | slice) -> "Prediction | Predicted":
        """Returns one prediction, or some of them."""
        if isinstance(place, slice):
            return Predicted(self._predictions[place], self.measure)
        return self._predictions[place]

    def __len__(self) -> int:
        """The number of images."""
        return len(self._predictions)

    @property
    def columns(self) -> list[str]:
        """The columns of a table: image, class, probability, class_2, probability_2 and so on."""
        most = max((len(one.classes) for one in self), default=1)
        marks = ["", *(f"_{place}" for place in range(2, most + 1))]
        return ["image", *(f"{name}{mark}" for mark in marks for name in ("class", self.measure))]

    def rows(self) -> list[list[Any]]:
        """Returns a row an image, under these columns."""
        return [
            [one.image, *(value for pair in zip(one.classes, one.scores, strict=True) for value in pair)]
            for one in self
        ]

    def to_frame(self) -> "pandas.DataFrame":
        """Returns them as a table."""
        import pandas

        return pandas.DataFrame(self.rows(), columns=self.columns)

    def write_csv(self, path: Path_) -> None:
        """Writes them as a table, whole or not at all.

        Raises:
            OSError: The file cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows())
        write_whole(Path(path), text.getvalue().encode())


class Probe:
    """A probe that ``eval --save-probes`` kept, with all that it takes to use it on other images.

    Attributes:
        path: Its file.
    """

    def __init__(self, saved: "SavedProbe", path: Path) -> None:
        """Takes a probe that was read; ``load`` reads one."""
        self._saved, self.path = saved, path

    @classmethod
    def load(cls, path: Path_) -> "Probe":
        """Reads a saved probe; loads no torch.

        Raises:
            UsageError: There is no such file.
            ResultError: It is damaged, or no saved probe.
        """
        from probebench.evaluation.saved_probe import read_probe

        return cls(read_probe(Path(path)), Path(path))

    @property
    def facts(self) -> "ProbeFacts":
        """The checkpoint, layer, preprocessing, data set, protocol and scores that it holds."""
        return self._saved.facts

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes that it predicts (K,); labels as text where names were not at hand."""
        names = self.facts.class_names
        return tuple(str(label) if names is None else names[label] for label in self._saved.classes.tolist())

    def scores(self, features: "npt.NDArray[Any]") -> "Matrix":
        """Returns the probability of each class (N, K) for features (N, D); of a ridge probe the score.

        Args:
            features: Of the probe's checkpoint and layer, as ``extract`` gives them.

        Raises:
            UsageError: They have another shape.
        """
        import numpy as np

        rows, width = np.asarray(features), self._saved.probe.coef.shape[1]
        if rows.ndim != 2 or rows.shape[1] != width:
            raise UsageError(f"probe {self.path} takes features (N, {width}), and these have shape {rows.shape}")
        return self._saved.scores(rows)

    def predict(
        self,
        images: Any,
        *,
        top: int = 5,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        batch_size: int | None = None,
        workers: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        registry: Folders = (),
        progress: bool | Progress = False,
    ) -> Predicted:
        """Classifies images, through the checkpoint that the probe was fitted on.

        Args:
            images: One or several of: an image file, a folder at any depth, a shard (``.tar``, ``wds:PATTERN``), an
                image in memory (PIL, or uint8 (height, width) or (height, width, 3)).
            top: Classes an image.
            device: Where to compute.
            batch_size: Images a batch; None: what fits.
            workers: Decoding processes; None: by cores and images.
            on_error: At an image that cannot be read: stop, or leave it out and warn.
            registry: Folders of your own entries.
            progress: Whether to show a bar, or what hears how far it is.

        Raises:
            UsageError: There is no such checkpoint, or it is a module of another session.
            WeightsError: Its weights are missing, or others than those that the probe was fitted on.
            DatasetError: An image cannot be read, or there is none.
        """
        import numpy as np

        from probebench.datasets.unlabelled import open_images

        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise UsageError(f"top= takes a positive whole number, not {top!r}")
        several = isinstance(images, Sequence) and not isinstance(images, str | os.PathLike)
        found = open_images(images if several else [images], home() / "datasets")
        backbone = self._backbone(registry)
        from probebench.extraction import ExtractionOptions
        from probebench.extraction.apply import features_of

        options = ExtractionOptions.resolve(device, self.facts.dtype, batch_size, workers, on_error)
        names, done, failed = self.class_names, list[Prediction](), list[str]()
        with watched(progress, "images") as told:
            start = 0
            for block in features_of(backbone, found, found.ids, options, told):
                scores = self._saved.scores(block.rows)
                best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
                for place, order in enumerate(best.tolist()):
                    name = found.ids[start + place]
                    if place in block.failed:
                        warn(f"{name} is left out: {block.failed[place]}")
                        failed.append(name)
                        continue
                    done.append(
                        Prediction(
                            name,
                            tuple(names[one] for one in order),
                            tuple(float(scores[place, one]) for one in order),
                        )
                    )
                start += len(block.rows)
        return Predicted(done, "probability" if self.facts.kind == "probe" else "score", failed)

    def _backbone(self, registry: Folders) -> "Backbone":
        """Builds the checkpoint, at the preprocessing that the probe was fitted with."""
        from probebench.api.models import build

        said = self.facts
        if said.preprocessing.resize == "own":
            raise UsageError(
                f"probe {self.path} was fitted on features of {said.model}, a module of a Python session; "
                "extract features with it, and call Probe.scores(features)"
            )
        backbone = build(said.model, layer=said.layer, input_size=said.preprocessing.size, registry=registry)
        if backbone.weights_digest != said.weights_digest:
            raise WeightsError(
                f"probe {self.path} was fitted on other weights of {said.model} ({said.weights_digest[:8]}; here they "
                f"are {backbone.weights_digest[:8]}): use those, or fit it again with eval --save-probes"
            )
        return replace(backbone, input=said.preprocessing)

    def __repr__(self) -> str:
        """Says what it is."""
        said = self.facts
        shots = "full data" if said.shots == "full" else f"{said.shots} shots"
        return f"Probe({said.model} on {said.dataset}, {said.protocol}, {shots}: {100 * said.test_score:.1f})"
