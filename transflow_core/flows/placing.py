"""Where a flow computes, and getting it ready to: what differs between torch modules and flows that are none."""

from itertools import chain
from typing import TypeVar

import torch
from torch import nn

from .contract import Flow
from .grown import TrainableFlow

__all__ = ["count_parameters", "device_of", "move", "place"]

F = TypeVar("F", bound=Flow)


def device_of(flow: Flow) -> torch.device:
    """Where a module's tensors are; what another flow says of itself in `device`; else the CPU."""
    if isinstance(flow, nn.Module):
        tensor = next(chain(flow.parameters(), flow.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device
    return torch.device(getattr(flow, "device", "cpu"))


def move(flow: Flow, device: torch.device) -> None:
    """Move a module, in place. A flow that is none stays where it is."""
    if isinstance(flow, nn.Module):
        flow.to(device)


def place(flow: F, device: torch.device) -> F:
    """Move a flow, freeze it and lay it out for speed, in place; returns it. No number changes."""
    if isinstance(flow, TrainableFlow):
        flow.channels_last()
    if isinstance(flow, nn.Module):
        flow.to(device).requires_grad_(False).eval()
    return flow


def count_parameters(flow: Flow) -> int:
    """The numbers that a module has learnt; 0 for a flow that keeps its own in no module."""
    return sum(p.numel() for p in flow.parameters()) if isinstance(flow, nn.Module) else 0
