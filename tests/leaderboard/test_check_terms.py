"""Words and numbers of a result that kind, protocol and data set do not imply: each is refused for its own reason."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from probebench.fingerprint import fingerprint
from probebench.leaderboard.check_result import check_facts, check_rules
from probebench.registry import Registry
from probebench.registry.protocol import ZEROSHOT
from probebench.results.schema import Result
from tests.leaderboard.tampering import LEADERBOARD, MODEL

Values = dict[str, Any]
Change = Callable[[Values], object]


def _shipped(pattern: str) -> Values:
    """The first of a kind at 96 px, of a mode that each checkpoint has."""
    files = sorted((LEADERBOARD / "results" / MODEL / "digits").glob(pattern))
    found: list[Values] = [json.loads(path.read_text()) for path in files]
    return next(one for one in found if one["input_size"] == 96 and one["mode"] not in ("linear", "lp-ft", "scratch"))


@pytest.fixture(scope="module")
def bases(shipped: Registry) -> dict[str, Values]:
    """An honest result of each kind, under the present version of its protocol."""
    default = _shipped("probe-default-5-*.json") | {"protocol_version": shipped.protocol("default").version}
    default["trials"][1] |= {"chosen": {"C": 1.0}, "tried": [1e-4, 1e4], "on_edge": False}
    early = copy.deepcopy(default) | {
        **{"protocol": "clip_lbfgs", "protocol_version": shipped.protocol("clip_lbfgs").version},
        **{"backend": "scipy-lbfgs"},
    }
    for trial in early["trials"]:
        trial |= {
            "chosen": {"C": 1.0},
            "tried": [1e-6, 1e6],
            "on_edge": False,
            "gap": 5e-5,
            "validation": 0,
            "folds": 5,
        }
    steps = copy.deepcopy(default) | {
        **{"protocol": "elevater", "protocol_version": shipped.protocol("elevater").version, "backend": "torch-sgd"},
    }
    for trial in steps["trials"]:
        trial |= {"chosen": {"weight_decay": 1.0, "learning_rate": 0.1}, "tried": [1e-6, 1e6], "on_edge": False}
        trial |= {"gap": None, "converged": None}
    untrained_choice: Values = {
        **{"selection": "fixed", "chosen": {}, "tried": None, "on_edge": None, "validation_score": None},
    }
    untrained: Values = {
        **{"draw_seed": None, "draw_digest": fingerprint({"train": [], "validation": []}), "train": 0, "validation": 0},
        **{"selection": "fixed", "chosen": {}, "on_edge": None, "validation_loss": None, "validation_score": None},
        **{"test_score": 0.5, "converged": None, "unconverged": []},
    }
    zeroshot = copy.deepcopy(default) | {
        **{"kind": "zeroshot", "mode": "text", "protocol": "zeroshot", "protocol_version": ZEROSHOT.version},
        **{"backend": "numpy", "shots": 0, "labels_spent": 0, "selection": "fixed", "trials": [untrained]},
        **{"checkpoint": default["checkpoint"] | {"layer": "projected"}, "timings": {"total_s": 1.0}},
        **{"feature_key": {"test": default["feature_key"]["test"]}, "short_classes": []},
    }
    knn = _shipped("knn-knn-5-*.json")
    retrieval = copy.deepcopy(knn) | {
        **{"kind": "retrieval", "protocol": "retrieval", "selection": "fixed"},
        **{"protocol_version": shipped.protocol("retrieval").version},
        "trials": [trial | untrained_choice | {"validation": 0, "left_out": []} for trial in knn["trials"]],
    }
    return {
        **{"probe": default, "early": early, "steps": steps, "zeroshot": zeroshot},
        **{"knn": knn, "retrieval": retrieval, "ridge": _shipped("ridge-ridge-5-*.json")},
        **{"finetune": _shipped("finetune-quick-5-*.json")},
    }


def faults(values: Values, registry: Registry) -> list[str]:
    return list(check_rules(Result.model_validate(values), registry, registry.checkpoint(MODEL)))


@pytest.mark.parametrize("kind", ["probe", "early", "steps", "zeroshot", "knn", "retrieval", "ridge", "finetune"])
def test_an_honest_result_of_each_kind_passes(kind: str, bases: dict[str, Values], shipped: Registry) -> None:
    assert faults(bases[kind], shipped) == []


def edit(**changes: Any) -> Change:
    return lambda values: values.update(changes)


def trial(**changes: Any) -> Change:
    return lambda values: values["trials"][1].update(changes)


def chosen(**changes: Any) -> Change:
    return lambda values: values["trials"][1]["chosen"].update(changes)


def layer(name: str) -> Change:
    return lambda values: values["checkpoint"].update(layer=name)


WORDS: dict[str, tuple[str, Change, str]] = {
    "an empty mode": ("probe", edit(mode=""), "mode is ''"),
    "a mode with a space": ("probe", edit(mode="logistic "), "mode is 'logistic '"),
    "a mode in capitals": ("probe", edit(mode="Logistic"), "mode is 'Logistic'"),
    "a look-alike mode": ("probe", edit(mode="logist\u0456c"), r"mode is 'logist\u0456c'"),
    "an invisible mode": ("probe", edit(mode="logistic\u200b"), r"mode is 'logistic\u200b'"),
    "a mode of markup": ("probe", edit(mode="<img src=x onerror=alert(1)>"), "mode is '<img"),
    "a mode of another kind": ("probe", edit(mode="cosine"), "mode is 'cosine'"),
    "a mode of a fine-tune": ("knn", edit(mode="full"), "mode is 'full', and protocol knn has cosine"),
    "ridge otherwise": ("ridge", edit(mode="closed form"), "mode is 'closed form'"),
    "zero-shot otherwise": ("zeroshot", edit(mode=""), "mode is '', and protocol zeroshot has text"),
    "an unknown training": ("finetune", edit(mode="full "), "mode is 'full '"),
    "an unknown head": ("finetune", edit(mode="full, best head"), "mode is 'full, best head'"),
    "a head that is left out": ("finetune", edit(mode="full, zero head"), "mode is 'full, zero head'"),
    "an alpha written long": ("finetune", edit(mode="full, alpha 0.50"), "mode is 'full, alpha 0.50'"),
    "an alpha of many digits": ("finetune", edit(mode="full, alpha 0.5001"), "mode is 'full, alpha 0.5001'"),
    "an alpha of one": ("finetune", edit(mode="full, alpha 1"), "mode is 'full, alpha 1'"),
    "an alpha of other digits": ("finetune", edit(mode="full, alpha 0.\u0665"), "mode is 'full, alpha 0"),
    "an unknown backend": ("probe", edit(backend="mine"), "backend is 'mine'"),
    "no backend": ("probe", edit(backend=None), "backend is missing"),
    "a backend in capitals": ("probe", edit(backend="Torch"), "backend is 'Torch'"),
    "a backend of another solver": ("probe", edit(backend="scipy-lbfgs"), "backend is 'scipy-lbfgs'"),
    "an exact backend of a procedure": ("early", edit(backend="torch"), "backend is 'torch', and protocol clip_lbfgs"),
    "another optimizer": ("steps", edit(backend="torch-adamw"), "and protocol elevater has torch-sgd"),
    "a backend of neighbours": ("knn", edit(backend="torch"), "backend is 'torch', and protocol knn has numpy"),
    "a backend of a fine-tune": ("finetune", edit(backend="numpy"), "backend is 'numpy', and protocol quick has torch"),
    "an unknown dtype": ("probe", edit(dtype="fp64"), "dtype is 'fp64'"),
    "no dtype": ("probe", edit(dtype=None), "dtype is missing"),
    "a look-alike dtype": ("probe", edit(dtype="fp32\u200d"), r"dtype is 'fp32\u200d'"),
    "a dtype in capitals": ("probe", edit(dtype="FP32"), "dtype is 'FP32'"),
    "another protocol": ("probe", edit(protocol="d\u0435fault"), "is not in the registry"),
    "a kind that the protocol is not of": (
        "probe",
        edit(kind="ridge"),
        "kind ridge, which protocol default is not for",
    ),
    "zero-shot of a class token": ("zeroshot", layer("pooled"), "layer is 'pooled', and zero-shot compares projected"),
    "a fine-tune of a block": ("finetune", layer("block:3"), "is fine-tuned on pooled"),
    "a fine-tune with features": ("finetune", edit(feature_key={"test": "a" * 64}), "feature keys of a fine-tune"),
    "zero-shot with training features": (
        "zeroshot",
        edit(feature_key={"test": "a" * 64, "train": "a" * 64}),
        "zero-shot has a feature key of test",
    ),
    "a probe without features": ("probe", edit(feature_key=None), "a probe has feature keys of train and test"),
    "a probe without training features": ("probe", edit(feature_key={"test": "a" * 64}), "keys of train and test"),
    "features of another part": (
        "probe",
        lambda values: values["feature_key"].update({"t\u0435st": "a" * 64}),
        "feature keys of",
    ),
    "another metric": ("probe", edit(metric="mean-per-class"), "metric is mean-per-class"),
    "a timing of one's own": ("probe", edit(timings={"<b>": 1.0}), "timing '<b>'"),
    "more than a file": (
        "probe",
        lambda values: values["predictions"].update(url="https://example.org"),
        "predictions have file and sha256, and nothing else",
    ),
}

NUMBERS: dict[str, tuple[str, Change, str]] = {
    "no input size": ("probe", edit(input_size=None), "input_size is None"),
    "an input size of zero": ("probe", edit(input_size=0), "input_size is 0"),
    "a negative input size": ("probe", edit(input_size=-96), "input_size is -96"),
    "a huge input size": ("probe", edit(input_size=10**9), "input_size is 1000000000"),
    "more shots than images": ("probe", edit(shots=10**6), "shots are 1000000, and digits has 898"),
    "no training image": ("probe", trial(train=0), "draw 1: train images are 0"),
    "negative images": ("probe", trial(validation=-1), "draw 1: validation images are -1"),
    "more images than there are": ("probe", trial(train=899), "draw 1: train images are 899"),
    "images of zero-shot": ("zeroshot", lambda values: values["trials"][0].update(train=10), "train images are 10"),
    "a negative loss": ("probe", trial(validation_loss=-0.1), "validation_loss is -0.1"),
    "an endless loss": ("probe", trial(validation_loss=1e300), "validation_loss is 1e+300"),
    "negative iterations": ("probe", trial(iterations=-1), "iterations are -1"),
    "one fold": ("probe", trial(folds=1), "folds are 1"),
    "more folds than images": ("probe", trial(folds=10**6), "folds are 1000000"),
    "negative time": ("probe", edit(timings={"total_s": -1.0}), "timing 'total_s' of -1"),
    "a class that is none": (
        "probe",
        edit(short_classes=[{"label": 10, "train": 1, "validation": 0}]),
        "short class 10",
    ),
    "a negative class": ("probe", edit(short_classes=[{"label": -1, "train": 1, "validation": 0}]), "short class -1"),
}

CHOICES: dict[str, tuple[str, Change, str]] = {
    "a strength beside the grid": ("probe", chosen(C=2.0), "C = 2 is not on the grid of protocol default"),
    "a strength a little beside it": ("probe", chosen(C=1.0001), "is not on the grid"),
    "a strength beyond the widest grid": ("probe", chosen(C=1e9), "C = 1e+09 is not on the grid"),
    "a negative strength": ("probe", chosen(C=-1.0), "C = -1 is not on the grid"),
    "neighbours beside the list": ("knn", chosen(k=15.0), "k = 15 is not on the grid of protocol knn"),
    "a penalty beside the grid": ("ridge", chosen(alpha=3.0), "alpha = 3 is not on the grid"),
    "another parameter": (
        "probe",
        trial(chosen={"alpha": 1.0}),
        "chosen is ['alpha'], where protocol default chooses C",
    ),
    "a parameter more": ("probe", chosen(boost=1.0), "chosen is ['C', 'boost']"),
    "no parameter": ("probe", trial(chosen={}), "chosen is []"),
    "no learning rate": ("steps", trial(chosen={"weight_decay": 1.0}), "chooses weight_decay and learning_rate"),
    "another learning rate": (
        "steps",
        chosen(learning_rate=0.05),
        "learning_rate = 0.05 is none that protocol elevater",
    ),
    "tried less than the grid": ("probe", trial(tried=[0.1, 10.0]), "tried is 0.1 to 10, and the grid of"),
    "tried more than the widest": ("probe", trial(tried=[1e-4, 1e12]), "tried is 0.0001 to 1e+12"),
    "tried nothing": ("probe", trial(tried=None), "tried is missing"),
    "a choice beyond what was tried": ("probe", chosen(C=1e6), "tried is 0.0001 to 10000"),
    "an edge that is none": ("probe", trial(chosen={"C": 1.0}, on_edge=True), "on_edge is True at C = 1"),
    "an edge that is hidden": ("probe", trial(chosen={"C": 1e4}, on_edge=False), "on_edge is False at C = 10000"),
    "a choice without a score": ("probe", trial(validation_score=None), "validation_score is missing"),
    "unconverged beside the grid": ("probe", trial(unconverged=[3.0]), "unconverged names C = 3"),
    "unconverged twice": ("probe", trial(unconverged=[1.0, 1.0]), "unconverged names a value twice"),
    "left out beside the grid": ("knn", trial(left_out=[300.0]), "left_out names k = 300"),
    "fixed at a value of one's own": (
        "probe",
        trial(selection="fixed", chosen={"C": 1.0}, tried=[1.0, 1.0]),
        "C = 1 is fixed, where protocol default has 31.6228",
    ),
    "fixed with a validation score": (
        "probe",
        trial(selection="fixed", chosen={"C": 31.622776601683793}, tried=[31.622776601683793] * 2),
        "nothing was chosen, and tried, on_edge or a validation score says otherwise",
    ),
    "a gap above the tolerance": ("probe", trial(gap=1.1e-6), "converged with a gap of 1.1e-06"),
    "a gap of one": ("probe", trial(gap=1.0), "converged with a gap of 1"),
    "a negative gap": ("probe", trial(gap=-0.5), "converged with a gap of -0.5"),
    "no gap": ("probe", trial(gap=None), "converged without a gap that shows it"),
    "no word on convergence": ("probe", trial(converged=None, gap=None), "converged without a gap that shows it"),
    "an early gap above the tolerance": ("early", trial(gap=2e-4), "protocol clip_lbfgs allows 0.0001"),
    "unconverged with a small gap": (
        "probe",
        lambda values: trial(converged=False, gap=1e-9, unconverged=[values["trials"][1]["chosen"]["C"]])(values),
        "not converged with a gap of 1e-09, which is within 1e-06",
    ),
    "unconverged and not listed": (
        "probe",
        trial(converged=False, gap=1e-2, unconverged=[]),
        "not converged, and unconverged does not name the choice",
    ),
    "an optimum of neighbours": ("knn", trial(converged=True), "a procedure that has no optimum to reach"),
    "an optimum of SGD": ("steps", trial(converged=True, gap=0.0), "a procedure that has no optimum to reach"),
    "an optimum of a fine-tune": ("finetune", trial(converged=True), "a procedure that has no optimum to reach"),
    "a gap of ridge": ("ridge", trial(gap=0.0), "a procedure that has no optimum to reach"),
    "another rate": ("finetune", chosen(learning_rate=0.01), "learning_rate = 0.01 is none that protocol quick tries"),
    "a rate of the other mode": (
        "finetune",
        lambda values: values.update(mode="linear"),
        "learning_rate = 0.0003 is none that protocol quick tries",
    ),
    "an epoch after the last": ("finetune", chosen(epoch=1000.0), "epoch is 1000, and there are"),
    "half an epoch": ("finetune", chosen(epoch=0.5), "epoch is 0.5"),
    "another seed": ("finetune", chosen(training_seed=7.0), "training_seed is 7, and protocol quick has 1"),
    "no seed": (
        "finetune",
        trial(chosen={"learning_rate": 0.001, "epoch": 1.0}),
        "chosen is ['epoch', 'learning_rate']",
    ),
    "an alpha that the mode has not": ("finetune", chosen(alpha=0.5), "where mode 'full' has"),
    "a mode's alpha that was not": ("finetune", edit(mode="full, alpha 0.5"), "where mode 'full, alpha 0.5' has alpha"),
    "rates that were not tried": ("finetune", trial(tried=[1e-5, 1.0]), "tried is 1e-05 to 1"),
    "an edge of a fine-tune": ("finetune", trial(on_edge=False), "on_edge is False"),
    "a choice of zero-shot": (
        "zeroshot",
        lambda values: values["trials"][0].update(chosen={"template": 3.0}),
        "something was chosen, where protocol zeroshot has nothing to choose",
    ),
    "validation of zero-shot": (
        "zeroshot",
        lambda values: values["trials"][0].update(validation_score=0.9),
        "something was chosen, where protocol zeroshot has nothing to choose",
    ),
    "a choice of retrieval": (
        "retrieval",
        trial(chosen={"k": 3.0}),
        "something was chosen, where protocol retrieval has nothing to choose",
    ),
    "validation of retrieval": ("retrieval", trial(selection="validation"), "retrieval selects on fixed"),
    "an optimum of retrieval": ("retrieval", trial(converged=True), "a procedure that has no optimum to reach"),
    "training seeds at leisure": (
        "finetune",
        lambda values: values.update(shots="full", trials=[one | {"draw_seed": None} for one in values["trials"]]),
        "3 training seeds, where protocol quick has 1",
    ),
}


@pytest.mark.parametrize("name", [*WORDS, *NUMBERS, *CHOICES])
def test_what_is_not_implied_is_refused(name: str, bases: dict[str, Values], shipped: Registry) -> None:
    base, change, reason = (WORDS | NUMBERS | CHOICES)[name]
    values = copy.deepcopy(bases[base])
    change(values)
    found = faults(values, shipped)
    assert any(reason in fault for fault in found), found
    assert all(fault.isprintable() for fault in found)


def test_an_older_version_keeps_its_choices_and_not_its_words(bases: dict[str, Values], shipped: Registry) -> None:
    """Its grid is no longer known; the page shows it all the same."""
    values = copy.deepcopy(bases["early"]) | {"protocol_version": 1, "backend": "sklearn-lbfgs"}
    values["trials"][0]["chosen"] = {"C": 2.0}
    assert faults(values, shipped) == []
    assert faults(values | {"mode": ""}, shipped) == ["mode is '', and protocol clip_lbfgs has logistic"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "language-image"}, "method is 'language-image'"),
        ({"objective": "CLIP"}, "objective is 'CLIP'"),
        ({"sources": [{"name": "LAION", "samples": 1}]}, "sources is"),
        ({"architecture": "timm/resnet50"}, "architecture is 'timm/resnet50'"),
        ({"layer": "cls"}, "layer is 'cls'"),
        ({"features": 9999}, "features is 9999"),
        ({"title": "The best"}, "title is 'The best'"),
    ],
)
def test_an_untrained_twin_has_the_facts_of_one(
    changes: Values, reason: str, bases: dict[str, Values], shipped: Registry
) -> None:
    entry = shipped.checkpoint(MODEL)
    facts = bases["finetune"]["checkpoint"] | {
        **{
            "method": "none",
            "objective": "none",
            "sources": [],
            "samples_seen": 0,
            "labels": "none",
            "curation": "none",
        }
    }
    honest = Result.model_validate(bases["finetune"] | {"mode": "scratch", "checkpoint": facts})
    assert list(check_facts(honest, entry)) == []
    forged = Result.model_validate(bases["finetune"] | {"mode": "scratch", "checkpoint": facts | changes})
    assert any(reason in fault for fault in check_facts(forged, entry))
