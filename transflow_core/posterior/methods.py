"""Which sampling method is meant, and which suits the evidence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ..recipes import NUMBERS, Method
from .conditioning import Posterior
from .guard import Looks
from .shrinkage import ShrinkageCovariance

__all__ = ["Recommendation", "recommend", "resolve"]

M = TypeVar("M", bound=Method)

# The alignment of aligned faces, and of others, whose likeness is the last number.
_ALIGNED, _APART, _CLOSE = 0.34, 0.24, 0.95
# Root mean square of latents, in units of held-out images': of photographs and paintings at most the first number. From
# the second on, images are unlike all that the model knows.
_USUAL, _FAR = 1.55, 1.82


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
