from dataclasses import replace

from accelerate.state import AcceleratorState, PartialState

from probebench.training.predict import accelerator
from tests.finetuning.making import CPU


def test_each_training_of_a_process_has_the_dtype_that_it_asks_for() -> None:
    for dtype in ("bf16", "fp32", "bf16"):
        place = accelerator(replace(CPU, dtype=dtype))
        assert place.mixed_precision == ("bf16" if dtype == "bf16" else "no") and place.device.type == "cpu"


def test_a_gpu_after_the_cpu_is_looked_for_again() -> None:
    accelerator(CPU)
    assert PartialState._shared_state["_cpu"]
    try:
        # Here there is no GPU, so that accelerate takes the CPU of its own accord.
        accelerator(replace(CPU, device="cuda"))
        assert not PartialState._shared_state["_cpu"]
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_the_same_again_keeps_the_state() -> None:
    accelerator(CPU)
    AcceleratorState._shared_state["mark"] = 1
    accelerator(CPU)
    assert AcceleratorState._shared_state.pop("mark") == 1
