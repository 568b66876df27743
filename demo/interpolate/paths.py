"""The paths from A to B of the Interpolate tab: their ends, their latents, and a caption for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.limits import (
    LAM_RATIO_SLIDER,
    MOST_DRAWS,
    STEPS_SLIDER,
    Range,
    choice,
)
from transflow_core.posterior import Gaussian, Guard, Posterior, Sampler, interpolate
from transflow_core.recipes import NUMBERS, Interpolate, Method, within

__all__ = ["DRAWS", "PATHS", "LatentPath", "PathSettings", "first_image", "paths_of"]

DRAWS = Range(1, MOST_DRAWS)
#: The name of each path on the page, by its key. "compare" is all three.
PATHS = {
    "linear": "Posterior",
    "wasserstein": "Wasserstein",
    "direct": "Direct",
    "compare": "Compare all",
}
_DEFAULT = Method(method="local").filled()
_PRIOR = Method(method="posterior", lam_ratio=math.inf)
_LAM = NUMBERS["local"]["lam_ratio"]
# Draws whose length is measured where there is no formula: in thousands of dimensions they hardly differ.
_MEASURED = 4
# So many frames make a smooth scrubber: with more, faces of 64 pixels hardly differ from one to the next.
_FRAMES = 28


@dataclass(frozen=True)
class PathSettings:
    """All that decides the result, but for the evidence.

    Attributes:
        path: a key of `PATHS`.
        lam_a, lam_b: λ/m of each end, 0.01 to 10.
        steps: posteriors of the strip, both ends included, 3 to 24.
        n: draws, a row each, 1 to 6.
        seed: 0 to 2³¹ - 1; draw i of a seed has the same noise at every step.
        temperature: 0 to 1.5.
        method: the sampling method of both ends, each at its own λ/m.
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
    ) -> PathSettings:
        """From untrusted values: a number out of range becomes the nearest. Raises ValueError for any other value."""
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
        """The same as a recipe. A path that only the page has is a straight line there."""
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
            >>> [PathSettings(steps=steps).frames for steps in (3, 8, 13, 24)]
            [29, 29, 25, 24]
        """
        return self.stride * (self.steps - 1) + 1


@dataclass(frozen=True)
class LatentPath:
    """One path from A to B.

    Attributes:
        key: "linear", "wasserstein" or "direct".
        title: its name on the page.
        caption: what the path does, with its numbers.
        a, b: the samplers at the ends. A single image is a posterior at λ = 0: a point.
        ends: their posteriors, each with its sampling method.
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
    def interpolation(self) -> str:
        """The `method` of `posterior.interpolate`."""
        return "wasserstein" if self.key == "wasserstein" else "linear"

    def latents(
        self, ts: Sequence[float], n: int, seed: int, temperature: float
    ) -> tuple[Tensor, Tensor, list[Guard | None]]:
        """n draws at each t, with the same noise everywhere, (len(ts) * n, D), t by t; and of each the mean and the
        guard of its sampler."""
        samplers = [interpolate(self.a, self.b, t, method=self.interpolation) for t in ts]
        means = torch.cat([sampler.mean.expand(n, -1) for sampler in samplers])
        guards = [sampler.guard for sampler in samplers for _ in range(n)]
        return torch.cat([one.sample(n, seed=seed, temperature=temperature) for one in samplers]), means, guards


def first_image(evidence: Evidence, side: str) -> EvidenceImage:
    """The first image in use of a side. Raises ValueError, with what to do, if there is none."""
    if evidence.saved is not None:
        raise ValueError(
            f"a direct path needs two images, and {side} is a saved posterior without images. "
            f"Add an image to {side}, or choose another path."
        )
    if not evidence.used:
        raise ValueError(f"a direct path needs two images. Add one to {side}, or choose another path.")
    return evidence.used[0]


def paths_of(settings: PathSettings, a: Evidence, b: Evidence, engine: Engine) -> tuple[list[LatentPath], list[str]]:
    """The requested paths, and notes about those that cannot be shown beside the others.

    A side without evidence is the prior. Raises ValueError, with a message for the page, if the one requested path is
    not possible.
    """
    keys = ["linear", "wasserstein", "direct"] if settings.path == "compare" else [settings.path]
    found, notes = [], []
    for key in keys:
        try:
            found.append(_direct(a, b) if key == "direct" else _posteriors(key, settings, a, b, engine))
        except ValueError as error:
            if len(keys) == 1:
                raise
            notes.append(f"{PATHS[key]} is not shown: {error}")
    if len(found) > 1 and found[1].key == "wasserstein" and _one_path(found[1]):
        notes.append(
            "The strips of Posterior and Wasserstein are the same, because A and B have the same Σ. Choose different λ."
        )
    return found, notes


def _direct(side_a: Evidence, side_b: Evidence) -> LatentPath:
    names = f"{first_image(side_a, 'A').name} and {first_image(side_b, 'B').name}"
    a, b = (Posterior.condition(side.z[:1], lam_ratio=0.0) for side in (side_a, side_b))
    caption = (
        f"A straight line between the latents of two images, {names} (Fig. 4). λ and temperature have no effect. "
        f"The middle may not look like a face. {_lengths(a, b, 'linear')}"
    )
    point = Method(method="posterior", lam_ratio=0.0)
    return LatentPath("direct", PATHS["direct"], caption, a, b, ((a, point), (b, point)), 1)


def _posteriors(key: str, settings: PathSettings, side_a: Evidence, side_b: Evidence, engine: Engine) -> LatentPath:
    # The prior is a posterior as well: at an infinite λ the evidence has no effect.
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
            "the Wasserstein path is not possible here, because the covariance of one posterior has a low-rank part. "
            "Choose Posterior, which is the paper's method, or other posteriors."
        ) from error
    path = LatentPath(key, PATHS[key], "", a, b, (ends[0], ends[1]), settings.n)
    if key == "linear":
        caption = "Mixes means and covariances (Fig. 3): (1 − t)(μA, ΣA) + t(μB, ΣB). Each row is one draw. "
    else:
        caption = "Mixes means, and standard deviations instead of covariances. Each row is one draw. "
        if _one_path(path):
            caption += "Σ is the same at A and B, so the two paths are one. Choose different λ for A and B. "
    return replace(path, caption=caption + lengths)


def _one_path(path: LatentPath) -> bool:
    """Whether both paths are the same: Σ is the same at both ends."""
    if not isinstance(path.a, Gaussian) or not isinstance(path.b, Gaussian):
        return False
    a, b = path.a.variance, path.b.variance
    return a.ndim == b.ndim == 0 and bool(torch.isclose(a, b))


def _lengths(a: Sampler, b: Sampler, method: str) -> str:
    """The length of the latents along the path: for typical latents of the prior, E‖z‖² is about D."""
    values = []
    for t in (0.0, 0.5, 1.0):
        point = interpolate(a, b, t, method=method)
        if isinstance(point, Gaussian):
            values.append(float(point.mean.double().square().mean() + point.variance.double().mean()))
        else:
            values.append(float(point.sample(_MEASURED).double().square().mean()))
    return "Mean ‖z‖²/D at t = 0, ½, 1: " + ", ".join(f"{value:.2f}" for value in values) + "."
