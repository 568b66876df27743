"""What the Studio's controls say, checked once, and what it draws from."""

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

__all__ = ["DEFAULT", "EVIDENCE", "PRIOR", "SPLIT", "Asked", "Settings", "sources"]

EVIDENCE, PRIOR = "evidence", "prior"
DEFAULT = Sample(method="local").filled()
"""What the page opens with."""
SPLIT = Range(0, 32)
"""Levels that are style: no flow has more."""


def sources() -> dict[str, str]:
    """Where the levels of a latent may come from: what a person reads, by key."""
    return {EVIDENCE: "your evidence", PRIOR: "the prior"} | {
        key: f"example: {example.title}" for key, example in example_sets().items()
    }


@dataclass(frozen=True)
class Settings:
    """Everything but the prior and its evidence that decides what is on the screen.

    Attributes:
        recipe: with the method that is shown and its numbers.
        auto: the method was chosen for the evidence, not by the user.
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
        """From untrusted values: out of range is brought into it. Raises ValueError if one is no number at all, or a
        source is none."""
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
        """How many, of which seed and temperature: keywords of `Engine.sample` and its like."""
        return {"n": self.recipe.n, "seed": self.recipe.seed, "temperature": self.recipe.temperature}

    @property
    def words(self) -> str:
        """λ/m for a person: `0.5`, or the levels' from fine to coarse."""
        ratio = self.recipe.lam_ratio
        return ", ".join(f"{level:g}" for level in (ratio if isinstance(ratio, tuple) else (ratio or 0.0,)))


@dataclass(frozen=True)
class Asked:
    """All that decides what is on the screen. Two are equal if the very same evidence is meant.

    Attributes:
        intake: the evidence; without any, what is drawn is the prior's.
        prior: the prior's name.
        settings: what the controls say.
    """

    intake: Intake
    prior: str
    settings: Settings

    @property
    def recipe(self) -> Sample:
        """What is on the screen, with the prior of its own."""
        return self.settings.recipe.replace(prior=self.prior)

    def sampler(self, engine: Engine) -> Sampler:
        """What the samples are drawn from."""
        return sampler_of(engine, self.recipe, self.intake.posterior() if self.intake.ready else None)

    def source(self, engine: Engine, key: str) -> Sampler:
        """What is drawn from one source of levels alone."""
        return self.mixture(engine, key, key, 0)

    def mixture(self, engine: Engine, style: str, structure: str, style_levels: int) -> Sampler:
        """The same, with other sources of the levels."""
        recipe = self.recipe.replace(style=style, structure=structure, style_levels=style_levels)
        return sampler_of(engine, recipe, self.intake.posterior() if self.intake.ready else None)

    def posterior(self, engine: Engine) -> Gaussian:
        """The evidence's posterior at the λ/m asked for; the prior itself without evidence."""
        if not self.intake.ready:
            return Gaussian.standard(engine.prior.dim)
        return self.intake.posterior(engine.ratio(self.recipe.lam_ratio))
