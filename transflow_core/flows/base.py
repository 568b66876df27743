"""What the program asks of a flow and of its configuration, where it computes, and in which precision."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, Protocol

import torch
from pydantic import ConfigDict, Field, ValidationError
from torch import Tensor, nn

Shape = tuple[int, int, int]
"""(C, H, W)."""

# A configuration can come from a file that nobody vouches for. The bounds are far above any published Glow, and far
# below what would exhaust a machine merely by being built.
KNOWN_ALONE = ConfigDict(extra="forbid")


def count(most: int) -> Any:
    """A field for a whole number from 1 to the most."""
    return Field(ge=1, le=most, strict=True)


def number(least: float, most: float) -> Any:
    """A field for a number between these, both among them."""
    return Field(ge=least, le=most, strict=True, allow_inf_nan=False)


def reason(error: ValidationError) -> str:
    """What is wrong with a configuration, in one sentence."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"].removeprefix("Value error, ")


class Flow(Protocol):
    """A bijection between square images x and flat latents z whose prior is N(0, I).

    Any object with these five names can be conditioned on evidence. A torch module is moved between devices; any other
    object stays on the CPU, or on the `device` that it names itself. One with `halvings` and `low_pass`, as a
    `GuardedFlow` has, gives previews and small pictures in less time.
    """

    @property
    def image_size(self) -> int:
        """S, the side of the images in pixels."""
        ...

    @property
    def channels(self) -> int:
        """C, the colour channels of the images."""
        ...

    @property
    def latent_shapes(self) -> Sequence[Shape]:
        """(C, H, W) of each level's latent, fine to coarse, in the order in which z holds them, each in C-order."""
        ...

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), log_det (n,)), in nats; nan where no density is known.

        `log p(x) = log N(z; 0, I) + log_det`.
        """
        ...

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), log_det (n,)), of the inverse direction."""
        ...


class Guard:
    """The least and the largest value of each channel at the places inside a fused flow, noted or kept to.

    A flow passes its places in one order forwards, and in the opposite order back.

    Attributes:
        ranges: (n, 2, R), the least and the largest values to keep to, of the places that are still to come on the way
            back; None where values are noted alone.
        seen: (n, 2, C) of each place, in the order in which they were passed.
    """

    def __init__(self, ranges: Tensor | None = None) -> None:
        self.ranges, self.seen = ranges, list[Tensor]()

    def rows(self, rows: slice) -> "Guard":
        """The guard of some images of the batch."""
        return type(self)(None if self.ranges is None else self.ranges[rows])

    def join(self, parts: "Sequence[Guard]") -> None:
        """Go on behind the guards of all images of the batch."""
        self.seen += map(torch.cat, zip(*(part.seen for part in parts), strict=True))
        if self.ranges is not None and parts[0].ranges is not None:
            self.ranges = self.ranges[:, :, : parts[0].ranges.shape[2]]

    def note(self, x: Tensor) -> None:
        """Note the least and the largest values of (n, C, H, W)."""
        x = x.contiguous()  # with the channels innermost it takes four times as long
        self.seen.append(torch.stack([x.amin((2, 3)), x.amax((2, 3))], 1))

    def check(self, x: Tensor) -> None:
        """Back: note those of (n, C, H, W), and clamp it to its ranges in place."""
        self.note(x)
        if self.ranges is not None:
            self.ranges, own = self.ranges.tensor_split([self.ranges.shape[2] - x.shape[1]], 2)
            x.clamp_(*own[..., None, None].unbind(1))


def excess(ranges: Tensor, seen: Tensor) -> Tensor:
    """By how many times its width each image would have left a range, of two (n, 2, R): (n,), 0 for not at all."""
    (low, high), (least, largest) = ranges.unbind(1), seen.unbind(1)
    beyond = torch.maximum(low - least, largest - high) / (high - low).clamp_min(1e-6)
    return beyond.nan_to_num(0.0).amax(1).clamp_min(0)


def exporting() -> bool:
    """Whether this is no computation: a graph is made of what is computed."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


class MixedPrecision(nn.Module):
    """A net inside a flow, whose convolutions compute in `compute_dtype`; None is float32, as all of a flow's own."""

    compute_dtype: torch.dtype | None = None

    def autocast(self, x: Tensor) -> AbstractContextManager:
        """Convolutions inside compute in `compute_dtype`, on x's device."""
        return nullcontext() if self.compute_dtype is None else torch.autocast(x.device.type, self.compute_dtype)

    def channels_last(self) -> None:
        """Lay the tensors out for speed, in place. No number changes."""


def compute_nets_in(flow: nn.Module, dtype: torch.dtype | None) -> None:
    """Let the nets inside a flow compute in `dtype`; None is float32."""
    for module in flow.modules():
        if isinstance(module, MixedPrecision):
            module.compute_dtype = dtype


def channels_last(flow: nn.Module) -> None:
    """Lay the nets inside a flow out for speed, in place. No number changes."""
    for module in flow.modules():
        if isinstance(module, MixedPrecision):
            module.channels_last()


def place(flow: Flow, device: torch.device) -> None:
    """Move a flow, freeze it and lay it out for speed, in place. No number changes."""
    if isinstance(flow, nn.Module):
        channels_last(flow)
        flow.to(device).requires_grad_(False).eval()


def device_of(flow: Flow) -> torch.device:
    """Where a module's tensors are; what another flow says of itself in `device`; else the CPU."""
    if isinstance(flow, nn.Module):
        tensor = next(chain(flow.parameters(), flow.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device
    return torch.device(getattr(flow, "device", "cpu"))


def count_parameters(flow: Flow) -> int:
    """How many numbers a module has learned; 0 for a flow that is no module."""
    return sum(p.numel() for p in flow.parameters()) if isinstance(flow, nn.Module) else 0
