"""Images decoded once into arrays on the disk, a part held out by name; and batches that follow from seed and step."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..faces import align
from ..flows import PixelConvention
from ..images import ImageError, Member, find_members, load_image

LEAST_HELD_OUT = 2
"""Fewer have no quantiles, and a prior without quantiles no typicality."""

Report = Callable[[int, int, str], None]


class DataError(ValueError):
    """There is nothing to train on. The message says why."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one size.

    Attributes:
        train, held_out: uint8 (n, S, S, 3), mapped from the disk.
        digest: hexadecimal, of what the pictures are and how they were made: a run continues only on the same.
        left_out: why files are not in it -> how many.
    """

    train: NDArray[np.uint8]
    held_out: NDArray[np.uint8]
    digest: str
    left_out: dict[str, int]

    @property
    def image_size(self) -> int:
        """Side, in pixels."""
        return self.train.shape[1]


def prepare(
    data: str | os.PathLike[str],
    size: int,
    cache: Path,
    *,
    align_faces: str = "never",
    held_out: str = "0.02",
    progress: Report | None = None,
) -> ImageSet:
    """Decode a folder or a zip of images to `size`, once; later calls with the same arguments map what lies in `cache`.

    Args:
        data: a folder (with the folders below it), a zip or a tar. None is trusted.
        size: side in pixels. Larger images are cut to their centre square and averaged down: 2×2 means where that is
            the factor. Images smaller than `size` are left out: enlarged ones would teach blur.
        cache: a folder for the arrays; it holds the images, so it is as private as they are.
        align_faces: never (images as they are), auto (align a face where one is found), or always (an image without a
            face is left out).
        held_out: what is kept from training: a share, by a digest of each file's name (so that a file stays where it
            is when others are added), of two at least; or a pattern of names such as `val*/*`, where people must be
            apart.
        progress: called with how many files are done, how many there are, and what is being done.

    Raises:
        DataError: no such folder or file, nothing usable in there, or nothing on one side of the split.
    """
    files = _files(Path(data))
    chosen = _held_out(list(files), held_out)
    key = {
        "size": size,
        "align": align_faces,
        "held_out": held_out,
        "files": _digest({name: (None if one.start else one.path, one.size) for name, one in files.items()}),
    }
    description = cache / "images.json"
    if description.is_file():
        known = json.loads(description.read_text(encoding="utf-8"))
        if known["key"] == key:
            return _mapped(cache, known)
        description.unlink()  # what it describes is about to go
    cache.mkdir(parents=True, exist_ok=True)
    counts, left_out = dict.fromkeys(_PARTS, 0), dict[str, int]()
    with contextlib.ExitStack() as stack:
        # Straight to the disk: a large set need not fit in memory. What a running process maps is not overwritten.
        written = {}
        for part in _PARTS:
            (cache / f"{part}.uint8").unlink(missing_ok=True)
            written[part] = stack.enter_context((cache / f"{part}.uint8").open("wb"))
        for index, (name, member) in enumerate(files.items()):
            if progress is not None and index % 50 == 0:
                progress(index, len(files), "reading images")
            try:
                row = _frame(member, name, size, align_faces)
            except ImageError as error:
                left_out[error.problem] = left_out.get(error.problem, 0) + 1
                continue
            part = "held_out" if name in chosen else "train"
            written[part].write(np.ascontiguousarray(row))
            counts[part] += 1
    for part, use in _PARTS.items():
        if not counts[part]:
            why = "; ".join(f"{count} × {problem}" for problem, count in left_out.items()) or "by the split"
            raise DataError(f"{data}: no image of {size}×{size} or more to {use} ({why})")
    # The description last: arrays without one are of a run that was stopped.
    facts = {"key": key, "counts": counts, "left_out": left_out}
    description.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return _mapped(cache, facts)


_PARTS = {"train": "train on", "held_out": "hold out"}


def _mapped(cache: Path, facts: Any) -> ImageSet:
    side, counts = facts["key"]["size"], facts["counts"]
    arrays = {
        part: np.memmap(cache / f"{part}.uint8", np.uint8, "r", shape=(counts[part], side, side, 3)) for part in _PARTS
    }
    return ImageSet(**arrays, digest=_digest(facts["key"]), left_out=facts["left_out"])


def _files(data: Path) -> dict[str, Member]:
    """Each image's name within the data set -> where it lies."""
    try:
        return {member.name: member for member in find_members(data)}
    except ImageError as error:
        raise DataError(f"{data}: no folder, zip or tar of images ({error})") from error


