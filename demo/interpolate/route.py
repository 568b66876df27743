"""The ways from A to B that the Interpolate tab shows: their ends, their latents, and a true sentence about each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from transflow_core.engine import Engine
from transflow_core.evidence import EvidenceImage
from transflow_core.intake import Intake
from transflow_core.limits import (
    LAM_RATIO_SLIDER,
    MOST_DRAWS,
    STEPS_SLIDER,
    Range,
    choice,
)
from transflow_core.posterior import Gaussian, Guard, Posterior, Sampler, interpolate
from transflow_core.recipes import NUMBERS, Interpolate, Method, within

__all__ = ["DRAWS", "PATHS", "Route", "RouteSettings", "first_image", "routes"]

DRAWS = Range(1, MOST_DRAWS)
#: What the page calls each path, by its key. "compare" is all three.
PATHS = {
    "linear": "Posterior",
    "wasserstein": "Wasserstein",
    "direct": "Direct",
    "compare": "Compare all",
}
_DEFAULT = Method(method="local").filled()
_PRIOR = Method(method="posterior", lam_ratio=math.inf)
_LAM = NUMBERS["local"]["lam_ratio"]
# Draws whose lengths are measured where there is no formula: in thousands of dimensions they hardly differ.
_MEASURED = 4
# So many frames make a smooth scrubber: beyond, faces of 64 pixels hardly differ from one to the next.
_FRAMES = 28


@dataclass(frozen=True)
class RouteSettings:
    """Everything but the evidence that decides what the tab shows.

    Attributes:
        path: a key of `PATHS`.
        lam_a, lam_b: λ/m of each end, 0.01 to 10.
        steps: posteriors of the strip, both ends included, 3 to 24.
        n: draws, a row each, 1 to 6.
        seed: 0 to 2³¹ - 1; draw i of a seed has the same noise at every step.
        temperature: 0 to 1.5.
        method: how both ends are drawn from, each at its own λ/m.
    """

    path: str = "linear"
    lam_a: float = _LAM
    lam_b: float = _LAM
    steps: int = 8
    n: int = 3
    seed: int = 0
    temperature: float = 1.0
    method: Method = _DEFAULT

    @classmethod
    def checked(
        cls,
        path: object,
        lam_a: object,
        lam_b: object,
        steps: object,
        n: object,
        seed: object,
        temperature: object,
        method: Method = _DEFAULT,
    ) -> RouteSettings:
        """From untrusted values: out of range is brought into it. Raises ValueError if one is of no use at all."""
        return cls(
            path=choice(path, "the path", PATHS),
            lam_a=LAM_RATIO_SLIDER.clip(lam_a, "λ/m of A"),
            lam_b=LAM_RATIO_SLIDER.clip(lam_b, "λ/m of B"),
            steps=int(STEPS_SLIDER.clip(steps, "the number of steps")),
            n=int(DRAWS.clip(n, "the number of draws")),
            seed=int(within(Interpolate, "seed").clip(seed, "the seed")),
            temperature=within(Interpolate, "temperature").clip(temperature, "temperature"),
            method=method,
        )

    @property
    def recipe(self) -> Interpolate:
        """The same as a recipe; what only the page has is a straight line there."""
        values: dict[str, Any] = dict(self.method) | {"interpolation": "linear", "lam_ratio": self.lam_a}
        if self.path == "wasserstein":
            values["interpolation"] = self.path
        if self.lam_a != self.lam_b:
            values |= {"lam_ratio": None, "lam_ratio_a": self.lam_a, "lam_ratio_b": self.lam_b}
        return Interpolate(steps=self.steps, n=self.n, seed=self.seed, temperature=self.temperature, **values)

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
        a, b: what is drawn from at the ends. A single image is a posterior at λ = 0: a point.
        ends: their posteriors, each with the method by which it is drawn from.
        n: draws; 1 where the ends are points.
    """

    key: str
    title: str
    caption: str
    a: Sampler
    b: Sampler
    ends: tuple[tuple[Posterior, Method], tuple[Posterior, Method]]
    n: int

    @property
    def path(self) -> str:
        """The path of `posterior.interpolate`."""
        return "wasserstein" if self.key == "wasserstein" else "linear"

    def latents(
        self, places: Sequence[float], n: int, seed: int, temperature: float
    ) -> tuple[Tensor, Tensor, list[Guard | None]]:
        """n draws at each t of `places`, with the same noise everywhere, (len(places) * n, D), t by t; and of each the
        mean and the guard of what it was drawn from."""
        path = [interpolate(self.a, self.b, t, method=self.path) for t in places]
        means = torch.cat([point.mean.expand(n, -1) for point in path])
        guards = [point.guard for point in path for _ in range(n)]
        return torch.cat([point.sample(n, seed=seed, temperature=temperature) for point in path]), means, guards


