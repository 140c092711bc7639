"""A network at rest: what it says of images, over all devices."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object

from probebench.device import full_float32
from probebench.malloc import keep_freed_memory
from probebench.progress import Progress
from probebench.training.data import Items, evaluation_batches, load
from probebench.training.options import TrainingOptions

# Images that go through the network at once.
_CPU, _GPU = 64, 256


def accelerator(options: TrainingOptions) -> Accelerator:
    """Returns what places networks and batches: on this device, or on all that ``accelerate launch`` started."""
    cpu, precision = options.device == "cpu", "bf16" if options.dtype == "bf16" else "no"
    if cpu:
        keep_freed_memory()
    # A process has one state of accelerate's, of its first training: it would refuse another dtype, or the CPU, and
    # train on the CPU without a word where a GPU is asked for after it.
    known = AcceleratorState._shared_state
    if known and (known["_cpu"], known["_mixed_precision"]) != (cpu, precision):
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=cpu, mixed_precision=precision, device_placement=True)


def predict(
    module: torch.nn.Module, items: Items, options: TrainingOptions, place: Accelerator, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns logits (N, K), float32, and labels (N,) of all images in order, on the CPU; processes share the work."""
    was_training = module.training
    module.eval()
    most = _CPU if options.device == "cpu" else _GPU
    size = min(options.micro_batch or most, most)
    batches = evaluation_batches(len(items), size)
    own = batches[place.process_index :: place.num_processes]
    found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    with torch.inference_mode(), full_float32(), place.autocast():
        for number, batch in enumerate(load(items, own, options.loaders, pin=options.device == "cuda")):
            rows = batch.inputs.to(place.device, non_blocking=True)
            if rows.dim() == 4:
                rows = rows.contiguous(memory_format=torch.channels_last)
            found[place.process_index + number * place.num_processes] = module(rows).float().cpu(), batch.labels
            progress.advance(len(batch.labels) * place.num_processes)
    module.train(was_training)
    if place.num_processes > 1:
        found = dict(gather_object(list(found.items())))
    outputs = [found[number] for number in range(len(batches))]
    return torch.cat([logits for logits, _ in outputs]), torch.cat([labels for _, labels in outputs])
