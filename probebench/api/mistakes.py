"""Where a result errs: its worst classes, what they are taken for, and the images on which it is surely wrong."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.api.report import ResultsLike, read_results
from probebench.api.session import Folders, Path_, open_registry, warn
from probebench.api.tables import Results
from probebench.errors import DatasetError, ProbebenchError, ResultError, UsageError, one_line
from probebench.files import home, write_whole

if TYPE_CHECKING:
    import pandas
    from PIL import Image

    from probebench.registry import Registry
    from probebench.results.mistakes import Matrix
    from probebench.results.predictions import Predictions
    from probebench.results.schema import Result

_FORMS = ("png", "svg", "pdf")
# Candidates that an error line lists.
_LISTED = 12


class Mistakes:
    """A result with its predictions, to be read class by class and image by image.

    Attributes:
        result: The result.
        predictions: Its predictions, of the draws that count.
        class_names: By label; "class 3" where the names are not at hand.
    """

    def __init__(
        self, result: "Result", predictions: "Predictions", class_names: tuple[str, ...], registry: "Registry"
    ) -> None:
        """Takes what ``mistakes`` found."""
        self.result, self.predictions, self.class_names = result, predictions, class_names
        self._registry = registry

    @cached_property
    def matrix(self) -> "Matrix":
        """Test images of class i that are predicted as class j, (K, K), the mean over the draws."""
        from probebench.results.mistakes import confusion_matrix

        return confusion_matrix(self.predictions, len(self.class_names))

    def classes(self) -> "pandas.DataFrame":
        """Returns a row for each class, the worst first: label, name, images, accuracy, taken_for and share.

        ``accuracy`` is the share of its test images that is right, ``taken_for`` the class that the wrong ones are most
        often taken for, and ``share`` how many of its images are; fractions of 1, the mean over the draws.
        """
        import pandas

        from probebench.results.mistakes import class_accuracies

        names = self.class_names
        rows = [
            {
                "label": one.label,
                "name": names[one.label],
                "images": one.images,
                "accuracy": one.accuracy,
                "taken_for": None if one.taken_for is None else names[one.taken_for],
                "share": one.share,
            }
            for one in class_accuracies(self.matrix)
        ]
        return pandas.DataFrame(rows)

    def confusions(self) -> "pandas.DataFrame":
        """Returns a row for each pair of classes of which one is taken for the other: true, predicted, share.

        ``share`` is the fraction of the true class's test images that this happens to, the largest first.
        """
        import pandas

        from probebench.results.mistakes import confusions

        names = self.class_names
        rows = [
            {"true": names[one.true], "predicted": names[one.predicted], "share": one.share}
            for one in confusions(self.matrix)
        ]
        return pandas.DataFrame(rows, columns=["true", "predicted", "share"])

    def ranked(self) -> "pandas.DataFrame":
        """Returns what retrieval found class by class, the worst first; no row of results that ranked nothing.

        The columns are label, name, images, recall_at_1, recall_at_5, recall_at_10 and average_precision, means over
        the draws and the class's test images.
        """
        import pandas

        from probebench.results.retrieval import CUTS, by_class

        rows = [
            {"label": one.label, "name": self.class_names[one.label], "images": one.images}
            | {f"recall_at_{k}": share for k, share in one.recall.items()}
            | {"average_precision": one.average_precision}
            for one in by_class(self.predictions)
        ]
        cuts = [f"recall_at_{k}" for k in CUTS]
        frame = pandas.DataFrame(rows, columns=["label", "name", "images", *cuts, "average_precision"])
        return frame.sort_values(["average_precision", "label"], ignore_index=True)

    def plot(self, file: Path_) -> Path:
        """Draws the confusion matrix into a .png, .svg or .pdf file.

        Raises:
            UsageError: The file is called otherwise.
            OSError: It cannot be written.
        """
        from probebench.plots.confusion import draw_confusion

        target = Path(file)
        form = target.suffix.lower().removeprefix(".")
        if form not in _FORMS:
            raise UsageError(f"{target}: name a file that ends in .png, .svg or .pdf")
        title = self._title.replace(" on ", "\non ", 1)
        write_whole(target, draw_confusion(self.matrix, self.class_names, title, form))
        return target

    def gallery(self, file: Path_, limit: int = 60) -> Path:
        """Writes a page of the surest errors, with their images where the data set is on this machine.

        Args:
            file: The page, HTML that needs no network.
            limit: How many.

        Raises:
            UsageError: The limit is not positive.
            OSError: The file cannot be written.
        """
        from probebench.plots.gallery import draw_gallery
        from probebench.results.mistakes import surest_errors

        if limit < 1:
            raise UsageError(f"limit= takes a positive number of images, not {limit}")
        found = surest_errors(self.predictions)
        load, why = self._images()
        order = (
            "the surest first: by the mean over draws of the probability of the wrong class less that of the right one"
            if self.predictions.measures.get("p_true") is not None
            else "those first that most draws get wrong (results of this kind, or age, hold no probabilities)"
        )
        page = draw_gallery(
            found[:limit],
            self.class_names,
            title=f"Errors of {self._title}",
            sentence=f"{min(limit, len(found))} of {len(found)} test images that a draw gets wrong, {order}.",
            load=load,
            why=why,
            draws=len(self.predictions.y_pred),
        )
        target = Path(file)
        write_whole(target, page)
        return target

    @property
    def _title(self) -> str:
        from probebench.results.cells import dataset_text, shots_text

        one = self.result
        return f"{one.model} on {dataset_text(one)}: {one.protocol}, {shots_text(one.shots)}"

    def _images(self) -> "tuple[Callable[[int], Image.Image | None] | None, str]":
        """Returns what reads a test image, or why nothing does."""
        from probebench.datasets.open import open_dataset

        shift = self.result.shift
        tested = self.result.test_dataset or self.result.dataset
        fingerprint = shift.fingerprint if shift else self.result.dataset_fingerprint
        try:
            dataset = open_dataset(tested, self._registry, home() / "datasets")
        except ProbebenchError as error:
            return None, f"Without pictures: {one_line(error)}"
        test = dataset.splits["test"]
        places = {name: place for place, name in enumerate(test.ids)}
        if dataset.fingerprint != fingerprint or not set(self.predictions.test_ids) <= set(places):
            return None, f"Without pictures: {dataset.id} on this machine holds other images than the result is of"

        def load(position: int) -> "Image.Image | None":
            try:
                return test.images.load(places[self.predictions.test_ids[position]])
            except DatasetError as error:
                warn(f"{one_line(error)}: shown without its picture")
                return None

        return load, ""


def mistakes(result: "str | Result", *, results: ResultsLike = "results", registry: Folders = ()) -> Mistakes:
    """Reads where a result errs: ``classes()``, ``confusions()``, ``plot(FILE)``, ``gallery(FILE)``.

    Args:
        result: One of ``results``, or its id: the eight letters and digits that end the name of its file.
        results: Results folders, or results at hand.
        registry: Folders of your own entries.

    Raises:
        UsageError: There is no such result, or several.
        ResultError: Its predictions are missing or damaged, or every draw failed.
    """
    from probebench.results.scores import counted_trials
    from probebench.results.store import read_predictions

    held = read_results(results)
    path, found = _one_of(held, result)
    whole = read_predictions(path, found)
    places = [place for place in counted_trials(found) if found.trials[place].error is None]
    if not places:
        raise ResultError(f"result {path}: every draw failed ({found.trials[0].error}), so that nothing was predicted")
    predictions = whole.of_trials(places)
    entries = open_registry(registry)
    return Mistakes(found, predictions, _class_names(found, predictions, entries), entries)


def result_id(path: Path) -> str:
    """Returns the id of the result in a file: what ends its name."""
    return path.stem.rsplit("-", 1)[-1]


def _one_of(held: Results, wanted: "str | Result") -> "tuple[Path, Result]":
    pairs = list(zip(held.paths, held, strict=True))
    if not isinstance(wanted, str):
        found = [(path, one) for path, one in pairs if one == wanted]
        if not found:
            raise UsageError("result= is none of these results; name their folder by results=")
        return found[0]
    named = Path(wanted)
    found = [pair for pair in pairs if wanted in (result_id(pair[0]), pair[0].name, pair[0].stem) or pair[0] == named]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"no result {wanted!r} among {len(pairs)}: an id is what ends a result's file name; "
            "probebench results show lists them"
        )
    told = "; ".join(f"{path}" for path, _ in found[:_LISTED])
    raise UsageError(f"{len(found)} results are called {wanted!r}: {told}; name the file")


def _class_names(result: "Result", predictions: "Predictions", registry: "Registry") -> tuple[str, ...]:
    """Returns the names of a result's classes: those of the entry, else of the data where they are at hand."""
    if (spec := registry.datasets.get(result.dataset)) is not None:
        return tuple(spec.classes)
    from probebench.datasets.open import open_dataset
    from probebench.registry.names import is_source

    if is_source(result.dataset):
        try:
            return open_dataset(result.dataset, registry, home() / "datasets").class_names
        except ProbebenchError:
            pass
    count = int(max(predictions.y_true.max(), predictions.y_pred.max())) + 1
    return tuple(f"class {label}" for label in range(count))
