"""Images of which a part does not count: it is drawn anew, by what the rest of them makes likely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from .evidence import EvidenceImage
from .faces import WHITE, mask_in_frame
from .posterior import Covariance, Gaussian, ShrinkageCovariance, per_level
from .prior import Prior

__all__ = ["fill", "frame_mask", "in_frames", "likely", "one_for_each"]

# λ of the rounds, from where the part is all but the mean's to where the image is all but its own. Of none to sixteen
# rounds, two come nearest to the face that was there (`python -m benchmarks.masks`).
_FIRST, _LAST, _ROUNDS = 3.0, 0.05, 2
# Pixels of the frame about what was painted that do not count either: the edge of a thing is half the thing's.
_EDGE = 1

Run = Callable[..., Tensor]
M = TypeVar("M")


def frame_mask(mask: Image.Image, size: int) -> Image.Image:
    """A mask over a face's frame at the frame's size: mode L, 255 where nothing counts, else 0."""
    return mask.convert("L").resize((size, size), Image.Resampling.BOX).point(WHITE)


def one_for_each(masks: Sequence[M], n: int, what: str) -> list[M]:
    """Masks that were given, one for all or one for each of n, as n of them.

    Raises ValueError for another number; `what` names the n there.
    """
    if len(masks) not in (1, n):
        raise ValueError(f"{n} {what} take one mask, or one for each, not {len(masks)}")
    return list(masks) * n if len(masks) == 1 else list(masks)


def in_frames(evidence: Sequence[EvidenceImage], masks: Sequence[Image.Image]) -> dict[int, Image.Image]:
    """Masks over whole pictures as `Engine.masked` takes them: for the place of a piece, the part that its frame shows.

    Args:
        evidence: the pieces.
        masks: one for all, or one for each, in the proportions of its picture; white where nothing counts.

    Raises ValueError for another number of masks, or other proportions.
    """
    each = zip(evidence, one_for_each(masks, len(evidence), "images"), strict=True)
    return {
        index: mask_in_frame(mask, image.picture.size, image.face)
        for index, (image, mask) in enumerate(each)
        if image.face is not None
    }


def likely(prior: Prior, others: Tensor | None = None, weights: Tensor | None = None) -> Gaussian:
    """What a filling is drawn towards: N(μ, one variance a level), of the other pieces of evidence, or of photographs.

    No variance is more than that of photographs: it is what keeps the rounds of `fill` from running away.

    Args:
        others: (p, D), latents of other pieces; None for none.
        weights: theirs, (p,).
    """
    rms = prior.typicality.median_rms if prior.typicality is not None else (1.0,) * len(prior.levels)
    variance, mean = per_level([value**2 for value in rms], prior.levels), torch.zeros(prior.dim)
    if others is not None and len(others):
        shrinkage = ShrinkageCovariance.of(others, weights, prior.levels)
        mean = others[0] - shrinkage.deviations[0]
        if len(others) > 1:
            variance = torch.minimum(variance, per_level(shrinkage.variance, prior.levels))
    return Gaussian(mean, Covariance(variance.clamp_min(1e-6)))


def fill(
    prior: Prior,
    frames: Tensor,
    masks: Sequence[Image.Image],
    towards: Gaussian,
    *,
    rounds: int = _ROUNDS,
    run: Run | None = None,
) -> Tensor:
    """Draw a part of each image anew; the rest stays to the bit.

    Each round inverts the image, takes the posterior mean of its latent under `towards` N(μ, s²), z ← μ + (z - μ) s² /
    (s² + λ), decodes it, and puts back what is known; by how much that differs is continued smoothly into the part, so
    that no edge is left (as Poisson blending does: Pérez, Gangnet, Blake 2003). From round to round λ falls from 3 to
    0.05. What Glow-IP (Asim et al. 2020) does by gradients, it does without, so that it goes with every flow.

    Args:
        frames: (n, C, S, S) in [0, 1].
        masks: n, as `frame_mask` gives them: what is white is drawn anew, and a pixel about it.
        towards: as `likely` gives it.
        rounds: how many.
        run: computes a round, as `Engine.run`; by default at once.

    Returns:
        (n, C, S, S) in [0, 1], on the CPU.
    """
    wider = [np.asarray(mask.filter(ImageFilter.MaxFilter(2 * _EDGE + 1))) for mask in masks]
    anew = torch.from_numpy(np.stack(wider) > 127).unsqueeze(1)
    frames = frames.cpu()
    variance = towards.variance.to(frames).expand(prior.dim)

    def shown(z: Tensor) -> Tensor:
        images = prior.decode(z).cpu().nan_to_num(0.5, 1.0, 0.0).clamp(0, 1)
        known = (~anew).to(frames)
        return torch.where(anew, (images + _continued((frames - images) * known, known)).clamp(0, 1), frames)

    def once(x: Tensor, lam: float) -> Tensor:
        z = prior.encode(x).cpu()
        share = variance / (variance + lam)
        # What the flow cannot hold as it is starts from the mean.
        return shown(towards.mean + share * (z - towards.mean).nan_to_num(0.0, 0.0, 0.0))

    run = run or (lambda function, *args, **_: function(*args))
    x = run(shown, towards.mean.expand(len(frames), -1))
    for lam in np.geomspace(_FIRST, _LAST, rounds):
        x = run(once, x, float(lam))
    return x


def _continued(x: Tensor, known: Tensor) -> Tensor:
    """Continue what is known smoothly into what is not: (n, C, S, S), 0 where unknown, and (n, 1, S, S) in [0, 1] ->
    (n, C, S, S). By means of ever larger blocks, as far as blocks hold something known: Gortler et al. 1996, pull-push.
    """
    if x.shape[-1] <= 1:
        return x / known.clamp_min(1e-6)
    share = avg_pool2d(known, 2, ceil_mode=True)
    coarse = _continued(avg_pool2d(x, 2, ceil_mode=True), share)
    return x + (1 - known) * interpolate(coarse, size=x.shape[-2:], mode="bilinear")
