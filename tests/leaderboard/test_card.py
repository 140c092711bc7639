import shlex
from pathlib import Path

import pytest

from probebench.leaderboard.card import commands, facts, further
from probebench.registry import Registry
from probebench.registry.architectures import canonical_architecture
from tests.conftest import make_entry
from tests.results.make import checkpoint, result, trial

DRAWS = [trial(seed) for seed in range(5)]


def test_facts_are_the_results_and_links_the_entrys(shipped: Registry) -> None:
    said = checkpoint(title="T", architecture="timm/resnet50", sources=[{"name": "ImageNet-1k", "samples": 1281167}])
    shown = facts(result(model="resnet50_a1_in1k", checkpoint=said), shipped.checkpoints)
    assert (shown["title"], shown["parameters"], shown["samples"]) == ("T", 23_508_032, 1_281_167)
    assert shown["links"]["paper"] == "https://arxiv.org/abs/2110.00476"
    assert shown["licence"] == shipped.checkpoints["resnet50_a1_in1k"].license


@pytest.mark.parametrize(
    "changes", [{"method": "image-image"}, {"architecture": "timm/x"}, {"sources": [{"name": "y", "samples": 1}]}]
)
def test_an_entry_that_says_otherwise_lends_no_link(shipped: Registry, changes: dict[str, object]) -> None:
    said = checkpoint(**{"architecture": "timm/resnet50"} | changes)
    assert "links" not in facts(result(model="resnet50_a1_in1k", checkpoint=said), shipped.checkpoints)


def test_unknown_facts_stay_unknown() -> None:
    mixed = checkpoint(sources=[{"name": "a", "samples": 5}, {"name": "b", "samples": "unknown"}])
    shown = facts(result(checkpoint=mixed), {})
    assert shown["samples"] is None and shown["seen"] is None and shown["parameters"] is None
    assert facts(result(checkpoint=checkpoint(method="none", sources=[])), {})["sources"] == ["none"]


@pytest.mark.parametrize("name", ["timm/resnet50", "torchvision/resnet50"])
def test_an_architecture_has_one_count_whatever_library_built_it(name: str) -> None:
    assert facts(result(checkpoint=checkpoint(architecture=name)), {})["parameters"] == 23_508_032


def test_commands_make_the_results_again() -> None:
    found = [
        *(result(dataset=name, shots=shots, trials=DRAWS) for name in ("dtd", "digits") for shots in (1, 10)),
        result(shots="full"),
        result(kind="knn", mode="knn", protocol="knn", shots="full"),
        result(kind="zeroshot", mode="text", protocol="clip", shots=0),
        result(kind="finetune", mode="lp-ft", protocol="quick", shots=5, trials=DRAWS[:3], feature_key=None),
    ]
    sized = "--input-size 96"
    assert commands(found) == [
        f"probebench extract --model net --dataset digits,dtd {sized} --dtype fp32",
        f"probebench finetune --model net --dataset digits {sized} --protocol quick --shots 5 --mode lp-ft --draws 3",
        f"probebench eval --model net --dataset digits {sized} --protocol knn --shots full "
        "--probe knn --backend sklearn",
        f"probebench eval --model net --dataset digits,dtd {sized} --protocol default --shots 1,10,full --draws 5 "
        "--probe logistic --backend sklearn",
        f"probebench zeroshot --model net --dataset digits {sized}",
    ]


def test_a_name_cannot_leave_its_place_in_a_command() -> None:
    name = "x; rm -rf ~ $(id) 'q' \"p\""
    for line in commands([result(model=name, dataset=name, protocol=name, backend=name, dtype=name)]):
        assert shlex.split(line).count(name) >= 2


def test_published_figures_have_no_commands() -> None:
    assert commands([result(provenance="published")]) == []


def test_every_shipped_architecture_has_its_parameters(shipped: Registry) -> None:
    from json import loads

    import probebench.leaderboard

    counts = loads(Path(probebench.leaderboard.__file__).with_name("parameters.json").read_text())
    named = {f"{one.architecture.library}/{one.architecture.name}" for one in shipped.checkpoints.values()}
    known = {canonical_architecture(name) for name in named}
    assert set(counts) == known, "run make docs"


def test_commands_name_a_layer_that_does_not_stand_for_the_checkpoint(shipped: Registry) -> None:
    entry = shipped.checkpoint("clip_vit_b_32_random")
    for layer, flag in (("projected", False), ("pooled", True), ("block:3", True)):
        extracting, evaluating = commands([result(checkpoint=checkpoint(layer=layer))], entry)
        assert (f" --layer {layer}" in extracting) == (f" --layer {layer} " in evaluating) == flag
    assert not any("--layer" in line for line in commands([result(checkpoint=checkpoint(layer="projected"))]))
    assert all("--layer cls" in line for line in commands([result(checkpoint=checkpoint(layer="cls"))]))


def test_weights_of_a_recipe_are_made_first(shipped: Registry, tmp_path: Path) -> None:
    uri = "recipe://mini_clip?source=emoji_noto&source=glyphs&samples=100&run=3"
    entry = make_entry(tmp_path)
    entry = entry.model_copy(update={"weights": entry.weights.model_copy(update={"uri": uri})})
    first, second, *_ = commands([result(model=entry.id)], entry)
    assert first == "probebench sources prepare emoji_noto,glyphs"
    assert second == "probebench pretrain --recipe mini_clip --source emoji_noto --source glyphs --samples 100 --run 3"


def test_a_mixture_of_many_has_a_title_of_one_line() -> None:
    names = ["a", "b", "c", "d"]
    changed = checkpoint(
        title="net, CLIP on a + b + c + d (12 images), run 0", sources=[{"name": one, "samples": 3} for one in names]
    )
    shown = facts(result(checkpoint=changed), {})
    assert shown["title"] == "net, CLIP on 4 sources (12 images), run 0" and shown["sources"] == names


def test_a_card_tells_drops_and_retrieval() -> None:
    ranks = {"recall_at_1": 0.5, "recall_at_5": 0.7, "recall_at_10": 0.75, "mean_average_precision": 0.321}
    moved = {
        "fingerprint": "1" * 64,
        "n_own": 9,
        "own_mean": 0.8,
        "drop": 0.1,
        "drop_ci95": (0.05, 0.15),
    }
    told = further(
        [
            result(),
            result(kind="retrieval", mode="cosine", protocol="retrieval", shots="full", retrieval=ranks),
            result(test_dataset="harder", shift=moved, mean=0.7),
        ]
    )
    assert told == [
        "digits, retrieval, full: recall at 1/5/10 50.0/70.0/75.0, mean average precision 32.1.",
        "digits -> harder, default, 1 shot: a drop of 10.0 points [5.0, 15.0] from 80.0 on digits's own test part.",
    ]
