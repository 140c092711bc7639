"""Every shipped protocol, and what a protocol file may not say."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from probebench.errors import RegistryError
from probebench.fingerprint import fingerprint
from probebench.probes.grid import strengths
from probebench.registry import ProtocolSpec, Registry
from probebench.registry.load import read_entry, shipped_registry
from probebench.registry.probes import OF_KIND, PROBES
from tests.results.make import result

# Of the versions that the shipped results were made under.
SHIPPED = {
    "default": "c65165220a34878c3802269b9d7c23427c629b080044b3aa8ea2b49cbfea02d6",
    "ridge": "347a944121dca39d5e518b341ec45b36b9129509c9b73cef888bff7bbcdc7845",
}
SPECS = Registry.load(environ={}).protocols


def test_the_protocols_that_there_are() -> None:
    assert set(SPECS) == {
        "big_vision_lsr", "clip_benchmark", "clip_lbfgs", "default", "default_1se", "dinov2_logreg", "elevater", "knn",
        "mieb", "retrieval", "ridge",
    }  # fmt: skip


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.id)
def test_each_cites_its_source_and_says_what_it_selects_on(spec: ProtocolSpec) -> None:
    assert len(spec.source) > 30 and len(spec.selects_on) > 10
    assert "arXiv" in spec.source or "section" in spec.source or "LAION" in spec.source
    assert spec.refuses("full") is None and spec.refuses(2) is None
    inside = spec.few_shot.method in ("k-fold", "holdout")
    assert (spec.refuses(1) is not None) == inside


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("default", np.logspace(-4, 4, 17)),
        ("clip_lbfgs", np.logspace(-6, 6, 97)),
        ("dinov2_logreg", 10 ** np.linspace(-6, 5, 45)),
        ("mieb", np.ones(1)),
        ("clip_benchmark", np.logspace(-6, 2, 97)),
        ("elevater", np.logspace(-6, 6, 97)),
        ("ridge", np.logspace(-2, 7, 19)),
        ("big_vision_lsr", [2.0**10]),
        ("knn", [10, 20, 100, 200]),
    ],
)
def test_grids_are_the_published_ones(name: str, grid: Any) -> None:
    assert np.allclose(strengths(SPECS[name]), grid, rtol=1e-12)


def test_what_the_published_procedures_do() -> None:
    assert SPECS["mieb"].solver.max_iter == 100 and SPECS["mieb"].shots == (16,) and SPECS["mieb"].draws == 5
    assert SPECS["mieb"].few_shot.value == 1.0
    assert SPECS["clip_lbfgs"].solver.max_iter == 1000 and SPECS["clip_lbfgs"].refit
    assert SPECS["dinov2_logreg"].full.share == 0.1 and SPECS["dinov2_logreg"].refit
    assert SPECS["clip_benchmark"].normalize == "l2" and SPECS["clip_benchmark"].solver.name == "adamw"
    assert SPECS["clip_lbfgs"].solver.summed and not SPECS["mieb"].solver.summed
    elevater, solver = SPECS["elevater"], SPECS["elevater"].solver
    assert elevater.few_shot.share == elevater.full.share == 0.2 and elevater.full.method == "holdout"
    assert (solver.name, solver.batch_size, solver.batch_norm) == ("sgd", 64, True)
    assert elevater.grid and (solver.epoch, solver.start, elevater.grid.ties) == ("best", "text", "first")
    assert elevater.shots == (5, 20, 50, "full") and not elevater.standardize and SPECS["default"].scale == "rms"
    assert SPECS["knn"].temperature == 0.07
    lsr = SPECS["big_vision_lsr"]
    assert (lsr.constant, lsr.epsilon, lsr.shots, lsr.draws) == (100.0, 1e-5, (1, 5, 10, 25), 3)


def test_what_is_reported_and_what_chooses() -> None:
    """The metric of each procedure's own code, else that of the data set."""
    everywhere = {name for name, spec in SPECS.items() if spec.metric == "accuracy"}
    assert everywhere == {"big_vision_lsr", "clip_benchmark", "knn", "mieb"}
    assert {name for name, spec in SPECS.items() if spec.criterion == "metric"} == {"dinov2_logreg", "elevater"}
    assert all(spec.metric is None for name, spec in SPECS.items() if name not in everywhere)


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.id)
def test_every_earlier_version_is_known(spec: ProtocolSpec) -> None:
    assert set(spec.older) == set(range(1, spec.version)) and all(len(text) > 20 for text in spec.older.values())


