import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from probebench.errors import FeatureError, UsageError
from probebench.finetuning.finetune import held_for
from probebench.finetuning.model import Starts
from probebench.finetuning.select import trainings_of
from probebench.progress import Silent
from probebench.training import checkpoint
from probebench.training import loop as train
from probebench.training.checkpoint import Epoch, Progressed
from probebench.training.classification import Classification, make_mixup
from probebench.training.optim import make_optimizer, make_schedule
from probebench.training.options import TrainingOptions
from probebench.training.training import Training
from tests.arithmetic import tf32_asked_for
from tests.finetuning.making import CPU, SHIPPED, make_task, protocol

# Autograd starts its threads once, for the devices known then, and with threads no process can be forked that trains.
# torch.compile makes a device up: whatever compiles in this process must come later.
torch.autograd.backward(torch.ones(1, requires_grad=True))

# Trains with a progress that kills the process in the middle of the second epoch.
DIES = """
import os, signal, sys
from pathlib import Path
from tests.training.test_loop import make_training
from tests.finetuning.making import CPU
from probebench.training import loop as train
from probebench.progress import Silent

class Dies(Silent):
    seen = 0
    def advance(self, count):
        Dies.seen += count
        if Dies.seen > 36:
            os.kill(os.getpid(), signal.SIGKILL)

train.run(make_training(Path(sys.argv[1]), Path(sys.argv[2])), CPU, Dies())
"""


def make_training(folder: Path, home: Path, number: int = 0, **changes: Any) -> Training:
    """The training of a full-data task at one rate: 27 images, an augmentation of everything, an average of weights."""
    augment = {"flip": 0.5, "color_jitter": 0.4, "erasing": 0.5, "mixup": 0.2}
    ours = protocol(epochs=3, augment=augment, ema=0.9, label_smoothing=0.1)
    task = make_task(folder, home, shots=["full"], **{"protocol": ours, **changes})
    ((draw, seeds),) = task.trials(task.train_split)
    return trainings_of(task, Starts.of(task), draw, seeds, held_for(task, draw.validation), None)[number]


def same(one: Progressed, other: Progressed) -> bool:
    assert one.weights and other.weights and one.weights.keys() == other.weights.keys()
    return all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())


def test_killed_in_the_middle_of_an_epoch_it_ends_in_the_same_weights(home: Path, tmp_path: Path) -> None:
    training = make_training(tmp_path, home)
    whole = train.run(replace(training, path=tmp_path / "whole.pt"), CPU, Silent())
    killed = subprocess.run([sys.executable, "-c", DIES, tmp_path, home], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert checkpoint.read(training.path).epoch == 1
    resumed = train.run(training, CPU, Silent())
    assert same(resumed, whole) and resumed.history == whole.history and resumed.kept == whole.kept


def test_a_resumed_optimizer_counts_steps_where_it_was_told_to(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import accelerate.optimizer

    training = make_training(tmp_path, home)
    placed: list[Any] = []
    move = accelerate.optimizer.move_to_device

    def watched(state: Any, device: Any) -> Any:
        if isinstance(state, dict) and "state" in state:
            placed.append(state["state"])
        return move(state, device)

    class Stops(Silent):
        def advance(self, count: int, limit: str | None = None) -> None:
            if checkpoint.read(training.path).epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.run(training, CPU, Stops())
    monkeypatch.setattr(accelerate.optimizer, "move_to_device", watched)
    done = train.run(training, CPU, Silent())
    # AdamW reads its counters of steps on the CPU; accelerate puts whatever an optimizer knows on the GPU.
    assert done.over and placed == [{}]


def test_loader_processes_change_nothing(home: Path, tmp_path: Path) -> None:
    training = make_training(tmp_path, home)
    alone = train.run(replace(training, path=tmp_path / "0.pt"), CPU, Silent())
    helped = train.run(replace(training, path=tmp_path / "2.pt"), replace(CPU, workers=2), Silent())
    assert same(alone, helped) and alone.history == helped.history


def test_other_training_seeds_train_other_weights(home: Path, tmp_path: Path) -> None:
    training = make_training(tmp_path, home)
    one = train.run(training, CPU, Silent())
    other = train.run(
        replace(training, seeds=replace(training.seeds, training=1), path=tmp_path / "1.pt"), CPU, Silent()
    )
    assert not same(one, other)


def test_the_global_generators_neither_matter_nor_move(home: Path, tmp_path: Path) -> None:
    training = make_training(tmp_path, home)
    torch.manual_seed(1)
    one = train.run(replace(training, path=tmp_path / "1.pt"), CPU, Silent())
    torch.manual_seed(2)
    np.random.seed(2)
    before = torch.random.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    other = train.run(replace(training, path=tmp_path / "2.pt"), CPU, Silent())
    assert same(one, other)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state(legacy=False)["state"]["key"] == before[1]).all()


def test_accumulated_gradients_are_those_of_the_whole_batch(home: Path, tmp_path: Path) -> None:
    # A network without batch normalisation; one step shows the gradient itself.
    plain = protocol(
        epochs=1, optimizer={"name": "sgd", "clip_norm": None}, schedule={"warmup_steps": 0}, batch_size=32
    )
    training = make_training(
        tmp_path, home, entry={"name": "test_vit", "features": 64, "size": 160}, protocol=plain, input_size=None
    )
    whole = train.run(replace(training, path=tmp_path / "whole.pt"), CPU, Silent())
    pieces = train.run(replace(training, path=tmp_path / "pieces.pt"), replace(CPU, micro_batch=5), Silent())
    assert whole.weights and pieces.weights and pieces.micro == 5
    for name, tensor in whole.weights.items():
        assert torch.allclose(tensor, pieces.weights[name], rtol=1e-4, atol=1e-6), name


def test_memory_that_runs_out_halves_what_goes_through_at_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = make_training(tmp_path, home)
    step = train._Loop._step
    asked: list[int] = []

    def greedy(loop: Any, *arguments: Any) -> Any:
        asked.append(loop._micro)
        if loop._micro > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(loop, *arguments)

    monkeypatch.setattr(train._Loop, "_step", greedy)
    done = train.run(training, CPU, Silent())
    assert done.over and done.micro == 3 and asked[:3] == [9, 5, 3]


class Narrow(torch.nn.Module):
    """Normalises what has no pixels left, so that torch refuses a single image; remembers how many it was given."""

    def __init__(self, most: int = 99) -> None:
        super().__init__()
        self.norm, self.head = torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 3)
        self.seen: list[int] = []
        self.most = most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen.append(len(images))
            if len(images) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
        out: torch.Tensor = self.head(self.norm(images.mean((2, 3))))
        return out


