from typing import Any

import numpy as np
import pytest

from probebench.leaderboard.page import page_data
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.stats import paired
from tests.results.make import checkpoint, result, trial

TRUE = np.repeat([0, 1], [90, 10])
RIGHT = {"net": 0.9, "twin": 0.9, "low": 0.5}


def predictions(one: Result) -> Predictions:
    random = np.random.default_rng(sorted(RIGHT).index(one.model))
    guesses = np.where(random.random((2, 100)) < RIGHT[one.model], TRUE, 1 - TRUE)
    return Predictions(tuple(map(str, range(100))), TRUE, guesses)


def made(model: str, mean: float, **changes: Any) -> Result:
    return result(model=model, mean=mean, ci95=None, trials=[trial(0), trial(1)], **changes)


def notes(data: dict[str, Any], view: dict[str, Any]) -> dict[str, str]:
    return {data["entrants"][line[0]]["id"]: data["notes"][line[6]] for line in view["rows"]}


def test_one_view_for_each_setting_number_of_shots_and_metric() -> None:
    data = page_data([result(), result(shots="full"), result(kind="knn", mode="knn", protocol="knn")], None)
    names = [setting["name"] for setting in data["settings"]]
    assert names == ["Linear probe: default v1", "Nearest neighbours: knn v1"]
    views = [(view["setting"], view["shots"], view["metric"]) for view in data["views"]]
    assert views == [(0, 1, "own"), (0, "full", "own"), (1, 1, "own")]


def test_lines_hold_ten_thousandths_of_a_percent() -> None:
    (view,) = page_data([result(mean=0.81234, ci95=(0.7, 0.9))])["views"]
    assert view["rows"] == [[0, 1, 812340, 700000, 900000, 1.0, 1, 1]] and view["sets"] == [0]


def test_ties_are_shown_where_predictions_are_to_be_had() -> None:
    results = [made("net", 0.9), made("twin", 0.89), made("low", 0.5)]
    data = page_data(results, predictions)
    assert notes(data, data["views"][0]) == {"net": "leader", "twin": "tied", "low": "apart"}
    data = page_data(results)
    assert notes(data, data["views"][0]) == {"net": "leader", "twin": "not compared", "low": "not compared"}


def test_the_other_metric_is_a_view_of_its_own() -> None:
    data = page_data([made("net", 0.9), made("low", 0.5)], predictions)
    assert [metric["id"] for metric in data["metrics"]] == ["own", "mean-per-class"]
    own, other = data["views"]
    right = predictions(made("net", 0.9)).y_pred == TRUE
    by_class = np.mean([right[:, label == TRUE].mean() for label in (0, 1)])
    # Both come from the predictions; what the result tells of its mean is not asked.
    assert own["rows"][0][2] == round(1_000_000 * right.mean()) and other["rows"][0][2] == pytest.approx(
        1_000_000 * by_class, abs=1
    )


def test_a_checkpoint_at_two_sizes_is_two_entrants_with_two_keys() -> None:
    data = page_data([result(), result(input_size=224), result(model="other")])
    assert [entrant["key"] for entrant in data["entrants"]] == ["net~1", "net~2", "other"]


def test_data_sets_of_one_name_show_their_fingerprint() -> None:
    data = page_data([result(), result(dataset_fingerprint="1" * 64), result(dataset="dtd")])
    assert [one["name"] for one in data["datasets"]] == ["digits (00000000)", "digits (11111111)", "dtd"]


def test_each_data_set_is_ranked_alone_as_well() -> None:
    results = [made("net", 0.9), made("low", 0.5), made("low", 0.99, dataset="dtd"), made("net", 0.98, dataset="dtd")]
    (view,) = page_data(results)["views"]
    assert [line[1:3] for line in view["rows"]] == [[1, 940000], [2, 745000]]
    assert [[line[0] for line in view["single"][place]] for place in (0, 1)] == [[1, 0], [0, 1]]


def test_seen_before_is_said_for_each_data_set() -> None:
    (entrant,) = page_data([result(), result(dataset="imagenet1k")])["entrants"]
    assert entrant["overlap"] == ["unknown", "yes"]
    (entrant,) = page_data([result(checkpoint=checkpoint(method="none", sources=[]))])["entrants"]
    assert entrant["overlap"] == ["no"]


