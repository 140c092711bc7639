import pytest

from probebench.errors import UsageError
from probebench.registry import Registry
from probebench.registry.layers import (
    architecture_key,
    block_of,
    check_offered,
    check_patterns,
    choose,
    fits,
    in_words,
    is_layer,
    known_layers,
    layer_order,
    layers_from,
    meanings,
    packed,
    unpacked,
)
from probebench.registry.schema import Architecture

VIT = layers_from({"pooled": 8, "cls": 8, "mean": 8, "cls+mean": 16, "last4": 32}, [8] * 12, has_class_token=True)
STAGES = layers_from({"pooled": 64}, [4, 4, 16], has_class_token=False)


@pytest.mark.parametrize(
    "name", ["pooled", "projected", "cls", "mean", "cls+mean", "last4", "block:0", "block:11:mean"]
)
def test_names_of_layers(name: str) -> None:
    assert is_layer(name)


@pytest.mark.parametrize("name", ["", "Pooled", "block:", "block:-1", "block:01", "block:1:max", "block:1000", "last3"])
def test_what_is_no_layer(name: str) -> None:
    assert not is_layer(name) and block_of(name) is None


def test_the_table_holds_every_shipped_entry_and_its_own_layer(shipped: Registry) -> None:
    for spec in shipped.checkpoints.values():
        offered = known_layers(spec.architecture)
        assert offered is not None, f"{architecture_key(spec.architecture)}: make docs"
        assert offered[spec.output.layer] == spec.output.features, spec.id
        assert all(is_layer(name) for name in offered)


def test_a_number_of_classes_is_no_other_architecture_and_an_argument_is() -> None:
    plain, own = (
        {"library": "timm", "name": "vit_small_patch16_224", "kwargs": one} for one in ({}, {"num_classes": 7})
    )
    other = {**plain, "kwargs": {"num_heads": 12, "num_classes": 0}}
    keys = [architecture_key(Architecture.model_validate(one)) for one in (plain, own, other)]
    assert keys[0] == keys[1] != keys[2]
    assert known_layers(Architecture.model_validate(own)) == known_layers(Architecture.model_validate(plain))
    assert known_layers(Architecture(library="timm", name="no_such_net")) is None


def test_globs_take_blocks_as_the_network_pools_them() -> None:
    assert choose(["block:*"], VIT, "net") == tuple(f"block:{number}" for number in range(12))
    assert choose(["block:1?:mean"], VIT, "net") == ("block:10:mean", "block:11:mean")
    assert choose(["last4,block:2", "c*", "pooled"], VIT, "net") == ("pooled", "cls", "cls+mean", "last4", "block:2")
    assert fits("cls+mean", "cls+mean") and not fits("cls+mean", "cls")


def test_a_layer_that_is_not_offered_is_told_with_near_names() -> None:
    with pytest.raises(
        UsageError, match=r"net has no layer 'block:12'; did you mean block:\S+, .*\? \(it offers pooled"
    ):
        choose(["block:12"], VIT, "net")
    with pytest.raises(UsageError, match=r"net has no layer 'cls' \(it offers pooled, block:0 to block:2 \(with :mean"):
        choose(["pooled", "cls"], STAGES, "net")


def test_what_nobody_offers_is_told_before_any_entry_is_read() -> None:
    assert check_patterns(["cls,block:*", "last4"]) == ["cls", "block:*", "last4"]
    with pytest.raises(UsageError, match="'poled' is no layer; did you mean pooled"):
        check_patterns(["cls,poled"])


def test_the_table_refuses_before_a_network_is_built(shipped: Registry) -> None:
    check_offered(shipped.checkpoint("clip_vit_b_32_random"), ["pooled", "block:*"])
    with pytest.raises(
        UsageError, match="clip_rn50_random has no layer 'pooled'.*offers projected, block:0 to block:4"
    ):
        check_offered(shipped.checkpoint("clip_rn50_random"), ["pooled"])


def test_listings_join_blocks_of_one_width() -> None:
    assert [line[:2] for line in meanings(STAGES, "pooled")] == [
        ("pooled", 64),
        ("block:0 to block:1", 4),
        ("block:2", 16),
    ]
    assert "stands for the checkpoint" in meanings(VIT, "cls")[1][2]
    assert in_words(list(VIT)).endswith("last4, block:0 to block:11 (with :cls or :mean too)")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["pooled"], "pooled"),
        (["block:1", "pooled", "block:0", "block:2"], "pooled,block:0-2"),
        (["block:9:mean", "block:7:mean", "block:8", "cls"], "cls,block:8,block:7+9:mean"),
        (list(VIT), "pooled,cls,mean,cls+mean,last4,block:0-11,block:0-11:cls,block:0-11:mean"),
    ],
)
def test_layers_are_recorded_in_short(names: list[str], text: str) -> None:
    assert packed(names) == text
    assert unpacked(text) == tuple(sorted(names, key=layer_order))


def test_what_no_code_of_ours_recorded_names_no_layer() -> None:
    for text in ("", "block:1-", "block:0-9999", "x,y", "block:3-1"):
        assert not all(is_layer(name) for name in unpacked(text)) or unpacked(text) == ()
