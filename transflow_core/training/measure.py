"""What is measured on a prior that is trained, and what a run writes on its way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..images import contact_sheet, save_png, to_pil
from ..posterior import standard_normal
from ..priors.prior import Prior
from ..priors.typicality import Typicality

_PERCENT = (0, 0.1, 1, 5, 25, 50, 75, 95, 99, 99.9, 100)
_BATCH = 32
_SHEET_SEED = 0


def measure_typicality(prior: Prior, images: NDArray[np.uint8]) -> Typicality:
    """Quantiles over held-out images, (n, S, S, C) with n at least 2, encoded as evidence is: without noise.

    An image that overflows is left out. Raises ValueError if fewer than two remain.
    """
    log_prior, log_prob, rms = [], [], []
    for start in range(0, len(images), _BATCH):
        encoded = prior.encode_and_score(np.array(images[start : start + _BATCH]), _BATCH)
        finite = encoded.log_prob.isfinite() & encoded.log_prior.isfinite()
        log_prior.append(encoded.log_prior[finite])
        log_prob.append(encoded.log_prob[finite])
        rms.append(prior.level_rms(encoded.z.cpu()[finite].double()))  # Apple's GPUs have no float64
    values, densities, levels = (torch.cat(parts).cpu().numpy() for parts in (log_prior, log_prob, rms))
    if len(values) < 2:
        raise ValueError("typicality needs at least two held-out images that the flow can hold")

    def quantiles(row: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(np.percentile(row, _PERCENT).tolist())

    return Typicality(
        n=len(values),
        percent=tuple(float(p) for p in _PERCENT),
        log_prior=quantiles(values),
        log_prob=quantiles(densities),
        level_rms=tuple(quantiles(row) for row in levels.T),
    )


def write_conformance(prior: Prior, path: Path, n: int = 4, seed: int = 0) -> None:
    """Write inputs and results of a prior, `.npz`, so that another implementation, or a later one, can be held to them.

    `images` (uint8 NHWC, sampled from the prior: nobody's face), `z`, `log_prior`, `log_prob` of them; `sample_z` and
    `sample`, its decoding in [0, 1].
    """
    shown = prior.decode(0.7 * standard_normal(n, prior.dim, seed=seed))
    images = (shown * 256).floor().clamp(max=255).byte().permute(0, 2, 3, 1).cpu().numpy()
    encoded = prior.encode_and_score(images)
    sample_z = 0.7 * standard_normal(n, prior.dim, seed=seed + 1)
    np.savez_compressed(
        path,
        images=images,
        z=encoded.z.cpu().numpy(),
        log_prior=encoded.log_prior.cpu().numpy(),
        log_prob=encoded.log_prob.cpu().numpy(),
        sample_z=sample_z.numpy(),
        sample=prior.decode(sample_z).cpu().numpy(),
    )


class Log:
    """`log.jsonl` in the run's folder, one object a line with its "event"."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8", buffering=1)

    def write(self, event: str, step: int, **facts: Any) -> None:
        """One line."""
        self._file.write(json.dumps({"event": event, "step": step, **facts}) + "\n")

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


def sheet(prior: Prior, path: Path, temperature: float, n: int = 16) -> None:
    """Samples of the prior at a fixed seed, so that sheets of one run show the same latents."""
    x = prior.decode(temperature * standard_normal(n, prior.dim, seed=_SHEET_SEED))
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {"prior": prior.name, "temperature": f"{temperature:g}", "seed": str(_SHEET_SEED)}
    save_png(contact_sheet(to_pil(x)), path, metadata=how)
