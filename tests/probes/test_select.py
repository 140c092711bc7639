from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from probebench.probes import sklearn_, torch_
from probebench.probes.backends import fitters
from probebench.probes.base import Backend, FittedProbe, Labelled, OnProgress
from probebench.probes.grid import fits_planned, strengths
from probebench.probes.select import Fitters, Selected, SelectionData, select
from probebench.registry import ProtocolSpec, Registry
from probebench.registry.entry import Metric
from tests.probes.test_sklearn import blobs


def using(backend: Backend) -> Fitters:
    return lambda rate, last: backend


def choose(data: SelectionData, protocol: ProtocolSpec, backend: Backend = sklearn_.fit_paths) -> Selected:
    return select([data], protocol, using(backend))[0]


def changed(protocol: ProtocolSpec, grid: dict[str, Any] | None = None, **changes: Any) -> ProtocolSpec:
    values = protocol.model_dump() | changes
    values["grid"] |= grid or {}
    return ProtocolSpec.model_validate(values)


@pytest.fixture
def protocol(shipped: Registry) -> ProtocolSpec:
    """The default protocol, less its widening, so that the grid is what it says."""
    return changed(shipped.protocol("default"), {"widen": 0.0})


TRAIN, HELD = blobs(3, 6, 8), blobs(3, 6, 8, seed=1)


def test_default_grid(shipped: Registry) -> None:
    assert np.allclose(strengths(shipped.protocol("default")), np.logspace(-4, 4, 17), rtol=1e-12)


def test_scale_of_a_checkpoint_does_not_matter(protocol: ProtocolSpec) -> None:
    plain = choose(SelectionData(TRAIN, HELD), protocol)
    large = choose(
        SelectionData(Labelled(TRAIN.features * 1000, TRAIN.labels), Labelled(HELD.features * 1000, HELD.labels)),
        protocol,
    )
    assert plain.chosen == large.chosen
    assert plain.loss == pytest.approx(large.loss, rel=1e-4)


@pytest.mark.parametrize("backend", [sklearn_.fit_paths, torch_.fit_paths])
def test_the_choice_has_the_smallest_validation_log_loss(protocol: ProtocolSpec, backend: Backend) -> None:
    from sklearn.metrics import log_loss as reference

    chosen = choose(SelectionData(TRAIN, HELD), protocol, backend)
    scaled = Labelled(chosen.preparation(TRAIN.features), TRAIN.labels)
    (path,) = sklearn_.fit_paths([scaled], strengths(protocol))
    losses = [
        reference(HELD.labels, np.exp(probe.log_probabilities(chosen.preparation(HELD.features)))) for probe in path
    ]
    assert chosen.chosen == {"C": strengths(protocol)[int(np.argmin(losses))]}
    assert chosen.loss == pytest.approx(min(losses), rel=1e-3)
    assert chosen.how == "validation" and chosen.on_edge == (np.argmin(losses) in (0, 16))
    assert chosen.tried == (1e-4, 1e4)


def test_several_draws_are_chosen_for_at_once(protocol: ProtocolSpec) -> None:
    selection_data = [SelectionData(blobs(3, 6, 8, seed), blobs(3, 4, 8, seed + 50)) for seed in range(4)]
    together = select(selection_data, protocol, using(torch_.fit_paths))
    alone = [choose(data, protocol, torch_.fit_paths) for data in selection_data]
    assert [one.chosen for one in together] == [one.chosen for one in alone]


def test_the_highest_accuracy_where_the_protocol_says_so(protocol: ProtocolSpec) -> None:
    by_accuracy = changed(protocol, criterion="accuracy")
    chosen = choose(SelectionData(TRAIN, HELD), by_accuracy)
    scaled = Labelled(chosen.preparation(TRAIN.features), TRAIN.labels)
    (path,) = sklearn_.fit_paths([scaled], strengths(protocol))
    hits = [float((probe.predict(chosen.preparation(HELD.features)) == HELD.labels).mean()) for probe in path]
    assert chosen.score == max(hits)
    assert chosen.chosen["C"] == strengths(protocol)[hits.index(max(hits))], "ties go to the smaller C"


class Made:
    """A backend whose probes have the validation losses that a test wants: a bias towards the true class."""

    def __init__(self, goodness: Any) -> None:
        self.goodness, self.asked = goodness, list[float]()

    def __call__(
        self, trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = lambda fits: None
    ) -> list[list[FittedProbe]]:
        self.asked += [float(one) for one in strengths]
        return [[self._probe(train, float(one)) for one in strengths] for train in trains]

    def _probe(self, train: Labelled, strength: float) -> FittedProbe:
        classes = np.unique(train.labels)
        intercept = np.zeros(len(classes))
        intercept[0] = self.goodness(strength)
        return FittedProbe(
            strength=strength,
            classes=classes,
            coef=np.zeros((len(classes), train.source.shape[1])),
            intercept=intercept,
            converged=strength < 1e3,
        )