def _frame(member: Member, name: str, size: int, align_faces: str) -> NDArray[np.uint8]:
    image = load_image(cast(BinaryIO, member), name=name)
    if align_faces != "never":
        faces = align(image, size=size, align="always")
        if faces:
            return np.asarray(faces[0].image)
        if align_faces == "always":
            raise ImageError(name, "no face was found in it.")
    side = min(image.size)
    if side < size:
        raise ImageError(name, f"it is smaller than {size}×{size}.")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    if side % size == 0:  # the plain mean of the pixels that fall together, rounded once
        return np.asarray(square.reduce(side // size))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def _held_out(names: list[str], rule: str) -> set[str]:
    try:
        share = float(rule)
    except ValueError:
        return {name for name in names if fnmatch.fnmatchcase(name, rule)}
    if not 0 < share < 1:
        raise DataError(f"the held-out share must lie between 0 and 1, not {rule}")
    # The first 52 bits of a digest are a uniform number that belongs to the name alone.
    uniform = {name: int(hashlib.sha256(name.encode()).hexdigest()[:13], 16) / 16**13 for name in names}
    least = sorted(names, key=uniform.__getitem__)[:LEAST_HELD_OUT]  # of few files the share may be none
    return {name for name in names if uniform[name] < share} | set(least)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def batch(
    images: NDArray[np.uint8],
    pixels: PixelConvention,
    step: int,
    *,
    size: int,
    seed: int,
    mirror: bool,
    part: tuple[int, int] = (0, 1),
) -> Tensor:
    """The x of one step, (size / parts, C, S, S): every image once an epoch, in an order of the epoch's own.

    Args:
        images: uint8 (n, S, S, C).
        part: (i, k) is the i-th of k equal parts, a process's own. All parts together are the same for any k.
    """
    n, (index, count) = len(images), part
    places = np.arange(step * size, (step + 1) * size)
    chosen = np.empty(size, np.int64)
    for epoch in np.unique(places // n):
        order = np.random.default_rng((seed, int(epoch))).permutation(n)
        inside = places // n == epoch
        chosen[inside] = order[places[inside] % n]
    random = np.random.default_rng((seed, step, 1))
    mirrored = random.random(size) < (0.5 if mirror else 0)
    noise = random.random((size, *images.shape[1:]), np.float32)
    mine = slice(index * size // count, (index + 1) * size // count)
    shown = images[chosen[mine]]
    shown[mirrored[mine]] = shown[mirrored[mine]][:, :, ::-1]
    v = pixels.from_bytes(torch.from_numpy(shown).permute(0, 3, 1, 2))
    return pixels.dequantise(v, torch.from_numpy(noise[mine]).permute(0, 3, 1, 2)).contiguous()


def first_images(images: NDArray[np.uint8], pixels: PixelConvention, seed: int) -> Tensor:
    """The images, with noise, that actnorms start from: at most 256, and fewer of large ones."""
    size = min(256, max(16, 2**22 // images[0].size * 3), len(images))
    return batch(images, pixels, 0, size=size, seed=seed, mirror=False)


def condition_noise(
    shape: tuple[int, int, int], step: int, *, most: float, size: int, seed: int, part: tuple[int, int] = (0, 1)
) -> Tensor:
    """Noise on what a level is given in one step, (size / parts, *shape): each image has its own, N(0, (u * most)²).

    u is uniform in [0, 1]. `part`: see `batch`.
    """
    random, (index, count) = np.random.default_rng((seed, step, 3)), part
    noise = most * random.random((size, 1, 1, 1), np.float32) * random.standard_normal((size, *shape), np.float32)
    return torch.from_numpy(noise[index * size // count : (index + 1) * size // count])
