"""Condition on sets of any size: images are read in batches, and only sums and an even sample of them are kept."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from ..compute import Progress, report
from ..images import find_members
from ..posterior import MOST_KEPT, Posterior
from ..reading import Reader
from ..untrusted import open_safetensors, save_safetensors

# Images between two saves: the first few are inverted in smaller batches (see `Reader.read_steps`), and all their
# latents are in memory until their sums are taken.
_CHUNK = 128
_DOING = "inverting the set"
_SUMS: tuple[str, ...] = ("kept", "since", "total", "count")


def condition_on_set(
    engine: Reader,
    paths: Sequence[Path],
    partial: Path,
    lam_ratio: float | Tensor,
    *,
    progress: Progress | None = None,
    skipped: Callable[[str, str, str], None] = lambda *_: None,
    **how: Any,
) -> Posterior:
    """The posterior of all images in folders, zips and tars that can be used.

    Memory does not grow with the set: the posterior keeps about 128 of the images. Give the engine a small cache.
    Until all is done, the file `partial` has what is.

    Args:
        paths: see `images.find_members`.
        partial: if the file is there, of the same set, prior and keywords, its images are not read again.
        lam_ratio: see `Posterior.condition`.
        skipped: called with the name of each image that cannot be used, what happened to it, and why.
        how: see `Reader.read_steps`.

    Raises ValueError if `partial` is of another set or no image can be used, and ImageError if the set cannot be read.
    """
    digest, images = hashlib.sha256(repr((engine.prior.fingerprint, _SUMS, sorted(how.items()))).encode()), 0
    for member in find_members(paths):
        digest.update(repr((member.name, member.size)).encode())
        images += 1
    of, every, done = digest.hexdigest(), max(1, -(-images // MOST_KEPT)), 0
    kept, since = torch.zeros(0, engine.prior.dim), torch.zeros(0, dtype=torch.int64)
    # A picture of few pixels has no fine levels, the first numbers of a latent: see `Posterior.condition`.
    total, count = torch.zeros(2, engine.prior.dim, dtype=torch.float64)
    if partial.exists():
        with open_safetensors(partial, "part of a set") as file:
            words = file.metadata() or {}
            if words.get("of") != of:
                raise ValueError(
                    f"{partial} was begun with another set or prior, or in another way; remove it to start anew"
                )
            done = int(words["done"])
            kept, since, total, count = (file.get_tensor(name).clone() for name in _SUMS)
    members = itertools.islice(find_members(paths), done, None)
    while chunk := list(itertools.islice(members, _CHUNK)):
        report(progress, done, images, _DOING)
        evidence = engine.read([cast(BinaryIO, member) for member in chunk], **how)
        for image in evidence:
            if image.problem is not None:
                skipped(image.name, image.summary, image.problem)
        some = [image for at, image in enumerate(evidence.used, int(count[-1])) if at % every == 0]
        kept = torch.cat([kept, *(image.z[None] for image in some)])
        since = torch.cat([since, torch.tensor([image.since for image in some], dtype=torch.int64)])
        for image in evidence.used:
            total[image.since :] += image.z[image.since :]
            count[image.since :] += 1
        done += len(chunk)
        sums = dict(zip(_SUMS, (kept, since, total, count), strict=True))
        save_safetensors(sums, partial, {"of": of, "done": str(done)})
    report(progress, done, images, _DOING)
    if not (m := float(count[-1])):
        raise ValueError("none of these images can be used")
    posterior = Posterior.condition(kept, lam_ratio, weights=[m / len(kept)] * len(kept), since=since)
    partial.unlink(missing_ok=True)
    mean = torch.where(count > 0, total / count, posterior.prior.mean)
    return replace(posterior, evidence_mean=mean.to(posterior.mean)).with_lam(lam_ratio)
