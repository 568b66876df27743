"""Condition on sets of any size: images are read in batches, and only their statistics are kept."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from ..compute import Progress, report
from ..images import Member, find_members
from ..posterior import Statistics
from ..reading import Reader

__all__ = ["statistics_of_set"]

# Images between two saves: the first few are inverted in smaller batches (see `Reader.read_steps`), and all their
# latents are in memory until their sums are taken.
_CHUNK = 128
_DOING = "inverting the set"


def _statistics_of(engine: Reader, members: Sequence[Member], **how: Any) -> Statistics:
    """Statistics of the images that can be used among these; keywords as for `Reader.read_steps`."""
    evidence = engine.read([cast(BinaryIO, member) for member in members], **how)
    seen, keys, rows = Counter[str](), [], []
    for image in evidence.used:
        member, latent = image.source.file, image.latent
        assert isinstance(member, Member) and latent is not None  # it is used
        key = f"{member.path.name}/{member.name}"
        seen[key] += 1  # faces of one picture have keys of their own
        keys.append(f"{key} {seen[key]}")
        rows.append(latent.z)
    z = torch.stack(rows) if rows else torch.zeros(0, engine.prior.dim)
    return Statistics.of(z, keys)


def statistics_of_set(
    engine: Reader, paths: Sequence[Path], partial: Path, *, progress: Progress | None = None, **how: Any
) -> Statistics:
    """Statistics of all images in folders, zips and tars.

    Memory does not grow with the set. Give the engine a small cache. Until all is done, the file
    `partial` has what is.

    Args:
        paths: see `images.find_members`.
        partial: if the file is there, of the same set, prior and keywords, its images are not read again.
        how: see `Reader.read_steps`.

    Raises ValueError if `partial` is of another set, and ImageError if the set cannot be read.
    """
    digest, total = hashlib.sha256(repr((engine.prior.fingerprint, sorted(how.items()))).encode()), 0
    for member in find_members(paths):
        digest.update(repr((member.name, member.size)).encode())
        total += 1
    of, done = digest.hexdigest(), 0
    found = _statistics_of(engine, (), **how)
    if partial.exists():
        found, words = Statistics.load(partial)
        if words.get("of") != of or not words.get("done", "").isdecimal():
            raise ValueError(
                f"{partial} was begun with another set or prior, or in another way; remove it to start anew"
            )
        done = int(words["done"])
    members = itertools.islice(find_members(paths), done, None)
    while chunk := list(itertools.islice(members, _CHUNK)):
        report(progress, done, total, _DOING)
        found = found + _statistics_of(engine, chunk, **how)
        done += len(chunk)
        found.save(partial, {"of": of, "done": str(done)})
    report(progress, done, total, _DOING)
    partial.unlink(missing_ok=True)
    return found
