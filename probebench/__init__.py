"""Which pre-training data and method transfers best, with few labels and with many.

``import probebench as pb`` is the front door; every name below loads what it needs when it is first used:

- ``pb.extract``, ``pb.load_features``: features of a checkpoint, or a module of yours, on a data set, cached once;
- ``pb.evaluate``, ``pb.zeroshot``, ``pb.finetune``: results on fixed draws, with intervals;
- ``pb.Probe``: a probe that ``evaluate(save_probes=)`` kept, to predict other images with;
- ``pb.run_experiment``: all of that, of what a file declares;
- ``pb.load_results``, ``pb.compare``, ``pb.run_study``, ``pb.build_leaderboard``: what results say;
- ``pb.mistakes``: where one of them errs, class by class and image by image;
- ``pb.prepare_sources``, ``pb.load_source``: captioned images to pre-train on, in nested sizes;
- ``pb.pretrain``: a checkpoint made from them, with every fact known;
- ``pb.LogisticProbe``, ``pb.logistic_sweep``: the solver, on arrays of your own.

Each error that a user can mend is a ``pb.ProbebenchError`` of one line; where some of several things could not be done,
it is a ``pb.UnfinishedError``, which holds the others. What a reader of results should know is a
``pb.ProbebenchWarning``. docs/python.md walks through all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probebench.api.evaluate import evaluate
    from probebench.api.experiment import run_experiment
    from probebench.api.extract import extract, load_features
    from probebench.api.features import Features
    from probebench.api.finetune import finetune
    from probebench.api.mistakes import mistakes
    from probebench.api.pretrain import pretrain
    from probebench.api.probe import Probe
    from probebench.api.report import build_leaderboard, compare, load_results, run_study
    from probebench.api.sources import load_source, prepare_sources
    from probebench.api.tables import Results
    from probebench.api.zeroshot import zeroshot
    from probebench.errors import ProbebenchError, ProbebenchWarning, UnfinishedError, UsageError
    from probebench.probes.estimator import LogisticProbe
    from probebench.probes.logistic import logistic_sweep

__version__ = "0.2.0"

_PLACES = {
    "extract": "api.extract",
    "load_features": "api.extract",
    "Features": "api.features",
    "evaluate": "api.evaluate",
    "Probe": "api.probe",
    "zeroshot": "api.zeroshot",
    "finetune": "api.finetune",
    "pretrain": "api.pretrain",
    "load_source": "api.sources",
    "prepare_sources": "api.sources",
    "run_experiment": "api.experiment",
    "Results": "api.tables",
    "compare": "api.report",
    "mistakes": "api.mistakes",
    "load_results": "api.report",
    "run_study": "api.report",
    "build_leaderboard": "api.report",
    "LogisticProbe": "probes.estimator",
    "logistic_sweep": "probes.logistic",
    "ProbebenchError": "errors",
    "ProbebenchWarning": "errors",
    "UnfinishedError": "errors",
    "UsageError": "errors",
}

__all__ = [
    "Features",
    "LogisticProbe",
    "Probe",
    "ProbebenchError",
    "ProbebenchWarning",
    "Results",
    "UnfinishedError",
    "UsageError",
    "build_leaderboard",
    "compare",
    "evaluate",
    "extract",
    "finetune",
    "load_features",
    "load_results",
    "load_source",
    "logistic_sweep",
    "mistakes",
    "prepare_sources",
    "pretrain",
    "run_experiment",
    "run_study",
    "zeroshot",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Loads a name of the front door when it is first asked for."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
