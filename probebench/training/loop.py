"""The one training loop: it trains for an objective that it is given, from its last finished epoch on.

Whatever is random is seeded anew at each epoch's beginning, so an epoch that was cut off repeats exactly.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3

from probebench.device import full_float32, in_smaller_batches, is_out_of_memory
from probebench.errors import FeatureError, UsageError
from probebench.progress import Progress
from probebench.training import checkpoint
from probebench.training.checkpoint import Epoch, Progressed
from probebench.training.data import StoredItems, TrainingBatch, load
from probebench.training.optim import make_optimizer, make_schedule
from probebench.training.options import TrainingOptions
from probebench.training.predict import accelerator
from probebench.training.seeds import seeded
from probebench.training.together import run_out_together
from probebench.training.training import Training

_Norm = torch.nn.modules.batchnorm._BatchNorm
# Steps between looks at the loss: on a GPU each look waits for what is under way.
_LOOK_EVERY = 20


class DivergedError(Exception):
    """The loss is not finite any more."""


def run(training: Training, options: TrainingOptions, progress: Progress) -> Progressed:
    """Trains, or goes on where an earlier call was cut off, and returns the finished training with its weights.

    Raises:
        DatasetError: An image cannot be read.
        FeatureError: One image does not fit into memory, or a batch that must be whole does not.
    """
    if training.objective.whole:
        return _run_whole(training, options, progress)

    def with_(micro: int) -> Progressed:
        with full_float32():
            return _Loop(training, options, progress, micro).run()

    return in_smaller_batches(
        with_,
        # A batch may have one image more.
        options.micro_batch or training.batch_size + 1,
        lambda error: FeatureError(
            f"{training.name}: one image (three, where batch normalisation trains) does not fit into memory ({error})"
        ),
        lambda micro: progress.note(f"{training.name}: memory ran out; {micro} images at once from here on"),
    )


def _run_whole(training: Training, options: TrainingOptions, progress: Progress) -> Progressed:
    """Trains on whole batches; where one does not fit into memory, finds one that does, and says so."""

    def with_(this: Training) -> Progressed:
        with full_float32():
            return _Loop(this, options, progress, this.batch_size + 1).run()

    tried: list[int] = []

    def fits(size: int) -> Progressed:
        tried.append(size)
        if size >= training.batch_size:
            return with_(training)
        with tempfile.TemporaryDirectory() as folder:
            return with_(replace(training, batch_size=size, epochs=1, most_steps=1, path=Path(folder) / "tried.pt"))

    def refused(error: str) -> Exception:
        return FeatureError(f"{training.name}: two images do not fit into memory ({error})")

    done = in_smaller_batches(fits, training.batch_size, refused, lambda size: None)
    if tried[-1] < training.batch_size:
        raise FeatureError(
            f"{training.name}: a batch of {training.batch_size} does not fit into memory, and the loss compares all of "
            f"it; {tried[-1]} images fit: write a recipe of your own with that batch_size, or take more devices"
        )
    return done


class _Loop:
    """The objects of one training at work."""

    def __init__(self, training: Training, options: TrainingOptions, progress: Progress, micro: int) -> None:
        self._training, self._options, self._progress, self._micro = training, options, progress, micro
        self._steps = training.steps
        self._place = accelerator(options)
        self._processes = self._place.num_processes
        # Images that a part of a batch must have.
        self._fewest = 1

    def run(self) -> Progressed:
        training = self._training
        done = checkpoint.read(training.path)
        self._progress.advance(self._images_until(done))
        if done.over:
            return done
        module = training.begin().to(self._place.device)
        optimizer = make_optimizer(module, training.optimizer, training.rate, training.weight_decay, training.fused)
        self._schedule = make_schedule(optimizer, training.schedule, training.rate, self._steps)
        self._ema = ModelEmaV3(module, decay=training.ema, use_warmup=True) if training.ema else None
        if done.epoch:
            module.load_state_dict(done.state["model"])
            if self._ema:
                self._ema.load_state_dict(done.state["ema"])
        # Without torch's wrapper for several processes, which makes them wait for one another within a step.
        self._module, self._model = module, self._place.prepare_model(module, evaluation_mode=True)
        self._optimizer = self._place.prepare(optimizer)
        if done.epoch:
            # After prepare, which would put the counters of steps on the GPU, where each step waits for each of them.
            self._optimizer.load_state_dict(done.state["optimizer"])
        return self._epochs(done)

    def _images_until(self, done: Progressed) -> int:
        if done.over:
            return self._training.images
        looks = sum(self._training.measured(epoch.number) for epoch in done.history)
        held = len(self._training.validation) if self._training.validation else 0
        return self._training.trained(done.epoch) + looks * held

    def _epochs(self, done: Progressed) -> Progressed:
        training = self._training
        batches = self._batches(done.epoch)
        for number in range(done.epoch + 1, training.epochs + 1):
            began = time.perf_counter()
            try:
                epoch = self._epoch(number, batches)
            except DivergedError as error:
                done = Progressed(epoch=done.epoch, history=done.history, over=True, error=str(error))
                self._write(done)
                self._progress.note(f"{training.name}: {error}")
                return done
            rate = sum(training.sizes(number)) / (time.perf_counter() - began)
            self._tell(epoch, rate)
            over = number == training.epochs
            kept, weights = done.kept, done.weights
            if training.is_better(epoch, kept):
                kept = epoch
                if over or training.keeps == "best":
                    weights = _copied(self._evaluated.state_dict())
            done = done.with_epoch(
                epoch,
                state={} if over or number % training.saved_every else self._state(),
                kept=kept,
                weights=weights,
                micro=min(max(self._micro, self._fewest), training.batch_size),
                over=over,
            )
            if over or number % training.saved_every == 0:
                self._write(done)
        return done

    def _batches(self, done: int) -> Iterator[TrainingBatch]:
        """Yields the batches of all epochs that are left, this process's share of each; loaders work ahead."""
        training = self._training
        fewest = min(min(training.sizes(1)), min(training.sizes(training.epochs)))
        if fewest < self._processes:
            raise UsageError(f"{training.name}: fewer images a step than processes ({self._processes}); launch fewer")
        if training.objective.whole and fewest % self._processes:
            raise UsageError(
                f"{training.name}: {fewest} images a step cannot be dealt evenly to {self._processes} processes"
            )
        own = slice(None) if self._stored else self._share
        wanted = _Wanted(training, range(done + 1, training.epochs + 1), own)
        return load(training.train, wanted, self._options.loaders, pin=self._options.device == "cuda")

    @property
    def _stored(self) -> bool:
        """Whether a batch's views are drawn of all of it at once: every process then reads it whole."""
        return isinstance(self._training.train, StoredItems)

    @property
    def _share(self) -> slice:
        return slice(self._place.process_index, None, self._processes)

    def _epoch(self, number: int, batches: Iterator[TrainingBatch]) -> Epoch:
        training = self._training
        # The last epoch alone may be cut short.
        sizes, before = training.sizes(number), (number - 1) * len(training.sizes(1))
        total = torch.zeros((), device=self._place.device)
        self._model.train()
        if training.frozen_norms:
            for layer in self._module.modules():
                if isinstance(layer, _Norm):
                    layer.eval()
        # Batch normalisation learns nothing from one image, and refuses it where it has no pixels left to average.
        self._fewest = 2 if any(isinstance(one, _Norm) and one.training for one in self._module.modules()) else 1
        with seeded(training.seeds("training", number), self._place.device):
            for step, size in enumerate(sizes):
                self._schedule.step_update(before + step)
                total += self._step(next(batches), size)
                if self._ema:
                    self._ema.update(self._module, step=before + step + 1)
                if step % _LOOK_EVERY == _LOOK_EVERY - 1 or step == len(sizes) - 1:
                    self._look(total, number, step)
                self._progress.advance(size)
        self._take_statistics_of_the_first()
        train_loss = float(self._summed(total)) / sum(sizes)
        if not training.measured(number):
            return Epoch(number, train_loss)
        assert training.validation is not None and training.judge is not None
        loss, score = training.judge.measure(
            self._evaluated, training.validation, self._options, self._place, self._progress
        )
        if not np.isfinite(loss):
            raise DivergedError(f"diverged in epoch {number}: the validation loss is not finite")
        return Epoch(number, train_loss, loss, score)

    def _step(self, batch: TrainingBatch, size: int) -> torch.Tensor:
        """Takes one step on a batch, ``size`` images over all processes, and returns the sum of its losses here."""
        training, device = self._training, self._place.device
        inputs, targets = batch.inputs.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True)
        inputs, targets = training.objective.mixed(inputs, targets)
        if self._stored:
            inputs, targets = inputs[self._share], targets[self._share]
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        self._optimizer.zero_grad()
        total = torch.zeros((), device=device)
        if len(inputs) < self._fewest:
            raise UsageError(
                f"{training.name}: batch normalisation trains on two images or more, and a step has one here; "
                "train in larger batches or in fewer processes, or freeze its statistics (frozen_norms)"
            )
        count = min(-(-len(inputs) // self._micro), len(inputs) // self._fewest)
        micro = zip(torch.tensor_split(inputs, count), torch.tensor_split(targets, count), strict=True)
        ran_out = False
        try:
            for rows, wanted in micro:
                loss = training.objective.loss(self._model, rows, wanted)
                self._place.backward(loss * (1 / size))
                total += loss.detach()
        except (RuntimeError, MemoryError) as error:
            if self._processes == 1 or not is_out_of_memory(error):
                raise
            ran_out = True
        if self._processes > 1:
            self._sum_gradients(ran_out)
        if training.optimizer.clip_norm:
            self._place.clip_grad_norm_(self._model.parameters(), training.optimizer.clip_norm)
        self._optimizer.step()
        return total

    def _sum_gradients(self, ran_out: bool) -> None:
        """Adds up all processes' gradients; where memory ran out in one, all say so, and none waits for it."""
        run_out_together(ran_out, self._place.device)
        for parameter in self._module.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)

    def _take_statistics_of_the_first(self) -> None:
        """Gives all processes one network: batch statistics are each process's own, of its share of the images."""
        if self._processes > 1:
            for buffer in self._evaluated.buffers():
                torch.distributed.broadcast(buffer, 0)

    def _look(self, total: torch.Tensor, number: int, step: int) -> None:
        if not np.isfinite(float(self._summed(total))):
            raise DivergedError(f"diverged in epoch {number}, by step {step + 1}: the loss is not finite")

    def _summed(self, total: torch.Tensor) -> torch.Tensor:
        summed: torch.Tensor = self._place.reduce(total) if self._processes > 1 else total
        return summed

    @property
    def _evaluated(self) -> torch.nn.Module:
        """The network that validation and the test split see."""
        module: torch.nn.Module = self._ema.module if self._ema else self._module
        return module

    def _state(self) -> dict[str, Any]:
        ema = {"ema": self._ema.state_dict()} if self._ema else {}
        return {"model": self._module.state_dict(), "optimizer": self._optimizer.state_dict(), **ema}

    def _write(self, done: Progressed) -> None:
        if self._place.is_main_process:
            checkpoint.write(self._training.path, done)
        self._place.wait_for_everyone()

    def _tell(self, epoch: Epoch, rate: float) -> None:
        training = self._training
        held = "" if epoch.score is None else f", validation {100 * epoch.score:.1f} (loss {epoch.loss:.3f})"
        self._progress.note(
            f"{training.name}: epoch {epoch.number} of {training.epochs}: loss {epoch.train_loss:.3f}{held}, "
            f"{rate:.0f} images/s"
        )


@dataclass(frozen=True)
class _Wanted:
    """The batches of some epochs, each item as (epoch, place), and of each batch what ``own`` takes."""

    training: Training
    epochs: range
    own: slice

    def __len__(self) -> int:
        return sum(len(self.training.sizes(epoch)) for epoch in self.epochs)

    def __iter__(self) -> Iterator[list[tuple[int | None, int]]]:
        for epoch in self.epochs:
            for batch in self.training.batches(epoch):
                yield [(epoch, place) for place in batch[self.own]]


def _copied(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
