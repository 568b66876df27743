"""The local bootstrap: new members of a set, each place of a draw from images of its own."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .bootstrap import ImageSampler, image_noise, one_image
from .gaussian import standard_normal
from .guard import FEW, MANY, face_lines, lines_of, normed, share, shrunk

GRID = 16
"""Fields of weights are drawn on GRID × GRID places, and resized to each level."""
DRAWN_IN = 0.97
"""τ at fine levels: between images, latents as far out as the images themselves break more often."""
PRIOR_TEMPERATURE = 0.6
"""At this temperature the prior alone draws whole faces; at 1 most are broken."""
COARSE = 8
"""Levels of at most this side have the pose and the shape of the face."""
_FINE = 32  # from this side on, levels have `DRAWN_IN`
_COARSE_LESS = 0.15  # so much less τ is at coarse levels, for draws of several images
_MODES = (7, 5)  # of a field, down and across: the others have less than a thousandth of its variance
_MOST_DONORS = 12
_PARTS = ((0.47, 0.10), (0.75, 0.10))  # height and half of the size of the eyes and of the mouth, in the frame
_BEND = 0.06
_LIKE = 0.5  # donors that are no further than this from the lead count in full
_UNLIKE = 0.15  # mean square difference of two faces in small pictures, from which on places share their weights
_HIDDEN = -300.0  # the logarithm of how much a hidden place counts
_ELSEWHERE = 1e-4  # how much other places count beside eyes and mouth, where several are one
_LINE = 5  # pixels of a small picture around a place, which a line there is darker or lighter than
_COLOURS = 0.5  # how much colours count where seams are judged, beside the lines of the face
_MOUTH = slice(8, 14), slice(5, 11)  # nose and mouth, on the grid
_WHOLE = 0.9  # correlation of their lines with those of one donor, from which on they are whole
_BROKEN = 10.0  # how much what lacks of it counts, in units of a draw's mean seams
# Keeps the noise of fields apart from all others under one seed.
_FIELDS = 0x2545F4914F6CDD1D
_ALL = slice(None)
_OWN = 10.0  # as how many images faces of the model count at most, where donors are chosen
_AGAINST = math.log(4)  # images have four times their weight on the face, or more: the geometric mean over it
_NEARER = 1.2, 1.6  # where they begin to help, and help in full: see `help_of`


@dataclass(frozen=True)
class LocalNumbers:
    """What decides how a draw is put together."""

    donors: float  # K ≥ 1, how many images one draw has; 2.5 is three, of which the last counts half
    near: float  # how much nearer images are preferred as donors of one draw; 0 is not at all
    length: float  # of the fields, in sides of the frame: how large the part of one donor is
    sharp: float  # s ≥ 0; 0 averages the donors everywhere, ∞ cuts them out and pastes
    cuts: int  # fields that are tried; the one whose seams lie where the donors agree is taken
    fit: float  # how much less a donor counts the further it is from the first one
    drawn_in: float  # τ at coarse levels
    own: float = 0.0  # as how many images the model's own faces count where donors are chosen

    @classmethod
    def of(cls, likeness: float, flat: float = 0.0, own: float = 0.0) -> LocalNumbers:
        """From likeness 1, images of the evidence themselves, to 0, as new as possible.

        `flat` is the `flatness` of the images; `own`, from 0 to 1, how much faces of the model help them (`help_of`).
        """
        new = 1 - likeness
        return cls(
            donors=1 + 8 * new,
            near=12 * likeness,
            length=0.9 - 0.6 * new,
            sharp=6 + 14 * max(flat, 1 - 2 * likeness),
            cuts=min(64, round(8 + 112 * likeness)),
            fit=12 * max(0.0, 2 * likeness - 1),
            drawn_in=DRAWN_IN - _COARSE_LESS * min(1.0, 2 * new),
            own=_OWN * own * min(1.0, 2 * new),
        )


class Mixing(NamedTuple):
    """What draws of `Local` are put together of.

    Attributes:
        rows: (k, K), the donors of each, as rows of `directions`.
        logits: (k, K, GRID, GRID), of their weights.
        draws: (k,), which draws these are.
    """

    rows: Tensor
    logits: Tensor
    draws: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Local(ImageSampler):
    """New members of a set: the paper's posterior under weights that differ from place to place.

    ζ_1 … ζ_2m are the latents of m images and of their mirror images, ζ̄ their mean, d_i = ζ_i - ζ̄. Each draw has K
    donors: a lead, by its share, and others without replacement, with probability ~ share · exp(-near · distance), each
    mirrored where that is nearer to the lead. The distance is half |difference at the coarse levels|², half |difference
    of the faces' lines|² in small pictures, each in units of its median. K Gaussian random fields g_i over the frame
    are the weights, the same at every level: a place of a coarse level, which is large, has the mean over the eyes or
    the mouth in it. So the shape of a face and its details have the same donors; else mouths melt. The fields are
    symmetric left to right, so that both eyes have one donor, and of mean 0 over the face, so that no donor has all of
    it. They hardly change over the eyes, nor over the mouth. Of several fields a draw takes the one with the least
    seams, Σ_p Σ_i w_i |x_i - Σ_j w_j x_j|², of small pictures x: the lines of the face, and colours. In units of their
    mean, a field has 10 (0.9 - q)₊ more, where q is the largest correlation of the lines of nose and mouth of Σ w_i x_i
    with those of a donor: a mouth that is like none of them is torn. At place p:

        h_i = a g_i + (1 - a) u_i / 4                                u_i ~ N(0, 1), the same everywhere
        w_i = softmax_i(s h_i - fit · (distance to the lead - 0.5)₊)  local weights, of sum 1
        c   = max(1, min(1 / |w|₂, √(Σ w_i e_i / e_w)))              e: mean square around p, of d_i and of Σ w_i d_i
        z   = N((ζ̄ + τ c Σ w_i d_i) / (1 + r), 0.6² r / (1 + r)),    r = λ/m, eq. 3-8 number by number

    Prior and likelihood are diagonal, so each number may have its own weights. c gives back the variance that an
    average loses. a = 1 / (1 + D / 0.15), where D is the mean square difference of the donors' faces from the lead's,
    in small pictures: unlike faces blend as wholes, since parts of them do not fit. Without pictures a is 1. τ is 0.97
    at levels of side 32 and more. At 8 and less it falls from 0.97 at likeness 1 to 0.82 at 0.5, since parts of
    different faces fit better nearer to their mean; at 16 it lies between. 0.6 is `PRIOR_TEMPERATURE`.

    Few photographs that are unlike each other have no parts that fit. Faces that the model draws alone, N(0, 0.6²),
    are more donors for these (`help_of`). None is a lead. As donors they count as up to ten images: the prior as
    pseudo-observations. The mean over the face of log Σ w_i of these is that of the images less log 4, or less, so that
    each draw stays like its lead.

    Limits: one donor is an image of the evidence; a long field is one vector of weights for the frame (the bootstrap);
    r → ∞ is the prior. A latent without places, all of whose levels are 1×1, has one vector of weights for each draw.

    References:
        | Image quilting for texture synthesis and transfer (Efros, Freeman, 2001): the seams
        | https://doi.org/10.1145/383259.383296
        | The Bayesian bootstrap (Rubin, 1981)
        | https://doi.org/10.1214/aos/1176345338

    Attributes:
        mean: (D,), ζ̄ / (1 + r).
        directions: (q, D), d_i / (1 + r): of p images, of their mirror images where these are known, and of faces of
            the model.
        shares: (p,) float64 on the CPU, positive, of sum 1.
        shapes: (C, H, W) of each level.
        numbers: see `LocalNumbers`.
        pictures: (q, C, 2 GRID, 2 GRID), small; None compares no faces and chooses no seams.
        visible: (p, H, W) in [0, 1], 0 where an image does not count; None where nothing is masked.
        since: (p,), the first number of the latent that each image has. A donor of few pixels has w = 0 at the finer
            levels; where no donor of a draw has a level, it is the prior's, N(0, 0.6²), given the coarser ones.
        own: how many of the last directions and pictures are of faces of the model.
    """

    directions: Tensor
    shares: Tensor
    shapes: tuple[tuple[int, int, int], ...]
    numbers: LocalNumbers
    pictures: Tensor | None = None
    visible: Tensor | None = None
    since: Tensor | None = None
    own: int = 0

    def first(self, n: int, seed: int = 0, start: int = 0, fold: int = 0, only: Tensor | slice = _ALL) -> Tensor:
        """(n, D) latents of each draw's first donor; for `only` see `mixing`."""
        lead = self._donors(n, seed, start, fold)[only, 0]
        return self.mean + self.directions[lead.to(self.mean.device)]

    def deviations(self, n: int, seed: int = 0, start: int = 0, fold: int = 0) -> Tensor:
        """τ c Σ w_i d_i of each draw, (n, D)."""
        return self.mixed(self.mixing(n, seed, start, fold), seed, start)

    def mixed(self, mixing: Mixing, seed: int = 0, start: int = 0, part: slice = _ALL) -> Tensor:
        """τ c Σ w_i d_i of draws, (k, D), or the part of it that some levels have."""
        rows, logits, draws = mixing
        first, last, _ = part.indices(self.dim)
        found = self.mean.new_empty(len(rows), last - first)
        for level, shape in self._levels:
            if level.start < first or level.stop > last:
                continue
            here = slice(level.start - first, level.stop - first)
            lacks = None if self.since is None else self._since[rows] > level.start
            if lacks is not None and lacks.all():
                found[:, here] = self._of_prior(level, draws, seed, start)
                continue
            # A few draws at a time: donors of all levels at once would fill the cache many times.
            for some in torch.arange(len(rows)).split(8):
                d = self.directions[:, level][rows[some].to(self.mean.device)].unflatten(2, shape)
                local = _resized(logits[some], *shape[1:])
                if lacks is not None:
                    local = local + _HIDDEN * lacks[some][:, :, None, None]
                weights = local.softmax(1).to(d)
                average = torch.einsum("nkhw,nkchw->nchw", weights, d)
                wanted = (weights * _around(d.square().mean(2))).sum(1)
                had = _around(average.square().mean(1, keepdim=True))[:, 0]
                most = weights.square().sum(1).rsqrt()
                gain = torch.minimum((wanted / had.clamp_min(1e-9)).sqrt(), most).clamp_min(1)
                found[some, here] = self._drawn_in(shape[1]) * (average * gain[:, None]).flatten(1)
            if lacks is not None and (none := lacks.all(1)).any():
                found[none, here] = self._of_prior(level, draws[none], seed, start)
        return found

    def _drawn_in(self, side: int) -> float:
        """τ of a level."""
        fine = min(max(math.log(side / COARSE) / math.log(_FINE / COARSE), 0.0), 1.0)
        return self.numbers.drawn_in + fine * (DRAWN_IN - self.numbers.drawn_in)

    def _of_prior(self, level: slice, draws: Tensor, seed: int, start: int) -> Tensor:
        """(k, d), what makes a level the prior's at `PRIOR_TEMPERATURE`, if it is added to the mean and its noise."""
        had = self.covariance.diagonal.expand(self.dim)[level]
        more = (PRIOR_TEMPERATURE**2 - had).clamp_min(0).sqrt()
        if more.max() < 1e-3:
            return -self.mean[level].expand(len(draws), -1)
        last = max(draws.tolist(), default=-1)
        noise = standard_normal(last + 1, len(more), (seed ^ (_FIELDS + 2)) & (2**63 - 1), start)
        return more * noise[draws].to(self.mean) - self.mean[level]

    def mixing(self, n: int, seed: int = 0, start: int = 0, fold: int = 0, only: Tensor | slice = _ALL) -> Mixing:
        """What each draw is put together of.

        Of `only` some of the n draws, by their indices or as (n,) bool, it does not work out the others.
        """
        rows = self._donors(n, seed, start, fold)[only]
        (drawn, k), numbers = rows.shape, self.numbers
        unlike = (self._apart[rows[:, :1], rows] - _LIKE).clamp_min(0).float()
        counts = (numbers.donors - torch.arange(k)).clamp(1e-30, 1).log() - numbers.fit * unlike
        weight = counts.softmax(1)
        counts = counts[:, :, None, None].expand(drawn, k, GRID, GRID)
        if self.visible is not None:
            seen = self.visible.cpu()
            seen = torch.cat([seen, seen.flip(-1)]) if self._mirrored else seen
            seen = torch.cat([seen, seen.new_ones(self.own, *seen.shape[1:])])
            seen = shrunk(seen[None].float(), GRID)[0]
            # Far below all fields: a hidden place is taken only where every donor is hidden.
            counts = counts + torch.where(seen > 1e-3, seen.clamp_min(1e-3).log(), _HIDDEN)[rows]
        cuts = numbers.cuts if self.pictures is not None and k > 1 and self._placed else 1
        g = self._fields(n, cuts, k, seed, start, fold, only)
        if self.pictures is not None and k > 1:
            others = (weight * self._unlike[rows[:, :1], rows]).sum(1) / weight[:, 1:].sum(1).clamp_min(1e-30)
            a = (1 / (1 + others / _UNLIKE))[:, None, None, None, None]
            u = image_noise(n, len(self.shares) + self.own, seed, start, stream=8 * fold + 3)[only].float()
            g = a * g + (1 - a) / 4 * u.gather(1, self._image[rows])[:, None, :, None, None]
        g = numbers.sharp * g + counts[:, None]
        if self.own:
            made = (rows >= len(self.directions) - self.own)[:, None, :, None, None]
            models, images = (g.masked_fill(out, -1e9).logsumexp(2, True) for out in (~made, made))
            face = _spot(0.62, 0.2, 0.2)
            odds = ((models - images) * face).sum((3, 4), True) / face.sum()
            g = g - made * (odds + _AGAINST).clamp_min(0)
        best = torch.zeros(drawn, dtype=torch.int64)
        if self.pictures is not None and cuts > 1:
            donors = self._compared.to(g)[rows].flatten(3)
            w = g.softmax(2).flatten(3)
            average = torch.einsum("ncks,nkds->ncds", w, donors)
            seams = torch.einsum("ncks,nks->nc", w, donors.square().sum(2)) - average.square().sum((2, 3))
            whole = (_of_mouth(average) @ _of_mouth(donors).transpose(1, 2)).amax(2)
            cost = seams / seams.mean(1, keepdim=True).clamp_min(1e-9) + _BROKEN * (_WHOLE - whole).clamp_min(0)
            best = cost.argmin(1)
        return Mixing(rows, g[torch.arange(drawn), best], torch.arange(n)[only])

    def _donors(self, n: int, seed: int, start: int, fold: int) -> Tensor:
        """(n, K): the lead by its share, the others without replacement, near it, and each on its nearer side."""
        p, own = len(self.shares), self.own
        k = min(math.ceil(self.numbers.donors), p + own, _MOST_DONORS)
        noise, side, others = (image_noise(n, p + own, seed, start, stream=8 * fold + stream) for stream in range(3))
        lead = one_image(self.shares, noise[:, :p])[:, None]
        gumbel = -torch.special.log_ndtr(others).neg().log()
        apart, q = self._apart, len(self.directions) - own
        nearest, at = apart[:, :p], torch.arange(p).expand(len(apart), p)
        if self._mirrored:
            other = apart[:, p:q]
            nearest, at = nearest.minimum(other), torch.where(other < nearest, at + p, at)
        nearest = torch.cat([nearest, apart[:, q:]], 1)
        at = torch.cat([at, torch.arange(q, q + own).expand(len(apart), own)], 1)
        first = lead + p * (side[:, :1] > 0) if self._mirrored else lead
        shares = torch.cat([self.shares, self.shares.new_full((own,), self.numbers.own / max(1, p * own))])
        score = gumbel + shares.log() - self.numbers.near * nearest[first[:, 0]]
        others = score.scatter(1, lead, math.inf).topk(k, 1).indices[:, 1:]
        return torch.cat([first, at[first, others]], 1)

    def _fields(self, n: int, cuts: int, k: int, seed: int, start: int, fold: int, only: Tensor | slice) -> Tensor:
        """(n, cuts, K, GRID, GRID): of more donors the first are the same. Another number of cuts has other fields."""
        shape = (_MOST_DONORS, *_MODES)
        own = (seed ^ _FIELDS) + 7919 * fold
        noise = standard_normal(n * cuts, math.prod(shape), own & (2**63 - 1), start * cuts)
        noise = noise.reshape(n, cuts, *shape)[only, :, :k]
        if self._placed:
            return fields(noise, self.numbers.length)
        return noise[..., :1, :1].expand(-1, -1, -1, GRID, GRID)

    @property
    def _placed(self) -> bool:
        return any(h * w > 1 for _, h, w in self.shapes)

    @cached_property
    def _compared(self) -> Tensor:
        """(q, 4 + C, GRID, GRID): lines near the middle of the face, and colours, each of mean square 1 or less."""
        assert self.pictures is not None
        lines = F.pixel_unshuffle(lines_of(self.pictures.cpu(), _LINE), 2) * _spot(0.62, 0.2, 0.2).sqrt()
        colours = F.avg_pool2d(self.pictures, 2).cpu()
        colours = colours - colours.mean((0, -2, -1), keepdim=True)
        scaled = [x / x.square().sum(1).mean().clamp_min(1e-12).sqrt() for x in (lines, colours)]
        return torch.cat([scaled[0], _COLOURS**0.5 * scaled[1]], 1)

    @cached_property
    def _unlike(self) -> Tensor:
        """(q, q) mean square differences of faces, in small pictures."""
        assert self.pictures is not None
        return _differences(self.pictures, len(self.pictures))

    @property
    def _mirrored(self) -> bool:
        return len(self.directions) - self.own == 2 * len(self.shares)

    @cached_property
    def _image(self) -> Tensor:
        """(q,), which image each row of `directions` is of: the same for its mirror image."""
        p = len(self.shares)
        images = torch.arange(p).repeat(2 if self._mirrored else 1)
        return torch.cat([images, torch.arange(p, p + self.own)])

    @cached_property
    def _since(self) -> Tensor:
        """(q,), as `since`."""
        assert self.since is not None
        return torch.cat([self.since, self.since.new_zeros(self.own)])[self._image.to(self.since.device)]

    @property
    def _levels(self) -> list[tuple[slice, tuple[int, int, int]]]:
        """Where each level lies in the latent, and its shape."""
        ends = itertools.accumulate(math.prod(shape) for shape in self.shapes)
        return [(slice(end - math.prod(shape), end), shape) for end, shape in zip(ends, self.shapes, strict=True)]

    @cached_property
    def _apart(self) -> Tensor:
        """(q, q) float64 distances between images, see above."""
        coarse = [self.directions[:, part] for part, shape in self._levels if shape[1] <= COARSE]
        apart = _distances(torch.cat(coarse, 1) if coarse else self.directions, self.own)
        return apart if self.pictures is None else (apart + _distances(face_lines(self.pictures), self.own)) / 2


