import pytest

from probebench.results.cells import in_order
from probebench.results.schema import Result
from probebench.study.observations import Observation, equally_tuned, observations, same_sizes
from tests.results.make import checkpoint, result

SCORES = ((0.4, 0.6), (0.6, 0.8))


def published(**changes: object) -> Result:
    return result(provenance="published", trials=[], predictions=None, weights_digest=None, **changes)


def test_settings_of_a_published_cell_are_scores_of_one_and_failed_ones_are_none() -> None:
    rates = zip((0.5, 0.7, None), ("0.1", "0.01", "0.001"), strict=True)
    made = [published(mean=mean, ci95=None, environment={"settings": {"lr": rate}}) for mean, rate in rates]
    (cell,) = observations(made)
    assert (cell.score, len(cell.scores), cell.selection) == (0.7, 2, "test")


def test_a_cell_whose_runs_all_failed_is_no_cell() -> None:
    assert observations([published(mean=None, ci95=None)]) == []


def test_of_several_backends_one_counts_and_never_the_better() -> None:
    (cell,) = observations([result(mean=0.9, backend="sklearn"), result(mean=0.3, backend="torch")])
    assert (cell.score, len(cell.scores), cell.selection) == (0.3, 1, "validation")


def test_one_result_keeps_what_it_was_chosen_on() -> None:
    (cell,) = observations([result()])
    assert (len(cell.scores), cell.selection) == (1, "validation")


@pytest.mark.parametrize(
    "change",
    [
        {"provenance": "published"},
        {"kind": "finetune"},
        {"mode": "other"},
        {"protocol": "other"},
        {"protocol_version": 9},
        {"metric": "mean-per-class"},
        {"dataset": "other"},
        {"shots": 5},
        {"checkpoint": checkpoint(method="image-image")},
        {"checkpoint": checkpoint(sources=[{"name": "other", "samples": 1}])},
    ],
    ids=str,
)
def test_what_is_measured_in_another_way_is_another_cell(change: dict[str, object]) -> None:
    assert len(observations([result(), result(**change)])) == 2


def test_each_data_set_has_its_own_metric_and_another_one_is_apart() -> None:
    sets = [result(), result(dataset="other", metric="mean-per-class", dataset_fingerprint="2" * 64)]
    assert len({cell.track for cell in observations(sets)}) == 1
    second = result(model="second", checkpoint=checkpoint(method="image-image"))
    apart = observations([*sets, second, result(metric="mean-per-class")])
    assert sorted(cell.track.metric for cell in apart) == ["", "", "", "mean-per-class"]
    assert sum(str(cell.track).endswith(", mean-per-class") for cell in apart) == 1


def test_one_architecture_of_two_libraries_is_one() -> None:
    names = ("torchvision/resnet50", "timm/resnet50")
    (cell,) = observations([published(checkpoint=checkpoint(architecture=name)) for name in names])
    assert (cell.architecture, len(cell.scores)) == ("timm/resnet50", 2)


def test_one_name_with_two_fingerprints_is_two_data_sets() -> None:
    assert len({cell.dataset for cell in observations([result(), result(dataset_fingerprint="1" * 64)])}) == 2


def test_sizes_of_several_sources_add_up_where_all_are_known() -> None:
    both = [{"name": "B", "samples": 5}, {"name": "A", "samples": 7}]
    (cell,) = observations([result(checkpoint=checkpoint(sources=both))])
    assert (cell.source, cell.samples) == ("A + B", 12)
    both[0]["samples"] = "unknown"
    (cell,) = observations([result(checkpoint=checkpoint(sources=both))])
    assert cell.samples is None


def test_sizes_within_a_tenth_are_one_size() -> None:
    assert same_sizes([14_829_396, 15_000_000, 2_700_000, 2_980_000]) == {
        14_829_396: 14_829_396,
        15_000_000: 14_829_396,
        2_700_000: 2_700_000,
        2_980_000: 2_980_000,
    }


def test_shots_ascend_and_full_is_last() -> None:
    assert in_order(["full", 20, 0, 5]) == [0, 5, 20, "full"]


def test_settings_that_all_share_count_and_else_as_many_of_each() -> None:
    def tuned(*names: str) -> Observation:
        said = [(number / 10, {"settings": {"lr": name}}) for number, name in enumerate(names, 1)]
        return observations([published(mean=mean, ci95=None, environment=lr) for mean, lr in said])[0]

    one, other, apart = tuned("a", "b", "c"), tuned("c", "a"), tuned("x")
    scores, count, same = equally_tuned([one, other])
    assert (count, same) == (2, True) and scores == pytest.approx([0.3, 0.2])
    scores, count, same = equally_tuned([one, apart])
    assert (count, same) == (1, False) and scores == pytest.approx([0.2, 0.1])


def test_one_input_size_stands_for_a_data_set_and_others_are_tracks_of_their_own() -> None:
    found = observations([result(input_size=96), result(input_size=96, model="b"), result(input_size=32)])
    assert sorted(cell.track.pixels for cell in found) == [0, 0, 32]


def test_layers_of_one_checkpoint_never_meet_and_say_which_they_are() -> None:
    def on(layer: str, **changes: object) -> Result:
        return result(checkpoint=checkpoint(layer=layer), **changes)

    found = observations(
        [on("pooled"), on("block:3"), on("cls"), on("projected", model="clip"), on("pooled", model="clip")]
    )
    tracks = {(cell.model, str(cell.track)) for cell in found}
    assert tracks == {
        ("net", "probe (logistic), default v1"),
        ("net", "probe (logistic), default v1, layer block:3"),
        ("net", "probe (logistic), default v1, layer cls"),
        ("clip", "probe (logistic), default v1"),
        ("clip", "probe (logistic), default v1, layer pooled"),
    }
    # Where a protocol takes the features before the projection of all, these are what checkpoints are compared by.
    assert {str(cell.track) for cell in observations([on("pooled", model="clip"), on("pooled")])} == {
        "probe (logistic), default v1"
    }
