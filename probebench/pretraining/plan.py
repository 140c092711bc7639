"""What a pre-training will take: measured here, and modelled for GPUs."""

from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from probebench.device import in_threads
from probebench.pretraining.pretrain import training_of
from probebench.pretraining.task import PretrainTask
from probebench.registry.schema import RecipeSpec
from probebench.training.timing import images_a_second
from probebench.training.training import Training

# A step that takes seconds is timed in smaller batches.
_PIXELS = 256 * 64 * 64
_STEPS = 4
# What a data-centre GPU sustains when it trains a ResNet-50 in mixed precision: some 2,500 images/s of 24.6 GFLOP.
TFLOPS = 60.0
# Share of it that is left when so many train together.
SCALING = {1: 1.0, 8: 0.95, 32: 0.9}


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a pre-training will take.

    Attributes:
        id: The checkpoint.
        samples: Images.
        samples_seen: Images that are trained on in all.
        steps: Steps in all.
        batch_size: Images a step.
        rate: Images that are trained on in a second, measured on this machine.
        measured_batch: In batches of so many.
        seconds: On this machine.
        gflops: Of a sample, forward and backward.
        tflops: That a GPU is taken to sustain.
        reference_samples: The size that ``gpu_hours`` are of: what the recipe's authors trained on, or ``samples``.
        gpu_hours: Modelled hours, by number of GPUs.
    """

    id: str
    samples: int
    samples_seen: int
    steps: int
    batch_size: int
    rate: float
    measured_batch: int
    seconds: float
    gflops: float
    tflops: float
    reference_samples: int
    gpu_hours: dict[int, float]


def planned(task: PretrainTask) -> Planned:
    """Times a few steps; nothing that they train is kept.

    Raises:
        ProbebenchError: An image cannot be read, or memory runs out.
    """
    recipe = task.recipe
    training = training_of(task)
    size = recipe.batch(len(task.source))
    small = max(2, min(size, _PIXELS // recipe.input.size**2))
    # As many passes as have the steps.
    epochs = -(-_STEPS // (len(task.source) // small))
    few = replace(training, batch_size=small, epochs=epochs, most_steps=_STEPS)
    with in_threads(task.threads):
        rate = images_a_second(few, task.options)
    reference = recipe.reference_samples or len(task.source)
    flops = _flops(training, recipe)
    seen = recipe.steps(reference, task.asked.epochs) * recipe.batch(reference)
    return Planned(
        id=task.id,
        samples=len(task.source),
        samples_seen=task.samples_seen,
        steps=task.steps,
        batch_size=size,
        rate=rate,
        measured_batch=small,
        seconds=task.samples_seen / rate,
        gflops=flops / 1e9,
        tflops=TFLOPS,
        reference_samples=reference,
        gpu_hours={gpus: seen * flops / (TFLOPS * 1e12 * gpus * share) / 3600 for gpus, share in SCALING.items()},
    )


def _flops(training: Training, recipe: RecipeSpec) -> float:
    """Returns floating-point operations of a sample, forward and backward, by torch's counter on two of them."""
    size, pair = recipe.input.size, (2,) if recipe.objective == "simclr" else ()
    module = training.begin()
    inputs, targets = training.objective.mixed(torch.zeros(2, *pair, 3, size, size), torch.arange(2))
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(training.objective.loss(module, inputs, targets))
    return float(counter.get_total_flops()) / 2
