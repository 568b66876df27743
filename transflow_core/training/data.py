"""Images decoded once into arrays on the disk, a part held out by name; and batches that follow from seed and step."""

import fnmatch
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..compute import Progress, report
from ..faces import align
from ..faces.frame import centre_square
from ..flows import PixelConvention
from ..images import ImageError, load_image
from ..images.files import Member, find_members
from .recipe import TrainingError

# Fewer have no quantiles, and a prior without quantiles no typicality.
_LEAST_HELD_OUT = 2


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


def prepare(
    data: str | os.PathLike[str],
    size: int,
    cache: Path,
    *,
    align_faces: str = "never",
    held_out: str = "0.02",
    ignore: Iterable[Path] = (),
    progress: Progress | None = None,
) -> ImageSet:
    """Decode a folder or a zip of images to `size`, once; later calls with the same arguments map the `cache`.

    Args:
        size: side in pixels. Larger images are cut to their centre square and averaged down: 2×2 means where that is
            the factor. Images smaller than `size` are left out, and faces that are enlarged by more than √2: they
            would teach blur.
        cache: a folder for the arrays, which are as private as the images.
        align_faces: never (images as they are), auto (align a face where one is found), or always (an image without a
            face is left out).
        held_out: what is kept from training: a share, by a digest of each file's name (so that a file stays where it
            is when others are added), of two at least; or a pattern of names such as `val*/*`.
        ignore: files and folders of which nothing is read, such as the sheets of the run.
        progress: called with how many files are done, how many there are, and what is being done.

    Raises TrainingError for no such folder or file, nothing usable in there, or too little on one side of the split.
    """
    try:
        root, ignored = Path(data).resolve(), [path.resolve() for path in ignore]
        files = {
            member.name: member
            for member in find_members(Path(data))
            if not any((root / member.name).is_relative_to(path) for path in ignored)
        }
    except ImageError as error:
        raise TrainingError(f"{data}: no folder or zip of images ({error})") from error
    chosen = _held_out(list(files), held_out)
    key = {
        "size": size,
        "align": align_faces,
        "held_out": held_out,
        "files": _digest({name: member.size for name, member in files.items()}),
    }
    description = cache / "images.json"
    if description.is_file():
        known = json.loads(description.read_text(encoding="utf-8"))
        if known["key"] == key:
            return _mapped(cache, known)
    cache.mkdir(parents=True, exist_ok=True)
    counts, left_out = {"train": 0, "held_out": 0}, Counter[str]()
    # Straight to the disk: a large set need not fit in memory. A run may be under way on the arrays that are there.
    with (cache / "train.new").open("wb") as train, (cache / "held_out.new").open("wb") as apart:
        for index, (name, member) in enumerate(files.items()):
            if index % 50 == 0:
                report(progress, index, len(files), "reading images")
            try:
                row = _frame(member, name, size, align_faces)
            except ImageError as error:
                left_out[error.problem] += 1
                continue
            (apart if name in chosen else train).write(row.tobytes())
            counts["held_out" if name in chosen else "train"] += 1
    if not counts["train"] or counts["held_out"] < _LEAST_HELD_OUT:
        for part in counts:
            (cache / f"{part}.new").unlink()  # they are as private as the images
        why = "".join(f"; {count} × {problem}" for problem, count in left_out.items())
        raise TrainingError(
            f"{data}: of images of {size}×{size} or more, {counts['train']} are to train on and {counts['held_out']} "
            f"are held out; at least 1 and {_LEAST_HELD_OUT} are needed{why}"
        )
    # The description last: arrays without one are of a run that was stopped.
    description.unlink(missing_ok=True)
    for part in counts:
        (cache / f"{part}.new").replace(cache / f"{part}.uint8")
    facts = {"key": key, "counts": counts, "left_out": left_out}
    description.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return _mapped(cache, facts)


def _mapped(cache: Path, facts: dict[str, Any]) -> ImageSet:
    side = facts["key"]["size"]
    arrays = {
        part: np.memmap(cache / f"{part}.uint8", np.uint8, "r", shape=(count, side, side, 3))
        for part, count in facts["counts"].items()
    }
    return ImageSet(**arrays, digest=_digest(facts["key"]), left_out=facts["left_out"])


def _frame(member: Member, name: str, size: int, align_faces: str) -> NDArray[np.uint8]:
    image = load_image(cast(BinaryIO, member), name=name)
    if align_faces != "never":
        faces = align(image, size=size, align="always")
        if faces:
            if math.sqrt(2) * abs(faces[0].similarity[0]) < size:  # as for `Prior.lacking`
                raise ImageError(name, f"its face has too few pixels for {size}×{size}.")
            return np.asarray(faces[0].image)
        if align_faces == "always":
            raise ImageError(name, "no face was found in it.")
    square = image.crop(centre_square(image))
    if square.width < size:
        raise ImageError(name, f"it is smaller than {size}×{size}.")
    if square.width % size == 0:  # the plain mean of the pixels that fall together, rounded once
        return np.asarray(square.reduce(square.width // size))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def _held_out(names: list[str], rule: str) -> set[str]:
    try:
        share = float(rule)
    except ValueError:
        return {name for name in names if fnmatch.fnmatchcase(name, rule)}
    if not 0 < share < 1:
        raise TrainingError(f"the held-out share must lie between 0 and 1, not {rule}")
    # The first 52 bits of a digest are a uniform number that belongs to the name alone.
    uniform = {name: int(hashlib.sha256(name.encode()).hexdigest()[:13], 16) / 16**13 for name in names}
    least = sorted(names, key=uniform.__getitem__)[:_LEAST_HELD_OUT]  # of few files the share may be none
    return {name for name in names if uniform[name] < share} | set(least)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def batch(
    images: NDArray[np.uint8], pixels: PixelConvention, step: int, *, size: int, seed: int, mirror: bool
) -> Tensor:
    """The x of one step, (size, C, S, S): each of `images` (n, S, S, C) once an epoch, in the epoch's own order."""
    places = np.arange(step * size, (step + 1) * size)
    epochs, chosen = places // len(images), places % len(images)
    for epoch in np.unique(epochs):
        order = np.random.default_rng((seed, int(epoch))).permutation(len(images))
        chosen[epochs == epoch] = order[chosen[epochs == epoch]]
    random = np.random.default_rng((seed, step, 1))
    mirrored = random.random(size) < (0.5 if mirror else 0)
    noise = random.random((size, *images.shape[1:]), np.float32)
    shown = images[chosen]
    shown[mirrored] = shown[mirrored][:, :, ::-1]
    v = pixels.from_bytes(torch.from_numpy(shown).permute(0, 3, 1, 2))
    return pixels.dequantise(v, torch.from_numpy(noise).permute(0, 3, 1, 2)).contiguous()


def first_images(images: NDArray[np.uint8], pixels: PixelConvention, seed: int) -> Tensor:
    """The images, with noise, that actnorms start from: at most 256, and fewer of large ones."""
    size = min(256, max(16, 2**22 // images[0].size * 3), len(images))
    return batch(images, pixels, 0, size=size, seed=seed, mirror=False)


def condition_noise(shape: tuple[int, int, int], step: int, *, most: float, size: int, seed: int) -> Tensor:
    """Noise on what a level is given in one step, (size, *shape): N(0, (u * most)²), each u uniform in [0, 1]."""
    random = np.random.default_rng((seed, step, 3))
    noise = most * random.random((size, 1, 1, 1), np.float32) * random.standard_normal((size, *shape), np.float32)
    return torch.from_numpy(noise)