def test_fields_that_came_later_rename_no_result() -> None:
    """The digest of a result covers the protocol; one that says nothing new must be dumped as it was before."""
    later = {"epsilon", "constant", "temperature", "metric", "older"}
    steps = {"summed", "batch_norm", "epoch", "start"}
    for name in ("default", "default_1se", "ridge"):
        dump = SPECS[name].model_dump(mode="json")
        assert not later & dump.keys() and not steps & dump["solver"].keys()
        assert not {"values", "ties"} & dump["grid"].keys()
    assert later & SPECS["knn"].model_dump(mode="json").keys() == {"temperature", "metric"}
    for name, digest in SHIPPED.items():
        assert fingerprint(SPECS[name].model_dump(mode="json")) == digest


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("default", "most = 4", "", "takes most"),
        ("default", "most = 4", "most = 4\nvalue = 3.0", "takes most and perhaps folds, and nothing else"),
        ("ridge", "share = 0.2", "share = 0.2\nmost = 3", "takes share and perhaps folds, and nothing else"),
        ("dinov2_logreg", "share = 0.1", "share = 0.1\nfolds = 3", "takes share, and nothing else"),
        ("default", 'refit = "full"', 'refit = "few"', "refit"),
        ("default", 'method = "validation-draw"\nmost = 4', 'method = "own-split-or-holdout"\nshare = 0.2',
         "no split of its own"),
        ("default", 'method = "own-split-or-holdout"\nshare = 0.2', 'method = "k-fold"', "full: use"),
        ("default", 'parameter = "C"', 'parameter = "weight_decay"', "grid.parameter is C"),
        ("default", "stop = 4.0", "stop = -5.0", "stop must be above start"),
        ("default", "fallback = 31.622776601683793", "fallback = 0.0", "must be positive"),
        ("default", 'name = "exact"', 'name = "exact"\nmax_iter = 3', "takes no parameter"),
        ("default", 'rule = "best"', 'rule = "luckiest"', "rule"),
        ("default", 'selects_on = "', 'selected_on = "', "selects_on: missing"),
        ("clip_lbfgs", "coarse = 7", "", "coarse goes with"),
        ("clip_lbfgs", "coarse = 7", "coarse = 8", "must divide"),
        ("clip_lbfgs", "num = 97", "num = 1", "no more than that"),
        ("default", "num = 17", "num = 100000000000", "grid.num"),
        ("default", "num = 17", 'num = "17"', "'17' is no number"),
        ("default", "stop = 4.0", "stop = 400.0", "grid.stop"),
        ("default", "start = -4.0", "start = -400.0", "grid.start"),
        ("default", "version = 3", "version = true", "True is no number"),
        ("default", "version = 3", 'version = "3"', "'3' is no number"),
        ("default", "version = 3", "version = 3.0", "3.0 is no whole number"),
        ("elevater", 'shots = [5, 20, 50, "full"]', "shots = []", "shots"),
        ("elevater", 'shots = [5, 20, 50, "full"]', "shots = [true]", "True is no number"),
        ("clip_lbfgs", "coarse = 7", "coarse = 7\nwiden = 2.0", "widen needs"),
        ("clip_lbfgs", "max_iter = 1000", "", "takes max_iter"),
        ("clip_benchmark", "batch_size = 64", "", "takes batch_size, epochs"),
        ("default", 'probe = "logistic"', 'probe = "ridge"', "grid.parameter is alpha for the ridge probe"),
        ("ridge", 'parameter = "alpha"', 'parameter = "C"', "grid.parameter is alpha"),
        ("ridge", "num = 19", "", "start, stop and num, or values"),
        ("ridge", "num = 19", "num = 19\nvalues = [1.0]", "start, stop and num, or values"),
        ("ridge", 'criterion = "accuracy"', 'criterion = "log-loss"', "it has no log-loss"),
        ("default_1se", 'criterion = "log-loss"', 'criterion = "metric"', 'takes criterion "log-loss" or "accuracy"'),
        ("knn", 'metric = "accuracy"', 'metric = "recall"', "metric"),
        ("default", "1 = ", "3 = ", "older: versions below 3"),
        ("default", "1 = ", "one = ", "older"),
        ("default", 'name = "exact"', 'name = "exact"\nsummed = true', 'summed goes with solver "lbfgs"'),
        ("mieb", "max_iter = 100", "max_iter = 100\nbatch_norm = true", "batch_norm, epoch and start go with"),
        ("elevater", 'ties = "first"', 'ties = "last"', "ties"),
        ("ridge", "fallback = 1000.0", "fallback = 0.0", "must be positive"),
        ("ridge", "fallback = 1000.0", "fallback = 1000.0\ntemperature = 0.07", "temperature goes with the knn"),
        ("ridge", "standardize = true", "standardize = false\nepsilon = 1e-5", "epsilon goes with"),
        ("big_vision_lsr", "values = [1024.0]", "values = [1024.0, 2.0]", "must ascend"),
        ("big_vision_lsr", "values = [1024.0]", "values = [1024.0]\nwiden = 1.0", "no widen"),
        ("knn", "temperature = 0.07", "", "temperature goes with the knn"),
        ("knn", "temperature = 0.07", "temperature = 0.07\nconstant = 1.0", "constant goes with"),
        ("knn", 'normalize = "l2"', 'normalize = "none"', "knn goes by cosine"),
        ("knn", "values = [10.0, 20.0, 100.0, 200.0]", "values = [10.5]", "whole numbers"),
        ("knn", "values = [10.0, 20.0, 100.0, 200.0]", "start = 0.0\nstop = 1.0\nnum = 2", "k needs values"),
        ("knn", "fallback = 20.0", "fallback = 2.5", "whole numbers"),
        ("knn", 'name = "exact"', 'name = "lbfgs"\nmax_iter = 3', 'takes solver "exact"'),
        ("knn", "fallback = 20.0", "", "knn needs a grid and a fallback"),
        ("mieb", "value = 1.0", "", 'method "fixed" takes value'),
        ("retrieval", '[few_shot]\nmethod = "fixed"', '[few_shot]\nmethod = "fixed"\nvalue = 1.0', "nothing to choose"),
        ("retrieval", "refit = false", "refit = false\nfallback = 1.0", "nothing to choose"),
        ("retrieval", "[few_shot]", '[grid]\nparameter = "k"\nvalues = [1.0]\n[few_shot]', "nothing to choose"),
        ("retrieval", '[full]\nmethod = "fixed"', '[full]\nmethod = "holdout"\nshare = 0.2', "nothing to choose"),
        ("retrieval", 'normalize = "l2"', 'normalize = "none"', "retrieval goes by cosine"),
    ],
)  # fmt: skip
def test_each_fault_is_named(tmp_path: Path, name: str, before: str, after: str, said: str) -> None:
    text = (shipped_registry() / "protocols" / f"{name}.toml").read_text()
    assert before in text
    path = tmp_path / f"{name}.toml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(RegistryError, match=f"{name}.toml") as caught:
        read_entry(path, ProtocolSpec)
    assert said in str(caught.value)


def test_the_table_of_probes_names_what_there_is() -> None:
    """No two share a kind, and protocols, fitters and fields that the table names exist."""
    assert len(OF_KIND) == len(PROBES)
    for probe in PROBES.values():
        assert SPECS[probe.protocol].probe == probe.name
        module, _, function = probe.fitter.partition(":")
        assert callable(getattr(import_module(module), function))
        assert {*probe.rows, *probe.needs, *probe.takes} <= ProtocolSpec.model_fields.keys()
        assert bool(probe.rows) == bool(probe.because)


def test_what_is_in_no_table_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="'svm' is not one of logistic, ridge, knn, retrieval"):
        ProtocolSpec.model_validate(SPECS["default"].model_dump() | {"probe": "svm"})
    with pytest.raises(ValidationError, match="'svm' is not one of probe, ridge, knn, retrieval, zeroshot, finetune"):
        result(kind="svm")
