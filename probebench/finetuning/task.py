"""What one fine-tuning is: a network, a data set, a protocol, a mode and a number of shots."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from probebench.cache.key import FeatureKey
from probebench.datasets.base import Dataset
from probebench.datasets.draws import Draw, TrainingSplit
from probebench.datasets.opened import recall
from probebench.evaluation.zeroshot import Prompts
from probebench.fingerprint import fingerprint
from probebench.registry.draws import DrawRule, takes_own_validation
from probebench.registry.entry import Metric, Shots
from probebench.registry.schema import CheckpointSpec, DatasetSpec, FinetuneProtocol
from probebench.results.store import result_path
from probebench.training.options import TrainingOptions
from probebench.training.seeds import Seeds

Mode = Literal["full", "lp-ft", "scratch", "linear"]
Head = Literal["zero", "probe", "text"]

# Raise it when the same protocol and seeds would give other numbers.
FINETUNER_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class FinetuneTask:
    """One training for each draw, and the results that come of it: one an alpha.

    Attributes:
        model: Id of the checkpoint in the registry.
        checkpoint: Its entry; under ``scratch`` that of an untrained twin.
        key: What its features on the train split would be named by; names the weights, the images and the dtype.
        dataset: The opened data set.
        names: Its entry, for class names in words; None for a data set without one.
        head: How the classifier starts.
        shots: Images a class.
        draws: Draws to average over (seeds 0, 1, ...); full data has one, and the protocol's training seeds.
        alphas: Weights between the start (0) and the end of training (1) that are evaluated.
        metric: The data set's own, by its entry.
        home: The home folder.
        options: Device and the like.
        only: The one trial that is run, by its place among all; None: all of them.
    """

    model: str
    checkpoint: CheckpointSpec
    key: FeatureKey
    dataset: Dataset
    names: DatasetSpec | None
    protocol: FinetuneProtocol
    mode: Mode
    head: Head
    shots: Shots
    draws: int
    alphas: tuple[float, ...]
    metric: Metric
    home: Path
    options: TrainingOptions
    only: int | None = None

    kind: ClassVar[str] = "finetune"
    backend: ClassVar[str] = "torch"

    @property
    def dataset_id(self) -> str:
        """Id of the data set."""
        return self.dataset.id

    @property
    def shared_with_train(self) -> int | None:
        """Test images of the data set that are in train too; None where nobody looked."""
        known = recall(self.dataset_id, self.home / "datasets")
        return known.shared_with_train if known else None

    @property
    def train_split(self) -> TrainingSplit:
        """What can be drawn."""
        train = self.dataset.splits["train"]
        return TrainingSplit(train.ids, train.labels)

    @property
    def own_validation(self) -> bool:
        """Whether the data set's own validation split chooses."""
        return "val" in self.dataset.splits and takes_own_validation(self.protocol, self.shots)

    def trials(self, split: TrainingSplit) -> list[tuple[Draw, Seeds]]:
        """Returns the draws, the same as the ``default`` probes', each with the seeds of its training."""
        trials = self._all_trials(split)
        return trials if self.only is None else [trials[self.only]]

    def _all_trials(self, split: TrainingSplit) -> list[tuple[Draw, Seeds]]:
        rule = DrawRule.of(self.protocol, self.shots, self.own_validation)
        if self.shots == "full":
            draw = split.draw(rule, None)
            return [(draw, Seeds.of(self.protocol, draw.digest, seed, seed)) for seed in range(self.protocol.seeds)]
        draws = [split.draw(rule, seed) for seed in range(self.draws)]
        return [(draw, Seeds.of(self.protocol, draw.digest, 0, number)) for number, draw in enumerate(draws)]

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The rates that are tried."""
        return (self.protocol.linear if self.mode == "linear" else self.protocol.optimizer).learning_rates

    @property
    def batch_size(self) -> int:
        """Images a step."""
        return self.protocol.linear.batch_size if self.mode == "linear" else self.protocol.batch_size

    def epochs(self, images: int) -> int:
        """Returns the passes over a draw of so many images."""
        if self.mode == "linear":
            return self.protocol.linear.epochs
        steps = -(-images // self.protocol.batch_size)
        return max(self.protocol.epochs, -(-self.protocol.least_steps // steps))

    def planned(self, trials: Sequence[tuple[Draw, Seeds]]) -> tuple[int, int]:
        """Returns how many images all trainings are to train on, and how many they are to look at without."""
        test = len(self.dataset.splits["test"])
        trained, looked = 0, len(trials) * len(self.alphas) * test
        for draw, _ in trials:
            held = len(self.dataset.splits["val"]) if self.own_validation else len(draw.validation)
            held = test if self.protocol.selection == "test" else held
            epochs = self.epochs(len(draw.train))
            tries = len(self.learning_rates) if held else 1
            trained += tries * epochs * len(draw.train)
            looked += tries * held * (epochs if self.protocol.choice(self.shots).epoch == "best" else 1)
        return trained, looked

    @property
    def training_digest(self) -> str:
        """The sha256 over all that decides the trained weights; names the folder of their checkpoints."""
        return fingerprint(
            {
                "finetuner": FINETUNER_VERSION,
                "key": self.key.group,
                "recipe": self.protocol.model_dump(mode="json"),
                "mode": self.mode,
                "head": self.head,
                "classes": len(self.dataset.class_names),
                "names": [self.prompts.names, self.prompts.templates] if self.head == "text" else None,
                "shots": self.shots,
                "draws": 1 if self.shots == "full" else self.draws,
                **({} if self.only is None else {"only": self.only}),
            }
        )

    @property
    def prompts(self) -> Prompts:
        """What a head from text is made of: zero-shot's prompts."""
        return Prompts.of(self.names, self.dataset.class_names)

    def label(self, alpha: float) -> str:
        """Returns the mode as results and tables name it."""
        head = f", {self.head} head" if self.mode in ("full", "scratch", "linear") and self.head != "zero" else ""
        return f"{self.mode}{head}" + (f", alpha {alpha:g}" if alpha != 1 else "")

    def path(self, out: Path, alpha: float) -> Path:
        """Returns where the result of an alpha goes under a results folder."""
        digest = fingerprint({"training": self.training_digest, "alpha": alpha, "metric": self.metric})
        return result_path(out, self.model, self.dataset_id, self.kind, self.protocol.id, self.shots, digest)

    @property
    def folder(self) -> Path:
        """Where checkpoints of the training lie until its result is written."""
        return self.home / "finetune" / self.training_digest[:32]
