from typing import Any

import pytest

from probebench.cache.key import FeatureKey

FACTS = {
    "architecture": {"library": "timm", "name": "net", "kwargs": {}},
    "weights_digest": "a" * 64,
    "layer": "pooled",
    "preprocessing": {
        "size": 32,
        "resize": "shortest",
        "crop": 0.875,
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    },
    "dtype": "fp32",
    "dataset_fingerprint": "b" * 64,
    "split": "train",
    "content": "c",
    "extractor_version": 1,
}


def key(**changes: object) -> FeatureKey:
    return FeatureKey.model_validate({**FACTS, **changes})


def preprocessing(**changes: object) -> dict[str, Any]:
    return {"preprocessing": {**FACTS["preprocessing"], **changes}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": {"library": "timm", "name": "net", "kwargs": {"num_heads": 12}}},
        {"architecture": {"library": "open_clip", "name": "net", "kwargs": {}}},
        {"weights_digest": "v"},
        {"layer": "projected"},
        {"dtype": "fp16"},
        {"dataset_fingerprint": "e"},
        {"split": "test"},
        {"content": "other images"},
        {"extractor_version": 2},
        preprocessing(size=33),
        preprocessing(resize="squash"),
        preprocessing(crop=1.0),
        preprocessing(interpolation="bilinear"),
        preprocessing(mean=[0.4, 0.5, 0.5]),
        preprocessing(std=[0.4, 0.5, 0.5]),
    ],
    ids=str,
)
def test_everything_that_can_change_a_byte_changes_the_key(changes: dict[str, object]) -> None:
    assert key(**changes).digest != key().digest
    assert (key(**changes).group == key().group) == ("split" in changes)


def test_the_key_survives_a_round_trip() -> None:
    assert FeatureKey.model_validate_json(key().model_dump_json()).digest == key().digest
