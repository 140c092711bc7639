"""What one result must satisfy by itself: its place, protocol, selection, trials, predictions, scores and facts."""

import re
from collections.abc import Iterator
from pathlib import Path

from probebench.errors import ResultError
from probebench.fingerprint import file_sha256
from probebench.leaderboard.check_choice import check_choice
from probebench.leaderboard.check_measures import check_measures
from probebench.leaderboard.check_retrieval import check_retrieval
from probebench.leaderboard.check_shift import check_drop, check_shift, check_sides, own_side
from probebench.leaderboard.check_terms import check_terms
from probebench.leaderboard.rules import DRAWS, AnyProtocol, from_scratch, in_words_of, is_older, protocol_of
from probebench.registry.checkpoint import untrained
from probebench.registry.dataset import DatasetSpec
from probebench.registry.layers import architecture_key, in_words, known_layers
from probebench.registry.load import Registry
from probebench.registry.probes import PROBES
from probebench.registry.protocol import ZeroshotProtocol
from probebench.registry.schema import CheckpointSpec, FinetuneProtocol, ProtocolSpec
from probebench.results.cells import shots_text
from probebench.results.metrics import image_scores
from probebench.results.packed import SUFFIX, is_packed
from probebench.results.predictions import Predictions
from probebench.results.schema import CheckpointFacts, Result
from probebench.results.stats import interval
from probebench.results.store import predictions_of, read_predictions

# Sums and special functions of other machines and versions differ in the last digits, and no honest number by more.
CLOSE = 1e-9


def check_place(path: Path, result: Result) -> Iterator[str]:
    """Yields what is wrong with where a result lies: model/dataset/kind-protocol-shots-digest8.json."""
    if path.parent.parent.name != result.model:
        yield f"is of model {result.model!r}, which its folder is not"
    if path.parent.name.removesuffix(SUFFIX if is_packed(path) else "") != result.dataset.replace(":", "-"):
        yield f"is of data set {result.dataset!r}, which its folder is not"
    stem = f"{result.kind}-{result.protocol}-{result.shots}-"
    if not (path.stem.startswith(stem) and re.fullmatch(r"[0-9a-f]{8}", path.stem.removeprefix(stem))):
        yield f"must be called {stem}DIGEST.json, with eight hexadecimal digits"
    if result.predictions and result.predictions.get("file") != path.with_suffix(".npz").name:
        yield f"names the predictions {result.predictions.get('file')!r}, and must name {path.with_suffix('.npz').name}"


def check_rules(result: Result, registry: Registry, entry: CheckpointSpec | None) -> Iterator[str]:
    """Yields what a result says against the registry's data sets and protocols, its entry, and itself."""
    if result.provenance != "measured":
        yield f"is {result.provenance}, and the leaderboard holds measured results only"
    dataset = registry.datasets.get(result.dataset)
    if dataset is None:
        yield f"data set {result.dataset!r} is not in the registry, so nobody else can check it"
    else:
        yield from _check_dataset(result, dataset, protocol_of(registry, result.protocol), is_older(registry, result))
    yield from _check_protocol(result, registry)
    spec, older = protocol_of(registry, result.protocol), is_older(registry, result)
    if spec is not None and result.provenance == "measured":
        yield from check_terms(result, spec, dataset, entry, older=older)
        if not older:
            yield from check_choice(result, spec)
    if (result.kind == "zeroshot") != (result.shots == 0):
        yield f"kind {result.kind} at {shots_text(result.shots)}"
    yield from check_shift(result, registry)
    known = {"train", "val", "test", *(["own"] if result.shift else [])}
    if result.feature_key and not set(result.feature_key) <= known:
        yield f"feature keys of {', '.join(sorted(result.feature_key))}, where train, test and perhaps val belong"


def _check_dataset(result: Result, dataset: DatasetSpec, protocol: AnyProtocol | None, older: bool) -> Iterator[str]:
    fixed = protocol.metric if isinstance(protocol, ProtocolSpec) else None
    # An older version may have reported each set's own.
    if result.metric not in {fixed or dataset.metric, *([dataset.metric] if older else [])}:
        by = f"protocol {result.protocol} reports {fixed}" if fixed else f"{dataset.id} is scored by {dataset.metric}"
        yield f"metric is {result.metric}, and {by}"
    if result.classes is not None and result.classes > len(dataset.classes):
        yield f"{result.classes} classes, and {dataset.id} has {len(dataset.classes)}"
    if result.shared_with_train is not None:
        yield "shared_with_train is told of data sets without an entry only"
    if dataset.fingerprint not in ("unknown", result.dataset_fingerprint):
        yield f"the data set's fingerprint is not that of the registry's {dataset.id}"
    left_out = dataset.splits.test - (result.n_test or 0)
    # Of another test part, check_shift tells.
    if result.shift is None and result.n_test is not None and not 0 <= left_out <= len(result.skipped_ids):
        yield f"{result.n_test} test images and {len(result.skipped_ids)} skipped, of {dataset.splits.test}"


