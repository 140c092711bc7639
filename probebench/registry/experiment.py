"""What a file says of an experiment: checkpoints on data sets, and what is asked of each pair."""

import fnmatch
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from probebench.registry.entry import MOST, Entry, Id, PositiveInt, Text, TrainingShots, Whole
from probebench.registry.optimization import Share
from probebench.registry.probes import PROBES, ProbeName
from probebench.registry.recipe_uri import Captions


def _several(value: object) -> object:
    """One value stands for a list of it."""
    return (value,) if isinstance(value, str | int | float | dict) else value


def _shots(value: object) -> object:
    if value != "full" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{value!r} is neither a positive whole number nor 'full'")
    return value


_Several = BeforeValidator(_several)
Names = Annotated[tuple[Text, ...], _Several]
AskedShots = Annotated[tuple[Annotated[TrainingShots, BeforeValidator(_shots)], ...], _Several, Field(min_length=1)]
InputSize = Annotated[int, Whole, Field(ge=1, le=4096)]


class Training(Entry):
    """One way to fine-tune every pair, or some.

    Attributes:
        models: Ids and globs of those that are trained; None: all.
        datasets: Ids and globs of those that are trained on; None: all.
        protocol: Id of a fine-tune protocol.
        mode: What is trained and from where.
        shots: Numbers of shots; None: the protocol's.
        draws: Draws to average over; None: the protocol's.
    """

    models: Annotated[Names, Field(min_length=1)] | None = None
    datasets: Annotated[Names, Field(min_length=1)] | None = None
    protocol: Text = "quick"
    mode: Literal["full", "lp-ft", "scratch", "linear"] = "full"
    shots: AskedShots | None = None
    draws: PositiveInt | None = None

    def asks(self, model: str, dataset: str) -> bool:
        """Says whether a pair is trained."""
        sides = ((self.models, model), (self.datasets, dataset))
        return all(some is None or any(means(one, name) for one in some) for some, name in sides)


def _grid(value: object) -> object:
    """Each source is an id, or a list of them for a mixture."""
    each = _several(value)
    return tuple(_several(one) for one in each) if isinstance(each, list | tuple) else each


class Pretrain(Entry):
    """Checkpoints that are made first: every recipe on every source, in every size, noise and run.

    Attributes:
        recipes: Ids of recipes, and globs.
        sources: Ids of sources; a list of them is their mixture.
        samples: Images in all; a size that a source has not is passed over.
        label_noise: Shares of images whose labels or captions are permuted; recipes that read neither have 0 alone.
        captions: Captions as they are, or within the recipe's sentences.
        epochs: Passes; None: the recipes' length.
        runs: Seeds.
    """

    recipes: Annotated[Names, Field(min_length=1)]
    sources: Annotated[tuple[Annotated[Names, Field(min_length=1)], ...], BeforeValidator(_grid), Field(min_length=1)]
    samples: Annotated[tuple[PositiveInt, ...], _Several, Field(min_length=1)]
    label_noise: Annotated[tuple[Share, ...], _Several, Field(min_length=1)] = (0.0,)
    captions: Captions = "names"
    epochs: PositiveInt | None = None
    runs: Annotated[tuple[Annotated[int, Whole, Field(ge=0, le=MOST)], ...], _Several, Field(min_length=1)] = (0,)


class LeftOut(Entry):
    """Pairs that are not asked: ids or globs of both."""

    model: Text
    dataset: Text


class Quick(Entry):
    """What ``--quick`` says in the place of an experiment's own keys, and always less of it."""

    models: Names | None = None
    pretrain: Annotated[tuple[Pretrain, ...], _Several] | None = None
    layers: Names | None = None
    datasets: Names | None = None
    shots: AskedShots | None = None
    protocols: Names | None = None
    probes: Annotated[tuple[ProbeName, ...], _Several] | None = None
    draws: PositiveInt | None = None
    zeroshot: StrictBool | None = None
    input_size: InputSize | None = None
    finetune: Annotated[tuple[Training, ...], _Several] | None = None


