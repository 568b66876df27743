"""The type in which the nets inside a flow compute. The flow's own arithmetic is float32 always."""

import torch
from torch import nn

__all__ = ["compute_nets_in"]


def compute_nets_in(flow: nn.Module, dtype: torch.dtype | None) -> None:
    """Let the nets inside a flow compute in `dtype`; None is float32."""
    for module in flow.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = dtype
