"""Runs the published procedures' own functions on given features; nothing of probebench is used here.

Runs under a Python that has what the source needs (benchmarks/README.md):
    PYTHON benchmarks/peers/fidelity_sources.py SOURCE FOLDER INPUT.npz OUTPUT.json [--seeds N]

FOLDER is a clone of the source's repository, which is imported as it is. What it imports and these functions do not
need (data sets, tokenizers, metrics of other tasks) is a blank module, and CUDA is the CPU. INPUT holds for each case
train, val and test rows with labels, and the vectors of a head that starts from text; OUTPUT, for each case, what came
of it: the labels predicted for the test rows by each run.
"""

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """Rows of one case; the draw is train and val together."""

    train: Any
    train_labels: Any
    val: Any
    val_labels: Any
    test: Any
    test_labels: Any
    text: Any

    @property
    def draw(self) -> tuple[Any, Any]:
        """All rows that may be used, train first."""
        return np.vstack([self.train, self.val]), np.concatenate([self.train_labels, self.val_labels])

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.train_labels.max()) + 1


Runs = dict[str, Any]


class Blank:
    """Whatever a blank module is asked for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes anything."""

    def __call__(self, *args: Any, **kwargs: Any) -> "Blank":
        """Returns another."""
        return Blank()


class BlankModule(ModuleType):
    """A module in which every name is an empty class."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        """Makes the class."""
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Blank,), {})


class BlankFinder:
    """Finds blank modules below some names, where nothing else was put there before."""

    def __init__(self, names: Sequence[str]) -> None:
        """Takes the names."""
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Answers for the names and all below them."""
        if any(name == one or name.startswith(f"{one}.") for one in self.names):
            return importlib.util.spec_from_loader(name, self, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: Any) -> ModuleType:
        """Makes one."""
        return BlankModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Has nothing to run."""


def blank(*names: str) -> None:
    """Makes modules of these names, and all below them, blank from here on."""
    sys.meta_path.insert(0, BlankFinder(names))


def load(path: Path, name: str) -> Any:
    """Imports one file under a dotted name, whose package may be blank."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def cpu_for_cuda() -> None:
    """Lets code that insists on CUDA run on the CPU."""
    import torch

    torch.nn.Module.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign]
    torch.Tensor.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign]
    torch.cuda.set_device = torch.cuda.manual_seed_all = lambda *args: None  # type: ignore[assignment]
    torch.cuda.current_device = lambda: torch.device("cpu")  # type: ignore[assignment,return-value]
    to = torch.Tensor.to
    torch.Tensor.to = lambda self, *args, **kwargs: (  # type: ignore[method-assign]
        self if args and args[0] == "cuda" else to(self, *args, **kwargs)
    )


