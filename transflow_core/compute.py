"""A prior at work: batches, caches, previews, samples that decode, progress, and a way to cancel."""

from __future__ import annotations

import functools
import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from .evidence import Evidence, Latent
from .flows import TrainableFlow
from .pictures import digest_of
from .posterior import Closest, Guard, Local, Looks, Posterior, Sampler, closest, per_level, standard_normal
from .priors.prior import Prior
from .recipes import Method
from .runtime.worker import Cancelled, ComputeWorker, Priority

__all__ = [
    "Cache",
    "Cancelled",
    "Compute",
    "Progress",
    "Samples",
    "check",
    "has_tiles",
    "project",
    "report",
    "unusable",
]

T = TypeVar("T")

Progress = Callable[[int, int, str], None]
"""Called with how much is done, how much there is, and what is being done."""
Decode = Callable[[Tensor, Tensor], Tensor]

# Inverting eight images at once takes half the time of one by one.
BATCH = 8
# A noisy sample is drawn again so often, with other donors; then it is moved towards its first one.
_REDRAWS = 4
# By so much a preview may differ: one byte is what rounding takes anyway, and nobody sees two for a moment.
_LARGEST_ERROR = 2 / 255
# A picture that is black, white or a pure colour in most places shows nothing: a flow that overflows, but not to
# infinity, gives such. Sketches on white paper are mostly white, but not in colour, and not black besides.
_MOST_SATURATED = 0.6
_BISECTIONS = 5


@dataclass(frozen=True, eq=False)
class Samples:
    """Images of a posterior, and what was done so that none is noisy.

    Attributes:
        images: (n, C, S, S) in [0, 1], finite.
        z: (n, D), the latents that they show.
        redrawn: (n,) how often each was drawn again.
        projected: (n,) bool, which were moved towards an image of the evidence, or towards the mean, in the end.
        guarded: (n,) bool, which would have left the ranges of the evidence by more than these are wide.
    """

    images: Tensor
    z: Tensor
    redrawn: Tensor
    projected: Tensor
    guarded: Tensor

    @property
    def counts(self) -> dict[str, int]:
        """How many of them were redrawn, projected and guarded."""
        return {name: int((getattr(self, name) > 0).sum()) for name in ("redrawn", "projected", "guarded")}


class Cache:
    """Least recently used first out, by count; safe to share between threads."""

    def __init__(self, most: int) -> None:
        self._most, self._entries, self._lock = most, OrderedDict[Hashable, Any](), threading.Lock()

    def get(self, key: Hashable) -> Any | None:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)


