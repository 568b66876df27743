"""Condition on sets of any size: images are read in batches, and only their statistics are kept."""

from __future__ import annotations

import hashlib
import itertools
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from ..compute import Progress, report
from ..images import Member, find_members
from ..posterior import Statistics
from ..priors.catalogue import load_prior
from ..reading import Reader
from ..runtime import tune
from ..runtime.worker import python_path

__all__ = ["statistics_by_ray", "statistics_of", "statistics_of_set"]

# Images between two saves, and in a batch of Ray's: the first few of each are inverted in smaller batches (see
# `Reader.read_steps`), and what is kept of each is in memory until its sums are taken.
_CHUNK = 128
_DOING = "inverting the set"


def statistics_of(engine: Reader, members: Sequence[Member], **how: Any) -> Statistics:
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
    found = statistics_of(engine, (), **how)
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
        found = found + statistics_of(engine, chunk, **how)
        done += len(chunk)
        found.save(partial, {"of": of, "done": str(done)})
    report(progress, done, total, _DOING)
    partial.unlink(missing_ok=True)
    return found


class _Worker:
    """A prior in a process of Ray's: rows that name images in, one row with their statistics out."""

    def __init__(self, prior: str, device: str, how: dict[str, Any]) -> None:
        tune()  # a worker is a program of its own
        self._engine, self._how = Reader(load_prior(prior, device=device), cached=1), how

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        members = [Member(**pickle.loads(row)) for row in batch["member"]]
        found = statistics_of(self._engine, members, **self._how)
        return {"images": [len(members)], "statistics": [pickle.dumps(found)]}


def statistics_by_ray(
    prior: str,
    paths: Sequence[Path],
    *,
    workers: int,
    device: str = "auto",
    progress: Progress | None = None,
    **how: Any,
) -> Statistics:
    """As `statistics_of_set`, by workers of Ray's, which must find prior and paths where they are here.

    It joins the cluster of RAY_ADDRESS, or starts one on this machine. On "cuda" a worker has a GPU.

    Raises ValueError where Ray is not installed.
    """
    try:
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(f"Ray is not installed: pip install 'transflow-studio[ray]' ({error})") from error

    rows = [{"member": pickle.dumps(asdict(member))} for member in find_members(paths)]
    parts = ray.data.from_items(rows).map_batches(
        _Worker,
        fn_constructor_args=(prior, device, how),
        batch_size=_CHUNK,
        concurrency=workers,
        num_gpus=1 if device.startswith("cuda") else None,
        runtime_env={"env_vars": {"PYTHONPATH": python_path()}},
    )
    found, done = None, 0
    for row in cast(Iterator[dict[str, Any]], parts.iter_rows()):
        statistics = pickle.loads(row["statistics"])
        found = statistics if found is None else found + statistics
        done += row["images"]
        report(progress, done, len(rows), _DOING)
    assert found is not None  # find_members raises where there is nothing
    return found
