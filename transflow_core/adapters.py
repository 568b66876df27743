"""A researcher's own model as a prior: a flow, anything with encode and decode, a normflows model, a transform.

Each function gives a `Checkpoint`, and `Prior.from_checkpoint` makes it a prior like any other. What they ask of a
model is that its latents, once whitened, are N(0, I): that is what the posterior's mathematics stands on.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .checkpoints import Checkpoint
from .flows import Flow, Shape, device_of
from .flows.pixels import PixelConvention

__all__ = ["Autoencoding", "adapt_encoder", "adapt_flow", "adapt_normflows", "adapt_transform"]


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

    def __init__(
        self,
        forward: Callable[[Tensor], tuple[Tensor, Tensor]],
        inverse: Callable[[Tensor], tuple[Tensor, Tensor]],
        model: Any,
        image: Shape,
        latent_shapes: Sequence[Shape],
    ) -> None:
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
        >>> from transflow_core.prior import Prior
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
    pixels: PixelConvention | None = None,
    name: str = "adapted",
    fingerprint: str | None = None,
) -> Checkpoint:
    """Any object with `encode` and `decode`.

    It need not be a flow: a VAE's encoder mean and decoder serve, as long as its latents are N(0, I). No density is
    known: log-probabilities of images are nan, and log N(z; 0, I) is as ever.

    Args:
        model: `encode`: x (n, C, S, S) float32 -> z; `decode` back.
        image: (C, S, S).
        latent_shapes: the (C, H, W) of the levels of the latent, fine to coarse, in the order in which they lie in
            `z.flatten(1)`; default, one level as `encode` gives it.
        pixels: how intensities become x; default, x is in [0, 1].
        name, fingerprint: of the prior; the fingerprint is by default taken from the weights.

    Raises:
        ValueError: the images are not square or the shapes do not fit.
    """

    def undensed(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        return lambda v: (function(v), v.new_full((len(v),), torch.nan))

    with torch.inference_mode():
        z = model.encode(torch.zeros(1, *image))
    inner = tuple(z.shape[1:])
    if latent_shapes is None:
        latent_shapes = [_level(inner)]
    flow = _Adapted(
        undensed(lambda x: model.encode(x).flatten(1)),
        undensed(lambda v: model.decode(v.reshape(-1, *inner))),
        model,
        image,
        latent_shapes,
    )
    return adapt_flow(flow.eval(), pixels, name, fingerprint, "encode/decode")


def adapt_transform(
    transform: Any,
    image: Shape,
    flatten: bool = True,
    pixels: PixelConvention | None = None,
    name: str = "adapted",
    fingerprint: str | None = None,
) -> Checkpoint:
    """A transform from images to N(0, I) latents, in zuko's or nflows' manner.

    zuko's (and torch.distributions') transforms are called, have `.inv` and `.log_abs_det_jacobian(x, z)`; for a
    `zuko.flows.Flow` give `flow().transform`. nflows' have `forward` and `inverse` that both give `(output,
    log_abs_det)`; for an `nflows.flows.Flow` give `flow._transform`.

    Args:
        transform: the map from x to z.
        image: (C, S, S).
        flatten: the transform takes vectors (n, D) rather than images (n, C, S, S).
        pixels: how intensities become x; default, x is in [0, 1].
        name, fingerprint: of the prior.

    Raises:
        TypeError: it is neither kind of transform.
        ValueError: the shapes do not fit.
    """
    shape = (math.prod(image),) if flatten else image

    def total(log_det: Tensor, n: int) -> Tensor:
        return log_det.reshape(n, -1).sum(1)  # elementwise transforms give one number a dimension

    if hasattr(transform, "log_abs_det_jacobian") and hasattr(transform, "inv"):

        def forward(x: Tensor) -> tuple[Tensor, Tensor]:
            x = x.reshape(-1, *shape)
            z = transform(x)
            return z, total(transform.log_abs_det_jacobian(x, z), len(x))

        def inverse(z: Tensor) -> tuple[Tensor, Tensor]:
            z = z.reshape(-1, *shape)
            x = transform.inv(z)
            return x, -total(transform.log_abs_det_jacobian(x, z), len(z))

    elif callable(getattr(transform, "forward", None)) and callable(getattr(transform, "inverse", None)):

        def forward(x: Tensor) -> tuple[Tensor, Tensor]:
            z, log_det = transform.forward(x.reshape(-1, *shape))
            return z, total(log_det, len(x))

        def inverse(z: Tensor) -> tuple[Tensor, Tensor]:
            x, log_det = transform.inverse(z.reshape(-1, *shape))
            return x, total(log_det, len(z))

    else:
        raise TypeError(
            f"a {type(transform).__name__} is no transform: expected a call, .inv and .log_abs_det_jacobian (zuko), or "
            ".forward and .inverse that give (output, log_abs_det) (nflows)"
        )
    with torch.inference_mode():
        z = forward(torch.zeros(1, *image))[0]
    latent = _level(tuple(z.shape[1:])) if z.ndim == 4 else image
    flow = _Adapted(forward, inverse, transform, image, [latent])
    return adapt_flow(flow.eval(), pixels, name, fingerprint, "transform")


def adapt_normflows(
    model: Any,
    image: Shape,
    pixels: PixelConvention | None = None,
    name: str = "adapted",
    fingerprint: str | None = None,
) -> Checkpoint:
    """A `normflows.MultiscaleFlow` or `normflows.NormalizingFlow` over diagonal Gaussians, whatever its layers are.

    Latents are whitened by each level's base distribution (`DiagGaussian` or `GlowBase`, without classes) and put into
    our order, fine to coarse. (A saved model of GlowBlocks can also be converted: see `load_prior`.)

    Args:
        model: a normflows model over images (n, C, S, S).
        image: (C, S, S).
        pixels: how intensities become x; default, x is in [0, 1].
        name, fingerprint: of the prior.

    Raises:
        TypeError: it is no such model, or its base distribution is no diagonal Gaussian.
    """
    multiscale = isinstance(getattr(model, "q0", None), nn.ModuleList)
    if not all(hasattr(model, word) for word in ("q0", "inverse_and_log_det", "forward_and_log_det")):
        raise TypeError(f"a {type(model).__name__} is no normflows model")
    bases = list(model.q0) if multiscale else [model.q0]
    for base in bases:
        if getattr(base, "class_cond", False) or not (hasattr(base, "loc") and hasattr(base, "log_scale")):
            raise TypeError(f"its base distribution {type(base).__name__} is no diagonal Gaussian without classes")

    def gaussian(base: Any, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, in the shape of one latent."""
        loc, log_scale = base.loc, base.log_scale
        if hasattr(base, "loc_logs"):  # GlowBase
            loc = loc * torch.exp(base.loc_logs * base.logscale_factor)
            log_scale = log_scale * torch.exp(base.log_scale_logs * base.logscale_factor)
        return loc.expand(1, *latent.shape[1:]), log_scale.expand(1, *latent.shape[1:])

    def encode(x: Tensor) -> tuple[list[Tensor], Tensor]:
        latents, log_det = model.inverse_and_log_det(x)
        return (list(latents) if multiscale else [latents]), log_det

    with torch.inference_mode():
        shapes = [tuple(latent.shape[1:]) for latent in encode(torch.zeros(1, *image))[0]]

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        latents, log_det = encode(x)
        rows = []
        for base, latent in zip(bases, latents, strict=True):
            loc, log_scale = gaussian(base, latent)
            rows.append(((latent - loc) * torch.exp(-log_scale)).flatten(1))
            log_det = log_det - log_scale.sum()
        return torch.cat(rows[::-1], 1), log_det  # theirs run coarse to fine

    def inverse(z: Tensor) -> tuple[Tensor, Tensor]:
        parts = z.split([math.prod(shape) for shape in shapes[::-1]], 1)[::-1]
        latents, total = [], z.new_zeros(len(z))
        for base, part, shape in zip(bases, parts, shapes, strict=True):
            part = part.reshape(-1, *shape)
            loc, log_scale = gaussian(base, part)
            latents.append(part * torch.exp(log_scale) + loc)
            total = total + log_scale.sum()
        x, log_det = model.forward_and_log_det(latents if multiscale else latents[0])
        return x, total + log_det

    levels = [_level(shape) for shape in shapes[::-1]]
    flow = _Adapted(forward, inverse, model, image, levels)
    return adapt_flow(flow.eval(), pixels, name, fingerprint, "normflows model")
