"""The probes that there are and the kinds of result: the one table that everything else reads."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator


@dataclass(frozen=True, kw_only=True)
class ProbeKind:
    """A probe: how it is called, what its protocols may say, and what fits it.

    Attributes:
        name: As protocols and ``--probe`` call it.
        about: As the help of ``--probe`` explains it.
        kind: As results call it; no two probes share one.
        mode: Its variant, as results call it.
        label: As the leaderboard calls it.
        protocol: Its default protocol.
        fitter: "module:function". The function takes a protocol and the name of a backend and returns the
            ``probes.select.Fitters`` of its probes; the module is imported when it is first asked to fit.
        parameters: What a protocol may have a grid of; none: there is nothing to choose.
        whole: Whether these are counts: a grid then lists whole numbers.
        solvers: Names of solvers that a protocol may ask for.
        loss: Whether it gives probabilities. Without them there is no log-loss to choose by, nor its standard error.
        numpy: Whether it is computed exactly in float64, by NumPy or on a GPU, so that there is no backend to choose.
        rows: What a protocol must say of how features are prepared.
        because: Why it must: a predicate for the error line.
        needs: Fields of a protocol that are this probe's own and must be there.
        takes: Fields that are its own and may be there.
        searches: Whether it is its training rows, which it searches when it predicts, so that no file of weights is it.
        ranks: Whether its results tell of the rank of every image: recall and average precision.
    """

    name: str
    about: str
    kind: str
    mode: str
    label: str
    protocol: str
    fitter: str
    parameters: tuple[str, ...]
    whole: bool = False
    solvers: tuple[str, ...] = ("exact",)
    loss: bool = False
    numpy: bool = True
    rows: Mapping[str, str | bool] = field(default_factory=dict)
    because: str = ""
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    searches: bool = False
    ranks: bool = False


# In the order in which readers see them.
_PROBES = (
    ProbeKind(
        name="logistic",
        about="a logistic fit",
        kind="probe",
        mode="logistic",
        label="Linear probe",
        protocol="default",
        fitter="probebench.probes.backends:logistic",
        parameters=("C", "weight_decay"),
        solvers=("exact", "lbfgs", "adamw", "sgd"),
        loss=True,
        numpy=False,
    ),
    ProbeKind(
        name="ridge",
        about="ridge regression in closed form",
        kind="ridge",
        mode="closed-form",
        label="Ridge",
        protocol="ridge",
        fitter="probebench.probes.ridge:fitters",
        parameters=("alpha",),
        takes=("constant",),
    ),
    ProbeKind(
        name="knn",
        about="a vote of the nearest neighbours",
        kind="knn",
        mode="cosine",
        label="Nearest neighbours",
        protocol="knn",
        fitter="probebench.probes.knn:fitters",
        parameters=("k",),
        whole=True,
        rows={"normalize": "l2", "standardize": False, "scale": "none"},
        because="goes by cosine",
        needs=("temperature",),
        searches=True,
    ),
    ProbeKind(
        name="retrieval",
        about="a ranking of the training images for each test image",
        kind="retrieval",
        mode="cosine",
        label="Retrieval",
        protocol="retrieval",
        fitter="probebench.probes.retrieval:fitters",
        parameters=(),
        rows={"normalize": "l2", "standardize": False, "scale": "none"},
        because="goes by cosine",
        searches=True,
        ranks=True,
    ),
)
PROBES = {probe.name: probe for probe in _PROBES}
OF_KIND = {probe.kind: probe for probe in _PROBES}
PARAMETERS = {parameter for probe in _PROBES for parameter in probe.parameters}
# Fields of a protocol that are some probe's own.
OWN_FIELDS = sorted({name for probe in _PROBES for name in (*probe.needs, *probe.takes)})

# Every kind of result by the leaderboard's name for it, in its order; the last two are no probes.
LABELS = {**{probe.kind: probe.label for probe in _PROBES}, "zeroshot": "Zero-shot", "finetune": "Fine-tuned"}
# Modes that say no more than their kind.
PLAIN_MODES = {*(probe.mode for probe in _PROBES), "text", ""}


def _one_of(known: Iterable[str]) -> AfterValidator:
    """Returns the check that a text is one of those known."""

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"{value!r} is not one of {', '.join(known)}")
        return value

    return AfterValidator(check)


ProbeName = Annotated[str, _one_of(PROBES)]
Parameter = Annotated[str, _one_of(sorted(PARAMETERS))]
ResultKind = Annotated[str, _one_of(LABELS)]