def fields(noise: Tensor, length: float) -> Tensor:
    """Noise (..., K, *_MODES) to symmetric fields (..., K, GRID, GRID): over the face of mean 0 and mean square 1."""
    down, across, face = _roots(length)
    g = torch.einsum("ym,...mu,xu->...yx", down, noise.float(), across)
    g = g - (g * face).sum((-1, -2), keepdim=True)
    return g / (g.square() * face).sum((-1, -2), keepdim=True).clamp_min(1e-12).sqrt()


@cache
def _roots(length: float) -> tuple[Tensor, Tensor, Tensor]:
    """Square roots of the fields' covariance down, (GRID, m), and across, and the face, (GRID, GRID) of sum 1."""
    x, face = _middles().double(), _spot(0.55, 0.3, 0.3)

    def root(a: Tensor, mirrored: bool, modes: int) -> Tensor:
        def kernel(a: Tensor, b: Tensor) -> Tensor:
            return torch.exp(-0.5 * ((a[:, None] - b) / length) ** 2)

        k = kernel(a, a) + kernel(a, 1 - a) if mirrored else kernel(a, a)
        k = k / (k.diagonal()[:, None] * k.diagonal()).sqrt()
        e, v = torch.linalg.eigh(k)
        return (v[:, -modes:] * e[-modes:].clamp_min(0).sqrt()).float()

    return root(_bent(x), False, _MODES[0]), root(x, True, _MODES[1]), face / face.sum()


