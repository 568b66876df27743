"""The settings of the Studio's controls, checked once, and what it draws from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.limits import SAMPLES, choice
from transflow_core.operations import sampler_of
from transflow_core.posterior import Gaussian, Sampler
from transflow_core.recipes import Method, Sample

from ..controls import checked
from ..examples import example_sets

__all__ = ["DEFAULT", "EVIDENCE", "PAGE", "PRIOR", "Request", "Settings", "sources"]

EVIDENCE, PRIOR = "evidence", "prior"
PAGE = Sample.limited(n=int(SAMPLES.high))
"""The recipe within the page's bounds."""
DEFAULT = Sample(method="local").filled()
"""The settings of a new page."""


def sources() -> dict[str, str]:
    """The possible sources of the levels of a latent: their names on the page, by key."""
    return {EVIDENCE: "your images", PRIOR: "the model"} | {
        key: f"example: {example.title}" for key, example in example_sets().items()
    }


@dataclass(frozen=True)
class Settings:
    """All that decides the samples, but for the prior and the evidence.

    Attributes:
        recipe: with the method of the controls and its numbers.
        auto: whether the method was chosen for the evidence, not by the user.
    """

    recipe: Sample = DEFAULT
    auto: bool = field(default=True, compare=False)

    @classmethod
    def checked(cls, method: Method, values: Mapping[str, object], auto: object = True) -> Settings:
        """From untrusted values of the other parameters, by name: a number out of range becomes the nearest.

        Raises ValueError for what is no number, and for an unknown source.
        """
        for name in values.keys() & {"structure", "style"}:
            choice(values[name], f"the source of the {name}", sources())
        return cls(Sample(**dict(method.filled()), **checked(PAGE, values)), bool(auto))

    @property
    def draws(self) -> dict[str, Any]:
        """Number of samples, seed and temperature: keywords of `Engine.sample` and similar methods."""
        return {"n": self.recipe.n, "seed": self.recipe.seed, "temperature": self.recipe.temperature}

    @property
    def lam_text(self) -> str:
        """λ/m as text: `0.5`, or one of each level from fine to coarse."""
        ratio = self.recipe.lam_ratio
        return ", ".join(f"{level:g}" for level in (ratio if isinstance(ratio, tuple) else (ratio or 0.0,)))


@dataclass(frozen=True)
class Request:
    """All that decides the samples. Two requests are equal if they have the very same evidence.

    Attributes:
        evidence: the evidence; without any, the samples are those of the prior.
        prior: the prior's name.
        settings: the settings of the controls.
    """

    evidence: Evidence
    prior: str
    settings: Settings

    @property
    def recipe(self) -> Sample:
        """The recipe of the settings, with the prior."""
        return self.settings.recipe.replace(prior=self.prior)

    def sampler(self, engine: Engine) -> Sampler:
        """The sampler of the samples."""
        return sampler_of(engine, self.recipe, self.evidence.posterior() if self.evidence.ready else None)

    def source(self, engine: Engine, key: str) -> Sampler:
        """The sampler with all levels of one source."""
        return self.mixture(engine, key, key, 0)

    def mixture(self, engine: Engine, style: str, structure: str, style_levels: int) -> Sampler:
        """The sampler with other sources of the levels."""
        recipe = self.recipe.replace(style=style, structure=structure, style_levels=style_levels)
        return sampler_of(engine, recipe, self.evidence.posterior() if self.evidence.ready else None)

    def posterior(self, engine: Engine) -> Gaussian:
        """The evidence's posterior at the requested λ/m; the prior itself without evidence."""
        if not self.evidence.ready:
            return Gaussian.standard(engine.prior.dim)
        return self.evidence.posterior(engine.ratio(self.recipe.lam_ratio))