def _check_protocol(result: Result, registry: Registry) -> Iterator[str]:
    spec = protocol_of(registry, result.protocol)
    if spec is None:
        yield f"protocol {result.protocol!r} is not in the registry"
        return
    if isinstance(spec, ZeroshotProtocol):
        kind = spec.id
    else:
        kind = PROBES[spec.probe].kind if isinstance(spec, ProtocolSpec) else spec.probe
    if result.kind != kind:
        yield f"kind {result.kind}, which protocol {result.protocol} is not for"
    if is_older(registry, result):
        # Its rules were others; the numbers are still checked against the predictions.
        return
    if result.protocol_version != spec.version:
        yield f"unknown version {result.protocol_version} of protocol {spec.id}, now {spec.version}; run it again"
    if not isinstance(spec, ZeroshotProtocol):
        yield from _check_selection(result, spec)


def _check_selection(result: Result, spec: ProtocolSpec | FinetuneProtocol) -> Iterator[str]:
    """Yields how a selection differs from what its protocol allows; one on test labels is shown and never ranked."""
    if isinstance(spec, ProtocolSpec):
        chosen = spec.full if result.shots == "full" else spec.few_shot
        # A probe falls back to its fixed value where a draw leaves nothing to choose on.
        allowed = {"fixed"} if chosen.method == "fixed" else {"validation", "fixed"}
    else:
        # "test" is what a recipe that repeats a habit of others says, and then nothing else will do.
        chosen, allowed = None, {"test"} if spec.selection == "test" else {"validation", "fixed"}
    for what, selection in [("selection", result.selection), *((in_words_of(t), t.selection) for t in result.trials)]:
        if selection not in allowed:
            yield f"{what} is {selection}, and protocol {result.protocol} selects on {' or '.join(sorted(allowed))}"
    if any(trial.selection == "validation" for trial in result.trials) and result.selection == "fixed":
        yield "selection is fixed, and a trial's is validation"
    if all(trial.selection != result.selection for trial in result.trials):
        yield f"selection is {result.selection}, and no trial's is"
    if chosen is not None and chosen.method in ("validation-draw", "own-split-or-holdout", "holdout"):
        for trial in result.trials:
            folds = trial.folds is not None
            if (trial.validation > 0 or folds) != (trial.selection == "validation") and trial.error is None:
                yield f"{in_words_of(trial)}: selection is {trial.selection} with {trial.validation} validation images"
            if folds and chosen.folds is None:
                yield f"{in_words_of(trial)}: chosen by folds, which protocol {result.protocol} has none of"


def check_trials(result: Result, spec: AnyProtocol | None) -> Iterator[str]:
    """Yields what is wrong with the list of draws; the protocol, where it is known, says how many there are."""
    seeds = [trial.draw_seed for trial in result.trials]
    one = result.shots in (0, "full")
    # Several seeds of a fine-tune at full data train on the same images.
    if one and seeds != [None] * (len(seeds) if result.kind == "finetune" else 1):
        yield f"draws {seeds}, where {shots_text(result.shots)} has one, without a seed"
    if not one and seeds != list(range(len(seeds))):
        yield f"draws {seeds}, where 0, 1, ... belong: a draw is missing or was chosen"
    if isinstance(spec, ProtocolSpec | FinetuneProtocol) and not one and len(seeds) < (least := min(DRAWS, spec.draws)):
        yield f"{len(seeds)} draws, where protocol {spec.id} takes {least} or more"
    digests = {trial.draw_digest for trial in result.trials}
    if not one and len(digests) < len(result.trials):
        yield "two draws are the same"
    for trial in result.trials:
        if trial.error is not None or trial.test_score is None:
            yield f"{in_words_of(trial)} failed, so there is no score; run it again"
    first = result.trials[0]
    if result.labels_spent != first.train + first.validation:
        yield f"{result.labels_spent} labels spent, and {in_words_of(first)} has {first.train} + {first.validation}"


