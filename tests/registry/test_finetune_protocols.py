"""Every shipped fine-tune protocol, and what such a file may not say."""

from pathlib import Path

import pytest

from probebench.errors import RegistryError, UsageError
from probebench.registry import FinetuneProtocol, ProtocolSpec, Registry, validate_path
from probebench.registry.load import read_entry, shipped_registry

REGISTRY = Registry.load(environ={})
RECIPES = REGISTRY.finetune_protocols


def test_the_recipes_that_there_are_are_no_probes() -> None:
    assert set(RECIPES) == {"entezari2023", "entezari2023@test-selected", "quick"}
    assert not RECIPES.keys() & REGISTRY.protocols.keys()
    assert all(isinstance(spec, ProtocolSpec) for spec in REGISTRY.protocols.values())


def test_the_studys_recipe_in_its_two_forms() -> None:
    ours, theirs = RECIPES["entezari2023"], RECIPES["entezari2023@test-selected"]
    for spec in (ours, theirs):
        assert spec.optimizer.learning_rates == (1e-4, 3e-4, 1e-3, 3e-3) and spec.optimizer.name == "adamw"
        assert spec.optimizer.weight_decay == 0.1 and spec.optimizer.clip_norm == 1.0
        assert (spec.epochs, spec.batch_size, spec.schedule.warmup_steps) == (128, 128, 500)
        assert "arXiv:2302.13602" in spec.source
    assert ours.selection == "validation" and ours.seeds == 3
    assert ours.few_shot.epoch == "last" and ours.full.epoch == "best" and ours.few_shot.most == 4
    assert theirs.selection == "test" and theirs.few_shot.epoch == theirs.full.epoch == "best"
    assert theirs.augment == ours.augment and theirs.schedule.warmup(100) == 500


def test_each_kind_of_protocol_says_which_command_runs_it() -> None:
    with pytest.raises(UsageError, match="probebench finetune --protocol entezari2023"):
        REGISTRY.protocol("entezari2023")
    with pytest.raises(UsageError, match="probebench finetune --protocol quick"):
        REGISTRY.expand_protocols(["default,quick"])
    with pytest.raises(UsageError, match="probebench eval --protocol default"):
        REGISTRY.finetune_protocol("default")
    assert REGISTRY.expand_finetune_protocols(["ente*"]) == ["entezari2023", "entezari2023@test-selected"]
    assert not set(REGISTRY.expand_protocols(["*"])) & set(RECIPES)


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("quick", "most = 4", "", "few_shot needs most"),
        ("quick", "share = 0.2", "", "full needs share"),
        ("quick", "most = 4", "share = 0.2", "few_shot needs most"),
        ("quick", "most = 4", "most = 4\nshare = 0.2", "most belongs to few_shot"),
        ("quick", 'selection = "validation"', 'selection = "test"', "holds nothing out"),
        ("quick", "[3e-4, 1e-3]", "[1e-3, 3e-4]", "must ascend"),
        ("quick", "[3e-4, 1e-3]", "[]", "optimizer.learning_rates"),
        ("quick", "epochs = 6", "epochs = 0", "epochs"),
        ("quick", "flip = 0.0", "flop = 0.0", "augment.flop: unknown key"),
        ("quick", 'id = "quick"', 'id = "quick@"', "id"),
        ("entezari2023@test-selected", "entezari2023@test-selected", "entezari2023", "after an @"),
    ],
)
def test_each_fault_is_named(tmp_path: Path, name: str, before: str, after: str, said: str) -> None:
    text = (shipped_registry() / "protocols" / f"{name}.toml").read_text()
    assert before in text
    path = tmp_path / "protocols" / f"{name}.toml"
    path.parent.mkdir()
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(RegistryError, match=name) as caught:
        read_entry(path, FinetuneProtocol)
    assert said in str(caught.value)
    assert len(validate_path(path)) == 1