@pytest.mark.parametrize(("micro", "most"), [(1, 99), (2, 99), (4, 99), (None, 5), (None, 3)])
def test_no_part_of_a_batch_has_one_image_where_batch_normalisation_trains(
    home: Path, tmp_path: Path, micro: int | None, most: int
) -> None:
    """Asked for, and where memory runs out; batches of 9 are odd."""
    network = Narrow(most)
    training = replace(make_training(tmp_path, home), begin=lambda: network, batch_size=9, frozen_norms=False)
    done = train.run(training, replace(CPU, micro_batch=micro), Silent())
    assert done.over and done.error is None and min(network.seen) >= 2
    assert max(one for one in network.seen if one <= most) <= max(3, micro or most)
    assert done.micro is not None and done.micro >= 2


def test_a_step_of_one_image_is_one_line_where_batch_normalisation_trains(home: Path, tmp_path: Path) -> None:
    training = make_training(tmp_path, home)
    single = replace(training, begin=Narrow, batch_size=1, frozen_norms=False)
    with pytest.raises(UsageError, match="batch normalisation trains on two images or more, and a step has one"):
        train.run(single, CPU, Silent())
    assert train.run(replace(single, frozen_norms=True, path=tmp_path / "f.pt"), CPU, Silent()).over


def test_two_images_that_do_not_fit_are_one_line(home: Path, tmp_path: Path) -> None:
    training = replace(make_training(tmp_path, home), begin=lambda: Narrow(1), frozen_norms=False)
    with pytest.raises(FeatureError, match="does not fit into memory"):
        train.run(training, CPU, Silent())


def test_rates_follow_their_closed_form() -> None:
    ours = SHIPPED.finetune_protocol("entezari2023")
    module = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(module, ours.optimizer, 0.003, 0.1)
    steps, warmup = 8000, 500
    schedule = make_schedule(optimizer, ours.schedule, 0.003, steps)
    for step in (0, 1, 250, 498, 499, 500, 1000, 4000, 7999):
        schedule.step_update(step)
        if step < warmup:
            expected = 0.003 * (step + 1) / warmup
        else:
            expected = 0.0015 * (1 + np.cos(np.pi * (step - warmup + 1) / (steps - warmup + 1)))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-9), step
        assert expected > 0


