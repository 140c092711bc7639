"""What processes that train together must agree on."""

import torch


def run_out_together(ran_out: bool, device: torch.device) -> None:
    """Where memory ran out in one process, lets all of them say so, so that none waits for it.

    Raises:
        torch.OutOfMemoryError: It did in one of them.
    """
    out = torch.tensor(float(ran_out), device=device)
    torch.distributed.all_reduce(out)
    if out:
        raise torch.OutOfMemoryError("memory ran out in one of the processes")