def read_checked(path: Path, result: Result) -> Predictions:
    """Reads a result's predictions.

    Raises:
        ResultError: They are missing, damaged, not those that the result names, or hold what they must not.
    """
    expected = (len(result.trials), result.n_test or 0)
    if is_packed(path):
        packed = read_predictions(path, result)
        if packed.y_pred.shape != expected:
            raise ResultError(f"holds predictions {packed.y_pred.shape}, and its result tells of {expected}")
        return packed
    file = path.with_suffix(".npz")
    if not file.is_file() or file.is_symlink():
        raise ResultError("is missing, so nothing can be scored again")
    if file_sha256(file) != (result.predictions or {}).get("sha256"):
        raise ResultError(f"its sha256 is not the one in {path.name}")
    return predictions_of(file, expected)


def check_predictions(result: Result, predictions: Predictions, classes: int | None) -> Iterator[str]:
    """Yields what is wrong with arrays, before anything is scored.

    Args:
        result: Whose they are.
        predictions: Test ids, labels and predictions.
        classes: Classes of the data set, where it is known.
    """
    images = len(predictions.test_ids)
    shape = (len(result.trials), images)
    if not images or predictions.y_true.shape != (images,) or predictions.y_pred.shape != shape:
        yield (
            f"predictions have shape {predictions.y_pred.shape} for {predictions.y_true.shape} labels, {images} ids "
            f"and {len(result.trials)} trials"
        )
        return
    if images != result.n_test:
        yield f"n_test is {result.n_test}, and {images} images are predicted"
    if len(set(predictions.test_ids)) < images:
        yield "a test image is predicted twice"
    if skipped := set(predictions.test_ids) & set(result.skipped_ids):
        yield f"{min(skipped)} is skipped and predicted"
    for what, values in (("labels", predictions.y_true), ("predictions", predictions.y_pred)):
        if values.min() < 0 or (classes is not None and values.max() >= classes):
            yield f"{what} run from {values.min()} to {values.max()}, and the data set has {classes or 'other'} classes"
    yield from check_sides(result, predictions)
    if result.shift is not None and predictions.own is not None:
        own = own_side(result).model_copy(update={"shift": None, "test_dataset": None})
        yield from (f"on its own test part: {fault}" for fault in check_predictions(own, predictions.own, classes))


def check_scores(result: Result, predictions: Predictions) -> Iterator[str]:
    """Yields every number that does not follow from the predictions: each trial's score, the mean and its interval."""
    scores = image_scores(result.metric, predictions.y_true, predictions.y_pred)
    for trial, row in zip(result.trials, scores, strict=True):
        if (fault := _differs(trial.test_score, float(row.mean()))) is not None:
            yield f"{in_words_of(trial)}: test_score {fault}"
    if (fault := _differs(result.mean, float(scores.mean()))) is not None:
        yield f"mean {fault}"
    for what, told, found in zip(("low", "high"), result.ci95 or (None, None), interval(scores), strict=True):
        if (fault := _differs(told, found)) is not None:
            yield f"the interval's {what} end {fault}"
    varies = "training seeds" if result.shots == "full" else "draws"
    covers = f"{varies} and test images" if len(result.trials) > 1 else "test images only"
    if result.ci95_covers != covers:
        yield f"ci95_covers is {result.ci95_covers}, and {len(result.trials)} draws cover {covers}"
    yield from check_measures(result, predictions)
    yield from check_drop(result, predictions)
    yield from check_retrieval(result, predictions)


def _differs(told: float | None, found: float) -> str | None:
    found = min(max(found, 0.0), 1.0)
    if told is not None and abs(told - found) <= CLOSE:
        return None
    return f"is {'missing' if told is None else f'{told:.6f}'}, and the predictions give {found:.6f}"


def check_facts(result: Result, spec: CheckpointSpec) -> Iterator[str]:
    """Yields the facts that a result states otherwise than its checkpoint's entry, or a layer that this has not."""
    if from_scratch(result):
        spec = untrained(spec, 0)
    layer, width = result.checkpoint.layer, spec.output.features
    if layer != spec.output.layer:
        offered = known_layers(spec.architecture)
        if offered is None:
            yield (
                f"layer {layer!r} is not that of the entry, and the table of layers does not hold "
                f"{architecture_key(spec.architecture)}; make docs adds it"
            )
            return
        if layer not in offered:
            yield f"layer is {layer!r}, and {spec.id} offers {in_words(list(offered))}"
            return
        width = offered[layer]
    told, entry = result.checkpoint.model_dump(), CheckpointFacts.of(spec, spec.architecture, layer, width).model_dump()
    for name, value in entry.items():
        if told[name] != value:
            whose = f"the entry of {spec.id}" if name != "features" else f"layer {layer} of {spec.id}"
            yield f"{name} is {told[name]!r}, and {whose} says {value!r}"