@pytest.mark.parametrize(("steps", "warmup"), [(20, 2), (1280, 128), (4999, 499), (50_000, 500)])
def test_the_warm_up_of_short_runs_is_a_tenth(steps: int, warmup: int) -> None:
    assert SHIPPED.finetune_protocol("entezari2023").schedule.warmup(steps) == warmup
    assert SHIPPED.finetune_protocol("entezari2023@test-selected").schedule.warmup(steps) == 500


def test_a_run_that_ends_within_its_warm_up_never_reaches_the_rate() -> None:
    ours = SHIPPED.finetune_protocol("entezari2023@test-selected")
    optimizer = make_optimizer(torch.nn.Linear(3, 2), ours.optimizer, 0.001, 0.1)
    schedule = make_schedule(optimizer, ours.schedule, 0.001, 128)
    schedule.step_update(127)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001 * 128 / 500)


def test_weight_decay_is_where_the_protocol_says() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    everywhere = make_optimizer(module, SHIPPED.finetune_protocol("entezari2023").optimizer, 0.1, 0.1)
    matrices = make_optimizer(module, SHIPPED.finetune_protocol("quick").optimizer, 0.1, 0.05)
    assert {group["weight_decay"] for group in everywhere.param_groups} == {0.1}
    assert isinstance(everywhere, torch.optim.AdamW)
    decayed = [group["params"] for group in matrices.param_groups if group["weight_decay"]]
    assert [parameter.dim() for group in decayed for parameter in group] == [2]


def test_mixing_is_off_where_nothing_asks_for_it() -> None:
    assert make_mixup(SHIPPED.finetune_protocol("quick").augment, 3) is None
    assert make_mixup(protocol(augment={"cutmix": 1.0}).augment, 3) is not None


def test_ties_go_to_the_earlier_epoch_and_the_smaller_rate(home: Path, tmp_path: Path) -> None:
    training = make_training(tmp_path, home)
    first, second = Epoch(1, 0.5, 0.5, 0.9), Epoch(2, 0.4, 0.5, 0.9)
    for criterion in ("log-loss", "accuracy"):
        ours = replace(training, objective=Classification.of(protocol(criterion=criterion), 3, mixes=False))
        assert ours.is_better(first, None) and not ours.is_better(second, first)
        assert ours.is_better(replace(second, loss=0.4, score=0.95), first)
    assert replace(training, keeps="last").is_better(second, first)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_checkpoint_that_cannot_be_read_is_the_beginning(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0.001.pt"
    assert checkpoint.read(path) == Progressed()
    path.write_bytes(content)
    assert checkpoint.read(path) == Progressed()


def test_the_device_that_is_not_there() -> None:
    from probebench.errors import UsageError

    assert TrainingOptions.resolve(cluster_gpus=1).device == "cuda"
    assert TrainingOptions.resolve(cluster_gpus=0).dtype == "fp32"
    with pytest.raises(UsageError, match="no CUDA device in the cluster"):
        TrainingOptions.resolve("cuda", cluster_gpus=0)


def test_training_is_in_float32_whatever_is_asked_for_outside(home: Path, tmp_path: Path) -> None:
    training = replace(make_training(tmp_path, home), epochs=1)
    with tf32_asked_for() as watched:
        train.run(training, CPU, Silent())
    assert watched.arithmetic == {"ieee"} and watched.counts["convolution"]


def two_processes(work: Callable[[int], Any]) -> list[Any]:
    """Runs work(rank) in two processes that train together, and returns what both gave."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def together(rank: int, answer: Any) -> None:
        facts = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in facts.items()})
        AcceleratorState._reset_state(True)
        answer.send(work(rank))

    fork = multiprocessing.get_context("fork")
    ends = [fork.Pipe(duplex=False) for _ in range(2)]
    processes = [fork.Process(target=together, args=(rank, ends[rank][1])) for rank in range(2)]
    for process in processes:
        process.start()
    try:
        # What hangs is a failure.
        assert all(end.poll(20) for end, _ in ends)
        return [end.recv() for end, _ in ends]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize("greedy", [False, True])
def test_processes_end_with_one_network_though_memory_runs_out_in_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, greedy: bool
) -> None:
    training = replace(make_training(tmp_path, home), epochs=2, frozen_norms=False)
    loss = Classification.loss

    def work(rank: int) -> Any:
        def runs_out(objective: Any, model: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            if greedy and rank == 1 and len(inputs) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return loss(objective, model, inputs, targets)

        monkeypatch.setattr(Classification, "loss", runs_out)
        done = train.run(training, CPU, Silent())
        assert done.weights
        return done.micro, {name: tensor.double().sum().item() for name, tensor in done.weights.items()}, done.history

    one, other = two_processes(work)
    assert one == other and (one[0] <= 3) is greedy
