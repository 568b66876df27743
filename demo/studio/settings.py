"""What the Studio's controls say, checked once, and what it draws from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transflow_core.engine import Engine
from transflow_core.intake import Intake
from transflow_core.limits import SAMPLES, SEED, TEMPERATURE, Range, choice
from transflow_core.posterior import DEFAULT_MANNER, PRIOR_TEMPERATURE, Gaussian, Manner, Sampler, compose

from ..examples import example_sets

__all__ = ["EVIDENCE", "PRIOR", "SPLIT", "Asked", "Settings", "sources"]

EVIDENCE, PRIOR = "evidence", "prior"
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
        manner: how samples are drawn.
        temperature: 0 to 1.5.
        n: number of samples, 1 to 64.
        seed: 0 to 2³¹ - 1.
        structure, style: keys of `sources`: where coarse and fine levels come from.
        split: how many of the finest levels are style; more than there are is all.
        auto: the manner was chosen for the evidence, not by hand.
    """

    manner: Manner = DEFAULT_MANNER
    temperature: float = 1.0
    n: int = 16
    seed: int = 0
    structure: str = EVIDENCE
    style: str = EVIDENCE
    split: int = 3
    auto: bool = field(default=True, compare=False)

    @classmethod
    def checked(
        cls,
        manner: Manner,
        temperature: object,
        n: object,
        seed: object,
        structure: object = EVIDENCE,
        style: object = EVIDENCE,
        split: object = 3,
        auto: object = True,
    ) -> Settings:
        """From untrusted values: out of range is brought into it. Raises ValueError if one is no number at all, or a
        source is none."""
        return cls(
            manner=manner,
            temperature=TEMPERATURE.clip(temperature, "temperature"),
            n=int(SAMPLES.clip(n, "the number of samples")),
            seed=int(SEED.clip(seed, "the seed")),
            structure=choice(structure, "the source of the structure", sources()),
            style=choice(style, "the source of the style", sources()),
            split=int(SPLIT.clip(split, "the number of fine levels")),
            auto=bool(auto),
        )

    @property
    def draws(self) -> dict[str, Any]:
        """How many, of which seed and temperature: keywords of `Engine.sample` and its like."""
        return {"n": self.n, "seed": self.seed, "temperature": self.temperature}

    @property
    def words(self) -> str:
        """λ/m for a person: `0.5`, or the levels' from fine to coarse."""
        ratio = self.manner.lam_ratio
        return ", ".join(f"{level:g}" for level in (ratio if isinstance(ratio, tuple) else (ratio,)))

    @property
    def mixed(self) -> bool:
        """Whether levels come from elsewhere than the evidence."""
        return (self.structure, self.style) != (EVIDENCE, EVIDENCE)


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

    def sampler(self, engine: Engine) -> Sampler:
        """What the samples are drawn from."""
        settings = self.settings
        if not settings.mixed:
            return self.source(engine, EVIDENCE)
        split = min(settings.split, len(engine.prior.levels))
        return self.mixture(engine, settings.style, settings.structure, split)

    def mixture(self, engine: Engine, style: str, structure: str, split: int) -> Sampler:
        """The `split` finest levels from one source, the others from another."""
        fine = self.source(engine, style)
        coarse = fine if structure == style else self.source(engine, structure)
        levels = engine.prior.levels
        return compose([fine] * split + [coarse] * (len(levels) - split), levels)

    def source(self, engine: Engine, key: str) -> Sampler:
        """What is drawn from a source alone, in the manner asked for."""
        if key == PRIOR or (key == EVIDENCE and not self.intake.ready):
            return Gaussian.standard(engine.prior.dim, std=PRIOR_TEMPERATURE)
        intake = self.intake if key == EVIDENCE else engine.intake(example_sets()[key].files, whole="always")
        return engine.draw(intake.posterior(), self.settings.manner)

    def posterior(self, engine: Engine) -> Gaussian:
        """The evidence's posterior at the λ/m asked for; the prior itself without evidence."""
        if not self.intake.ready:
            return Gaussian.standard(engine.prior.dim)
        return self.intake.posterior(engine.ratio(self.settings.manner.lam_ratio))
