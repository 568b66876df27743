"""The settings of the Studio's controls, checked once, and what it draws from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transflow_core.engine import Engine
from transflow_core.intake import Intake
from transflow_core.limits import SAMPLES, Range, choice
from transflow_core.operations import sampler_of
from transflow_core.posterior import Gaussian, Sampler
from transflow_core.recipes import Method, Sample, within

from ..examples import example_sets

__all__ = ["DEFAULT", "EVIDENCE", "PRIOR", "SPLIT", "Request", "Settings", "sources"]

EVIDENCE, PRIOR = "evidence", "prior"
DEFAULT = Sample(method="local").filled()
"""The settings of a new page."""
SPLIT = Range(0, 32)
"""Levels that are style: no flow has more."""


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
    def checked(
        cls,
        method: Method,
        temperature: object,
        n: object,
        seed: object,
        structure: object = EVIDENCE,
        style: object = EVIDENCE,
        style_levels: object = DEFAULT.style_levels,
        auto: object = True,
    ) -> Settings:
        """From untrusted values: a number out of range becomes the nearest. Raises ValueError for what is no number,
        and for an unknown source."""
        recipe = Sample(
            **dict(method.filled()),
            temperature=within(Sample, "temperature").clip(temperature, "temperature"),
            n=int(SAMPLES.clip(n, "the number of samples")),
            seed=int(within(Sample, "seed").clip(seed, "the seed")),
            structure=choice(structure, "the source of the structure", sources()),
            style=choice(style, "the source of the style", sources()),
            style_levels=int(SPLIT.clip(style_levels, "the number of fine levels")),
        )
        return cls(recipe, bool(auto))

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
        intake: the evidence; without any, the samples are those of the prior.
        prior: the prior's name.
        settings: the settings of the controls.
    """

    intake: Intake
    prior: str
    settings: Settings

    @property
    def recipe(self) -> Sample:
        """The recipe of the settings, with the prior."""
        return self.settings.recipe.replace(prior=self.prior)

    def sampler(self, engine: Engine) -> Sampler:
        """The sampler of the samples."""
        return sampler_of(engine, self.recipe, self.intake.posterior() if self.intake.ready else None)

    def source(self, engine: Engine, key: str) -> Sampler:
        """The sampler with all levels of one source."""
        return self.mixture(engine, key, key, 0)

    def mixture(self, engine: Engine, style: str, structure: str, style_levels: int) -> Sampler:
        """The sampler with other sources of the levels."""
        recipe = self.recipe.replace(style=style, structure=structure, style_levels=style_levels)
        return sampler_of(engine, recipe, self.intake.posterior() if self.intake.ready else None)

    def posterior(self, engine: Engine) -> Gaussian:
        """The evidence's posterior at the requested λ/m; the prior itself without evidence."""
        if not self.intake.ready:
            return Gaussian.standard(engine.prior.dim)
        return self.intake.posterior(engine.ratio(self.recipe.lam_ratio))