@cache
def _middles() -> Tensor:
    return (torch.arange(GRID) + 0.5) / GRID


@cache
def _spot(centre: float, down: float, across: float) -> Tensor:
    """(GRID, GRID): 1 at a height in the middle of the frame, and less around it."""
    x = _middles()
    return torch.exp(-0.5 * (((x[:, None] - centre) / down) ** 2 + ((x - 0.5) / across) ** 2))


@cache
def _parts() -> Tensor:
    """(GRID, GRID): how much a place counts where several are one: hardly outside of the eyes and the mouth."""
    return _ELSEWHERE + sum((_spot(centre, width / 2, width) for centre, width in _PARTS), torch.zeros(GRID, GRID))


def _bent(y: Tensor) -> Tensor:
    """Heights of the frame for the fields: all of the eyes at one height, and all of the mouth."""
    return y + sum(_BEND * torch.tanh((centre - y) / width) for centre, width in _PARTS)


def flatness(finest: Tensor) -> float:
    """From 0 to 1, how flat the drawing of images is, by the finest level of their latents, (p, C·H·W).

    Few numbers are large in a picture of flat colours and hard lines: their kurtosis is 30 and more. Of photographs,
    paintings and pencil drawings it is 4 to 8.
    """
    square = finest.double().square()
    kurtosis = (square.square().mean(1) / square.mean(1).square().clamp_min(1e-12)).median().item()
    return share(kurtosis, 10, 25)