# All of the first class: the larger the bias towards it, the smaller the loss.
FIRST = Labelled(np.ones((5, 8)), np.full(5, TRAIN.labels[0]))


def test_equal_losses_take_the_smaller_strength_and_say_edge(shipped: Registry) -> None:
    """A value beyond the grid must be strictly better, so a flat curve stays on the edge."""
    backend = Made(lambda strength: 0.0)
    chosen = choose(SelectionData(TRAIN, FIRST), shipped.protocol("default"), backend)
    assert chosen.chosen["C"] == pytest.approx(1e-4) and chosen.on_edge
    assert chosen.loss == pytest.approx(np.log(3))
    assert all(one >= 1e3 for one in chosen.unconverged) and chosen.unconverged


@pytest.mark.parametrize(("peak", "expected"), [(1e6, 1e6), (1e-7, 1e-7), (1e12, 1e8), (1e2, 1e2)])
def test_a_choice_on_the_edge_widens_the_grid(shipped: Registry, peak: float, expected: float) -> None:
    """In the grid's own steps, until the best is inside, and by four decades at most."""
    backend = Made(lambda strength: -abs(np.log10(strength / peak)))
    chosen = choose(SelectionData(TRAIN, FIRST), shipped.protocol("default"), backend)
    assert chosen.chosen["C"] == pytest.approx(expected)
    assert chosen.on_edge == (peak != 1e2)
    assert len(backend.asked) == len(set(backend.asked)), "nothing is fitted twice"
    assert chosen.tried is not None and chosen.tried[1] / chosen.tried[0] <= 1e12 * (1 + 1e-9)
    if peak == 1e6:
        assert list(chosen.tried) == pytest.approx([1e-4, 10**6.5])


def test_coarse_to_fine_finds_the_peak_in_few_fits(shipped: Registry) -> None:
    protocol = changed(shipped.protocol("clip_lbfgs"), criterion="log-loss")
    backend = Made(lambda strength: -abs(np.log10(strength / 10**1.375)))
    chosen = choose(SelectionData(TRAIN, FIRST), protocol, backend)
    assert chosen.chosen["C"] == pytest.approx(10**1.375)
    assert len(backend.asked) == len(set(backend.asked)) == 7 + 4 * 2 == fits_planned(protocol, 1, False)
    assert backend.asked[:7] == pytest.approx(list(np.logspace(-6, 6, 7)))


def test_one_standard_error_takes_the_strongest_that_is_as_good(protocol: ProtocolSpec) -> None:
    rule = changed(protocol, rule="one-standard-error")
    best, chosen = choose(SelectionData(TRAIN, HELD), protocol), choose(SelectionData(TRAIN, HELD), rule)
    scaled = Labelled(best.preparation(TRAIN.features), TRAIN.labels)
    (path,) = sklearn_.fit_paths([scaled], strengths(protocol))
    own = np.searchsorted(np.unique(TRAIN.labels), HELD.labels)
    losses = [-probe.log_probabilities(best.preparation(HELD.features))[np.arange(18), own] for probe in path]
    means = [float(one.mean()) for one in losses]
    top = int(np.argmin(means))
    limit = means[top] + losses[top].std(ddof=1) / np.sqrt(18)
    first = next(place for place, mean in enumerate(means) if mean <= limit)
    assert chosen.chosen["C"] == strengths(protocol)[first] < best.chosen["C"]