def test_layers_of_one_checkpoint_have_titles_that_tell_them_apart() -> None:
    layers = ("pooled", "projected", "block:3")
    found = [result(checkpoint=checkpoint(title="A net", layer=one), mean=0.5) for one in layers]
    data = page_data([*found, result(model="alone")])
    assert sorted((one["id"], one["title"], one["layer"]) for one in data["entrants"]) == [
        ("alone", "A net", "pooled"),
        ("net", "A net (block:3)", "block:3"),
        ("net", "A net (pooled)", "pooled"),
        ("net", "A net (projected)", "projected"),
    ]
    assert len({one["key"] for one in data["entrants"]}) == 4 and len(data["views"][0]["rows"]) == 4


def test_the_page_opens_where_most_was_measured_few_labels_first() -> None:
    def of(model: str, shots: Any, px: int = 96, dataset: str = "digits") -> Result:
        return result(model=model, shots=shots, input_size=px, dataset=dataset)

    results = [of(model, shots) for model in ("a", "b", "c") for shots in (1, 5, 10, "full")]
    first = page_data(results)["first"]
    assert (first["shots"], first["px"]) == (5, 0) and "5 shots" in first["why"] and "3 scores" in first["why"]
    # One run at another number of shots, or more at full data, moves nothing; more at one number does.
    results += [of("a", 1000), of("d", "full")]
    assert page_data(results)["first"]["shots"] == 5
    results += [of(model, 10, dataset="dtd") for model in "abc"]
    assert page_data(results)["first"]["shots"] == 10
    # Of two input sizes the one at which most was measured, with a view of its own.
    results += [of(model, 10, 32) for model in "ab"]
    data = page_data(results)
    assert data["sizes"] == [96, 32] and (data["first"]["shots"], data["first"]["px"]) == (10, 96)
    lines = {(view["px"], len(view["rows"])) for view in data["views"] if view["shots"] == 10}
    assert lines == {(0, 5), (96, 3), (32, 2)}
    assert page_data([of("a", "full"), of("b", "full")])["first"]["shots"] == "full"
    assert page_data([of("a", 0)])["first"]["shots"] == 0


def test_pairs_of_the_first_lines_are_those_of_the_paired_comparison() -> None:
    results = [made("net", 0.9), made("twin", 0.89), made("low", 0.5)]
    ((_, lines),) = page_data(results, predictions)["pairs"].items()
    held = {one.model: predictions(one) for one in results}
    names = [entrant["id"] for entrant in page_data(results, predictions)["entrants"]]
    assert len(lines) == 3
    for one, other, difference, low, high in lines:
        right = [(held[names[place]].y_pred == TRUE).astype(float) for place in (one, other)]
        expected = paired(*right)
        assert difference == round(1e6 * expected.difference)
        assert (low, high) == tuple(round(1e6 * end) for end in expected.ci95)
    assert page_data(results)["pairs"] == {}


def test_pairs_are_of_the_same_images_in_the_same_order() -> None:
    """Whoever left out another image has as many, and not the same."""

    def others(one: Result) -> Predictions:
        held = predictions(one)
        return Predictions(held.test_ids[::-1], held.y_true, held.y_pred) if one.model == "twin" else held

    data = page_data([made("net", 0.9), made("twin", 0.89), made("low", 0.5)], others)
    ((_, lines),) = data["pairs"].items()
    assert [{data["entrants"][place]["id"] for place in line[:2]} for line in lines] == [{"net", "low"}]


def test_published_figures_are_ranked_among_themselves() -> None:
    unnamed: dict[str, Any] = {"dataset_fingerprint": None, "weights_digest": None, "input_size": None, "trials": []}

    def published(model: str, mean: float | None) -> Result:
        return result(model=model, mean=mean, provenance="published", predictions=None, **unnamed)

    data = page_data([result(mean=0.5), published("theirs", 0.9), published("other", 0.8), published("failed", None)])
    assert data["tiers"] == ("all", "published")
    ranks = {view["tier"]: {data["entrants"][one[0]]["id"]: one[1] for one in view["rows"]} for view in data["views"]}
    assert ranks == {"all": {"net": 1}, "published": {"theirs": 1, "other": 2, "failed": None}}
    assert page_data([published("theirs", 0.9)])["tiers"] == ("published",)


def test_each_results_predictions_are_read_once_and_those_of_one_file_together() -> None:
    asked: list[tuple[str, str]] = []

    def counted(one: Result) -> Predictions:
        asked.append((one.model, one.dataset))
        return predictions(one)

    shots, sets = (1, 5, "full"), ("cassava", "digits")
    page_data([made(name, 0.9, dataset=own, shots=few) for few in shots for own in sets for name in RIGHT], counted)
    assert asked == [(name, own) for name in sorted(RIGHT) for own in sets for _ in shots]
