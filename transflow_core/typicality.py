"""Is an image's latent where the latents of held-out training images lie? Judged against measured quantiles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Typicality", "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """Where one value lies among held-out images.

    Attributes:
        value: what was judged, in nats.
        low, high: the central 90 % of held-out images (quantiles 5 and 95 %).
        percentile: 0 to 100, interpolated between the measured quantiles; 0 or 100 outside all of them.
        word: "typical" inside the middle 98 %, "unusual" outside it, "far outside" beyond the extremes by more than the
            whole measured range (the paper's noisy occlusion lay there).
    """

    value: float
    low: float
    high: float
    percentile: float
    word: str

    def __str__(self) -> str:
        return f"{self.word}: {self.value:,.0f} (held-out images: {self.low:,.0f} to {self.high:,.0f})"


@dataclass(frozen=True)
class Typicality:
    """Quantiles over held-out images: of log N(z; 0, I), of the image density, and of each level's root mean square.

    A noise-free image has smaller fine latents than the prior's unit variance, so the textbook shell |z|² ≈ D says
    nothing; these quantiles were measured on noise-free images, like the evidence.

    Example:
        >>> t = Typicality.from_dict({
        ...     "n": 3, "quantiles_percent": [0, 50, 100], "latent_log_prior_nats": [-30, -20, -10],
        ...     "image_log_prob_nats": [1, 2, 3], "level_rms": [[0.4, 0.5, 0.6]]})
        >>> t.judge(-15.0).word, t.judge(-15.0).percentile, t.judge(-300.0).word
        ('typical', 75.0, 'far outside')
    """

    n: int
    percent: tuple[float, ...]
    log_prior: tuple[float, ...]
    log_prob: tuple[float, ...]
    level_rms: tuple[tuple[float, ...], ...]

    @property
    def median_rms(self) -> tuple[float, ...]:
        """Median root mean square of each level's latent, fine to coarse."""
        return tuple(float(np.interp(50, self.percent, row)) for row in self.level_rms)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Typicality":
        """From the parsed `typicality.json`. Raises ValueError if a row is missing, unsorted or not finite."""
        try:
            rows = {
                "percent": values["quantiles_percent"],
                "log_prior": values["latent_log_prior_nats"],
                "log_prob": values["image_log_prob_nats"],
            }
            levels = list(values["level_rms"])
            arrays = {k: np.asarray(v, dtype=float) for k, v in rows.items()}
            level_arrays = [np.asarray(v, dtype=float) for v in levels]
            n = int(values["n"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"these are not typicality statistics: {error}") from error
        for row in (*arrays.values(), *level_arrays):
            if row.shape != arrays["percent"].shape or row.ndim != 1 or len(row) < 2:
                raise ValueError("typicality statistics need rows of equal length, at least two numbers each")
            if not np.isfinite(row).all() or (np.diff(row) < 0).any():
                raise ValueError("typicality statistics must be finite and rise with their percentage")
        plain = {k: tuple(v.tolist()) for k, v in arrays.items()}
        return cls(n=n, level_rms=tuple(tuple(v.tolist()) for v in level_arrays), **plain)

    def to_dict(self) -> dict[str, Any]:
        """As `typicality.json` stores it."""
        return {
            "n": self.n,
            "quantiles_percent": list(self.percent),
            "latent_log_prior_nats": list(self.log_prior),
            "image_log_prob_nats": list(self.log_prob),
            "level_rms": [list(row) for row in self.level_rms],
        }

    def judge(self, log_prior: float) -> Verdict:
        """Judge log N(z; 0, I), in nats, of one noise-free image. A value that is not finite is far outside."""
        rows, percent = np.asarray(self.log_prior), np.asarray(self.percent)
        low, high = (float(np.interp(p, percent, rows)) for p in (5, 95))
        if not np.isfinite(log_prior):
            return Verdict(float(log_prior), low, high, 0.0, "far outside")
        edge_low, edge_high = (float(np.interp(p, percent, rows)) for p in (1, 99))
        span = rows[-1] - rows[0]
        if rows[0] - span <= log_prior <= rows[-1] + span:
            word = "typical" if edge_low <= log_prior <= edge_high else "unusual"
        else:
            word = "far outside"
        return Verdict(float(log_prior), low, high, float(np.interp(log_prior, rows, percent)), word)
