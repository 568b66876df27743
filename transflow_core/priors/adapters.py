"""A researcher's own model as a prior: a flow, anything with encode and decode, a transform.

Each function gives a `Checkpoint`, and `Prior.from_checkpoint` makes it a prior like any other. What they ask of a
model is that its latents, once whitened, are N(0, I): that is what the posterior's mathematics stands on.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..checkpoints import Checkpoint
from ..flows import Flow, Shape, device_of
from ..flows.pixels import PixelConvention

Both = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x to (z, log_det), or back."""


class Autoencoding(Protocol):
    """What `adapt_encoder` takes: x (n, C, S, S) -> z (n, D) or (n, ...), and back."""

    def encode(self, x: Tensor) -> Tensor:
        """Images to latents of prior N(0, I)."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Latents to images."""
        ...


class _Adapted(nn.Module):
    """Two functions as a flow. A model that is a torch module is registered, so that it moves between devices."""

    def __init__(self, forward: Both, inverse: Both, model: Any, image: Shape, latent_shapes: Sequence[Shape]) -> None:
        super().__init__()
        if image[1] != image[2]:
            raise ValueError(f"priors are over square images, not {image[1]}×{image[2]}")
        self.channels, self.image_size = image[:2]
        self.latent_shapes = tuple(latent_shapes)
        self.model = model
        self._functions = forward, inverse
        # A model without parameters still has to say where it is.
        self._anchor = nn.Parameter(torch.zeros(0), requires_grad=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, S, S) -> (z (n, D), log_det (n,))."""
        z, log_det = self._functions[0](x)
        return z.reshape(len(x), sum(map(math.prod, self.latent_shapes))).float(), log_det.reshape(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(n, D) -> (x (n, C, S, S), log_det (n,))."""
        x, log_det = self._functions[1](z)
        return x.reshape(len(z), self.channels, self.image_size, self.image_size).float(), log_det.reshape(len(z))


def _level(shape: tuple[int, ...]) -> Shape:
    """A latent's shape as (C, H, W); what has no pixels is all channels."""
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (math.prod(shape), 1, 1)


