"""What the Studio's controls say, checked once, and what it draws from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transflow_core.engine import Engine, Sampler
from transflow_core.intake import Intake
from transflow_core.limits import DEFAULT_LAM_RATIO, LAM_RATIO_SLIDER, SAMPLES, SEED, TEMPERATURE
from transflow_core.posterior import Gaussian

__all__ = ["Asked", "Settings"]


@dataclass(frozen=True)
class Settings:
    """Everything but the prior and its evidence that decides what is on the screen.

    Attributes:
        lam_ratio: λ/m, 0.01 to 10.
        temperature: 0 to 1.5.
        n: number of samples, 1 to 64.
        seed: 0 to 2³¹ - 1.
        levels: one λ/m a latent level, fine to coarse, in place of `lam_ratio`; empty for one λ for all.
    """

    lam_ratio: float = DEFAULT_LAM_RATIO
    temperature: float = 1.0
    n: int = 16
    seed: int = 0
    levels: tuple[float, ...] = ()

    @classmethod
    def checked(
        cls, lam_ratio: object, temperature: object, n: object, seed: object, levels: Sequence[object] = ()
    ) -> Settings:
        """From untrusted values: out of range is brought into it. Raises ValueError if one is no number at all."""
        return cls(
            lam_ratio=LAM_RATIO_SLIDER.clip(lam_ratio, "λ/m"),
            temperature=TEMPERATURE.clip(temperature, "temperature"),
            n=int(SAMPLES.clip(n, "the number of samples")),
            seed=int(SEED.clip(seed, "the seed")),
            levels=tuple(LAM_RATIO_SLIDER.clip(level, "λ/m of a level") for level in levels),
        )

    @property
    def ratio(self) -> float | tuple[float, ...]:
        """λ/m, one number or one a level."""
        return self.levels or self.lam_ratio

    @property
    def words(self) -> str:
        """λ/m for a person: `0.5`, or the levels' from fine to coarse."""
        return ", ".join(f"{level:g}" for level in self.levels) or f"{self.lam_ratio:g}"


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
        """What is drawn from: the posterior, or the prior itself without evidence."""
        if not self.intake.ready:
            return Gaussian.standard(engine.prior.dim)
        return self.intake.posterior(engine.ratio(self.settings.ratio))
