"""What is measured of every set of samples, and the prior's own samples to hold them against."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from benchmarks.measures import as_unit, chroma, diversity, face_rate
from transflow_core.evidence import Evidence
from transflow_core.posterior import Gaussian

from .setting import Setting

__all__ = ["SEED", "evidence_images", "measure", "prior_samples"]

SEED = 0


def measure(x: Tensor) -> dict[str, float]:
    """What is measured of every set of samples (n, 3, S, S)."""
    return {"face_rate": face_rate(x), "chroma": chroma(x), "diversity": diversity(x)}


def prior_samples(setting: Setting, n: int) -> Tensor:
    """n samples of the prior itself, with the noise that all figures use."""
    return setting.engine.sample(Gaussian.standard(setting.prior.dim), n, seed=SEED)


def evidence_images(evidence: Evidence) -> np.ndarray:
    return as_unit([image.face.image for image in evidence.used])
