"""The study's fine-tuning beside its own code, with a frozen network, on committed features."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from probebench.datasets.base import ArrayImages, Dataset, Split
from probebench.datasets.draws import Draw
from probebench.finetuning import select
from probebench.finetuning.model import Starts
from probebench.finetuning.select import ValidationImages, trainings_of
from probebench.progress import Silent
from probebench.training import checkpoint, loop
from probebench.training.checkpoint import Progressed
from probebench.training.data import FeatureItems, ImageSubset
from probebench.training.seeds import Seeds
from probebench.training.training import Training
from tests.finetuning.entezari2023 import CLASSES, GOLDEN, RATES, first
from tests.finetuning.making import CPU, SHIPPED, make_task

STORED = np.load(GOLDEN)
TEST_SELECTED = SHIPPED.finetune_protocol("entezari2023@test-selected")


class Frozen:
    """The protocol's mode ``linear`` on one of the committed sets."""

    def __init__(self, name: str, shots: int, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        splits = {}
        for part in ("train", "test"):
            rows, labels = STORED[f"{name}_{part}"].astype(np.float32), STORED[f"{name}_{part}_labels"].astype(np.int64)
            splits[part] = Split(tuple(f"{part}{row}" for row in range(len(rows))), labels, ArrayImages(rows))
        task = make_task(folder, home, protocol=TEST_SELECTED, mode="linear", shots=[shots or "full"], draws=1)
        self.task = replace(task, dataset=Dataset(name, tuple("0123456789"), splits))
        width = STORED[f"{name}_train"].shape[1]
        self.starts = Starts(self.task, cast(Any, SimpleNamespace(features=width)))
        places = first(splits["train"].labels, shots)
        self.draw = Draw(seed=0, shots=shots or None, train=places, validation=places[:0], short=(), digest=name)
        self.seeds = Seeds.of(TEST_SELECTED, self.draw.digest, 0, 0)
        self.held = ValidationImages(ImageSubset.of(splits["test"]), how="test")
        self.rows = torch.from_numpy(STORED[f"{name}_test"].astype(np.float32))
        # Files that resume what is cut off take most of the time, and change nothing.
        monkeypatch.setattr(checkpoint, "write", lambda path, progressed: None)
        monkeypatch.setattr(select, "frozen", lambda task, starts, images: features(images))

    def trainings(self) -> list[Training]:
        return trainings_of(self.task, self.starts, self.draw, self.seeds, self.held, None)

    def predicted(self, weights: Any) -> Any:
        network = self.starts.network(self.seeds, None)
        network.load_state_dict(weights)
        with torch.no_grad():
            return network(self.rows).argmax(dim=1).numpy()


def features(images: ImageSubset) -> FeatureItems:
    return FeatureItems(torch.from_numpy(cast(ArrayImages, images.images).pixels[images.positions]), images.labels)


def right(done: Progressed) -> Any:
    """Right test images after each epoch."""
    return np.round(300 * np.array([epoch.score for epoch in done.history]))


@pytest.mark.parametrize("name", ["digits", "correlated"])
def test_where_a_batch_holds_the_draw_it_ends_in_the_codes_labels(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Frozen(name, 5, tmp_path, home, monkeypatch)
    theirs = STORED[f"{name}_5_right"].astype(int)
    trainings = ours.trainings()
    assert tuple(one.rate for one in trainings) == RATES
    # The largest rate, at which the code differs from itself the most.
    done = loop.run(trainings[-1], CPU, Silent())
    mine, runs = right(done), theirs[-1]
    # AdamW's first steps are signs, which rounding may turn: there the code's two seeds differ by up to 7 images.
    assert np.abs(mine - runs.mean(axis=0)).mean() <= 1
    assert abs(mine.max() - runs.max(axis=1).mean()) <= 3 * max(np.ptp(runs.max(axis=1)), 1)
    last = loop.run(replace(trainings[-1], keeps="last", path=tmp_path / "last.pt"), CPU, Silent())
    assert (ours.predicted(last.weights) != STORED[f"{name}_5_last"][-1, 0]).sum() <= 2


@pytest.mark.parametrize("name", ["digits", "correlated"])
def test_at_full_data_it_lies_within_the_codes_own_seeds(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Frozen(name, 0, tmp_path, home, monkeypatch)
    theirs = STORED[f"{name}_0_right"].astype(int)
    number = int(theirs.max(axis=2).mean(axis=1).argmax())
    done = loop.run(ours.trainings()[number], CPU, Silent())
    # The best epoch, the last, and every tenth on the way, among six runs of the code; one image is the least step.
    for mine, runs in [
        (right(done).max(), theirs[number].max(axis=1)),
        *((right(done)[epoch], theirs[number][:, epoch]) for epoch in range(7, 128, 10)),
    ]:
        assert abs(mine - runs.mean()) <= 3 * max(runs.std(ddof=1), 1), (mine, runs)
    predictions = STORED[f"{name}_0_best"][number]
    apart = [(one != other).sum() for place, one in enumerate(predictions) for other in predictions[:place]]
    mine = [(ours.predicted(done.weights) != one).sum() for one in predictions]
    assert np.mean(mine) <= max(apart) + 1


def test_the_committed_sets_are_what_the_docs_say() -> None:
    for name in ("digits", "correlated"):
        assert STORED[f"{name}_train"].shape[0] == 1000 and STORED[f"{name}_test"].shape[0] == 300
        assert len(set(STORED[f"{name}_train_labels"].tolist())) == CLASSES
