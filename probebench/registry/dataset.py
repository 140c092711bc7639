"""What an entry says of a downstream data set, and of a suite of them."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from probebench.registry.drawn import Drawn, Sha256
from probebench.registry.entry import Entry, Id, Metric, NonNegativeInt, PositiveInt, Text, check_unverified

Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
# How many draws of a rule an entry publishes, and digits of each digest: 128 bits that nobody meets by will.
PUBLISHED_DRAWS, DRAW_DIGITS = 5, 32
DrawDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
# One number where every class has it, else the numbers in class order.
PerClass = PositiveInt | tuple[NonNegativeInt, ...] | Literal["unknown"]


class Splits(Entry):
    """Images in each part, and the rule that made the parts; without training images it is a set to test on."""

    rule: Text
    train: NonNegativeInt
    val: NonNegativeInt
    test: PositiveInt


class ClassCounts(Entry):
    """Images of each class in each part."""

    train: PerClass = "unknown"
    val: PerClass = "unknown"
    test: PerClass = "unknown"


class Published(Entry):
    """Digests by which results are checked where the images are not: ``datasets show ID --commit`` writes them.

    Attributes:
        train: sha256 over ids and labels of the training part; None where there is none.
        test: Likewise of the test part.
        draws: By rule of drawing ("5+4" is 5 images a class and 4 more that validate), the first digits of each
            draw's digest, of draws 0 to 4; at full data there is one.
    """

    train: Sha256 | None = None
    test: Sha256
    draws: Mapping[Text, Annotated[tuple[DrawDigest, ...], Field(min_length=1, max_length=PUBLISHED_DRAWS)]]


class Archive(Entry):
    """A published file that is fetched into the set's folder, and unpacked if it is an archive."""

    url: Text
    md5: Md5 | Literal["unknown"] = "unknown"


class DatasetSpec(Entry):
    """One downstream data set that has a name of its own.

    Attributes:
        citation: Who published it, where and when.
        unverified: Keys such as "splits.train" whose values were taken from their source and could not be checked
            against the data.
        loader: What opens it: a name that a loader of probebench.datasets.named has.
        metric: What is reported by this set's convention: the share of images that are right, or its mean over classes.
        quirks: What to know before trusting a number, a line each.
        fingerprint: The sha256 over ids, labels and parts of the whole set.
        folder: The folder below ``datasets`` that holds it, where several entries share one; None is the id.
        files: What must lie in that folder; a name that ends in "/" is a folder.
        obtain: How to get these by hand.
        archives: What can be fetched without an account, beside what torchvision fetches.
        drawn: Of a set that is drawn from packages: these, and how.
        options: What the loader needs to know, such as a partition or a domain.
        classes: Names of the classes in label order, as the set's own files have them.
        prompts: The same classes in words, for zero-shot, where ``classes`` are codes or names of folders.
        templates: Zero-shot prompts with {} for the class.
        prompt_source: Whose templates and names in words these are, by the name that the set has there, and where and
            why they differ from those.
        published: Digests for who lacks the images; a set without them and without a fingerprint cannot be verified.
    """

    id: Id
    title: Text
    paper: Text
    url: Text
    license: Text
    citation: Text = "unknown"
    unverified: tuple[Text, ...] = ()
    loader: Id
    metric: Metric
    quirks: tuple[Text, ...] = ()
    fingerprint: Sha256 | Literal["unknown"] = "unknown"
    folder: Id | None = None
    files: tuple[Text, ...] = ()
    obtain: Text = "unknown"
    archives: tuple[Archive, ...] = ()
    drawn: Drawn | None = None
    options: Mapping[str, str | int] = {}
    splits: Splits
    class_counts: ClassCounts = ClassCounts()
    classes: Annotated[tuple[Text, ...], Field(min_length=2)]
    prompts: tuple[Text, ...] = ()
    templates: tuple[Text, ...] = ()
    prompt_source: Text = "unknown"
    published: Published | None = None

    @property
    def verifiable(self) -> bool:
        """Whether results can be checked against it by who lacks the images."""
        return self.fingerprint != "unknown" and self.published is not None

    @property
    def readable_classes(self) -> tuple[str, ...]:
        """The classes in words."""
        return self.prompts or self.classes

    @model_validator(mode="after")
    def _classes_agree(self) -> "DatasetSpec":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a name repeats")
        if self.prompts and len(self.prompts) != len(self.classes):
            raise ValueError(f"prompts: {len(self.prompts)} for {len(self.classes)} classes")
        for template in self.templates:
            if template.count("{}") != 1:
                raise ValueError(f"templates: {template!r} needs one {{}} for the class")
        return self

    @model_validator(mode="after")
    def _counts_agree(self) -> "DatasetSpec":
        for part in ("train", "val", "test"):
            counts, total = getattr(self.class_counts, part), getattr(self.splits, part)
            if counts == "unknown":
                continue
            each = (counts,) * len(self.classes) if isinstance(counts, int) else counts
            if len(each) != len(self.classes) or sum(each) != total:
                raise ValueError(
                    f"class_counts.{part}: {sum(each)} images in {len(each)} classes, "
                    f"where the entry says {total} in {len(self.classes)}"
                )
        return self

    @model_validator(mode="after")
    def _unverified_names_keys(self) -> "DatasetSpec":
        check_unverified(self, self.unverified)
        return self


class SuiteSpec(Entry):
    """A named list of data sets that one ``extract`` runs through."""

    id: Id
    title: Text
    datasets: tuple[Id, ...]
