"""A researcher's own flow as a prior. `docs/priors.md` has a class that makes one of an encoder, and of a transform.

What is asked of a model is that its latents, once whitened, are N(0, I): the posterior's mathematics stands on that.
"""

import hashlib
import math
import warnings

import torch
from torch import nn

from ..checkpoints.native import Checkpoint
from ..flows import Flow
from ..flows.base import device_of, place
from ..flows.pixels import PixelConvention

# Float16 nets, and some thousand layers, come to less.
_OFF = 0.02


def adapt_flow(
    flow: Flow, pixels: PixelConvention | None = None, name: str = "adapted", fingerprint: str | None = None
) -> Checkpoint:
    """A flow of one's own (see `flows.Flow`), tried on one image so that a wrong shape shows here. Warns where that
    image does not come back as it was: a flow's `inverse` then has an error; an encoder may lose something.

    `Prior.from_checkpoint` makes it a prior like any other.

    Args:
        flow: a torch module, which is put into evaluation mode and frozen, or any other object.
        pixels: how intensities become x; default, x is in [0, 1].
        name, fingerprint: of the prior; the fingerprint is by default taken from its class, levels, pixels and weights,
            and from what the flow makes of one image.

    Raises:
        ValueError: its latents or images do not have the shapes that it tells, or `forward` and `inverse` return
            something other than a pair.

    Example:
        >>> class Doubled:
        ...     image_size, channels, latent_shapes = 4, 3, ((3, 4, 4),)
        ...     def forward(self, x):
        ...         return 2 * x.flatten(1), torch.full((len(x),), 48 * math.log(2))
        ...     def inverse(self, z):
        ...         return z.reshape(-1, 3, 4, 4) / 2, torch.full((len(z),), -48 * math.log(2))
        >>> from transflow_core.priors.prior import Prior
        >>> Prior.from_checkpoint(adapt_flow(Doubled())).encode(torch.rand(2, 3, 4, 4)).shape
        torch.Size([2, 48])
    """
    pixels = pixels or PixelConvention(offset=0.0)
    try:
        dim = sum(c * h * w for c, h, w in flow.latent_shapes)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: its latent_shapes must be (C, H, W) of each level") from error
    device = device_of(flow)
    place(flow, device)  # in training mode the trial would change the running means of a BatchNorm
    shape = (1, flow.channels, flow.image_size, flow.image_size)
    x = pixels.to_flow(torch.rand(shape, generator=torch.Generator().manual_seed(0))).to(device)
    with torch.inference_mode():
        z, log_det = _pair(flow.forward(x), f"{name}: forward must return latents and log_det")
        back, _ = _pair(flow.inverse(z), f"{name}: inverse must return images and log_det")
    if z.shape != (1, dim) or log_det.shape != (1,) or back.shape != x.shape:
        raise ValueError(
            f"{name}: an image {tuple(x.shape)} becomes latents {tuple(z.shape)} and log_det {tuple(log_det.shape)}, "
            f"and these an image {tuple(back.shape)}; expected (1, {dim}), (1,) and the first shape"
        )
    if not (off := (back - x).abs().max().item()) < _OFF:
        warnings.warn(f"{name}: inverse does not undo forward: one image came back off by {off:.2g}.", stacklevel=2)
    if fingerprint is None:
        digest = hashlib.sha256(f"own flow {type(flow).__qualname__} of {pixels}, {flow.latent_shapes}".encode())
        state = flow.state_dict() if isinstance(flow, nn.Module) else {}
        for key in sorted(state):
            digest.update(key.encode() + state[key].detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
        # Weights do not decide all: a permutation may be no buffer. With them a few digits do, which a GPU gives, too.
        made = z.cpu().double().numpy()
        weighted = any(tensor.numel() for tensor in state.values())
        some = made[0, :: math.ceil(dim / 16)].round(1) + 0.0 if weighted else made.round(4)  # -0 is 0
        digest.update(some.tobytes())
        fingerprint = digest.hexdigest()[:16]
    return Checkpoint(flow, pixels, name, fingerprint, metadata={"format": "own flow"})


def _pair(found: object, wanted: str) -> tuple[torch.Tensor, torch.Tensor]:
    match found:
        case (torch.Tensor() as values, torch.Tensor() as log_det):
            return values, log_det
    raise ValueError(wanted)
