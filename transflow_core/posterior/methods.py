"""Which sampling method is meant, which suits the evidence, and one number from the closest samples to the newest."""

import contextlib
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ..limits import LAM_RATIO_SLIDER
from ..recipes import Method
from .bootstrap import MOST_KEPT
from .conditioning import Posterior
from .guard import MANY, Looks, share
from .shrinkage import ShrinkageCovariance

M = TypeVar("M", bound=Method)

# The alignment of aligned faces, and of others, which go this share of the way to the images.
_ALIGNED, _APART, _CLOSE = 0.34, 0.24, 0.9
# Root mean square of latents, in units of held-out images': of photographs and paintings at most the first number. From
# the second on, images are unlike all that the model knows.
_USUAL, _FAR = 1.55, 1.82

# The curve from the images to the prior: position, likeness, λ/m. Between two points likeness and r / (1 + r) are even.
_CURVE = ((0.0, 1.0, LAM_RATIO_SLIDER.low), (0.6, 0.5, 0.02), (1.0, 0.5, LAM_RATIO_SLIDER.high))
_MEMBERS = _CURVE[1][0]  # samples are new members of the set
_SEVERAL = 1.5  # images, from which on they show how others differ
_ONE = 0.4  # of one image: new people like it, whose faces are whole


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
        return asked.filled(), "You asked for this method."
    if asked.likeness is not None:
        return asked.replace(method="local").filled(), "You asked for a likeness."
    if asked.images_per_sample is not None:
        return asked.replace(method="bootstrap").filled(), "You asked for a number of images in each sample."
    looks = looks if len(posterior.latents) else None
    found = _saved(posterior) or recommend(posterior, looks and looks(posterior))
    given = {name: value for name, value in asked.choices.changed().items() if name != "method"}
    alone = given.get("lam_ratio") in (math.inf, (math.inf,))
    reason = "At an infinite λ/m samples are of the model alone." if alone else found.reason
    return asked.replace(**(dict(found.method) | given)), reason


def along(position: float, m: float = 2.0) -> Method:
    """The method "local" at a position from 0, as close to the images as it can be, to 1, the prior itself.

    Of r = λ/m, r / (1 + r) is the prior's share in the mean. Likeness falls evenly from 1 to 0.5 first, where samples
    are new members of the set, while r rises from 0.01 to 0.02. Then likeness stays, and the prior's share rises
    evenly: samples morph into those of the prior alone. At position 1 r is infinite; just before it is 10, whose
    samples look nearly the same. `python -m benchmarks.likeness --curve` measures how much each step changes.

    Args:
        position: from 0 to 1.
        m: images of the evidence. Samples of a single one differ by λ/m alone: the prior's share rises all along. A
            method without a likeness goes by this λ/m as well.

    Raises ValueError for a position outside of 0 to 1.

    Example:
        >>> along(0.3).likeness, along(0.9).lam_ratio, along(1).lam_ratio, position_of(along(0.3))
        (0.75, 2.19203, inf, 0.3)
    """
    if not 0 <= position <= 1:
        raise ValueError(f"a position is from 0 to 1, not {position}")
    start, end = next(pair for pair in itertools.pairwise(_curve(m >= _SEVERAL)) if position <= pair[1][0])
    here = start[1] + (position - start[0]) / (end[0] - start[0]) * (end[1] - start[1])
    ratio = math.inf if position == 1 else float(f"{here.imag / (1 - here.imag):.6g}")
    return Method(method="local", likeness=round(here.real, 6), lam_ratio=ratio)


def position_of(method: Method) -> float:
    """The position of the point of `along` that is nearest to a method, in thousandths: its inverse.

    Nearest is by likeness, and by the prior's share r / (1 + r): its mean, where each level has a λ/m of its own. With
    likeness 1, each sample is of a single image: only λ/m counts then, and of a method without a likeness.
    """
    method = method.replace(method="local").filled() if method.method == "auto" else method.filled()
    ratios = method.lam_ratio if isinstance(method.lam_ratio, tuple) else (method.lam_ratio or 0.0,)
    likeness = 1.0 if method.likeness is None else method.likeness
    wanted = complex(likeness, sum(map(_share_of_prior, ratios)) / len(ratios))
    found = []
    for (p, start), (q, end) in itertools.pairwise(_curve(likeness < 1)):
        t = min(max(((wanted - start) / (end - start)).real, 0.0), 1.0)
        found.append((abs(wanted - start - t * (end - start)), p + t * (q - p)))
    return round(min(found)[1], 3)


def _curve(several: bool) -> list[tuple[float, complex]]:
    """Positions, and points there: likeness, and i times the prior's share. Of one image the likeness stays at 1."""
    points = [(p, complex(likeness, _share_of_prior(ratio))) for p, likeness, ratio in _CURVE]
    return points if several else [(p, complex(1.0, point.imag)) for p, point in (points[0], points[-1])]


def _share_of_prior(ratio: float) -> float:
    """r / (1 + r) of the nearest r that a slider of λ/m has."""
    ratio = min(max(ratio, LAM_RATIO_SLIDER.low), LAM_RATIO_SLIDER.high)
    return ratio / (1 + ratio)


def _saved(posterior: Posterior) -> Recommendation | None:
    with contextlib.suppress(ValueError):  # text in a file is anybody's
        saved = Method.from_texts(posterior.metadata)
        if saved.method != "auto" and (len(posterior.latents) or saved.method == "posterior"):
            return Recommendation(saved.filled(), "It was saved with the posterior.")
    return None


def recommend(posterior: Posterior, looks: Looks | None = None) -> Recommendation:
    """The method that suits the evidence of a posterior, on the curve of `along`.

    Draws stay closer to one image where eyes are not at the same places, as in many drawings, and where images are
    unlike all that the model knows. It tells by `prior.looks(posterior.latents)`; without them the images fit.
    """
    if not len(posterior.latents):
        return Recommendation(Method(method="posterior").filled(), "The set has moments only.")
    shrinkage = ShrinkageCovariance.of(posterior.latents, posterior.weights)
    images = len(shrinkage.weights)
    if min(images, shrinkage.count) < _SEVERAL:
        return Recommendation(_shown(along(_ONE, 1)), "One image does not show how others differ: the model does.")
    some = f"{images} images" if images < MOST_KEPT else "The images"
    own = ", and of the model's own faces where they are unlike" * (images < MANY and looks is not None)
    why = f"{some} show how members of the set differ: each sample is put together from several of them{own}."
    far = apart = 0.0
    if looks is not None:
        looks = looks.of(posterior.counting)
        apart = share(-looks.alignment, -_ALIGNED, -_APART)
        rms = posterior.latents[posterior.counting].double().square().mean().sqrt().item()
        far = share(rms / looks.usual, _USUAL, _FAR) if looks.usual else 0.0
    closer, because = max(
        (0.0, ""),
        (_CLOSE * apart, " Their parts, such as eyes, are not at the same places: samples stay close to one image."),
        (far, " They are unlike what the model knows: samples stay close to one image."),
        key=lambda pair: pair[0],
    )
    return Recommendation(_shown(along(round((1 - closer) * _MEMBERS, 2))), why + because)


def _shown(method: Method) -> Method:
    """With the numbers that sliders show."""
    assert method.likeness is not None and isinstance(method.lam_ratio, float)
    return method.replace(likeness=round(method.likeness, 2), lam_ratio=float(f"{method.lam_ratio:.3g}"))