def adapt_flow(
    flow: Flow,
    pixels: PixelConvention | None = None,
    name: str = "adapted",
    fingerprint: str | None = None,
    kind: str = "own flow",
) -> Checkpoint:
    """A flow of one's own (see `flows.Flow`), tried on one image so that a wrong shape shows here.

    Args:
        flow: a torch module or any other object.
        pixels: how intensities become x; default, x is in [0, 1].
        name, fingerprint: of the prior; the fingerprint is by default taken from the weights, and where there are none,
            from what the flow makes of one image.
        kind: what it is, for people.

    Raises:
        ValueError: its latents or images do not have the shapes that it tells.

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
    dim, device = sum(map(math.prod, flow.latent_shapes)), device_of(flow)
    shape = (1, flow.channels, flow.image_size, flow.image_size)
    x = pixels.to_flow(torch.rand(shape, generator=torch.Generator().manual_seed(0))).to(device)
    with torch.inference_mode():
        z, log_det = flow.forward(x)
        back, _ = flow.inverse(z)
    if z.shape != (1, dim) or log_det.shape != (1,) or back.shape != x.shape:
        raise ValueError(
            f"{name}: an image {tuple(x.shape)} becomes latents {tuple(z.shape)} and log_det {tuple(log_det.shape)}, "
            f"and these an image {tuple(back.shape)}; expected (1, {dim}), (1,) and the first shape"
        )
    if fingerprint is None:
        digest = hashlib.sha256(kind.encode())
        state = flow.state_dict() if isinstance(flow, nn.Module) else {}
        for key in sorted(state):
            digest.update(key.encode() + state[key].detach().cpu().contiguous().numpy().tobytes())
        if not any(tensor.numel() for tensor in state.values()):
            digest.update(z.cpu().double().numpy().round(4).tobytes())
        fingerprint = digest.hexdigest()[:16]
    return Checkpoint(flow, pixels, name, fingerprint, metadata={"format": kind})


def adapt_encoder(
    model: Autoencoding,
    image: Shape,
    latent_shapes: Sequence[Shape] | None = None,
    **how: Any,
) -> Checkpoint:
    """Any object with `encode` and `decode`.

    It need not be a flow: a VAE's encoder mean and decoder serve, as long as its latents are N(0, I). No density is
    known: log-probabilities of images are nan, and log N(z; 0, I) is as ever.

    Args:
        model: `encode`: x (n, C, S, S) float32 -> z; `decode` back.
        image: (C, S, S).
        latent_shapes: the (C, H, W) of the levels of the latent, fine to coarse, in the order in which they lie in
            `z.flatten(1)`; default, one level as `encode` gives it.
        how: pixels, name and fingerprint, see `adapt_flow`.

    Raises:
        ValueError: the images are not square or the shapes do not fit.
    """

    def undensed(function: Callable[[Tensor], Tensor]) -> Both:
        return lambda v: (function(v), v.new_full((len(v),), torch.nan))

    with torch.inference_mode():
        inner = tuple(model.encode(torch.zeros(1, *image)).shape[1:])
    forward = undensed(lambda x: model.encode(x).flatten(1))
    inverse = undensed(lambda z: model.decode(z.reshape(-1, *inner)))
    flow = _Adapted(forward, inverse, model, image, latent_shapes or [_level(inner)])
    return adapt_flow(flow.eval(), kind="encode/decode", **how)


def adapt_transform(
    transform: Any,
    image: Shape,
    flatten: bool = True,
    **how: Any,
) -> Checkpoint:
    """A transform from images to N(0, I) latents, in zuko's or nflows' manner.

    zuko's (and torch.distributions') transforms are called, have `.inv` and `.log_abs_det_jacobian(x, z)`; for a
    `zuko.flows.Flow` give `flow().transform`. nflows' have `forward` and `inverse` that both give `(output,
    log_abs_det)`; for an `nflows.flows.Flow` give `flow._transform`.

    Args:
        transform: the map from x to z.
        image: (C, S, S).
        flatten: the transform takes vectors (n, D) rather than images (n, C, S, S).
        how: pixels, name and fingerprint, see `adapt_flow`.

    Raises:
        TypeError: it is neither kind of transform.
        ValueError: the shapes do not fit.
    """
    if hasattr(transform, "log_abs_det_jacobian") and hasattr(transform, "inv"):

        def forth(x: Tensor) -> tuple[Tensor, Tensor]:
            z = transform(x)
            return z, transform.log_abs_det_jacobian(x, z)

        def back(z: Tensor) -> tuple[Tensor, Tensor]:
            x = transform.inv(z)
            return x, -transform.log_abs_det_jacobian(x, z)

    elif callable(getattr(transform, "forward", None)) and callable(getattr(transform, "inverse", None)):
        forth, back = transform.forward, transform.inverse
    else:
        raise TypeError(
            f"a {type(transform).__name__} is no transform: expected a call, .inv and .log_abs_det_jacobian (zuko), or "
            ".forward and .inverse that give (output, log_abs_det) (nflows)"
        )

    def shaped(function: Both) -> Both:
        def call(v: Tensor) -> tuple[Tensor, Tensor]:
            found, log_det = function(v.reshape(-1, *((math.prod(image),) if flatten else image)))
            return found, log_det.reshape(len(v), -1).sum(1)  # elementwise transforms give one number a dimension

        return call

    with torch.inference_mode():
        z = shaped(forth)(torch.zeros(1, *image))[0]
    latent = _level(tuple(z.shape[1:])) if z.ndim == 4 else image
    flow = _Adapted(shaped(forth), shaped(back), transform, image, [latent])
    return adapt_flow(flow.eval(), kind="transform", **how)
