"""The ways from A to B that the Interpolate tab shows: their ends, their latents, and a true sentence about each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow_core.evidence import EvidenceImage
from transflow_core.posterior import Posterior, interpolate

from ..examples import example_sets
from ..panel import Given
from ..settings import Settings

__all__ = ["METHODS", "MOST_DRAWS", "MOST_STEPS", "Route", "RouteSettings", "first_image", "name_of", "routes"]

MOST_STEPS, MOST_DRAWS = 24, 6
#: What the page calls each method, by its key. "compare" is all three.
METHODS = {
    "linear": "Posterior",
    "wasserstein": "Wasserstein",
    "direct": "Direct",
    "compare": "Compare all",
}
# So many frames make a smooth scrubber: beyond, faces of 64 pixels hardly differ from one to the next.
_FRAMES = 28


@dataclass(frozen=True)
class RouteSettings:
    """Everything but the evidence that decides what the tab shows.

    Attributes:
        method: a key of `METHODS`.
        lam_a, lam_b: λ/m of each end, 0.01 to 10.
        steps: posteriors of the strip, both ends included, 3 to 24.
        n: draws, a row each, 1 to 6.
        seed: 0 to 2³¹ - 1; draw i of a seed has the same noise at every step.
        temperature: 0 to 1.5.
    """

    method: str = "linear"
    lam_a: float = 0.5
    lam_b: float = 0.5
    steps: int = 8
    n: int = 3
    seed: int = 0
    temperature: float = 1.0

    @classmethod
    def checked(
        cls, method: object, lam_a: object, lam_b: object, steps: object, n: object, seed: object, temperature: object
    ) -> RouteSettings:
        """From untrusted values: out of range is brought into it. Raises ValueError if one is of no use at all."""
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
        if isinstance(steps, bool) or not isinstance(steps, int | float) or not math.isfinite(steps):
            raise ValueError(f"the number of steps must be a number from 3 to {MOST_STEPS}")
        a = Settings.checked(lam_a, temperature, n, seed)
        b = Settings.checked(lam_b, temperature, n, seed)
        return cls(
            method=str(method),
            lam_a=a.lam_ratio,
            lam_b=b.lam_ratio,
            steps=int(min(max(steps, 3), MOST_STEPS)),
            n=min(a.n, MOST_DRAWS),
            seed=a.seed,
            temperature=a.temperature,
        )

    @property
    def stride(self) -> int:
        """Frames of the scrubber from one step of the strip to the next, so that each step is one of its frames."""
        return max(1, round(_FRAMES / (self.steps - 1)))

    @property
    def frames(self) -> int:
        """Frames of the scrubber, 20 to 37.

        Example:
            >>> [RouteSettings(steps=steps).frames for steps in (3, 8, 13, 24)]
            [29, 29, 25, 24]
        """
        return self.stride * (self.steps - 1) + 1


@dataclass(frozen=True)
class Route:
    """One way from A to B.

    Attributes:
        key: "linear", "wasserstein" or "direct".
        title: its name on the page.
        caption: what is done, and what the numbers say.
        a, b: the ends. A single image is a posterior at λ = 0: a point.
        n: draws; 1 where the ends are points.
    """

    key: str
    title: str
    caption: str
    a: Posterior
    b: Posterior
    n: int

    @property
    def method(self) -> str:
        """The method of `posterior.interpolate`."""
        return "wasserstein" if self.key == "wasserstein" else "linear"

    def latents(self, places: Sequence[float], n: int, seed: int, temperature: float) -> Tensor:
        """n draws at each t of `places`, with the same noise everywhere: (len(places) * n, D), t by t."""
        path = [interpolate(self.a, self.b, t, method=self.method) for t in places]
        return torch.cat([point.sample(n, seed=seed, temperature=temperature) for point in path])


def name_of(given: Given) -> str:
    """What a person would call what a panel holds."""
    if given.saved is not None:
        return given.saved_name
    if given.example:
        return example_sets()[given.example].title
    used = given.evidence.used
    return "the prior" if not used else used[0].name if len(used) == 1 else f"{len(used)} images"


def first_image(given: Given, side: str) -> EvidenceImage:
    """The image that stands for a side in direct interpolation. Raises ValueError with what to do if there is none."""
    if given.saved is not None:
        raise ValueError(
            f"direct interpolation joins two images, and {side} is a saved posterior, which holds none. "
            f"Give {side} an image, or choose another method."
        )
    if not given.evidence.used:
        raise ValueError(f"direct interpolation joins two images: give {side} one, or choose another method.")
    return given.evidence.used[0]


def routes(settings: RouteSettings, given_a: Given, given_b: Given, dim: int) -> tuple[list[Route], list[str]]:
    """The routes that the settings ask for, and what to say about those that cannot be shown beside the others.

    An empty panel stands for the prior. Raises ValueError, in words for the page, if the one method asked for does not
    fit.
    """
    keys = ["linear", "wasserstein", "direct"] if settings.method == "compare" else [settings.method]
    found, notes = [], []
    for key in keys:
        try:
            found.append(_route(key, settings, given_a, given_b, dim))
        except ValueError as error:
            if len(keys) == 1:
                raise
            notes.append(f"{METHODS[key]} is left out: {error}")
    return found, notes


def _route(key: str, settings: RouteSettings, given_a: Given, given_b: Given, dim: int) -> Route:
    if key == "direct":
        images = first_image(given_a, "A"), first_image(given_b, "B")
        a, b = (Posterior.condition(image.latent.z[None], lam_ratio=0.0) for image in images)
        names = " and ".join(image.name for image in images)
        caption = (
            f"The straight line between the latents of two images, {names} (Fig. 4); λ and temperature play no part. "
            f"Its middle need not look like a face. {_lengths(a, b, 'linear')}"
        )
        return Route(key, "Direct", caption, a, b, 1)
    a, b = _end(given_a, settings.lam_a, dim), _end(given_b, settings.lam_b, dim)
    if key == "linear":
        caption = "Means and covariances are mixed (Fig. 3): (1 − t)(μA, ΣA) + t(μB, ΣB). A row is one draw all along. "
        return Route(key, "Posterior", caption + _lengths(a, b, key), a, b, settings.n)
    try:
        lengths = _lengths(a, b, key)
    except ValueError as error:
        raise ValueError(
            "the Wasserstein path between these two posteriors has no small form, because the covariance of one has a "
            "low-rank part. Choose Posterior, which is the paper's method, or other posteriors."
        ) from error
    same = a.variance.ndim == b.variance.ndim == 0 and torch.isclose(a.variance, b.variance)
    caption = (
        "Means are mixed as in the posterior's path; of the covariances, the standard deviations. "
        + ("Σ is the same at A and B, so that the two paths are one: give A and B different λ. " * bool(same))
        + lengths
    )
    return Route(key, "Wasserstein", caption, a, b, settings.n)


def _end(given: Given, lam_ratio: float, dim: int) -> Posterior:
    """A panel's posterior. The prior is one as well: at an infinite λ no evidence counts."""
    if not given.ready:
        return Posterior.condition(torch.zeros(1, dim), lam_ratio=math.inf)
    return given.posterior(lam_ratio)


def _lengths(a: Posterior, b: Posterior, method: str) -> str:
    """How long latents are on the way: where the prior's flow is at home, E‖z‖² is about D."""
    values = []
    for t in (0.0, 0.5, 1.0):
        point = interpolate(a, b, t, method=method)
        values.append(float(point.mean.double().square().mean() + point.variance.double().mean()))
    return "Mean ‖z‖²/D at t = 0, ½, 1: " + ", ".join(f"{value:.2f}" for value in values) + "."