class Compute:
    """A prior at work.

    Latents are cached by the pixels of the aligned image and the prior's fingerprint: moving λ never inverts an image
    again.

    Args:
        prior: the prior; its device is where the flow runs.
        batch_size: images that go through the flow at once.
        cached: how many latents are kept; by default as many as 100 MB of latents are: 2,034 at 64×64, 508 at 128×128.
        compute: where the flow runs, a batch at a time, for a server whose requests have threads of their own; by
            default in the thread that calls.
    """

    def __init__(
        self,
        prior: Prior,
        *,
        batch_size: int = 16,
        cached: int | None = None,
        compute: ComputeWorker | None = None,
    ) -> None:
        self.prior = prior
        self._compute = compute
        self.batch_size = batch_size
        self._cached = cached or max(16, 25_000_000 // prior.dim)  # numbers of 4 bytes
        self._latents = Cache(self._cached)
        self._looks = Cache(max(16, self._cached // 3))  # pictures, mirror images and ranges besides
        self._joined = Cache(4)  # of the sets that are looked at: a slider asks for them at every λ

    def call(
        self,
        function: Callable[..., T],
        *args: Any,
        cancel: threading.Event | None = None,
        priority: Priority = "now",
        **kwargs: Any,
    ) -> T:
        """`function(*args, **kwargs)`, where this engine computes: for long arithmetic with its latents.

        Raises Cancelled if `cancel` is set before its turn; `priority`: see `Worker.submit`.
        """
        if self._compute is not None:
            return self._compute.run(function, *args, cancel=cancel, priority=priority, **kwargs)
        check(cancel)
        return function(*args, **kwargs)

    @property
    def ahead(self) -> int:
        """How many other clients have their turn before this one."""
        return self._compute.ahead if self._compute is not None else 0

    def ratio(self, values: float | Sequence[float] | None) -> float | Tensor | None:
        """λ as `Posterior.condition` takes it, of one number or of one for each latent level (None stays None)."""
        return per_level(values, self.prior.levels) if isinstance(values, Sequence) else values

    # --- images to latents -------------------------------------------------------------------------------------------

    def encode(
        self,
        images: Sequence[Image.Image],
        *,
        progress: Progress | None = None,
        priority: Priority = "now",
        cancel: threading.Event | None = None,
    ) -> list[Latent]:
        """Latents of aligned images, from the cache where they are known."""
        keys = [(digest_of(image), self.prior.fingerprint) for image in images]
        found = {key: self._latents.get(key) for key in keys}
        known = {key: latent for key, latent in found.items() if latent is not None}
        missing = [entry for entry in dict(zip(keys, images, strict=True)).items() if entry[0] not in known]
        for start in range(0, len(missing), self.batch_size):
            report(progress, start, len(missing), "inverting the flow")
            batch = missing[start : start + self.batch_size]
            latents = self.call(self._invert, [image for _, image in batch], cancel=cancel, priority=priority)
            for (key, _), latent in zip(batch, latents, strict=True):
                known[key] = latent
                self._latents.put(key, latent)
        report(progress, len(missing), len(missing), "inverting the flow")
        return [known[key] for key in keys]

    def _invert(self, images: list[Image.Image]) -> list[Latent]:
        """Through the flow; an image whose latent is not plainly typical is decoded again: does it come back?"""
        v = self.prior.to_unit(images)
        encoded = self.prior.encode_and_score(v, self.batch_size)
        typical = torch.tensor([self._typical(float(value)) for value in encoded.log_prior])
        errors: list[float | None] = [None] * len(images)
        doubted = torch.nonzero(~typical).flatten()
        if len(doubted):
            back = self.prior.decode(encoded.z[doubted], self.batch_size)
            largest = (back - v[doubted]).abs().flatten(1).amax(1).nan_to_num(math.inf, math.inf)
            for index, error in zip(doubted.tolist(), largest.tolist(), strict=True):
                errors[index] = error
        rms = [tuple(row) for row in self.prior.level_rms(encoded.z).tolist()]
        rows = zip(encoded.z.cpu(), encoded.log_prior.tolist(), encoded.log_prob.tolist(), rms, errors, strict=True)
        return [Latent(z.clone(), prior, image, level, error) for z, prior, image, level, error in rows]

    def _typical(self, log_prior: float) -> bool:
        typicality = self.prior.typicality
        return typicality is not None and 1 <= typicality.percentile(log_prior) <= 99

    # --- what samples are drawn from ---------------------------------------------------------------------------------

    def draw(self, posterior: Posterior, how: Method, *, cancel: threading.Event | None = None) -> Sampler:
        """What samples of a posterior are drawn from: see `Posterior.draw`, with this prior's levels and its looks.

        Raises ValueError if the method has another number of λ/m than the prior has levels.
        """
        looks = None if how.method == "posterior" else self.looks(posterior.latents, cancel=cancel)
        return posterior.draw(how, self.prior.levels, looks)

    def looks(
        self, of: Posterior | Tensor, *, priority: Priority = "now", cancel: threading.Event | None = None
    ) -> Looks:
        """What the images of a posterior, or of latents (p, D), look like: see `Posterior.draw`. It is cached."""
        latents = of.latents if isinstance(of, Posterior) else of
        keys = [(_content(row), self.prior.fingerprint) for row in latents]
        known = {key: self._looks.get(key) for key in keys}
        missing = [index for index, key in enumerate(keys) if known[key] is None]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            found = self.call(self.prior.looks, latents[batch], cancel=cancel, priority=priority)
            for index, row in zip(batch, found.rows(), strict=True):
                known[keys[index]] = row
                self._looks.put(keys[index], row)
        together = tuple(keys)
        looks = self._joined.get(together)
        if looks is None:
            looks = Looks.joined([row for key in keys if (row := known[key]) is not None])
            self._joined.put(together, looks)
        return looks

    def closest(
        self,
        images: Tensor,
        posterior: Posterior,
        evidence: Evidence | None = None,
        *,
        cancel: threading.Event | None = None,
    ) -> list[Closest]:
        """Of each image, (n, C, S, S) in [0, 1], the closest one of a posterior, by its name in the evidence: a copy is
        found out. Of more than 128 images a posterior keeps, and this compares with, 128 (`MOST_KEPT`).

        Args:
            images: such as `sample` gives.
            posterior: what they are of.
            evidence: that it was conditioned on; without it, or of a saved posterior, a name is "image 3".
        """
        found = self.call(closest, images, self.looks(posterior, cancel=cancel), cancel=cancel)
        used, kept = () if evidence is None else evidence.used, posterior.latents
        if len(used) == len(kept):
            return [replace(one, name=used[one.index].name) for one in found]
        # A few of many were kept: each is found by its latent.
        names = {_content(image.latent.z): image.name for image in used if image.latent is not None}
        return [replace(one, name=names.get(_content(kept[one.index]), one.name)) for one in found]

    # --- latents to images -------------------------------------------------------------------------------------------

    def decode(
        self,
        z: Tensor,
        *,
        centre: Tensor | None = None,
        guards: Sequence[Guard | None] = (),
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Tensor:
        """Latents (n, D) -> images (n, C, S, S) in [0, 1] on the CPU, batch by batch.

        With a `centre`, (D,) or (n, D), a latent whose image is not finite or saturated is moved towards it until it is
        neither. With `guards`, one for each latent, none leaves what its guard lets through.
        """
        decode = self._decoder(guards, progress=progress, cancel=cancel)
        if centre is None:
            return decode(z, torch.arange(len(z)))[0]
        return project(lambda z, rows: decode(z, rows)[0], z, centre)[0]

    def sample(
        self,
        sampler: Sampler,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        preview: bool = False,
        progress: Progress | None = None,
        priority: Priority = "now",
        cancel: threading.Event | None = None,
    ) -> Samples:
        """n images of a posterior (the paper's), or of what `draw` gives.

        A seed gives the same noise at every λ and with every method. A sample that is put together of several images
        and comes out noisy (see `Guard.noisy`) is drawn again, with other donors, up to four times; then it is moved
        towards its first donor until it is clear.

        Args:
            sampler: what they are drawn from.
            n: how many.
            seed, temperature: see `Sampler.sample`.
            preview: the same samples faster, while a slider moves: less sharp, see `fast`.
            progress: called with how many are decoded, see `Progress`.
            priority: see `Worker.submit`.
            cancel: set it to end with Cancelled at the next batch.
        """
        guard = sampler.guard
        decode = self._decoder([guard], preview=preview, progress=progress, priority=priority, cancel=cancel)

        def images_of(z: Tensor, rows: Tensor) -> Tensor:
            return decode(z, rows)[0]

        z = sampler.sample(n, seed, temperature)
        redrawn = torch.zeros(n, dtype=torch.int64)
        images, excess = decode(z, torch.arange(n))
        if not isinstance(sampler, Local) or guard is None:
            images, z, projected = project(images_of, z, sampler.mean, images=images)
            return Samples(images, z, redrawn, projected, excess > 1)
        bad, z = guard.noisy(images), z.clone()
        for fold in range(1, _REDRAWS + 1):
            if not bad.any():
                break
            z[bad] = sampler.sample(n, seed, temperature, fold=fold)[bad]
            redrawn[bad] = fold
            images[bad], excess[bad] = decode(z[bad], bad.nonzero().flatten())
            bad[bad.clone()] = guard.noisy(images[bad])
        if bad.any():
            first = sampler.first(n, seed, fold=_REDRAWS)[bad]
            images[bad], z[bad], _ = project(images_of, z[bad], first, guard.noisy)
        return Samples(images, z, redrawn, bad, excess > 1)

    def series(
        self,
        samplers: Sequence[Sampler],
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Tensor:
        """The same n draws of several samplers, (len(samplers), n, C, S, S) in [0, 1]: along a path as in Fig. 3, or at
        several λ/m as in Fig. 7 and 8."""
        images = []
        for index, sampler in enumerate(samplers):

            def onwards(done: int, _: int, what: str, before: int = index * n) -> None:
                report(progress, before + done, len(samplers) * n, what)

            samples = self.sample(sampler, n, seed=seed, temperature=temperature, progress=onwards, cancel=cancel)
            images.append(samples.images)
        return torch.stack(images)

    @functools.cached_property
    def fast(self) -> Prior:
        """The prior that decodes previews.

        On a processor, a wavelet flow gives the 2×2 means of its images (`WaveletGlow.low_pass`), and the nets inside
        the couplings compute in bfloat16 where the processor has matrix tiles for it (AMX; 1.8 times as fast, by
        `python -m transflow_core bench`) and no pixel of a sample changes by more than 2/255, which is found out at the
        first preview. On a GPU the image has its full size, and the nets compute in float16 under the same condition.

        Evidence never comes this way: an inverse rebuilds what the nets read only to float32 rounding, of which
        bfloat16 makes an error of 1e-2.
        """
        prior = self.prior
        on_gpu = prior.device.type == "cuda"
        if not isinstance(prior.flow, TrainableFlow) or not (on_gpu or has_tiles()):
            return prior
        fast = replace(prior, nets=torch.float16 if on_gpu else torch.bfloat16)
        z = standard_normal(2, prior.dim)
        error = (fast.decode(z, coarse=True) - prior.decode(z, coarse=True)).abs().max()
        return fast if error <= _LARGEST_ERROR else prior

    def _preview(self, z: Tensor, batch_size: int, ranges: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.fast.guarded_decode(z, batch_size, self.prior.device.type == "cpu", ranges)

    def _decoder(
        self,
        guards: Sequence[Guard | None],
        *,
        preview: bool = False,
        progress: Progress | None = None,
        priority: Priority = "now",
        cancel: threading.Event | None = None,
    ) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Decodes latents (k, D) of rows (k,): images, and by how much each would have left its ranges, (k,).

        Args:
            guards: one for each row, or one for all, or none.
        """
        one, ranges = len(guards) == 1, _ranges(guards)
        guarded = self._preview if preview else functools.partial(self.prior.guarded_decode, coarse=False)

        def decode(z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            if not len(z):
                return self.prior.decode(z).cpu(), torch.zeros(0)
            images, excess = [], []
            for start in range(0, len(z), self.batch_size):
                report(progress, start, len(z), "sampling")
                part = slice(start, start + self.batch_size)
                within = ranges if ranges is None or one else ranges[rows[part]]
                shown, beyond = self.call(
                    guarded, z[part], self.batch_size, ranges=within, cancel=cancel, priority=priority
                )
                images.append(shown.cpu())
                excess.append(beyond.cpu())
            report(progress, len(z), len(z), "sampling")
            found = torch.cat(images)
            if one and (guard := guards[0]) is not None:
                found = guard.coloured(found)
            elif guards and not one:
                for index, row in enumerate(rows.tolist()):
                    if (guard := guards[row]) is not None:
                        found[index : index + 1] = guard.coloured(found[index : index + 1])
            return found, torch.cat(excess)

        return decode


def unusable(images: Tensor) -> Tensor:
    """(n, C, S, S) -> (n,) bool: not finite somewhere, or saturated: at both ends of the range in most places."""
    flat = images.reshape(len(images), -1)
    finite = torch.isfinite(flat).all(1)
    clear = flat.nan_to_num(0.0)
    black, white = (clear <= 0).float().mean(1), (clear >= 1).float().mean(1)
    return ~finite | ((black + white > _MOST_SATURATED) & (torch.minimum(black, white) > 0.1))


def project(
    decode: Decode,
    z: Tensor,
    centre: Tensor,
    wrong: Callable[[Tensor], Tensor] = unusable,
    *,
    images: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Decode latents, moving those whose image is wrong along the ray to `centre` until it is not.

    The share of the ray that can be kept is found by bisection, to 1/32, all wrong rows at once. A row that is wrong
    even next to the centre becomes the centre; if that is wrong as well, there is nothing better to show.

    Args:
        decode: latents (k, D) and their rows among the n, (k,) -> (k, C, S, S), in batches as it likes.
        z: (n, D).
        centre: (D,), or (n, D), one for each row.
        wrong: (k, C, S, S) -> (k,) bool.
        images: (n, C, S, S), where they were decoded already.

    Returns:
        The images, (n, C, S, S), finite; the latents that they show, (n, D); and which were moved, (n,) bool.
    """
    images = decode(z, torch.arange(len(z))) if images is None else images
    bad = wrong(images)
    if not bad.any():
        return images, z, bad
    rows = bad.nonzero().flatten()
    z, images = z.clone(), images.clone()
    middle = centre.to(z).expand_as(z)[rows]
    start = z[rows]
    low, high = torch.zeros(len(rows), 1).to(z), torch.ones(len(rows), 1).to(z)
    z[rows], images[rows] = middle, torch.nan_to_num(decode(middle, rows), 0.0, 1.0, 0.0).clamp(0, 1)
    for _ in range(_BISECTIONS):
        share = (low + high) / 2
        tried = middle + share * (start - middle)
        shown = decode(tried, rows)
        good = ~wrong(shown)
        z[rows[good]], images[rows[good]] = tried[good], shown[good]
        good = good.to(share.device).unsqueeze(1)
        low, high = torch.where(good, share, low), torch.where(good, high, share)
    return images, z, bad


def has_tiles() -> bool:
    """Whether this processor multiplies matrices of bfloat16 in tiles (AMX). A torch that cannot tell says no."""
    return getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)


def check(cancel: threading.Event | None) -> None:
    """Raises Cancelled if it is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled


def report(progress: Progress | None, done: int, total: int, what: str) -> None:
    """Call `progress`, if there is one."""
    if progress is not None:
        progress(done, total, what)


def _ranges(guards: Sequence[Guard | None]) -> Tensor | None:
    """(n, 2, R), infinite where there is no guard; None where there is none at all."""
    found = [None if guard is None else guard.ranges for guard in guards]
    like = next((one for one in found if one is not None), None)
    if like is None:
        return None
    free = torch.tensor([-math.inf, math.inf])[:, None].expand_as(like)
    return torch.stack([free if one is None else one for one in found])


def _content(latent: Tensor) -> bytes:
    return hashlib.sha1(latent.numpy(force=True).tobytes()).digest()
