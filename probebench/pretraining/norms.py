"""Batch normalisation over the images of all processes, so that several train as one would."""

from collections.abc import Callable

import torch

_Norm = torch.nn.modules.batchnorm._BatchNorm


def synchronise(module: torch.nn.Module) -> torch.nn.Module:
    """Returns a network whose batch normalisation takes mean and variance over the images of all processes.

    On GPUs that is torch's SyncBatchNorm. It refuses tensors on a CPU, where each layer gets a forward of ours instead.
    """
    if next(module.parameters()).is_cuda:
        convert: Callable[[torch.nn.Module], torch.nn.Module] = torch.nn.SyncBatchNorm.convert_sync_batchnorm
        return convert(module)
    for layer in list(module.modules()):
        if isinstance(layer, _Norm):
            # Of a class of its own: timm's layers go on to an activation.
            layer.__class__ = type(type(layer).__name__, (_Synchronised, type(layer)), {})
    return module


class _Synchronised(_Norm):
    """Batch normalisation in training by the mean and variance over all processes, each of which has as many images."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, ...) to the same shape."""
        if not self.training:
            return super().forward(inputs)
        from torch.distributed.nn import functional

        all_reduce: Callable[[torch.Tensor], torch.Tensor] = functional.all_reduce
        others = [dim for dim in range(inputs.ndim) if dim != 1]
        shape = [1, -1, *[1] * (inputs.ndim - 2)]
        count = inputs.numel() // inputs.shape[1] * torch.distributed.get_world_size()
        mean = all_reduce(inputs.sum(others)) / count
        centred = inputs - mean.view(shape)
        variance = all_reduce(centred.square().sum(others)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, rate)
                self.running_var.lerp_(variance * (count / (count - 1)), rate)
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        outputs: torch.Tensor = centred * scale.view(shape)
        if self.affine:
            outputs = outputs + self.bias.view(shape)
        # What timm's layers do after the norm.
        for after in (getattr(self, "drop", None), getattr(self, "act", None)):
            outputs = outputs if after is None else after(outputs)
        return outputs
