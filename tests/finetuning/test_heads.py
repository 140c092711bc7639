"""Heads that start from class names, and heads on features of unit length."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from probebench.evaluation.zeroshot import Prompts, class_embeddings
from probebench.finetuning.heads import HeadStart, text_head
from probebench.finetuning.model import Classifier, Starts
from tests.evaluation.prompts import ARCHITECTURE, tower
from tests.finetuning.making import SHIPPED, make_task, protocol


def test_a_head_from_text_has_the_prompts_of_zero_shot(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tower()
    monkeypatch.setattr("probebench.backbones.builders.build_language_image", lambda *_: (clip, "digest"))
    task = make_task(tmp_path, home, head="text")
    spec = task.checkpoint
    named = spec.model_copy(
        update={
            "architecture": spec.architecture.model_copy(update={"library": "open_clip", "name": ARCHITECTURE}),
            "output": spec.output.model_copy(update={"layer": "projected"}),
        }
    )
    ours = replace(
        task, checkpoint=named, dataset=replace(task.dataset, class_names=("red_car", "cat", "dog")), names=None
    )
    head = text_head(ours)
    words = class_embeddings(clip, ARCHITECTURE, Prompts(("red car", "cat", "dog"), ("a photo of a {}.",)))
    np.testing.assert_allclose(head.weight, words * float(clip.logit_scale.detach().exp()), rtol=1e-5)
    assert head.unit and not head.bias.any()
    svhn = text_head(replace(ours, names=SHIPPED.dataset("svhn")))
    assert svhn.weight.shape[0] == 10
    digests = {one.training_digest for one in (ours, replace(ours, names=SHIPPED.dataset("svhn")))}
    assert len(digests) == 2, "other words are another training"


@pytest.mark.parametrize("head", [None, HeadStart(np.ones((3, 4), np.float32), np.zeros(3, np.float32))])
def test_unit_features_reach_a_head_however_it_starts(head: HeadStart | None) -> None:
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        unit = Classifier(None, 4, 3, head, unit=True)
        unit.head.weight.copy_(torch.arange(12.0).reshape(3, 4))
        expected = (rows / rows.norm(dim=1, keepdim=True)) @ unit.head.weight.T
        torch.testing.assert_close(unit(rows), expected)
        torch.testing.assert_close(unit(1000 * rows), expected)


def test_the_studys_protocols_have_unit_features_and_quick_has_not(home: Path, tmp_path: Path) -> None:
    for name in ("entezari2023", "entezari2023@test-selected"):
        ours = SHIPPED.finetune_protocol(name)
        assert ours.unit_features and ours.version == 2
        task = make_task(tmp_path, home, protocol=ours)
        network = Starts.of(task).network(task.trials(task.train_split)[0][1], None)
        inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            network.eval().head.weight.fill_(1.0)
            rows = network.backbone(inputs)
            torch.testing.assert_close(
                network(inputs), (rows / rows.norm(dim=1, keepdim=True)).sum(1, True).repeat(1, 3)
            )
    assert "unit_features" not in SHIPPED.finetune_protocol("quick").model_dump()
    assert protocol(unit_features=True).model_dump()["unit_features"]