def first_image(intake: Intake, side: str) -> EvidenceImage:
    """The image that stands for a side in direct interpolation. Raises ValueError with what to do if there is none."""
    if intake.saved is not None:
        raise ValueError(
            f"direct interpolation joins two images, and {side} is a saved posterior, which holds none. "
            f"Give {side} an image, or choose another path."
        )
    if not intake.used:
        raise ValueError(f"direct interpolation joins two images: give {side} one, or choose another path.")
    return intake.used[0]


def routes(settings: RouteSettings, a: Intake, b: Intake, engine: Engine) -> tuple[list[Route], list[str]]:
    """The routes that the settings ask for, and what to say about those that cannot be shown beside the others.

    A side without evidence is the prior. Raises ValueError, in words for the page, if the one path asked for does not
    fit.
    """
    keys = ["linear", "wasserstein", "direct"] if settings.path == "compare" else [settings.path]
    found, notes = [], []
    for key in keys:
        try:
            found.append(_direct(a, b) if key == "direct" else _posteriors(key, settings, a, b, engine))
        except ValueError as error:
            if len(keys) == 1:
                raise
            notes.append(f"{PATHS[key]} is left out: {error}")
    if len(found) > 1 and found[1].key == "wasserstein" and _one_path(found[1]):
        notes.append("The strips of Posterior and Wasserstein are the same: A and B have one Σ. Give them different λ.")
    return found, notes


def _direct(side_a: Intake, side_b: Intake) -> Route:
    names = f"{first_image(side_a, 'A').name} and {first_image(side_b, 'B').name}"
    a, b = (Posterior.condition(side.evidence.z[:1], lam_ratio=0.0) for side in (side_a, side_b))
    caption = (
        f"The straight line between the latents of two images, {names} (Fig. 4); λ and temperature play no part. "
        f"Its middle need not look like a face. {_lengths(a, b, 'linear')}"
    )
    point = Method(method="posterior", lam_ratio=0.0)
    return Route("direct", PATHS["direct"], caption, a, b, ((a, point), (b, point)), 1)


def _posteriors(key: str, settings: RouteSettings, side_a: Intake, side_b: Intake, engine: Engine) -> Route:
    # The prior is a posterior as well: at an infinite λ no evidence counts.
    ends = tuple(
        (side.posterior(ratio), settings.method.replace(lam_ratio=ratio))
        if side.ready
        else (Posterior.condition(torch.zeros(1, engine.prior.dim), lam_ratio=math.inf), _PRIOR)
        for side, ratio in ((side_a, settings.lam_a), (side_b, settings.lam_b))
    )
    a, b = (engine.draw(posterior, method) for posterior, method in ends)
    try:
        lengths = _lengths(a, b, key)
    except ValueError as error:
        raise ValueError(
            "the Wasserstein path between these two posteriors has no small form, because the covariance of one has a "
            "low-rank part. Choose Posterior, which is the paper's method, or other posteriors."
        ) from error
    route = Route(key, PATHS[key], "", a, b, (ends[0], ends[1]), settings.n)
    if key == "linear":
        caption = "Means and covariances are mixed (Fig. 3): (1 − t)(μA, ΣA) + t(μB, ΣB). A row is one draw all along. "
    else:
        caption = "Means are mixed as in the posterior's path; of the covariances, the standard deviations. "
        if _one_path(route):
            caption += "Σ is the same at A and B, so that the two paths are one: give A and B different λ. "
    return replace(route, caption=caption + lengths)


def _one_path(route: Route) -> bool:
    """Whether both paths give the same: Σ is the same at both ends."""
    if not isinstance(route.a, Gaussian) or not isinstance(route.b, Gaussian):
        return False
    a, b = route.a.variance, route.b.variance
    return a.ndim == b.ndim == 0 and bool(torch.isclose(a, b))


def _lengths(a: Sampler, b: Sampler, method: str) -> str:
    """How long latents are on the way: where the prior's flow is at home, E‖z‖² is about D."""
    values = []
    for t in (0.0, 0.5, 1.0):
        point = interpolate(a, b, t, method=method)
        if isinstance(point, Gaussian):
            values.append(float(point.mean.double().square().mean() + point.variance.double().mean()))
        else:
            values.append(float(point.sample(_MEASURED).double().square().mean()))
    return "Mean ‖z‖²/D at t = 0, ½, 1: " + ", ".join(f"{value:.2f}" for value in values) + "."