def clip(folder: Path, cases: dict[str, Case], seeds: int) -> Iterator[tuple[str, Runs]]:
    """The lines of the README's linear probe that fit and predict, at several strengths."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    code = re.search(r"^classifier = LogisticRegression.*?^predictions = .*?$", text, re.MULTILINE | re.DOTALL)
    assert code is not None
    from sklearn.linear_model import LogisticRegression

    for name, case in cases.items():
        fits = {}
        for strength in ("0.316", "1e2", "1e4"):
            train, labels = case.draw
            names = {
                "LogisticRegression": LogisticRegression,
                "train_features": train,
                "train_labels": labels,
                "test_features": case.test,
            }
            exec(code[0].replace("C=0.316", f"C={strength}").replace("verbose=1", "verbose=0"), names)
            fits[strength] = _text(names["predictions"])
        yield name, {"fits": fits}


def clip_search(folder: Path, cases: dict[str, Case], seeds: int) -> Iterator[tuple[str, Runs]]:
    """The README's classifier in the search of the paper's appendix A.3, which is in words only."""
    from sklearn.linear_model import LogisticRegression

    def fitted(strength: float, rows: Any, labels: Any) -> Any:
        return LogisticRegression(random_state=0, C=strength, max_iter=1000).fit(rows, labels)

    grid = np.logspace(-6, 6, 97)
    for name, case in cases.items():
        hits = {
            place: fitted(grid[place], case.train, case.train_labels).score(case.val, case.val_labels)
            for place in range(0, 97, 16)
        }
        step = 8
        while step:
            peak = min(hits, key=lambda place: (-hits[place], place))
            for place in {max(peak - step, 0), min(peak + step, 96)} - set(hits):
                hits[place] = fitted(grid[place], case.train, case.train_labels).score(case.val, case.val_labels)
            step //= 2
        peak = min(hits, key=lambda place: (-hits[place], place))
        predicted = fitted(grid[peak], *case.draw).predict(case.test)
        yield name, {"chosen": float(grid[peak]), "whole": [_text(predicted)]}


def mieb(folder: Path, cases: dict[str, Case], seeds: int) -> Iterator[tuple[str, Runs]]:
    """The classification task of mteb from the point where it has embeddings: its evaluator, model and experiment."""
    blank("datasets", "mteb")
    load(folder / "mteb" / "_evaluators" / "sklearn_evaluator.py", "mteb._evaluators.sklearn_evaluator")
    task = load(folder / "mteb" / "abstasks" / "classification.py", "mteb.abstasks.classification")
    kind = task.AbsTaskClassification
    for name, case in cases.items():
        train, labels = case.draw
        one = SimpleNamespace(
            evaluator=kind.evaluator,
            evaluator_model=kind.evaluator_model.set_params(random_state=42),
            label_column_name="label",
            _calculate_scores=lambda *given: None,
        )
        _, predicted = kind._run_experiment(
            one, {"label": labels.tolist()}, {"label": case.test_labels.tolist()}, train, case.test, None
        )
        yield name, {"whole": [_text(predicted)]}


def clip_benchmark(folder: Path, cases: dict[str, Case], seeds: int) -> Iterator[tuple[str, Runs]]:
    """``linear_probe.evaluate`` for several seeds; and its ``train`` at given weight decays, seed 0."""
    import torch

    cpu_for_cuda()
    sys.path.insert(0, str(folder))
    blank("clip_benchmark")
    metrics = load(
        folder / "clip_benchmark" / "metrics" / "zeroshot_classification.py",
        "clip_benchmark.metrics.zeroshot_classification",
    )
    # Newer NumPy makes no number of an array of one, as its accuracy asks.
    metrics.float = lambda value: np.asarray(value).item()
    probe = load(folder / "clip_benchmark" / "metrics" / "linear_probe.py", "clip_benchmark.metrics.linear_probe")
    trained: list[Any] = []
    train = probe.train

    def kept(*given: Any) -> Any:
        trained.append(train(*given))
        return trained[-1]

    probe.train = kept

    def loader(rows: Any, labels: Any, shuffle: bool = False) -> Any:
        data = torch.utils.data.TensorDataset(torch.from_numpy(rows), torch.from_numpy(labels))
        return torch.utils.data.DataLoader(data, batch_size=64, shuffle=shuffle)

    def predicted(rows: Any) -> str:
        with torch.no_grad():
            unit = torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1)
            return _text(trained[-1](unit).argmax(axis=1).numpy())

    model = SimpleNamespace(encode_image=lambda images: images)
    featurizer = probe.Featurizer
    probe.Featurizer = lambda given, normalize: featurizer(torch.nn.Identity(), normalize)
    torch.nn.Identity.encode_image = lambda self, images: images  # type: ignore[attr-defined]
    for name, case in cases.items():
        runs, chosen = [], []
        for seed in range(seeds):
            torch.manual_seed(seed)
            with tempfile.TemporaryDirectory() as cache:
                told = probe.evaluate(
                    model,
                    loader(case.train, case.train_labels),
                    loader(case.test, case.test_labels),
                    -1,
                    64,
                    0,
                    0.1,
                    10,
                    "features",
                    seed,
                    cache,
                    "cuda",
                    val_dataloader=loader(case.val, case.val_labels),
                    normalize=True,
                    amp=False,
                )
            chosen.append(told["weight_decay"])
            runs.append(predicted(case.test))
        rows, labels = case.draw
        unit = torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1).numpy()
        fits = {}
        for decay in ("1e-6", "1e-2", "1.0"):
            batches = loader(unit, labels, shuffle=True)
            probe.train(batches, unit.shape[1], case.classes, float(decay), 0.1, 10, False, "cpu", 0)
            fits[decay] = predicted(case.test)
        yield name, {"whole": runs, "chosen": chosen, "fits": fits}


def elevater(folder: Path, cases: dict[str, Case], seeds: int) -> Iterator[tuple[str, Runs]]:
    """``full_model_finetune`` of the linear probe for several seeds; and single runs, from random heads and from text.

    The network is the identity, so that images are features. The labels are those after the last epoch: the toolkit
    itself keeps the epoch that is best on the test part.
    """
    import torch

    cpu_for_cuda()
    blank("vision_benchmark", "nltk", "vision_datasets", "cv2", "pycocotools", "timm", "torchvision", "PIL", "tqdm")
    package = folder / "vision_benchmark"
    config = load(package / "config" / "default.py", "vision_benchmark.config.default")._C
    load(package / "optim" / "build.py", "vision_benchmark.optim.build")
    sys.modules["vision_benchmark.optim"] = SimpleNamespace(  # type: ignore[assignment]
        build_optimizer=sys.modules["vision_benchmark.optim.build"].build_optimizer
    )
    load(package / "evaluation" / "metric.py", "vision_benchmark.evaluation.metric")
    load(package / "evaluation" / "feature.py", "vision_benchmark.evaluation.feature")
    code = load(package / "evaluation" / "full_model_finetune.py", "vision_benchmark.evaluation.full_model_finetune")
    code.get_model = lambda config, feature_type: torch.nn.Identity()
    # It empties the memory of a GPU after each trial.
    code.gpu_gc = lambda: None
    config.defrost()
    config.merge_from_file(str(package / "resources" / "model" / "vitb32_CLIP.yaml"))
    config.TRAIN.FREEZE_IMAGE_BACKBONE, config.TEST.METRIC, config.DATASET.DATASET = True, "accuracy", "features"
    settings = config.clone()
    last: list[Any] = []
    validate = code.validate

    def watched(*given: Any, **named: Any) -> Any:
        last[:] = [validate(*given, **named)]
        return last[0]

    code.validate = watched

    def run(case: Case, seed: int, text: bool, fixed: tuple[float, float] | None = None) -> tuple[str, list[float]]:
        config = settings.clone()
        config.MODEL.SPEC.EMBED_DIM, config.DATASET.NUM_CLASSES = case.train.shape[1], case.classes
        config.TRAIN.INIT_HEAD_WITH_TEXT_ENCODER = text
        code.extract_text_features = lambda *given, **named: torch.from_numpy(case.text.T.copy())
        rows, labels = case.draw
        whole = torch.utils.data.TensorDataset(torch.from_numpy(rows), torch.from_numpy(labels))
        count = len(case.train)
        parts = [torch.utils.data.Subset(whole, range(count)), torch.utils.data.Subset(whole, range(count, len(rows)))]
        test = torch.utils.data.TensorDataset(torch.from_numpy(case.test), torch.from_numpy(case.test_labels))
        loaders = [
            code.create_dataloader(part, 64, shuffle, 0, False)
            for part, shuffle in zip([*parts, test], (True, False, False), strict=True)
        ]
        torch.manual_seed(seed)
        code.full_model_finetune(*loaders, fixed is not None, *(fixed or (0.0, 0.0)), config)
        _, logits = last[0]
        return _text(logits.argmax(axis=1)), [config.TRAIN.LR, config.TRAIN.WD]

    for name, case in cases.items():
        random = [run(case, seed, False) for seed in range(seeds)]
        fits = {
            f"{rate} {decay}{' text' * text}": run(case, 0, text, (float(rate), float(decay)))[0]
            for rate, decay, text in (
                ("1e-1", "1e-6", False),
                ("1e-2", "1e-2", False),
                ("1e-3", "1e-4", False),
                ("1e-1", "1e-6", True),
            )
        }
        found = {"whole": [labels for labels, _ in random], "chosen": [chosen for _, chosen in random]}
        yield name, {"fits": fits, **(found if random else {})}


def dinov2(folder: Path, cases: dict[str, Case], seeds: int) -> Iterator[tuple[str, Runs]]:
    """``sweep_C_values`` on train and val, then ``train_for_C`` on both; scikit-learn finds the optimum, not cuML."""
    import torch
    from sklearn.linear_model import LogisticRegression

    class Exact:
        """Takes cuML's arguments; Newton's method, to a gradient of 1e-9 on centred features."""

        def __init__(self, C: float, **named: Any) -> None:
            self.model = LogisticRegression(C=C, tol=1e-9, max_iter=1000, solver="newton-cg")

        def fit(self, rows: Any, labels: Any) -> None:
            self.mean = rows.mean(axis=0)
            self.model.fit(rows - self.mean, labels)

        def predict_proba(self, rows: Any) -> Any:
            return self.model.predict_proba(rows - self.mean)

    cpu_for_cuda()
    blank("cuml", "dinov2")
    sys.modules["cuml"] = BlankModule("cuml")
    sys.modules["cuml.linear_model"] = SimpleNamespace(LogisticRegression=Exact)  # type: ignore[assignment]
    logger = SimpleNamespace(
        MetricLogger=lambda **named: SimpleNamespace(
            log_every=lambda data, *rest: data, synchronize_between_processes=lambda: None, meters={}
        )
    )
    sys.modules["dinov2.logging"] = logger  # type: ignore[assignment]
    one = SimpleNamespace(get_global_rank=lambda: 0, get_global_size=lambda: 1)
    importlib.import_module("dinov2").distributed = one  # type: ignore[attr-defined]
    sys.modules["dinov2.distributed"] = one  # type: ignore[assignment]
    for part in ("metrics", "utils"):
        load(folder / "dinov2" / "eval" / f"{part}.py", f"dinov2.eval.{part}")
    code = load(folder / "dinov2" / "eval" / "log_regression.py", "dinov2.eval.log_regression")

    def gather(into: list[Any], held: Any) -> None:
        into[0] = held

    torch.distributed.all_gather_object = gather  # type: ignore[assignment]
    for name, case in cases.items():
        train, labels = torch.from_numpy(case.train), torch.from_numpy(case.train_labels)
        held = torch.utils.data.TensorDataset(torch.from_numpy(case.val), torch.from_numpy(case.val_labels))
        _, chosen = code.sweep_C_values(
            train_features=train,
            train_labels=labels,
            test_data_loader=torch.utils.data.DataLoader(held, batch_size=256),
            metric_type=code.MetricType.MEAN_ACCURACY,
            num_classes=torch.tensor(case.classes),
        )
        rows, own = case.draw
        model = code.train_for_C(
            C=chosen, max_iter=1000, train_features=torch.from_numpy(rows), train_labels=torch.from_numpy(own)
        )
        scores = model(torch.from_numpy(case.test), torch.from_numpy(case.test_labels))["preds"]
        yield name, {"chosen": chosen, "whole": [_text(scores.argmax(dim=1).numpy())]}


def big_vision(folder: Path, cases: dict[str, Case], seeds: int) -> Iterator[tuple[str, Runs]]:
    """``_precompute_cache`` and ``_eig_fewshot_acc_fn``, which tells the share of hits: one row and class at a time."""
    sys.path.insert(0, str(folder))
    blank(
        "tensorflow", "tensorflow_datasets", "big_vision.input_pipeline", "big_vision.pp.builder", "big_vision.datasets"
    )
    code = importlib.import_module("big_vision.evaluators.fewshot_lsr")
    for name, case in cases.items():
        rows, labels = case.draw
        cache = code._precompute_cache(rows, labels, case.classes)
        hits = np.array(
            [
                [
                    float(code._eig_fewshot_acc_fn(cache, row[None], np.array([one]), 2.0**10))
                    for one in range(case.classes)
                ]
                for row in case.test
            ]
        )
        assert (hits.sum(axis=1) == 1).all()
        yield name, {"whole": [_text(hits.argmax(axis=1))]}


def dino(folder: Path, cases: dict[str, Case], seeds: int) -> Iterator[tuple[str, Runs]]:
    """``knn_classifier``, which tells the share of hits: its classes, best first, are seen as it compares them."""
    import torch

    blank("utils", "vision_transformer")
    code = load(folder / "eval_knn.py", "eval_knn")
    found: list[Any] = []
    equal = torch.Tensor.eq

    def watched(predictions: Any, targets: Any) -> Any:
        found.append(predictions[:, 0].numpy())
        return equal(predictions, targets)

    torch.Tensor.eq = watched  # type: ignore[method-assign,assignment]
    for name, case in cases.items():
        rows, labels = (torch.from_numpy(part) for part in case.draw)
        unit = torch.nn.functional.normalize(rows, dim=1, p=2)
        test = torch.nn.functional.normalize(torch.from_numpy(case.test), dim=1, p=2)
        targets = torch.from_numpy(case.test_labels)
        fits = {}
        for k in (10, 20, 100, 200):
            if k > len(rows):
                continue
            found.clear()
            share, _ = code.knn_classifier(unit, labels, test, targets, k, 0.07, case.classes)
            predicted = np.concatenate(found)
            assert round(share / 100 * len(test)) == (predicted == case.test_labels).sum()
            fits[str(k)] = _text(predicted)
        yield name, {"fits": fits}


SOURCES: dict[str, Callable[[Path, dict[str, Case], int], Iterator[tuple[str, Runs]]]] = {
    "clip": clip,
    "clip_search": clip_search,
    "mieb": mieb,
    "clip_benchmark": clip_benchmark,
    "elevater": elevater,
    "dinov2": dinov2,
    "big_vision": big_vision,
    "dino": dino,
}


def _text(labels: Any) -> str:
    """Returns labels below ten as one digit each."""
    return "".join(str(int(label)) for label in labels)


def _versions() -> dict[str, str]:
    import importlib.metadata

    names = ("numpy", "scipy", "scikit-learn", "torch", "jax")
    found = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def main() -> None:
    """Runs one source on all cases of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    asked = parser.parse_args()
    with np.load(asked.input) as held:
        arrays = {name: held[name] for name in held.files}
    names = dict.fromkeys(name.split("/")[0] for name in arrays)
    cases = {name: Case(**{field: arrays[f"{name}/{field}"] for field in Case.__dataclass_fields__}) for name in names}
    found = {}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for name, runs in SOURCES[asked.source](asked.folder, cases, asked.seeds):
            found[name] = runs
    asked.output.write_text(json.dumps({"versions": _versions(), "cases": found}))


if __name__ == "__main__":
    main()
