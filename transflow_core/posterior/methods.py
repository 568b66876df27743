"""Which sampling method is meant, which suits the evidence, and one number from the closest samples to the newest."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ..limits import LAM_RATIO_SLIDER
from ..recipes import NUMBERS, Method
from .conditioning import Posterior
from .guard import Looks
from .shrinkage import ShrinkageCovariance

__all__ = ["Recommendation", "along", "position_of", "recommend", "resolve"]

M = TypeVar("M", bound=Method)

# The alignment of aligned faces, and of others, whose likeness is the last number.
_ALIGNED, _APART, _CLOSE = 0.34, 0.24, 0.95
# Root mean square of latents, in units of held-out images': of photographs and paintings at most the first number. From
# the second on, images are unlike all that the model knows.
_USUAL, _FAR = 1.55, 1.82

# Points of the curve from the images to the prior: position, likeness, λ/m.
_CURVE = ((0.0, 1.0, LAM_RATIO_SLIDER.low), (0.4, 0.5, 0.02), (0.7, 0.25, 0.3), (1.0, 0.0, LAM_RATIO_SLIDER.high))


class Recommendation(NamedTuple):
    """A sampling method with its numbers, and the reason in one sentence."""

    method: Method
    reason: str


def resolve(asked: M, posterior: Posterior, looks: Callable[[Posterior], Looks] | None = None) -> tuple[M, str]:
    """Any recipe that draws, with every number of its method, and the reason in one sentence.

    With "auto", a number of one method chooses that method. Otherwise a saved posterior keeps its own method, and other
    evidence gets the one that suits it (`recommend`, with `looks`, such as `Engine.looks`). Given numbers stay.
    """
    if asked.method != "auto":
        return asked.filled(), "You asked for it."
    if asked.likeness is not None:
        return asked.replace(method="local").filled(), "You asked for a likeness."
    if asked.images_per_sample is not None:
        return asked.replace(method="bootstrap").filled(), "You asked for a number of images in each sample."
    found = _saved(posterior) or recommend(posterior, looks and looks(posterior))
    given = {name: value for name, value in asked.choices.changed().items() if name != "method"}
    return asked.replace(**(dict(found.method) | given)), found.reason


def along(position: float) -> Method:
    """The method "local" at a position from 0, as close to the images as it can be, to 1, the prior itself.

    Likeness falls and λ/m rises all along, both without a jump: likeness and log λ/m are straight lines between a few
    points, at which equal steps of the position change samples about equally (`python -m benchmarks.likeness`). At
    position 1, λ/m is infinite. Just before it is 10, whose samples look the same.

    Raises ValueError for a position outside of 0 to 1.

    Example:
        >>> along(0), along(1).lam_ratio, position_of(along(0.25))
        (Method(method='local', lam_ratio=0.01, likeness=1.0, images_per_sample=None), inf, 0.25)
    """
    if not 0 <= position <= 1:
        raise ValueError(f"a position is from 0 to 1, not {position}")
    if position == 1:
        return Method(method="local", likeness=_CURVE[-1][1], lam_ratio=math.inf)
    start, end = next(pair for pair in itertools.pairwise(_CURVE) if position <= pair[1][0])
    t = (position - start[0]) / (end[0] - start[0])
    likeness, ratio = start[1] + t * (end[1] - start[1]), start[2] * (end[2] / start[2]) ** t
    return Method(method="local", likeness=round(likeness, 6), lam_ratio=float(f"{ratio:.6g}"))


def position_of(method: Method) -> float:
    """The position along the curve that is nearest to a method, in thousandths: the inverse of `along`.

    Nearest is by likeness, and by log λ/m on the scale of its slider. Of one λ/m for each level the mean of the
    logarithms counts. A method without a likeness has the position of its λ/m.
    """
    method = method.filled()
    usual = NUMBERS["local"]["lam_ratio"] if method.lam_ratio is None else method.lam_ratio
    ratios = usual if isinstance(usual, tuple) else (usual,)
    height = sum(map(_height, ratios)) / len(ratios)
    # A point of the plane is a complex number. Without a likeness all points are projected on the axis of λ/m.
    likeness, scale = method.likeness or 0.0, 0.0 if method.likeness is None else 1.0
    wanted, found = complex(scale * likeness, height), []
    for (p, *start), (q, *end) in itertools.pairwise(_CURVE):
        a, b = (complex(scale * near, _height(ratio)) for near, ratio in (start, end))
        share = min(max(((wanted - a) / (b - a)).real, 0.0), 1.0)
        found.append((abs(wanted - a - share * (b - a)), p + share * (q - p)))
    return round(min(found)[1], 3)


def _height(ratio: float) -> float:
    """λ/m on the logarithmic scale of its slider, from 0 to 1."""
    low, high = LAM_RATIO_SLIDER.low, LAM_RATIO_SLIDER.high
    return math.log(min(max(ratio, low), high) / low) / math.log(high / low)


def _saved(posterior: Posterior) -> Recommendation | None:
    with contextlib.suppress(ValueError):  # text in a file is anybody's
        saved = Method.from_texts(posterior.metadata)
        if saved.method != "auto":
            return Recommendation(saved.filled(), "It was saved with the posterior.")
    return None


def recommend(posterior: Posterior, looks: Looks | None = None) -> Recommendation:
    """The method that suits the evidence of a posterior: `Local` from two images on.

    Draws stay closer to one image where eyes are not at the same places, as in many drawings, and where images are
    unlike all that the model knows. It tells by `prior.looks(posterior.latents)`; without them the images fit.
    """
    shrinkage = ShrinkageCovariance.of(posterior.latents, posterior.weights)
    images = len(shrinkage.weights)
    if min(images, shrinkage.count) < 1.5:
        return Recommendation(
            Method(method="posterior", lam_ratio=0.3),
            "One image does not show how others would differ from it, so the samples are the paper's.",
        )
    why = f"{images} images show how members of the set differ: each sample is put together from several of them."
    usual = NUMBERS["local"]["likeness"]
    far = apart = 0.0
    if looks is not None:
        looks = looks.of(posterior.counting)
        apart = _share(-looks.alignment, -_ALIGNED, -_APART)
        rms = posterior.latents[posterior.counting].double().square().mean().sqrt().item()
        far = _share(rms / looks.usual, _USUAL, _FAR) if looks.usual else 0.0
    likeness, because = max(
        (usual, ""),
        (usual + apart * (_CLOSE - usual), " Their eyes are not at the same places: samples stay close to one image."),
        (usual + far * (1 - usual), " They are unlike what the model knows: samples stay close to one image."),
        key=lambda pair: pair[0],
    )
    return Recommendation(Method(method="local", likeness=round(likeness, 2)).filled(), why + because)


def _share(value: float, low: float, high: float) -> float:
    """How far a value is from low to high, from 0 to 1."""
    return min(max((value - low) / (high - low), 0.0), 1.0)
