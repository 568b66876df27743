"""Is an image's latent where the latents of held-out training images lie? Judged against measured quantiles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

Row = Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(min_length=2)]

# So far beyond what was measured a level may be: of photographs of faces none is, while blanks, heavy blur, solid bars
# and noise are (`python -m benchmarks.flagged`).
_BEYOND = 1.5
# So many times beyond counts a picture in which no face was found: parts of photographs without one have usual levels.
_FACELESS = 2.0


@dataclass(frozen=True)
class Verdict:
    """Where one value lies among held-out images.

    Attributes:
        value: log N(z; 0, I), in nats.
        low, high: the central 90 % of held-out images (quantiles 5 and 95 %).
        percentile: 0 to 100, interpolated between the measured quantiles; 0 or 100 outside all of them.
        word: "far outside" when the latent of some level is, by its root mean square, half as large again as the
            largest that was measured, or the smallest is half as large again as it, and when a face was looked for and
            not found; "typical" otherwise.
        way: of what is far outside, "too busy" (noise, hard edges), "too smooth" (blank, blurred) or "no face"; ""
            otherwise.
        excess: by which factor the level that is farthest out lies beyond that half; 1 for what is typical.
    """

    value: float
    low: float
    high: float
    percentile: float
    word: Literal["typical", "far outside"]
    way: Literal["", "too busy", "too smooth", "no face"] = ""
    excess: float = 1.0

    def __str__(self) -> str:
        word = f"{self.word}, {self.way}" if self.way else self.word
        return f"{word}, level by level (90 % of held-out images: {self.low:,.0f} to {self.high:,.0f})"


@pydantic_dataclass(frozen=True)
class Typicality:
    """Quantiles over held-out images: of log N(z; 0, I), of the image density, and of each level's root mean square.

    A noise-free image has smaller fine latents than the prior's unit variance, so the textbook shell |z|² ≈ D says
    nothing; these quantiles were measured on noise-free images, like the evidence.

    `Typicality(**document)` reads `typicality.json`, whose names are the aliases of the fields. Raises ValueError if a
    row is missing, unsorted or not finite.

    Example:
        >>> t = Typicality(3, (0, 50, 100), (-30, -20, -10), (1, 2, 3), ((0.4, 0.5, 0.6),))
        >>> t.judge(-15.0, [0.5]).word, t.judge(-15.0, [0.5]).percentile, t.judge(-300.0, [2.0]).way
        ('typical', 75.0, 'too busy')
    """

    n: int
    percent: Annotated[Row, Field(alias="quantiles_percent")]
    log_prior: Annotated[Row, Field(alias="latent_log_prior_nats")]
    log_prob: Annotated[Row, Field(alias="image_log_prob_nats")]
    level_rms: tuple[Row, ...]

    def __post_init__(self) -> None:
        for row in (self.percent, self.log_prior, self.log_prob, *self.level_rms):
            if len(row) != len(self.percent) or any(low > high for low, high in pairwise(row)):
                raise ValueError("typicality statistics need rows of equal length that rise with their percentage")

    @property
    def median_rms(self) -> tuple[float, ...]:
        """Median root mean square of each level's latent, fine to coarse."""
        return tuple(float(np.interp(50, self.percent, row)) for row in self.level_rms)

    def percentile(self, log_prior: float) -> float:
        """Where log N(z; 0, I) lies among held-out images, 0 to 100, interpolated; 0 for what is not finite."""
        return float(np.interp(log_prior, self.log_prior, self.percent)) if math.isfinite(log_prior) else 0.0

    def judge(self, log_prior: float, level_rms: Sequence[float], faceless: bool = False) -> Verdict:
        """Judge the latent of one noise-free image.

        Args:
            log_prior: log N(z; 0, I), in nats.
            level_rms: root mean square of each level of z, fine to coarse. What is not finite is far outside.
            faceless: whether a face was looked for in it, and not found.
        """
        low, high = (float(np.interp(p, self.percent, self.log_prior)) for p in (5, 95))
        measured = list(zip(level_rms, self.level_rms, strict=False))
        smooth = any(rms * _BEYOND < row[0] for rms, row in measured)
        busy = not all(rms <= row[-1] * _BEYOND for rms, row in measured)
        way = "too busy" if busy else "too smooth" if smooth else "no face" if faceless else ""
        word = "far outside" if way else "typical"
        excess = max((_times_beyond(rms, row[0], row[-1]) for rms, row in measured), default=0.0) / _BEYOND
        excess = max(excess, _FACELESS if faceless else 1.0)
        return Verdict(float(log_prior), low, high, self.percentile(log_prior), word, way, excess)


def _times_beyond(rms: float, low: float, high: float) -> float:
    """By which factor a root mean square lies outside of what was measured; under 1 within."""
    return max(rms / high, low / rms) if 0 < rms < math.inf and high > 0 else math.inf
