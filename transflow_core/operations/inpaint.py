"""Ignore a part of an image, or remove something from a photograph: what the rest makes likely is drawn there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Unpack

import numpy as np
import torch
from PIL import Image, ImageFilter
from PIL.ImageOps import crop, expand
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ..compute import BATCH, How
from ..evidence import Evidence, EvidenceImage
from ..faces import paste
from ..faces.pasting import WHITE, mask_in_frame
from ..images import to_pil
from ..posterior import Covariance, Gaussian, per_level
from ..posterior.shrinkage import ShrinkageCovariance
from ..priors.prior import Prior
from ..reading import Reader

# λ of the rounds, from where the part is all but the mean's to where the image is all but its own. Of none to sixteen
# rounds, two come nearest to the face that was there (`python -m benchmarks.masks`).
_FIRST, _LAST, _ROUNDS = 3.0, 0.05, 2
# Pixels around a mask that are ignored as well: the edge of a thing is half the thing's.
_EDGE = 1
# Pixels at the edge of a frame.
_RING = 3
# Where a mask goes on beyond the edge of an aligned image, no straight edge is seen.
_FEATHER = 0.15


def ignore(
    engine: Reader,
    evidence: Evidence,
    masks: Mapping[int, Image.Image | None],
    **how: Unpack[How],
) -> Evidence:
    """Evidence of which parts are ignored. What the rest of the image and the other images make likely is drawn there
    (see `inpaint`), and conditions instead.

    Args:
        engine: inverts the images.
        evidence: read.
        masks: for the index of an image, a mask over its aligned image, white where it is ignored; any size. None, or
            one that is all black, lets all of it count again.

    Raises ValueError for a mask that covers all of an image.

    Example:
        >>> from transflow_core import load_prior
        >>> engine = Reader(load_prior("celeba64"))
        >>> mask = Image.new("L", (64, 64))
        >>> mask.paste(255, (10, 20, 50, 30))
        >>> evidence = ignore(engine, engine.read([Image.new("RGB", (64, 64), "grey")]), {0: mask})
        >>> evidence[0].filled.getpixel((0, 0))
        (128, 128, 128)
    """
    for index, mask in masks.items():
        image = evidence[index]
        if mask is None and image.mask is None:
            continue  # the evidence stays the very same
        plain = image if image.mask is None else engine.choose(image, image.face, **how)
        evidence = evidence.put(index, _with_mask(engine, plain, mask))
        if (made := evidence[index].mask) is not None and made.getextrema() == (255, 255):
            raise ValueError(f"The mask covers all of {image.name}: nothing of it would be left.")
    masked = [index for index in masks if evidence[index].mask is not None]
    if not masked:
        return evidence
    # An outlier is no guide to what is likely.
    others = replace(evidence, images=tuple(one for one in evidence if one.mask is None and not one.is_outlier))
    towards = usual(engine.prior, others.z, others.weights) if others.used else usual(engine.prior)
    images = _inpainted(engine, [evidence[index] for index in masked], towards, how)
    for index, image in zip(masked, images, strict=True):
        evidence = evidence.put(index, image)
    return evidence


def remove(
    engine: Reader,
    photograph: Image.Image,
    faces: Iterable[EvidenceImage],
    mask: Image.Image,
    **how: Unpack[How],
) -> tuple[Image.Image, tuple[EvidenceImage, ...]]:
    """A photograph of people without what a mask covers of their faces, and the faces as they are in it then.

    What the rest of each face makes likely is drawn there. The rest of the photograph stays.

    Args:
        engine: inverts the faces.
        photograph: as `load_image` gives it.
        faces: of it, as `engine.read([photograph], faces="all")` has them.
        mask: white where something is removed, in the proportions of the photograph.

    Raises ValueError for a mask of other proportions, and one that touches no face.
    """
    faces = tuple(faces)
    # The photograph goes on beyond a frame: its edge stays, and what is drawn goes over to it.
    masks = {i: expand(crop(one, _RING), _RING) for i, one in masks_in_frames(faces, [mask] * len(faces)).items()}
    cut = {i: _with_mask(engine, faces[i], one) for i, one in masks.items()}
    masked = {index: image for index, image in cut.items() if image.mask is not None}
    if not masked:
        raise ValueError("the mask touches no face: nothing can be removed outside of the aligned faces")
    placed, changes, now = [], [], dict(enumerate(faces))
    inpainted = _inpainted(engine, list(masked.values()), usual(engine.prior), how)
    for (index, before), after in zip(masked.items(), inpainted, strict=True):
        assert before.face is not None and after.filled is not None  # a face was cut, and filled in
        placed.append(before.face)
        changes.append((np.asarray(after.filled, float) - np.asarray(before.face.image, float)) / 255)
        now[index] = replace(after, face=replace(before.face, image=after.filled), mask=None, filled=None)
    return paste(photograph, placed, changes, feather=_FEATHER), tuple(now.values())


def _inpainted(engine: Reader, images: Sequence[EvidenceImage], towards: Gaussian, how: How) -> list[EvidenceImage]:
    """Images with masks, filled in and judged as they are then."""
    filled = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        x = engine.prior.to_unit([image.face.image for image in batch if image.face is not None])
        masks = [image.mask for image in batch if image.mask is not None]
        filled += to_pil(inpaint(engine, x, masks, towards, **how))
    latents = engine.encode(filled, **how)
    return [
        replace(image.judged(latent, engine.prior.typicality), filled=one)
        for image, latent, one in zip(images, latents, filled, strict=True)
    ]


def _with_mask(engine: Reader, image: EvidenceImage, mask: Image.Image | None) -> EvidenceImage:
    """With a mask at the size of the aligned image, mode L, 255 where it is ignored, else 0; None where nothing is."""
    if mask is not None:
        side = engine.prior.image_size
        mask = mask.convert("L").resize((side, side), Image.Resampling.BOX).point(WHITE)
    return replace(image, mask=mask if mask and image.face and mask.getbbox() else None)


def masks_in_frames(evidence: Sequence[EvidenceImage], masks: Iterable[Image.Image | None]) -> dict[int, Image.Image]:
    """Masks over whole pictures, one for each image, as `ignore` takes them: for the index of an image, what its
    aligned image shows of one.

    Raises ValueError for other proportions than the picture's.
    """
    return {
        index: mask_in_frame(mask, image.picture.size, image.face)
        for index, (image, mask) in enumerate(zip(evidence, masks, strict=True))
        if image.face is not None and mask is not None
    }


def usual(prior: Prior, others: Tensor | None = None, weights: Tensor | None = None) -> Gaussian:
    """What is usual: N(μ, one variance a level), of other latents (p, D) with weights (p,), or of photographs.

    No variance is more than that of photographs: it is what keeps the rounds of `inpaint` from diverging.
    """
    rms = prior.typicality.median_rms if prior.typicality is not None else (1.0,) * len(prior.levels)
    variance, mean = per_level([value**2 for value in rms], prior.levels), torch.zeros(prior.dim)
    if others is not None and len(others):
        shrinkage = ShrinkageCovariance.of(others, weights, prior.levels)
        mean = others[0] - shrinkage.deviations[0]
        if len(others) > 1:
            variance = torch.minimum(variance, per_level(shrinkage.variance, prior.levels))
    return Gaussian(mean, Covariance(variance.clamp_min(1e-6)))


def inpaint(
    engine: Reader,
    x: Tensor,
    masks: Sequence[Image.Image],
    towards: Gaussian,
    *,
    rounds: int = _ROUNDS,
    **how: Unpack[How],
) -> Tensor:
    """Draw a part of each image again; the rest stays to the bit.

    Each round inverts the image, takes the posterior mean of its latent under `towards` N(μ, s²), z ← μ + (z - μ) s² /
    (s² + λ), decodes it, and puts back what is known; by how much that differs is continued smoothly into the part, so
    that no edge is left (as Poisson blending does: Pérez, Gangnet, Blake 2003). From round to round λ falls from 3 to
    0.05. What Glow-IP (Asim et al. 2020) does by gradients, it does without, so that it goes with every flow.

    Args:
        x: (n, C, S, S) in [0, 1].
        masks: n of mode L and size S: what is white is drawn again, and a pixel around it.
        towards: as `usual` gives it.
        rounds: how many; each is a job of its own, see `Compute.call`.

    Returns:
        (n, C, S, S) in [0, 1], on the CPU.
    """
    wider = [np.asarray(mask.filter(ImageFilter.MaxFilter(2 * _EDGE + 1))) for mask in masks]
    hidden = torch.from_numpy(np.stack(wider) > 127).unsqueeze(1)
    prior, frames = engine.prior, x.cpu()
    variance = towards.variance.to(frames).expand(prior.dim)

    def shown(z: Tensor) -> Tensor:
        images = prior.decode(z).cpu().nan_to_num(0.5, 1.0, 0.0).clamp(0, 1)
        known = (~hidden).to(frames)
        return torch.where(hidden, (images + _continued((frames - images) * known, known)).clamp(0, 1), frames)

    def once(x: Tensor, lam: float) -> Tensor:
        z = prior.encode(x).cpu()
        share = variance / (variance + lam)
        # What the flow cannot invert as it is starts from the mean.
        return shown(towards.mean + share * (z - towards.mean).nan_to_num(0.0, 0.0, 0.0))

    x = engine.call(shown, towards.mean.expand(len(frames), -1), **how)
    for lam in np.geomspace(_FIRST, _LAST, rounds):
        x = engine.call(once, x, float(lam), **how)
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