def test_k_fold_inside_the_draw_is_scikit_learns(protocol: ProtocolSpec) -> None:
    """Every image is validated on once, by a probe that has not seen it; the last fit is on all of them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import PredefinedSplit

    fold = np.tile(np.arange(3), 6)
    plain = changed(protocol, scale="none")
    chosen = choose(SelectionData(TRAIN, fold=fold), plain)
    means = []
    for C in strengths(plain):
        losses = []
        for fit, held in PredefinedSplit(fold).split():
            model = LogisticRegression(C=C, tol=1e-8, max_iter=10_000).fit(TRAIN.features[fit], TRAIN.labels[fit])
            losses.append(log_loss(TRAIN.labels[held], model.predict_proba(TRAIN.features[held])))
        means.append(np.mean(losses))
    assert chosen.chosen["C"] == strengths(plain)[int(np.argmin(means))]
    assert chosen.loss == pytest.approx(min(means), rel=1e-3)
    ((whole,),) = sklearn_.fit_paths([TRAIN], [chosen.chosen["C"]])
    assert np.allclose(linear(chosen).coef, whole.coef, atol=1e-4)


def linear(chosen: Selected) -> FittedProbe:
    assert isinstance(chosen.probe, FittedProbe)
    return chosen.probe


def test_scaling_is_measured_without_the_fold_that_validates(protocol: ProtocolSpec) -> None:
    seen: list[float] = []

    def watching(
        trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = lambda fits: None
    ) -> list[list[FittedProbe]]:
        seen.extend(float(np.sqrt(((t.matrix - t.matrix.mean(axis=0)) ** 2).sum(axis=1).mean())) for t in trains)
        return sklearn_.fit_paths(trains, strengths, on_progress)

    choose(SelectionData(TRAIN, fold=np.tile(np.arange(3), 6)), protocol, watching)
    assert seen == pytest.approx([1.0] * 4)


def test_refit_on_training_and_validation_rows(protocol: ProtocolSpec) -> None:
    plain = changed(protocol, scale="none")
    chosen = choose(SelectionData(TRAIN, HELD, refit=True), plain)
    both = Labelled(np.vstack([TRAIN.features, HELD.features]), np.concatenate([TRAIN.labels, HELD.labels]))
    ((whole,),) = sklearn_.fit_paths([both], [chosen.chosen["C"]])
    assert np.allclose(linear(chosen).coef, whole.coef, atol=1e-5)
    again = choose(SelectionData(TRAIN, HELD), plain)
    assert again.chosen == chosen.chosen and not np.allclose(linear(again).coef, whole.coef, atol=1e-3)


def test_a_fixed_strength_chooses_nothing(protocol: ProtocolSpec) -> None:
    chosen = choose(SelectionData(TRAIN, value=0.25), protocol)
    assert (chosen.how, chosen.chosen) == ("fixed", {"C": 0.25})
    assert chosen.loss is chosen.score is chosen.on_edge is None


def test_without_validation_images_the_fallback_is_taken(protocol: ProtocolSpec) -> None:
    none = Labelled(np.empty((0, 8)), np.empty(0, np.int64))
    foreign = Labelled(np.ones((2, 8)), np.array([99, 99]))
    for held in (none, foreign):
        chosen = choose(SelectionData(TRAIN, held), protocol)
        assert (chosen.how, chosen.chosen) == ("fixed", {"C": protocol.fallback})


def test_validation_rows_of_absent_classes_are_left_out(protocol: ProtocolSpec) -> None:
    more = Labelled(np.vstack([HELD.features, np.ones((4, 8))]), np.append(HELD.labels, [99] * 4))
    assert choose(SelectionData(TRAIN, more), protocol).loss == choose(SelectionData(TRAIN, HELD), protocol).loss


def test_log_loss_of_a_sure_probe_stays_finite(protocol: ProtocolSpec) -> None:
    chosen = choose(SelectionData(TRAIN, FIRST), protocol, Made(lambda strength: -1e4))
    assert chosen.loss == pytest.approx(1e4, rel=1e-3)


def test_learning_rates_go_through_the_grid_each(shipped: Registry) -> None:
    protocol = changed(
        shipped.protocol("elevater"),
        {"start": -4.0, "stop": 0.0, "num": 3, "coarse": 3},
        solver=shipped.protocol("elevater").solver.model_copy(update={"learning_rates": (1e-6, 1e-2)}).model_dump(),
    )
    # Many rows, so that ten epochs are enough for the running statistics.
    train = blobs(3, 200, 8)
    held = Labelled(train.features[::7], train.labels[::7])
    told: list[int] = []
    (chosen,) = select([SelectionData(train, held)], protocol, fitters(protocol, "torch-sgd"), told.append)
    assert set(chosen.chosen) == {"weight_decay", "learning_rate"}
    assert chosen.chosen["learning_rate"] == 1e-2, "1e-6 learns nothing in ten epochs"
    assert sum(told) == 6 == fits_planned(protocol, 1, False)


def test_ties_go_to_what_was_tried_first_where_the_grid_says_so(shipped: Registry) -> None:
    """Of a flat curve the first coarse value stays; of a peak and its equal, found later, the peak does."""
    protocol = changed(shipped.protocol("clip_lbfgs"), {"ties": "first"}, criterion="log-loss", refit=False)
    assert choose(SelectionData(TRAIN, FIRST), protocol, Made(lambda strength: 0.0)).chosen["C"] == pytest.approx(1e-6)
    flat = Made(lambda strength: -max(abs(np.log10(strength)) - 1.0, 0.0))
    assert choose(SelectionData(TRAIN, FIRST), protocol, flat).chosen["C"] == pytest.approx(1.0)
    smallest = changed(protocol, {"ties": None})
    assert choose(SelectionData(TRAIN, FIRST), smallest, flat).chosen["C"] == pytest.approx(0.1)


class Epochs:
    """A backend with three probes a value, one an epoch, of which the second hits most."""

    def __call__(
        self, trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = lambda fits: None
    ) -> list[list[FittedProbe]]:
        good = Made(lambda goodness: goodness)
        return [
            [
                replace(good._probe(train, -abs(np.log10(one)) + bonus), strength=float(one), iterations=epoch)
                for one in strengths
                for epoch, bonus in enumerate((0.0, 9.0, -9.0))
            ]
            for train in trains
        ]


def test_the_best_epoch_stands_for_a_value(protocol: ProtocolSpec) -> None:
    chosen = choose(SelectionData(TRAIN, FIRST), protocol, Epochs())
    assert chosen.chosen == {"C": pytest.approx(1.0)} and chosen.probe.iterations == 1
    folded = choose(SelectionData(TRAIN, fold=np.tile([0, 1, 2], 6)), changed(protocol, refit=False), Alike())
    assert folded.chosen["C"] == pytest.approx(1.0), "of all classes in equal parts, no bias is best"


class Alike(Epochs):
    """The same, but for the last fit, which has one probe."""

    def __call__(
        self, trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = lambda fits: None
    ) -> list[list[FittedProbe]]:
        paths = super().__call__(trains, strengths)
        return [path[-1:] for path in paths] if len(trains) == 1 else paths


class CommonOrSplit(Made):
    """Up to C = 1 it names the common class always; above, the rare one for rows of 1 and the common for rows of -1."""

    def __init__(self) -> None:
        super().__init__(lambda strength: float(strength <= 1))

    def _probe(self, train: Labelled, strength: float) -> FittedProbe:
        probe = super()._probe(train, strength)
        if strength > 1:
            probe.coef[0], probe.coef[-1] = -1.0, 1.0
        return probe


def test_the_metric_chooses_where_the_protocol_says_so(protocol: ProtocolSpec) -> None:
    """Of eight common images and two rare ones: 80% and 50% of the classes, or 60% and 75%."""
    common, rare = TRAIN.labels[0], TRAIN.labels[-1]
    rows = np.repeat([1.0, -1.0, 1.0], [4, 4, 2])[:, None] * np.ones((1, 8))
    data = SelectionData(TRAIN, Labelled(rows, np.repeat([common, rare], [8, 2])))
    by_metric = changed(protocol, criterion="metric", scale="none")

    def chosen(spec: ProtocolSpec, metric: Metric) -> Any:
        (one,) = select([data], spec, using(CommonOrSplit()), metric=metric)
        return one.chosen["C"], one.score

    assert np.allclose(np.array(chosen(by_metric, "accuracy"), float), (1e-4, 0.8))
    assert np.allclose(np.array(chosen(by_metric, "mean-per-class"), float), (10**0.5, 0.75))
    by_accuracy = changed(by_metric, criterion="accuracy")
    assert chosen(by_accuracy, "mean-per-class") == chosen(by_metric, "accuracy"), "on every data set"


def test_a_value_at_which_training_diverges_is_never_chosen(shipped: Registry) -> None:
    """Ten epochs of AdamW at rate 0.1 blow up beyond a weight decay of 20."""
    train, held = blobs(3, 200, 8), blobs(3, 20, 8, seed=1)
    protocol = shipped.protocol("clip_benchmark")
    (chosen,) = select([SelectionData(train, held)], protocol, fitters(protocol, "torch-adamw"))
    assert chosen.chosen["weight_decay"] < 20 and max(chosen.unconverged) == 100
    assert chosen.score is not None and np.isfinite(linear(chosen).coef).all()


def test_where_the_last_run_diverges_the_next_best_value_is_taken(protocol: ProtocolSpec) -> None:
    last: list[float] = []

    def backend(
        trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = lambda fits: None
    ) -> list[list[Any]]:
        if len(trains[0].labels) == len(TRAIN.labels):
            return Made(lambda strength: 1 - np.log10(strength) ** 2 / 100)(trains, strengths)
        last.extend(strengths)
        return Made(lambda strength: np.nan if len(last) == 1 else 1.0)(trains, strengths)

    found = choose(SelectionData(TRAIN, HELD, refit=True), protocol, backend)
    assert len(last) == 2 and found.chosen["C"] == last[1] != last[0]
    assert np.isfinite(linear(found).intercept).all()


def test_when_training_diverges_everywhere_there_is_no_score(protocol: ProtocolSpec) -> None:
    with pytest.raises(FloatingPointError, match="diverged"):
        choose(SelectionData(TRAIN, HELD), protocol, Made(lambda strength: np.nan))
