"""What images of the evidence look like: what pictures of draws stay within, and which image one is closest to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_EYES = (0.38, 0.58, 0.25, 0.75)  # top, bottom, left and right of where eyes are in the frame
_EACH_EYE = (0.38, 0.58, 0.22, 0.5), (0.38, 0.58, 0.5, 0.78)
_MARGIN = 0.01  # of a range: evidence that is encoded again differs in its last bits
_WINDOW = 9 / 128  # of the frame's side: how far around a pixel its colour may be found
_COLOUR = 0.03  # times λ/m: grey images let colours in as well, on the way to the prior
_NOISE = 1.75, 0.04  # so many times the evidence's own noise is none, nor is less than that
_COMPARED_AT = 32  # pixels a side at which images are compared
_JUDGED_AT = 64  # the same for noise, or half of the images' side where that is less
SEEN_AT = 128  # pixels a side at which images of the evidence are kept: no more are looked at
_FACE = (0.52, 0.88, 0.3, 0.7)  # top, bottom, left and right of nose and mouth
_LINES = 0.1  # of the side: around a place, which a line there is darker or lighter than
_PARTS = (_FACE, _LINES), ((0.25, 0.7, 0.2, 0.8), 0.3)  # and from the brows to the mouth, in coarser lines
_PLAIN = 0.004  # root mean square of lines: a face with less has none
_ALIKE = 0.8  # correlation of the lines of a part with those of one of the evidence: most torn faces have less
FEW, MANY = 5, 9
"""Faces of so few images fit worse; from the second number on there are enough."""
_MORE_ALIKE = 0.06  # of few images the correlation is so much more
_SAME = 1e-3  # images that differ by less are one image, twice


@dataclass(frozen=True, eq=False)
class Guard:
    """Ranges of a set of images, which draws of it do not leave.

    Attributes:
        ranges: (2, R), the least and largest value of each channel inside the flow (see `flows.fused`), or None. At
            levels that all images lack the least is ∞ and the largest -∞: nothing is kept to there.
        chroma: (2, 3, S, S), the least and largest chroma, a pixel less its grey, around each pixel.
        noise: the largest `chessboard` of an image.
        parts: of nose and mouth, and of the face from the brows to the mouth, (q, d): the lines of each image, where it
            has some, of mean 0 and norm 1.
        alike: the least correlation with one of them that each part of a whole face has.
    """

    ranges: Tensor | None
    chroma: Tensor
    noise: float
    parts: tuple[Tensor, ...]
    alike: float = _ALIKE

    @classmethod
    def of(cls, images: Tensor, ranges: Tensor | None) -> Guard:
        """Of (2p, 3, S, S) in [0, 1], p images and their mirror images, and their ranges (2p, 2, R), if the flow notes
        them."""
        if ranges is not None:
            ranges = ranges.nan_to_num(0.0, math.inf, -math.inf)
            ranges = _wider(torch.stack([ranges[:, 0].amin(0), ranges[:, 1].amax(0)]), _MARGIN)
        seen = _chroma(images)
        window = 2 * round(_WINDOW * images.shape[-1] / 2) + 1
        high = F.max_pool2d(seen.amax(0, keepdim=True), window, 1, window // 2)[0]
        low = -F.max_pool2d((-seen).amax(0, keepdim=True), window, 1, window // 2)[0]
        small = judged(images, images.shape[-1])
        parts = _parts_in(small)
        few = share(len(images) / 2, MANY, FEW)
        alike = _ALIKE + _MORE_ALIKE * few
        return cls(ranges, torch.stack([low, high]), chessboard(small).max().item(), parts, alike)

    def union(self, other: Guard) -> Guard:
        """What either lets through."""
        ranges = None if self.ranges is None or other.ranges is None else _united(self.ranges, other.ranges)
        chroma, noise = _united(self.chroma, other.chroma), max(self.noise, other.noise)
        parts = tuple(torch.cat(both) for both in zip(self.parts, other.parts, strict=True))
        return Guard(ranges, chroma, noise, parts, min(self.alike, other.alike))

    @staticmethod
    def joined(guards: Sequence[Guard | None]) -> Guard | None:
        """The union of several; None where one is none."""
        found = [guard for guard in guards if guard is not None]
        return reduce(Guard.union, found) if found and len(found) == len(guards) else None

    def with_faces(self, pictures: Tensor) -> Guard:
        """The same, where faces like these, (k, C, S, S), are whole as well."""
        found = _parts_in(judged(pictures, self.chroma.shape[-1]))
        return replace(self, parts=tuple(torch.cat(both) for both in zip(self.parts, found, strict=True)))

    def uncoloured(self) -> Guard:
        """The same, for pictures that may have any colour."""
        return replace(self, chroma=torch.tensor([-math.inf, math.inf])[:, None, None, None].expand_as(self.chroma))

    def grown(self, r: float) -> Guard | None:
        """At λ/m = r: ranges wider by r times their width on either side, more colour and noise, and other faces.

        None at r = ∞.
        """
        if math.isinf(r):
            return None
        ranges = None if self.ranges is None else _wider(self.ranges, r)
        low, high = _wider(self.chroma, r)
        chroma = torch.stack([low - _COLOUR * r, high + _COLOUR * r])
        return Guard(ranges, chroma, self.noise * (1 + 10 * r), self.parts, self.alike / (1 + r))

    def coloured(self, images: Tensor) -> Tensor:
        """(n, 3, S, S) with the chroma of every pixel clipped; also of smaller or larger pictures of such images."""
        low, high = self.chroma.to(images)
        if (size := images.shape[-1]) != low.shape[-1]:
            low, high = -F.adaptive_max_pool2d(-low, size), F.adaptive_max_pool2d(high, size)
        chroma = _chroma(images)
        return (images - chroma + chroma.clamp(low, high)).clamp(0, 1)

    def noisy(self, images: Tensor) -> Tensor:
        """(n,) bool: which of (n, 3, S, S) have more noise in one place than any image of the evidence.

        Images of any side are judged alike: see `judged`.
        """
        return chessboard(judged(images, self.chroma.shape[-1])) > max(_NOISE[0] * self.noise, _NOISE[1])

    def torn(self, images: Tensor) -> Tensor:
        """(n,) bool: which of (n, 3, S, S) have a part of the face that is unlike that of all images of the evidence.

        Eyes or a mouth that two donors share, or that are not where their face expects them, are like none. Judged as
        `noisy` is.
        """
        small = judged(images, self.chroma.shape[-1])
        found = torch.zeros(len(small), dtype=torch.bool, device=small.device)
        for known, part in zip(self.parts, _PARTS, strict=True):
            if len(known):
                lines, strength = _lines_in(small, *part)
                found |= ((lines @ known.to(lines).T).amax(1) < self.alike) & (strength > _PLAIN)
        return found

    def noisy_or_torn(self, images: Tensor) -> Tensor:
        """(n,) bool: which of (n, 3, S, S) are noisy or torn."""
        return self.noisy(images) | self.torn(images)


class OwnFaces(NamedTuple):
    """Faces that a model draws by itself: their latents, (k, D), and small pictures of them, (k, C, s, s) in [0, 1]."""

    latents: Tensor
    pictures: Tensor


@dataclass(frozen=True, eq=False)
class Looks:
    """What images of the evidence look like, and their mirror images: what a prior shows of p latents.

    Attributes:
        images: (p, C, S, S) in [0, 1], of 128 pixels a side at most. An image of few pixels shows them as
            squares.
        mirrored: (p, D), the latents of their mirror images; of a large prior in half precision.
        ranges: (p, 2, R), of both, inside the flow (see `with_missing`); None for a flow that notes none.
        usual: root mean square of the latents of held-out images, or None.
        middle: (1, C, S, S), what the prior shows at the origin, small; or None.
        own: makes faces that the prior draws by itself; or None.
    """

    images: Tensor
    mirrored: Tensor
    ranges: Tensor | None
    usual: float | None = None
    middle: Tensor | None = None
    own: Callable[[], OwnFaces] | None = None

    @cached_property
    def guard(self) -> Guard:
        """What draws of these images stay within."""
        return Guard.of(torch.cat([self.images, self.images.flip(-1)]), self.ranges)

    @cached_property
    def alignment(self) -> float:
        """How well the eyes are at the same places: the mean correlation of the lines there, between two images.

        Of few photographs chance decides that. So their correlation with the eyes of the prior's middle counts where it
        is more. Of aligned faces this is 0.34 and more; 1 for one image.
        """
        m = len(self.images)
        if m == 1:
            return 1.0
        faces = [shrunk(some, 32) for some in (self.images, self.middle) if some is not None]
        lines = normed(face_lines(torch.cat(faces), _EYES))[0]
        lines, middle = lines[:m], lines[m:]
        alike = float((lines.sum(0).square().sum() - lines.square().sum()) / (m * (m - 1)))
        return max([alike, *(lines @ middle.T).mean(0).tolist()])

    def small(self, side: int) -> Tensor:
        """(2p, C, side, side): the images, then their mirror images."""
        small = shrunk(self.images, side)
        return torch.cat([small, small.flip(-1)])

    def rows(self) -> list[Looks]:
        """Each image alone."""
        return [self.of(slice(index, index + 1)) for index in range(len(self.images))]

    def of(self, rows: Tensor | slice) -> Looks:
        """Some of these images: a slice, or (p,) bool."""
        if isinstance(rows, Tensor):
            if rows.all():
                return self  # its guard is known
            rows = rows.to(self.images.device)
        ranges = None if self.ranges is None else self.ranges[rows]
        return replace(self, images=self.images[rows], mirrored=self.mirrored[rows], ranges=ranges)

    @classmethod
    def joined(cls, rows: Sequence[Looks]) -> Looks:
        """Of all of these images."""
        ranges = [row.ranges for row in rows if row.ranges is not None]
        return cls(
            torch.cat([row.images for row in rows]),
            torch.cat([row.mirrored for row in rows]),
            torch.cat(ranges) if len(ranges) == len(rows) else None,
            rows[0].usual,
            rows[0].middle,
            rows[0].own,
        )


@dataclass(frozen=True)
class Closest:
    """The image of the evidence that a picture is closest to.

    Attributes:
        index: its row among the posterior's latents.
        distance: root mean square difference at 32×32 pixels, in units of its median between two images of the
            evidence: 0 is a copy. Of a single image the unit is its difference to its mean colour.
        mirrored: whether its mirror image is the closest.
        name: its file, or "image 3".
    """

    index: int
    distance: float
    mirrored: bool
    name: str

    def to_dict(self) -> dict[str, str | float | bool]:
        """Name, distance and whether it is mirrored, as JSON takes them."""
        return {"name": self.name, "distance": round(self.distance, 4), "mirrored": self.mirrored}


def closest(images: Tensor, looks: Looks) -> list[Closest]:
    """Of each of (n, C, S, S) in [0, 1] the closest image of the evidence, or mirror image of one."""
    p, known = len(looks.images), looks.small(_COMPARED_AT)
    apart, rows = _apart(shrunk(images, _COMPARED_AT), known).min(1)
    between = _apart(known[:p], known)
    pairs = between[:, :p].minimum(between[:, p:])[tuple(torch.triu_indices(p, p, 1))]
    pairs = pairs[pairs > _SAME]
    plain = known[:p] - known[:p].mean((-1, -2), keepdim=True)
    unit = pairs.median() if len(pairs) else plain.square().mean().sqrt().clamp_min(_SAME)
    return [
        Closest(row % p, distance, row >= p, f"image {row % p + 1}")
        for row, distance in zip(rows.tolist(), (apart / unit).tolist(), strict=True)
    ]


def clear(images: Tensor, looks: Looks) -> Tensor:
    """(n,) how clear the faces of (n, C, S, S) in [0, 1] are, in no unit: the more, the clearer.

    In a clear face the eyes stand out, and the mouth and each eye are like those of an image of the evidence, or of its
    mirror image.
    """
    known = looks.small(judged_at(looks.images.shape[-1])).to(images)
    small = shrunk(images, known.shape[-1])
    alike, strengths = [], []
    for box in (_FACE, *_EACH_EYE):
        lines, strength = _lines_in(small, box)
        alike.append((lines @ _lines_in(known, box)[0].T).amax(1))
        strengths.append(strength)
    mouth, *eyes = alike
    return (mouth + torch.minimum(*eyes)) * torch.minimum(*strengths[1:]).sqrt()


def share(value: float, low: float, high: float) -> float:
    """How far a value is from low to high, from 0 to 1."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """(n, q) root mean square differences; exactly 0 between what is equal."""
    a, b = a.flatten(1), b.flatten(1)
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") / a.shape[1] ** 0.5


def chessboard(images: Tensor) -> Tensor:
    """(n,) the largest root mean square amplitude of the 2×2 chessboard in windows of 7×7 of (n, 3, S, S).

    It is infinite of what is not finite.
    """
    x = images
    c = (x[..., :-1, :-1] - x[..., :-1, 1:] - x[..., 1:, :-1] + x[..., 1:, 1:]) / 4
    window = min(7, c.shape[-1])
    if not window:
        return images.new_zeros(len(images))
    return F.avg_pool2d(c.square().mean(1, keepdim=True), window, 1).amax((1, 2, 3)).sqrt().nan_to_num(math.inf)


def shrunk(images: Tensor, side: int) -> Tensor:
    """(n, C, side, side) means over areas of (n, C, S, S)."""
    return F.interpolate(images, size=(side, side), mode="area")


def judged_at(side: int) -> int:
    """Pixels a side at which images of a side are judged: half of them, and 64 at most. What breaks, breaks there."""
    return max(1, min(_JUDGED_AT, side // 2))


def judged(images: Tensor, side: int) -> Tensor:
    """The means that are judged of pictures of images of this side, so that it does not matter how large they are."""
    at = judged_at(side)
    return shrunk(images, at) if images.shape[-1] > at else images


def face_lines(
    pictures: Tensor, box: tuple[float, float, float, float] = (0.3, 0.9, 0.22, 0.78), window: int | None = None
) -> Tensor:
    """(q, d) of (q, C, S, S): how much darker or lighter than around it each place of the face is.

    The box is top, bottom, left, right, as shares of the frame. For the window see `lines_of`.
    """
    side = pictures.shape[-1]
    top, bottom, left, right = (round(edge * side) for edge in box)
    return lines_of(pictures, window or 2 * (side // 7) + 1)[:, 0, top:bottom, left:right].flatten(1)


def lines_of(pictures: Tensor, window: int) -> Tensor:
    """(q, 1, S, S) of (q, C, S, S): how much lighter each place is than the window around it, an odd side."""
    grey = around = pictures.mean(1, keepdim=True)
    for size in ((window, 1), (1, window)):  # a window of 19 at once takes five times as long
        around = F.avg_pool2d(around, size, 1, [side // 2 for side in size], count_include_pad=False)
    return grey - around


def _parts_in(small: Tensor) -> tuple[Tensor, ...]:
    """Of each part of (q, C, S, S) faces, the lines of those that have some there: see `Guard.parts`."""
    return tuple(lines[strength > _PLAIN] for lines, strength in (_lines_in(small, *part) for part in _PARTS))


def _lines_in(
    pictures: Tensor, box: tuple[float, float, float, float], window: float = _LINES
) -> tuple[Tensor, Tensor]:
    """The lines there of (q, C, S, S), (q, d), of mean 0 and norm 1; and their root mean square before, (q,)."""
    return normed(face_lines(pictures, box, 2 * round(window * pictures.shape[-1] / 2) + 1))


def normed(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of mean 0 and norm 1, (q, d); and their root mean square before, (q,)."""
    lines = (lines - lines.mean(1, keepdim=True)).nan_to_num(0.0, 0.0, 0.0)
    norm = lines.norm(dim=1, keepdim=True)
    return lines / norm.clamp_min(1e-9), norm[:, 0] / lines.shape[1] ** 0.5


def _chroma(images: Tensor) -> Tensor:
    return images - images.mean(1, keepdim=True)


def _united(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([torch.minimum(a[0], b[0]), torch.maximum(a[1], b[1])])


def with_missing(ranges: Tensor, r: int) -> Tensor:
    """(m, 2, R) of the last ranges of images that lack finer levels: there the least is ∞ and the largest -∞.

    So the union with those of an image that has them is those of that image.
    """
    none = ranges.new_tensor([math.inf, -math.inf])[:, None].expand(len(ranges), 2, r - ranges.shape[2])
    return torch.cat([none, ranges], 2)


def _wider(ranges: Tensor, r: float) -> Tensor:
    low, high = ranges
    more = r * (high - low).clamp_min(0)  # where nothing is known, no more
    return torch.stack([low - more, high + more])
