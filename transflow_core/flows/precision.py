"""The type in which the nets inside a flow compute. The flow's own arithmetic is float32 always."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

__all__ = ["MixedPrecision", "compute_nets_in"]


class MixedPrecision(nn.Module):
    """A module whose convolutions can compute in another type than the flow around them.

    `compute_dtype` is None, or the type in which the net alone computes (torch.bfloat16 in training: half the time
    where the processor has it). What encodes evidence leaves it None.
    """

    compute_dtype: torch.dtype | None = None

    def autocast(self, x: Tensor) -> AbstractContextManager:
        """Convolutions inside compute in `compute_dtype`, on x's device; None changes nothing, and costs nothing."""
        return nullcontext() if self.compute_dtype is None else torch.autocast(x.device.type, self.compute_dtype)


def compute_nets_in(flow: nn.Module, dtype: torch.dtype | None) -> None:
    """Let the nets inside a flow compute in `dtype`; None is float32."""
    for module in flow.modules():
        if isinstance(module, MixedPrecision):
            module.compute_dtype = dtype
