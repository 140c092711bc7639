from pathlib import Path

import pytest
import torch

from probebench.backbones.adapters import read_state_dict
from probebench.backbones.user_weights import UserWeights, require_weights
from probebench.backbones.weights import state_digest
from probebench.errors import UsageError, WeightsError
from probebench.registry import Registry
from tests.backbones.test_weights import STATE


def test_registered_weights_are_copied_and_found(home: Path, tmp_path: Path) -> None:
    assert UserWeights.find(home, "mine") is None
    source = tmp_path / "w.pt"
    torch.save(STATE, source)
    kept = UserWeights.register(home, "mine", read_state_dict(source), state_digest(STATE), source)
    source.unlink()
    found = UserWeights.find(home, "mine")
    assert found == kept
    assert state_digest(read_state_dict(kept.path)) == state_digest(STATE) == kept.digest
    assert not list(home.rglob("*.partial"))


def test_damaged_registration_says_how_to_mend(home: Path) -> None:
    kept = UserWeights.register(home, "mine", STATE, state_digest(STATE), Path("w.pt"))
    record = kept.path.parent / "registered.json"
    text = record.read_text()
    record.write_text(text[:20])
    with pytest.raises(WeightsError, match="--model mine --weights PATH"):
        UserWeights.find(home, "mine")
    record.write_text(text)
    kept.path.unlink()
    with pytest.raises(WeightsError, match="are gone"):
        UserWeights.find(home, "mine")


def test_only_user_entries_need_a_file(home: Path, shipped: Registry) -> None:
    require_weights(shipped.checkpoint("resnet50_a1_in1k"), home)
    with pytest.raises(UsageError, match="extract --model laion_clip_rn50 --weights PATH"):
        require_weights(shipped.checkpoint("laion_clip_rn50"), home)
    UserWeights.register(home, "laion_clip_rn50", STATE, state_digest(STATE), Path("w.pt"))
    require_weights(shipped.checkpoint("laion_clip_rn50"), home)