def _distances(rows: Tensor, own: int = 0) -> Tensor:
    """(q, q) float64 squared distances, in units of the median of those to all but the last rows."""
    rows = rows.double().cpu()
    square = torch.cdist(rows, rows).square()
    known = square[: len(rows) - own]
    return square / (known[known > 0].median() if known.any() else 1.0)


def help_of(own: Tensor, pictures: Tensor) -> float:
    """From 0 to 1, how much faces of a model help a set of p images as donors: small pictures, (k, C, s, s).

    They help few images that are more like them than like each other, such as photographs of five people: by the
    correlation of lines with the nearest face and with the nearest other image, a and b, and by the mean square
    differences between images and to faces, D and E. Help begins where (a - b) / 0.1 + (D / E - 1) / 0.4 is 1.2. Of
    photographs of one person, old paintings and drawings it is less.

    Args:
        pictures: (2p, C, s, s), the images and their mirror images.
    """
    lines, p = normed(face_lines(torch.cat([pictures, own])))[0], len(pictures) // 2
    alike, apart = lines[:p] @ lines.T, _differences(torch.cat([pictures, own]), p)
    rows = torch.arange(p)
    alike[rows, rows] = alike[rows, rows + p] = -1.0  # each image itself
    nearer = (alike[:, 2 * p :].amax(1) - alike[:, : 2 * p].amax(1)).mean() / 0.1
    among = apart[:, : 2 * p].sum() / (apart[:, : 2 * p] > 0).sum().clamp_min(1)
    nearer += (among / apart[:, 2 * p :].mean().clamp_min(1e-9) - 1) / 0.4
    return share(p, MANY, FEW) * share(nearer.item(), *_NEARER)


