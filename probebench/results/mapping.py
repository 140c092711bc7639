"""What the columns of somebody else's table mean: the map that ``probebench results import`` reads."""

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from probebench.errors import UsageError, did_you_mean
from probebench.outside import explain, read_toml, strictly
from probebench.registry.checkpoint import Method
from probebench.registry.entry import Count, Metric, Shots
from probebench.registry.probes import ResultKind

Role = Literal[
    "method", "architecture", "source", "samples", "epochs", "labels", "curation", "dataset", "shots", "score", "n_test"
]
REQUIRED: tuple[Role, ...] = ("method", "architecture", "source", "dataset")
_MAPS = Path(__file__).parent / "maps"
_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";"}
_SIZED = re.compile(r"(?P<name>.*?)[\s_-]*(?P<count>\d+(?:\.\d+)?)(?P<unit>[kmb])", re.IGNORECASE | re.DOTALL)
Meaning = TypeVar("Meaning")
_UNITS = {"k": 10**3, "m": 10**6, "b": 10**9}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MethodWord(_Part):
    """What a word for the pre-training method means; it may also say how the checkpoint was transferred.

    Attributes:
        labels: Where the pre-training's supervision came from, whatever the source usually has.
        without: Wide columns whose figures mean something else for this word and are passed over.
    """

    method: Method
    objective: str
    kind: ResultKind | None = None
    mode: str | None = None
    labels: str | None = None
    without: list[str] = []


class SourceWord(_Part):
    """What a word for a pre-training source means.

    Attributes:
        samples: None where a size follows the word, as in LAION2.7m.
        method: "none" where the word stands for no pre-training at all.
    """

    name: str
    samples: Count | None = None
    labels: str = "unknown"
    curation: str = "unknown"
    method: Literal["none"] | None = None


class TableMap(_Part):
    """A map of columns and words.

    Attributes:
        model: How checkpoints are named, with columns in braces.
        columns: Which column says what; a wide table has no ``shots`` and no ``score``.
        constants: What the table leaves unsaid because it is the same in all rows.
        shots: Wide: column of scores -> shots. Long: word -> shots, where it is not a number.
        settings: Columns of hyper-parameters of the transfer; rows that differ in them alone share a cell.
        pretraining: Columns of hyper-parameters of the pre-training; kept, and part of what a checkpoint is.
        ignore: Columns that are passed over.
        datasets: Word -> our id; a word that is not there is taken as it is, in lower case.
        strict: Makes such a word an error.
        partial: Whether tables may hold less than the map tells of; otherwise a word or number of shots that no row
            has is an error, since it is most often one that is written otherwise there.
        failed: Cells that stand for a run that failed.
        blank: Cells that stand for a run that never was; an empty cell always does.
        test_images: Data set -> shots -> test images behind one figure.
    """

    title: str
    paper: str = "unknown"
    url: str = "unknown"
    delimiter: Literal["tab", "comma", "semicolon"] | None = None
    scale: Literal["percent", "fraction"]
    selection: Literal["validation", "test", "fixed"]
    protocol: Annotated[str, Field(pattern=r"^[A-Za-z0-9._]+$")]
    kind: ResultKind = "finetune"
    mode: str = "full"
    metric: Metric = "accuracy"
    strict: bool = False
    partial: bool = False
    failed: list[str] = []
    blank: list[str] = []
    model: str
    columns: dict[Role, str]
    constants: dict[Role, str] = {}
    settings: list[str] = []
    pretraining: list[str] = []
    ignore: list[str] = []
    shots: dict[str, Shots] = {}
    methods: dict[str, MethodWord]
    architectures: dict[str, str] = {}
    datasets: dict[str, str] = {}
    sources: dict[str, SourceWord]
    test_images: dict[str, dict[str, Annotated[int, Field(ge=1)]]] = {}

    @model_validator(mode="after")
    def _says_enough(self) -> "TableMap":
        said = set(self.columns) | set(self.constants)
        if lacking := [role for role in REQUIRED if role not in said]:
            raise ValueError(f"name a column or a constant for {', '.join(lacking)}")
        if "score" in self.columns and "shots" not in said:
            raise ValueError("a long table needs a column or a constant for shots")
        if "score" not in self.columns and not self.shots:
            raise ValueError("name the score column of a long table, or the columns of a wide one under [shots]")
        for word, method in self.methods.items():
            if unknown := [name for name in method.without if name not in self.shots]:
                raise ValueError(f"methods.{word}.without: {', '.join(unknown)} is no column of [shots]")
        known = {str(shots) for shots in self.shots.values()}
        for dataset, images in self.test_images.items():
            if self.datasets and self.strict and dataset not in self.datasets.values():
                raise ValueError(f"test_images.{dataset}: no word of [datasets] means {dataset}")
            if unknown := [shots for shots in images if self.wide and shots not in known]:
                raise ValueError(f"test_images.{dataset}: {', '.join(unknown)} is no number of shots under [shots]")
        return self

    @property
    def wide(self) -> bool:
        """Says whether scores stand in one column for each number of shots."""
        return "score" not in self.columns

    @property
    def named(self) -> list[str]:
        """Lists every column that the map uses or passes over."""
        scores = list(self.shots) if self.wide else []
        return [*self.columns.values(), *self.settings, *self.pretraining, *scores, *self.ignore]

    def separator(self, header: str) -> str:
        """Returns the character between cells: the one named, else the one that yields most columns of the map."""
        if self.delimiter:
            return _DELIMITERS[self.delimiter]
        named = set(self.named)
        return max(_DELIMITERS.values(), key=lambda one: len(named & {part.strip(' "') for part in header.split(one)}))


def find_word(words: dict[str, Meaning], text: str) -> Meaning | None:
    """Looks a word up, whatever its case."""
    return next((meaning for word, meaning in words.items() if word.casefold() == text.casefold()), None)


def read_source(words: dict[str, SourceWord], text: str) -> tuple[SourceWord, Count] | None:
    """Reads a source and its size in one word: a known word as it stands, else one and a number with k, m or b.

    None where the name is unknown, or where it needs a size and has none.
    """
    whole = find_word(words, text)
    if whole is not None and whole.samples is not None:
        return whole, whole.samples
    match = _SIZED.fullmatch(text)
    named = find_word(words, match["name"]) if match else None
    if match is None or named is None:
        return (whole, "unknown") if whole is not None else None
    return named, round(float(match["count"]) * _UNITS[match["unit"].lower()])


def shipped_maps() -> list[str]:
    """Names the maps that come with probebench."""
    return sorted(path.stem for path in _MAPS.glob("*.toml"))


def read_map(name: str) -> TableMap:
    """Reads a map from a file, or one that comes with probebench by its name.

    Raises:
        UsageError: There is no such map, or it is malformed.
    """
    path = Path(name)
    if not path.is_file():
        if name not in shipped_maps():
            known = shipped_maps()
            raise UsageError(
                f"no map {name!r}: neither a file nor one of {', '.join(known)}{did_you_mean(name, known)}"
            )
        path = _MAPS / f"{name}.toml"
    try:
        return strictly(TableMap, read_toml(path))
    except OSError as error:
        raise UsageError(f"map {name} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise UsageError(f"map {name}: {explain(error, whole='map')}") from error
    except ValueError as error:
        raise UsageError(f"map {name} is not TOML: {error}") from error