class ExperimentSpec(Entry):
    """Every checkpoint on every data set, and what is asked of each.

    Attributes:
        id: Its id, which is the name of its file where it is an entry.
        title: One line for readers.
        models: Ids of checkpoints, globs and libraries' names; none where all are made.
        pretrain: Checkpoints that are made first, and asked like the others.
        layers: Names and globs of layers; none: the one that stands for a checkpoint, and whatever a protocol takes.
        datasets: Ids, suites, globs, folders and other sources.
        shots: Labelled images a class, of probes; None: each protocol's own.
        shots_of: Others of some of the protocols, by id.
        protocols: Ids of protocols, and globs; None: ``default``, unless ``probes`` are named.
        probes: Kinds of probes, each under its own protocol, beside ``protocols``.
        draws: Draws to average over; None: each protocol's own.
        zeroshot: Whether checkpoints with a text tower classify by names too.
        input_size: Side of the input in pixels; None: each entry's own.
        finetune: Ways to train whole networks.
        left_out: Pairs that are not asked.
        quick: What ``--quick`` says instead.
    """

    id: Id | None = None
    title: Text | None = None
    models: Names = ()
    pretrain: Annotated[tuple[Pretrain, ...], _Several] = ()
    layers: Names = ()
    datasets: Annotated[Names, Field(min_length=1)]
    shots: AskedShots | None = None
    shots_of: Mapping[Text, AskedShots] = Field(default_factory=dict)
    protocols: Names | None = None
    probes: Annotated[tuple[ProbeName, ...], _Several] = ()
    draws: PositiveInt | None = None
    zeroshot: StrictBool = False
    input_size: InputSize | None = None
    finetune: Annotated[tuple[Training, ...], _Several] = ()
    left_out: Annotated[tuple[LeftOut, ...], _Several] = ()
    quick: Quick | None = None

    @model_validator(mode="after")
    def _names_checkpoints(self) -> "ExperimentSpec":
        if not (self.models or self.pretrain):
            raise ValueError("models: name one, or make some by a table pretrain")
        return self

    @model_validator(mode="after")
    def _quick_asks_for_less(self) -> "ExperimentSpec":
        if self.quick is None:
            return self
        every = {*(self.shots or ()), *(one for some in self.shots_of.values() for one in some)}
        if self.shots and (more := [one for one in self.quick.shots or () if one not in every]):
            raise ValueError(f"quick.shots: {more[0]} is not among shots")
        if self.draws and (self.quick.draws or 0) > self.draws:
            raise ValueError(f"quick.draws: more than the {self.draws} of the whole")
        if self.quick.zeroshot and not self.zeroshot:
            raise ValueError("quick.zeroshot: the whole has none")
        return self

    @property
    def all_protocols(self) -> tuple[str, ...]:
        """Ids and globs of the protocols that are asked, those of ``probes`` included."""
        named = self.protocols if self.protocols is not None else () if self.probes else ("default",)
        return (*named, *(PROBES[probe].protocol for probe in self.probes))

    def shots_under(self, protocol: str) -> tuple[TrainingShots, ...] | None:
        """Returns the numbers of shots that are asked under a protocol; None: its own."""
        return self.shots_of.get(protocol, self.shots)

    @property
    def quicker(self) -> "ExperimentSpec | None":
        """The experiment as ``--quick`` runs it; None where it says nothing of that."""
        if self.quick is None:
            return None
        said: dict[str, Any] = {name: getattr(self.quick, name) for name in self.quick.model_fields_set}
        if few := self.quick.shots:
            kept = {name: tuple(one for one in some if one in few) for name, some in self.shots_of.items()}
            said["shots_of"] = kept
        return self.model_copy(update={**said, "quick": None})

    def leaves_out(self, model: str, dataset: str) -> bool:
        """Says whether a pair is not asked."""
        return any(means(one.model, model) and means(one.dataset, dataset) for one in self.left_out)


def means(pattern: str, name: str) -> bool:
    """Says whether a name or glob means a name."""
    return pattern == name or fnmatch.fnmatchcase(name, pattern)
