"""What a result says in words and numbers must be what its kind, protocol and data set imply: views are named by them.

A text that nobody checks makes a view of its own, with its author alone on top.
"""

import re
from collections.abc import Iterator

from probebench.leaderboard.rules import AnyProtocol, in_words_of
from probebench.registry.dataset import DatasetSpec
from probebench.registry.probes import PROBES
from probebench.registry.protocol import ZeroshotProtocol
from probebench.registry.schema import CheckpointSpec, FinetuneProtocol, ProtocolSpec
from probebench.results.schema import Result, Trial

DTYPES = ("fp32", "bf16", "fp16")
# As finetuning.task labels them: a head that is not the protocol's way of starting, and weights between start and end.
_MODE = re.compile(
    r"(?:(?:full|linear)(?:, (?:probe|text) head)?|lp-ft|scratch)(?:, alpha (0|0\.[0-9]{0,2}[1-9]))?", re.ASCII
)
_SIZES = range(1, 4097)
_LARGEST_LOSS = 1e6
_ITERATIONS = 10**9
# Thirty years, in seconds.
_LONGEST = 1e9


def check_terms(
    result: Result, spec: AnyProtocol, dataset: DatasetSpec | None, entry: CheckpointSpec | None, *, older: bool
) -> Iterator[str]:
    """Yields every word that kind, protocol and data set do not have, and every number out of its range.

    Args:
        result: What is checked.
        spec: Its protocol.
        dataset: Its data set's entry.
        entry: Its checkpoint's entry.
        older: Whether it is of an earlier version of the protocol, which may have been computed by another solver.
    """
    modes, backends = _modes(result, spec), _backends(spec, older)
    if result.mode not in modes:
        yield f"mode is {ascii(result.mode)}, and protocol {spec.id} has {' or '.join(modes)}"
    if result.backend not in backends:
        yield f"backend is {_quoted(result.backend)}, and protocol {spec.id} has {' or '.join(backends)}"
    if result.dtype not in DTYPES:
        yield f"dtype is {_quoted(result.dtype)}, which is none of {', '.join(DTYPES)}"
    if result.input_size not in _SIZES:
        yield f"input_size is {result.input_size}, and may be {_SIZES[0]} to {_SIZES[-1]}"
    if result.shots not in ("full", 0) and dataset is not None and int(result.shots) > dataset.splits.train:
        yield f"shots are {result.shots}, and {dataset.id} has {dataset.splits.train} training images"
    if set(result.predictions or ()) != {"file", "sha256"}:
        yield "predictions have file and sha256, and nothing else"
    yield from _check_layer(result, spec, entry)
    yield from _check_keys(result, spec)
    for name, seconds in result.timings.items():
        if name not in ("choose_s", "total_s") or not 0 <= seconds <= _LONGEST:
            yield f"timing {ascii(name)} of {seconds:g} s"
    for short in result.short_classes:
        known = dataset is None or short.label < len(dataset.classes)
        if not known or min(short.label, short.train, short.validation) < 0:
            yield f"short class {short.label} with {short.train} + {short.validation} images"
    for trial in result.trials:
        for fault in _check_trial(trial, spec, dataset):
            yield f"{in_words_of(trial)}: {fault}"


def _quoted(text: str | None) -> str:
    return "missing" if text is None else ascii(text)


def _modes(result: Result, spec: AnyProtocol) -> tuple[str, ...]:
    if isinstance(spec, ProtocolSpec):
        return (PROBES[spec.probe].mode,)
    if isinstance(spec, ZeroshotProtocol):
        return ("text",)
    if _MODE.fullmatch(result.mode):
        return (result.mode,)
    return "full", "linear", "lp-ft", "scratch"


def _backends(spec: AnyProtocol, older: bool) -> tuple[str, ...]:
    if isinstance(spec, ZeroshotProtocol):
        return ("numpy",)
    if isinstance(spec, FinetuneProtocol):
        return ("torch",)
    # scikit-learn's L-BFGS came before scipy's.
    return (*spec.backends, "sklearn-lbfgs") if older and spec.solver.name == "lbfgs" else spec.backends


def _check_layer(result: Result, spec: AnyProtocol, entry: CheckpointSpec | None) -> Iterator[str]:
    """Yields a layer that only probes can be on; check_facts knows what a checkpoint offers these."""
    layer = result.checkpoint.layer
    if isinstance(spec, ZeroshotProtocol) and layer != "projected":
        yield f"layer is {ascii(layer)}, and zero-shot compares projected features with text"
    if isinstance(spec, FinetuneProtocol) and entry is not None and layer != entry.output.layer:
        yield f"layer is {ascii(layer)}, and {entry.id} is fine-tuned on {entry.output.layer}"


def _check_keys(result: Result, spec: AnyProtocol) -> Iterator[str]:
    keys = set(result.feature_key or ())
    if result.train_fingerprint is None and not isinstance(spec, ZeroshotProtocol):
        yield "train_fingerprint is missing, and training images were drawn"
    if isinstance(spec, FinetuneProtocol):
        if result.feature_key is not None:
            yield "feature keys of a fine-tune, which takes no features"
    elif isinstance(spec, ZeroshotProtocol):
        if keys != {"test"}:
            yield "zero-shot has a feature key of test, and no other"
    elif not {"train", "test"} <= keys:
        yield "a probe has feature keys of train and test"


def _check_trial(trial: Trial, spec: AnyProtocol, dataset: DatasetSpec | None) -> Iterator[str]:
    none = isinstance(spec, ZeroshotProtocol)
    most = None if dataset is None else dataset.splits.train
    # Images of the data set's own validation part, or of the test part for who chooses on that.
    others = None if dataset is None else max(dataset.splits.train, dataset.splits.val, dataset.splits.test)
    for what, count, least, limit in (
        ("train", trial.train, 0 if none else 1, most),
        ("validation", trial.validation, 0, others),
    ):
        if not least <= count <= (0 if none else limit if limit is not None else count):
            yield f"{what} images are {count}"
    if trial.validation_loss is not None and not 0 <= trial.validation_loss <= _LARGEST_LOSS:
        yield f"validation_loss is {trial.validation_loss:g}"
    if trial.iterations is not None and not 0 <= trial.iterations <= _ITERATIONS:
        yield f"iterations are {trial.iterations}"
    if trial.folds is not None and not 2 <= trial.folds <= max(2, trial.train):
        yield f"folds are {trial.folds}"
