import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probebench.datasets.draws import Draw, TrainingSplit
from probebench.registry.entry import ShortClass

KNOWN = "be21e5a51d2e4bd0bb5bb820858ee7e7e58e91f8cdd3f28c2cd08982248e5226"
KNOWN_TRAIN = [24, 9, 47, 57]


def training_split(counts: list[int], prefix: str = "") -> TrainingSplit:
    labels = np.repeat(np.arange(len(counts)), counts)
    return TrainingSplit([f"{prefix}{number:04d}" for number in range(len(labels))], labels)


def drawn(training: TrainingSplit, draw: Draw) -> tuple[set[str], set[str]]:
    return {training.ids[i] for i in draw.train}, {training.ids[i] for i in draw.validation}


COUNTS = st.lists(st.integers(1, 12), min_size=2, max_size=6)


@settings(max_examples=150, deadline=None)
@given(COUNTS, st.integers(1, 15), st.integers(0, 5), st.integers(0, 1000))
def test_every_class_gives_what_it_has_training_first(
    counts: list[int], shots: int, validation: int, seed: int
) -> None:
    training = training_split(counts)
    draw = training.few_shot(shots, validation, seed)
    short = {one.label: one for one in draw.short}
    assert not set(draw.train) & set(draw.validation)
    for label, count in enumerate(counts):
        train = int((training.labels[draw.train] == label).sum())
        held = int((training.labels[draw.validation] == label).sum())
        assert train == min(shots, count)
        assert held == min(validation, count - train)
        assert (label in short) == (count < shots + validation)
        if label in short:
            assert short[label] == ShortClass(label, train, held)


@settings(max_examples=80, deadline=None)
@given(COUNTS, st.integers(1, 8), st.integers(1, 8), st.integers(0, 100))
def test_fewer_shots_lie_inside_more(counts: list[int], fewer: int, more: int, seed: int) -> None:
    training = training_split(counts)
    small, large = (training.few_shot(shots, 0, seed) for shots in sorted((fewer, more)))
    assert set(small.train) <= set(large.train)


def test_known_draw() -> None:
    """A draw is for ever: if this fails, every published result is void."""
    draw = training_split([30, 30]).few_shot(2, 1, 0)
    assert draw.digest == KNOWN
    assert draw.train.tolist() == KNOWN_TRAIN


def test_seeds_ids_and_labels_move_a_draw_and_nothing_else_does() -> None:
    training = training_split([30, 30])
    digests = {training.few_shot(5, 2, seed).digest for seed in range(5)}
    assert len(digests) == 5
    np.random.seed(1)
    assert training.few_shot(5, 2, 0).digest == training_split([30, 30]).few_shot(5, 2, 0).digest
    relabelled = TrainingSplit(training.ids, training.labels[::-1].copy())
    assert relabelled.fingerprint != training.fingerprint


def test_full_is_one_draw_with_a_fixed_fifth() -> None:
    training = training_split([10, 20, 2])
    draw = training.full(0.2)
    labels = training.labels[draw.validation]
    assert np.bincount(labels, minlength=3).tolist() == [2, 4, 0]
    assert [one.label for one in draw.short] == [2]
    assert sorted([*draw.train, *draw.validation]) == list(range(32))
    assert draw.digest == training.full(0.2).digest
    whole = training.full(0.0)
    assert len(whole.train) == 32 and not len(whole.validation) and not whole.short


def test_draws_are_uniform_enough() -> None:
    """Each image of a class should be drawn about as often as another."""
    training = training_split([20, 20])
    times = np.zeros(40)
    for seed in range(400):
        times[training.few_shot(5, 0, seed).train] += 1
    assert times.mean() == pytest.approx(100)
    # Binomial(400, 1/4): five standard deviations either way.
    assert abs(times - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)


@settings(max_examples=80, deadline=None)
@given(COUNTS, st.integers(1, 8), st.integers(2, 5), st.integers(0, 100))
def test_folds_share_out_every_class_evenly(counts: list[int], shots: int, folds: int, seed: int) -> None:
    training = training_split(counts)
    draw = training.few_shot(shots, 0, seed)
    fold = training.folds(draw, folds)
    for label in range(len(counts)):
        dealt = np.bincount(fold[training.labels[draw.train] == label], minlength=folds)
        assert dealt.max() - dealt.min() <= 1 and dealt.sum() == min(shots, counts[label])


@settings(max_examples=80, deadline=None)
@given(COUNTS, st.integers(2, 12), st.integers(0, 100))
def test_a_holdout_inside_the_draw_spends_no_other_label(counts: list[int], shots: int, seed: int) -> None:
    training = training_split(counts)
    inside, whole = training.few_shot_held_inside(shots, 0.2, seed), training.few_shot(shots, 0, seed)
    assert set(inside.train) | set(inside.validation) == set(whole.train)
    assert not set(inside.train) & set(inside.validation)
    for label, count in enumerate(counts):
        taken, held = min(shots, count), int((training.labels[inside.validation] == label).sum())
        assert held == (0 if taken == 1 else max(1, int(taken * 0.2 + 0.5)))
        assert (label in {one.label for one in inside.short}) == (taken < shots or not held)


def test_images_that_are_left_out_leave_the_order_of_the_others() -> None:
    ids = [f"image-{number}" for number in range(60)]
    labels = np.arange(60) % 3
    whole = TrainingSplit(ids, labels)
    kept = np.array([number for number in range(60) if number not in (4, 17, 33)])
    some = TrainingSplit([ids[number] for number in kept], labels[kept], (ids, labels))
    assert some.fingerprint == whole.fingerprint
    everything = [ids[position] for position in whole.few_shot(20, 0, 1).train if position in kept]
    assert [some.ids[position] for position in some.few_shot(20, 0, 1).train] == everything
