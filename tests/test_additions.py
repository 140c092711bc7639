"""What an addition takes, tried on a copy of the tree: a probe is three files and no other."""

import json
from pathlib import Path

import numpy as np

from tests.evaluation.conftest import store
from tests.trees import Tree

LINE = """    ProbeKind(
        name="centroid",
        about="the nearest class mean",
        kind="centroid",
        mode="shrunken",
        label="Class means",
        protocol="centroid",
        fitter="probebench.probes.centroid:fitters",
        parameters=("shrinkage",),
    ),
"""
FITTER = '''
"""The class whose mean, moved towards the mean of all, is nearest."""

import numpy as np

from probebench.probes.base import Linear


class Means(Linear):
    pass


def fitters(protocol, backend):
    return lambda rate, last: fit_paths


def fit_paths(trains, strengths, on_progress=lambda fits: None):
    paths = []
    for train in trains:
        classes = np.unique(train.labels)
        means = np.stack([train.matrix[train.labels == label].mean(axis=0) for label in classes])
        path = []
        for share in strengths:
            moved = (1 - share) * means + share * means.mean(axis=0)
            bias = -(moved**2).sum(axis=1) / 2
            path.append(Means(strength=float(share), classes=classes, coef=moved, intercept=bias))
        paths.append(path)
        on_progress(len(strengths))
    return paths
'''
PROTOCOL = """
id = "centroid"
version = 1
title = "The nearest class mean, shrunken"
source = "made up for a test"
selects_on = "a validation draw of min(k, 4) images a class"
probe = "centroid"
normalize = "l2"
standardize = false
scale = "none"
criterion = "accuracy"
rule = "best"
refit = false
fallback = 0.1

[solver]
name = "exact"

[grid]
parameter = "shrinkage"
values = [0.1, 0.5]

[few_shot]
method = "validation-draw"
most = 4

[full]
method = "own-split-or-holdout"
share = 0.2
"""


def test_a_probe_takes_three_files(tmp_path: Path, home: Path) -> None:
    for seed, (split, each) in enumerate({"train": 12, "test": 10}.items()):
        store(home, split, np.tile(np.arange(3), each), ("train", "test"), seed)
    tree = Tree.copy(tmp_path / "tree")
    tree.insert("probebench/registry/probes.py", ")\nPROBES = ", LINE)
    (tree.root / "probebench/probes/centroid.py").write_text(FITTER)
    (tree.root / "registry/protocols/centroid.toml").write_text(PROTOCOL)
    assert tree.differing() == [
        "probebench/probes/centroid.py",
        "probebench/registry/probes.py",
        "registry/protocols/centroid.toml",
    ]

    said = tree.run(home, "eval", "--probe", "centroid", "--shots", "5,full", "--draws", "5")
    files = sorted((tmp_path / "results").rglob("*.json"))
    assert [path.name.rsplit("-", 1)[0] for path in files] == ["centroid-centroid-5", "centroid-centroid-full"], said
    for path in files:
        result = json.loads(path.read_text())
        assert (result["kind"], result["mode"], result["backend"]) == ("centroid", "shrunken", "numpy")
        assert result["mean"] > 0.5 and set(result["trials"][0]["chosen"]) == {"shrinkage"}

    listed = json.loads(tree.run(home, "results", "list", "--json"))
    assert {(one["kind"], one["protocol"]) for one in listed} == {("centroid", "centroid")}
    tree.run(home, "leaderboard", "build")
    page = (tmp_path / "site" / "index.html").read_text()
    assert '"Class means: centroid v1"' in page and "--probe centroid" in page
    # Nobody has this data set, and its features were made by no checkpoint of the registry; no other fault is found.
    checked = json.loads(tree.run(home, "leaderboard", "verify", "results", "--json"))
    assert checked["results"] == 2
    faults = {one["what"] for one in checked["failures"]}
    assert [one for one in faults if "made_up" not in one and "of efficientnet_lite0_in1k" not in one] == []
