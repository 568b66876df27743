"""Which manner of drawing suits the evidence, from the evidence alone."""

from dataclasses import dataclass, replace

from .conditioning import Posterior
from .guard import Looks
from .manner import DEFAULT_MANNER, Manner
from .spread import Spread

__all__ = ["Choice", "choose_manner"]

# The lines around the eyes correlate by so much and more where faces are aligned; where they do so little, likeness is
# the last number.
_ALIGNED, _APART, _CLOSE = 0.34, 0.24, 0.95
# Root mean square of latents, in units of held-out images': of photographs and paintings it is less than the first
# number. Beyond the second the images are unlike all that the model knows, and so is what lies between them.
_USUAL, _FAR = 1.55, 1.82


@dataclass(frozen=True)
class Choice:
    """A manner of drawing, and one sentence for a person that says why.

    Attributes:
        manner: kind and numbers.
        why: a sentence.
    """

    manner: Manner
    why: str


def choose_manner(posterior: Posterior, looks: Looks | None = None) -> Choice:
    """The manner that suits the evidence of a posterior.

    New members of the set (`Local`), as soon as there are two images; `python -m benchmarks.likeness` compares them
    with other ways to draw. Where the eyes of the images do not sit at the same places, as in many drawings, faces of
    several images do not fit together; and between images that are unlike all that the model knows, draws break. In
    both cases draws stay closer to one image.

    Args:
        posterior: of the evidence.
        looks: `prior.looks(posterior.latents)`; without it the images are taken to fit.
    """
    spread = Spread.of(posterior.latents, posterior.weights)
    images = len(spread.shares)
    if min(images, spread.count) < 1.5:
        return Choice(
            Manner.mean(0.3),
            "One image does not show how others would differ from it, so the samples are the paper's.",
        )
    why = f"{images} images show how members of the set differ: each sample is put together from several of them."
    usual = DEFAULT_MANNER.likeness or 0.0
    far = apart = 0.0
    if looks is not None:
        looks = looks.of(posterior.counting)
        apart = _share(-looks.alignment, -_ALIGNED, -_APART)
        rms = posterior.latents[posterior.counting].double().square().mean().sqrt().item()
        far = _share(rms / looks.usual, _USUAL, _FAR) if looks.usual else 0.0
    likeness, because = max(
        (usual, ""),
        (
            usual + apart * (_CLOSE - usual),
            " Their eyes are not at the same places: samples stay close to one image.",
        ),
        (usual + far * (1 - usual), " They are unlike what the model knows: samples stay close to one image."),
        key=lambda pair: pair[0],
    )
    return Choice(replace(DEFAULT_MANNER, likeness=round(likeness, 2)), why + because)


def _share(value: float, low: float, high: float) -> float:
    """How far a value is from low to high, from 0 to 1."""
    return min(max((value - low) / (high - low), 0.0), 1.0)