def _differences(pictures: Tensor, p: int) -> Tensor:
    """(p, q) mean square differences of the first faces to all of (q, C, 2 GRID, 2 GRID), at GRID pixels a side."""
    middle = _spot(0.62, 0.2, 0.2)
    x = F.avg_pool2d(pictures, 2).cpu() * (middle / middle.sum() / pictures.shape[1]).sqrt()
    return torch.cdist(x[:p].flatten(1), x.flatten(1)).square()


def _of_mouth(compared: Tensor) -> Tensor:
    """The lines of nose and mouth, (..., d) of norm 1, of what is compared, (..., 4 + C, GRID²)."""
    return F.normalize(compared.unflatten(-1, (GRID, GRID))[..., :4, *_MOUTH].flatten(-3), dim=-1)


def _resized(g: Tensor, h: int, w: int) -> Tensor:
    """(n, K, GRID, GRID) to the places of a level; of a coarse level these are means over the eyes and the mouth."""
    if h > GRID:
        return F.interpolate(g, size=(h, w), mode="bilinear")
    g = g - g.amax(1, keepdim=True)
    counts, seen = _parts()[None].to(g), g.clamp_min(_HIDDEN / 2)
    means = F.adaptive_avg_pool2d(seen * counts, (h, w)) / F.adaptive_avg_pool2d(counts, (h, w))
    return means + F.adaptive_avg_pool2d(g - seen, (h, w))  # hidden is what is hidden anywhere in a place


def _around(x: Tensor) -> Tensor:
    """Means over 3×3 places of (n, K, H, W); over all of them where there are few."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if x.shape[-1] > 4 else x.mean((-1, -2), keepdim=True)
