"""A prior at work: batches, caches, previews, samples that decode, progress, and a way to cancel."""

import functools
import hashlib
import itertools
import math
import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, TypeVar, Unpack

import torch
from PIL import Image
from torch import Tensor

from .evidence import Evidence, Latent
from .flows.wavelet import TrainableFlow
from .pictures import digest_of
from .posterior import Guard, Local, Posterior, per_level, standard_normal
from .posterior.around import Around
from .posterior.gaussian import Sampler
from .posterior.guard import Closest, Looks, closest, judged, judged_at
from .priors.prior import Prior
from .recipes import Method
from .runtime.worker import Cancelled, ComputeWorker, Priority

T = TypeVar("T")

Progress = Callable[[int, int, str], None]
"""Called with how much is done, how much there is, and what is being done."""
Decoder = Callable[..., tuple[Tensor, Tensor]]

# Inverting eight images at once takes half the time of one by one.
BATCH = 8
# A noisy or torn sample is drawn again so often, with other donors; then it is moved towards its first one.
_REDRAWS = 4
# By so much a preview may differ: one byte is what rounding takes anyway, and nobody sees two for a moment.
_LARGEST_ERROR = 2 / 255
# Of whoever asks for OpenVINO. The worst pixel of 16 samples was off by 10/255.
_LARGEST_BY_OPENVINO = 16 / 255
# A picture that is black, white or a pure colour in most places shows nothing: a flow that overflows, but not to
# infinity, gives such. Sketches on white paper are mostly white, but not in colour, and not black besides.
_MOST_SATURATED = 0.6
_KEPT = 0.75, 0.5, 0.25  # of the way from its centre to a latent
_MOST_KEYS = 3  # of one picture: by its whole latent, and without one of the finest levels, or two
# An image that comes back as exactly is what its latent shows, and need not be decoded to look at it.
_SMALL_ERROR = 1e-3


class How(TypedDict, total=False):
    """What every method takes that computes for long.

    Attributes:
        progress: called at each batch.
        priority: when a batch has its turn, see `Worker.submit`.
        cancel: set it to end with Cancelled at the next batch.
    """

    progress: Progress | None
    priority: Priority
    cancel: threading.Event | None


@dataclass(frozen=True, eq=False)
class Samples:
    """Images of a posterior, and what was done so that none is noisy or torn.

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
        self._most, self._lock = most, threading.Lock()
        self._entries = OrderedDict[Hashable, tuple[float, Any]]()  # when each was used last

    def get(self, key: Hashable) -> Any | None:
        with self._lock:
            _, value = self._entries.pop(key, (0.0, None))
            if value is not None:
                self._entries[key] = time.monotonic(), value
            return value

    def put(self, key: Hashable, value: Any) -> None:
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = time.monotonic(), value
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def forget(self, seconds: float) -> None:
        """Drop what was not used for so long."""
        with self._lock:
            while self._entries and time.monotonic() - next(iter(self._entries.values()))[0] >= seconds:
                self._entries.popitem(last=False)


class Compute:
    """A prior at work. Latents are cached by the pixels of the aligned image: moving λ never inverts an image again.

    Args:
        batch_size: images that go through the flow at once.
        cached: how many latents are kept; by default as many as 100 MB of latents are: 2,034 at 64×64, 508 at 128×128.
        compute: where the flow runs, a batch at a time, for a server whose requests have threads of their own; by
            default in the thread that calls.
    """

    def __init__(
        self, prior: Prior, *, batch_size: int = 16, cached: int | None = None, compute: ComputeWorker | None = None
    ) -> None:
        self.prior = prior
        self._compute = compute
        self.batch_size = batch_size
        self._cached = cached or max(16, 25_000_000 // prior.dim)  # numbers of 4 bytes
        self._latents = Cache(self._cached)
        # Pictures, mirror images and ranges besides; at least as many as the sets of the page have.
        most = max(128, self._cached // 3) if cached is None else cached
        self._looks, self._shown = Cache(most), Cache(_MOST_KEYS * most)
        self._joined = functools.lru_cache(4)(Looks.joined)  # a slider asks for them at every λ

    @functools.cached_property
    def _starts(self) -> list[int]:
        """The first number that an image has which lacks none of the finest levels, one, two, …"""
        return [self.prior.dim - self.prior.dim // 4**lacks for lacks in range(self.prior.halvings + 1)]

    def forget(self, seconds: float) -> None:
        """Drop what is cached of images that were not used for so long."""
        for cache in (self._latents, self._looks, self._shown):
            cache.forget(seconds)
        self._joined.cache_clear()

    def call(
        self,
        function: Callable[..., T],
        *args: Any,
        progress: Progress | None = None,
        priority: Priority = "now",
        cancel: threading.Event | None = None,
        **kwargs: Any,
    ) -> T:
        """`function(*args, **kwargs)`, where this engine computes: one job, in which `progress` does not change.

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

    def _batches(
        self, function: Callable[[slice], T], n: int, size: int, what: str, progress: Progress | None = None, **how: Any
    ) -> Iterator[T]:
        """`function` of the rows of each batch of n; a batch is a job of its own."""
        for start in range(0, n, size):
            report(progress, start, n, what)
            yield self.call(function, slice(start, start + size), **how)
        report(progress, n, n, what)

    def _known(
        self,
        cache: Cache,
        keys: Sequence[Hashable],
        items: Sequence[Any],
        function: Callable[[list[Any]], Sequence[T]],
        size: int,
        how: How,
    ) -> list[T]:
        """What `function` gives for each item, from the cache where its key is known."""
        found: dict[Hashable, Any] = {key: cache.get(key) for key in keys}
        missing = {key: item for key, item in zip(keys, items, strict=True) if found[key] is None}
        rest = list(missing.values())
        made = self._batches(lambda rows: function(rest[rows]), len(rest), size, "inverting the flow", **how)
        for key, one in zip(missing, itertools.chain.from_iterable(made), strict=True):
            found[key] = one
            cache.put(key, one)
        return [found[key] for key in keys]

    # --- images to latents -------------------------------------------------------------------------------------------

    def encode(self, images: Sequence[Image.Image], **how: Unpack[How]) -> list[Latent]:
        """Latents of aligned images, from the cache where they are known."""
        keys = [digest_of(image) for image in images]
        return self._known(self._latents, keys, images, self._invert, self.batch_size, how)

    def _invert(self, images: list[Image.Image]) -> list[Latent]:
        """Through the flow; an image whose latent is far from typical is decoded again: does it come back?"""
        v, typicality = self.prior.to_unit(images), self.prior.typicality
        encoded = self.prior.encode_and_score(v, self.batch_size)
        log_prior: list[float] = encoded.log_prior.tolist()
        rms = [tuple(row) for row in self.prior.level_rms(encoded.z).tolist()]
        doubted = [
            index
            for index, of_image in enumerate(zip(log_prior, rms, strict=True))
            if typicality is None or typicality.judge(*of_image).way
        ]
        errors: dict[int, float] = {}
        if doubted:
            back = self.prior.decode(encoded.z[doubted], self.batch_size)
            largest = (back - v[doubted]).abs().flatten(1).amax(1).nan_to_num(math.inf, math.inf)
            errors = dict(zip(doubted, largest.tolist(), strict=True))
        rows = enumerate(zip(encoded.z.cpu(), log_prior, encoded.log_prob.tolist(), rms, strict=True))
        latents = [Latent(z.clone(), prior, image, level, errors.get(i)) for i, (z, prior, image, level) in rows]
        ranges = [None] * len(images) if encoded.ranges is None else encoded.ranges.cpu()
        for latent, *shown in zip(latents, images, ranges, strict=True):
            if (latent.error or 0) < _SMALL_ERROR:
                for start in self._starts:
                    self._shown.put(_content(latent.z[start:]), tuple(shown))
        return latents

    # --- what samples are drawn from ---------------------------------------------------------------------------------

    def draw(self, posterior: Posterior, method: Method, along: Sequence[float] = (), **how: Unpack[How]) -> Sampler:
        """What samples of a posterior are drawn from: see `Posterior.draw`, with this prior's levels and its looks.

        Raises ValueError if the method has another number of λ/m than the prior has levels.
        """
        needed = method.method != "posterior" or any(along)
        looks = self.looks(posterior, **how) if needed else None
        return posterior.draw(method, self.prior.levels, looks, along)

    def around(self, sampler: Sampler, near: Sequence[int], **how: Any) -> Sampler:
        """What draws around one sample come from: `near` is its index, then the index of one around it, and so on.

        Args:
            how: `seed`, `temperature` and more of `sample`: those of the sample.
        """
        found = sampler
        for depth, row in enumerate(near, 1):
            found = Around(sampler, self.sample(found, 1, start=row, side=1, **how).z[0], row, depth)
        return found

    def looks(self, of: Posterior | Tensor, **how: Unpack[How]) -> Looks:
        """What the images of a posterior, or of latents (p, D), look like: see `Posterior.draw`. It is cached."""
        latents, since = (of.single, of.since) if isinstance(of, Posterior) else (of, None)
        starts = [0] * len(latents) if since is None else since.tolist()
        lacking = [bisect_right(self._starts, start) - 1 for start in starts]
        keys = [(_content(row), lacks) for row, lacks in zip(latents, lacking, strict=True)]
        rows, found = dict(zip(keys, latents, strict=True)), dict[Hashable, Looks]()
        for lacks in set(lacking):
            some = {key: row for key, row in rows.items() if key[1] == lacks}
            seen = functools.partial(self._seen, lacks=lacks)
            looks = self._known(self._looks, list(some), list(some.values()), seen, BATCH, how)
            found |= zip(some, looks, strict=True)
        return self._joined(tuple(found[key] for key in keys))

    def _seen(self, rows: list[Tensor], lacks: int) -> list[Looks]:
        """What latents look like that lack so many of the finest levels; pictures that are known are not decoded."""
        shown = list(filter(None, (self._shown.get(_content(row[self._starts[lacks] :])) for row in rows)))
        return self.prior.looks(torch.stack(rows), shown if len(shown) == len(rows) else (), lacks).rows()

    def closest(
        self, images: Tensor, posterior: Posterior, evidence: Evidence | None = None, **how: Unpack[How]
    ) -> list[Closest]:
        """Of each image, (n, C, S, S) in [0, 1], the closest one of a posterior: a copy is found out.

        It has its name in the evidence; without one, or of a saved posterior, it is "image 3". Of more than 128 images
        a posterior keeps 128 (`MOST_KEPT`), and of moments none: then there is no closest one.
        """
        if not len(posterior.latents):
            return []
        found = self.call(closest, images, self.looks(posterior, **how), **how)
        used = () if evidence is None else evidence.used
        names = {_content(image.z): image.name for image in used}
        return [replace(one, name=names.get(_content(posterior.latents[one.index]), one.name)) for one in found]

    # --- latents to images -------------------------------------------------------------------------------------------

    def decode(
        self,
        z: Tensor,
        *,
        centre: Tensor | None = None,
        guards: Sequence[Guard | None] = (),
        side: int | None = None,
        **how: Unpack[How],
    ) -> Tensor:
        """Latents (n, D) -> images (n, C, S, S) in [0, 1] on the CPU, batch by batch.

        With a `centre`, (D,) or (n, D), a latent whose image is not finite or saturated is moved towards it until it is
        neither. With `guards`, one for each latent, none leaves what its guard lets through. Where `side` pixels are
        enough, images may be that small: see `Prior.decode`.
        """
        decoded, rows = self._decoder(guards, **how), torch.arange(len(z))

        def decode(z: Tensor, rows: Tensor) -> Tensor:
            return _coloured(decoded(z, rows, side)[0], guards, rows)

        images = decode(z, rows)
        if centre is not None and (bad := unusable(images)).any():
            _, moved = project(decode, z[bad], rows[bad], centre.expand_as(z)[bad])
            images[bad] = moved.nan_to_num(0.0, 1.0, 0.0)
        return images

    def sample(
        self,
        sampler: Sampler,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        start: int = 0,
        preview: bool = False,
        side: int | None = None,
        **how: Unpack[How],
    ) -> Samples:
        """n images of a posterior (the paper's), or of what `draw` gives; `seed`, …: see `Sampler.sample`.

        A seed gives the same noise at every λ and with every method. A `preview` has the same samples faster and less
        sharp, while a slider moves: see `fast`. Where `side` pixels are enough, images may be that small, but for those
        that samples are judged at: see `Prior.decode`. The samples are the same at every side.

        A sample that is put together of several images and comes out noisy or torn (see `Guard`) is drawn again, with
        other donors, up to four times; then it is moved towards its first donor until it is clear.
        """
        guard, full = sampler.guard, self.prior.image_size
        decode, rows = self._decoder([guard], preview, **how), torch.arange(n)
        # What is put together of several images may be noisy or torn, and has other donors to try.
        donors = sampler if isinstance(sampler, Local) and guard is not None else None
        noise = (sampler.sample if donors is None else donors.noise)(n, seed, temperature, start)
        # As `Local.sample`, which does not keep the noise: whatever is drawn again has it, too.
        z, first, coarse = noise.clone(), side, 0
        if isinstance(self.prior.flow, TrainableFlow):
            # What breaks is seen in the means of our flows. Their details come once no sample is drawn again.
            first, coarse = 1, self._starts[self.prior.left_out(judged_at(full))]
        mixing = None if donors is None else donors.mixing(n, seed, start)
        if donors is not None and mixing is not None:
            z[:, coarse:] += temperature * donors.mixed(mixing, seed, start, slice(coarse, None))
        low, excess = decode(z, rows, first)
        wrong = unusable
        if guard is not None and isinstance(sampler, Local | Around):
            wrong = guard.noisy_or_torn if donors is not None else guard.noisy

        def is_bad(images: Tensor) -> Tensor:
            return wrong(_coloured(judged(images, full), [guard]))

        bad, redrawn = is_bad(low), torch.zeros(n, dtype=torch.int64)
        if donors is not None and mixing is not None:
            for fold in range(1, _REDRAWS + 1):
                if not bad.any():
                    break
                again = donors.mixing(n, seed, start, fold, bad)
                mixing.rows[bad], mixing.logits[bad], redrawn[bad] = again.rows, again.logits, fold
                moved = temperature * donors.mixed(again, seed, start, slice(coarse, None))
                z[bad, coarse:] = noise[bad, coarse:] + moved
                low[bad], excess[bad] = decode(z[bad], rows[bad], first)
                bad[bad.clone()] = is_bad(low[bad])
            z[:, :coarse] += temperature * donors.mixed(mixing, seed, start, slice(coarse))
        if bad.any():
            centre = sampler.mean if donors is None else donors.first(n, seed, start, _REDRAWS, bad)
            z[bad], low[bad] = project(lambda z, rows: decode(z, rows, first)[0], z[bad], rows[bad], centre, is_bad)
        images, more = decode(z, rows, side, low)
        images = _coloured(images, [guard]).nan_to_num(0.0, 1.0, 0.0)
        return Samples(images, z, redrawn, bad, excess.maximum(more) > 1)

    @functools.cached_property
    def fast(self) -> Prior:
        """The prior that decodes previews.

        Its nets compute in bfloat16 where a processor has matrix tiles for it (AMX: 1.8 times as fast), and in float16
        on a GPU, if no pixel of a sample changes by more than 2/255. OpenVINO computes all in bfloat16, where the
        processor can: twice as fast, and a pixel changes by 0.6/255 on average. Evidence never comes this way: an
        inverse rebuilds what the nets read only to float32 rounding.
        """
        prior = self.prior
        on_gpu = prior.device.type == "cuda"
        # A torch that cannot tell has no tiles.
        can, most = getattr(torch.cpu, "get_capabilities", dict)(), _LARGEST_ERROR
        tiles = can.get("amx_bf16", False)
        if prior.openvino:
            tiles, most = can.get("avx512_bf16", False), _LARGEST_BY_OPENVINO
        if not isinstance(prior.flow, TrainableFlow) or not (on_gpu or tiles):
            return prior
        fast = replace(prior, nets=torch.float16 if on_gpu else torch.bfloat16)
        z, side = standard_normal(2, prior.dim), prior.image_size // 2
        error = (fast.decode(z, side=side) - prior.decode(z, side=side)).abs().max()
        return fast if error <= most else prior

    def _decoder(self, guards: Sequence[Guard | None], preview: bool = False, **how: Unpack[How]) -> Decoder:
        """Decodes latents (k, D) of rows (k,) at a side, or at the least at which samples are judged.

        From `known` coarser images on, where these are given. It returns images, not clipped, and by how much each
        would have left its ranges, (k,).
        """
        ranges, full = _ranges(guards), self.prior.image_size
        prior = self.fast if preview else self.prior

        def decode(z: Tensor, rows: Tensor, side: int | None, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
            side = min(side or full, full) // (2 if preview and prior.device.type == "cpu" else 1)
            side = max(side, judged_at(full))
            if known is not None and known.shape[-1] >= side:
                return known, known.new_zeros(len(known))

            def guarded(part: slice) -> tuple[Tensor, Tensor]:
                within = ranges[rows[part]] if ranges is not None and len(guards) > 1 else ranges
                below = None if known is None else known[part]
                return prior.guarded_decode(z[part], self.batch_size, side, within, below, clip=False)

            if not len(z):
                nothing = prior.decode(z).cpu()
                return nothing, nothing.new_zeros(0)
            what = "sampling" if known is None else "decoding"
            parts = self._batches(guarded, len(z), self.batch_size, what, **how)
            images, excess = zip(*((x.cpu(), e.cpu()) for x, e in parts), strict=True)
            return torch.cat(images), torch.cat(excess)

        return decode


def _coloured(images: Tensor, guards: Sequence[Guard | None], rows: Tensor | None = None) -> Tensor:
    """In [0, 1], with the colours that each image's guard lets through: of the rows (n,), or one guard for all."""
    images = images.clamp(0, 1)
    if not guards or not len(images):
        return images
    some = [guards[row] for row in rows.tolist()] if rows is not None and len(guards) > 1 else guards[:1]
    pairs = zip(some, images.split(len(images) // len(some)), strict=True)
    return torch.cat([x if guard is None else guard.coloured(x) for guard, x in pairs])


def unusable(images: Tensor) -> Tensor:
    """(n, C, S, S) -> (n,) bool: not finite somewhere, or saturated: at both ends of the range in most places."""
    flat = images.reshape(len(images), -1)
    finite = torch.isfinite(flat).all(1)
    clear = flat.nan_to_num(0.0)
    black, white = (clear <= 0).float().mean(1), (clear >= 1).float().mean(1)
    return ~finite | ((black + white > _MOST_SATURATED) & (torch.minimum(black, white) > 0.1))


def project(
    decode: Callable[[Tensor, Tensor], Tensor],
    z: Tensor,
    rows: Tensor,
    centre: Tensor,
    wrong: Callable[[Tensor], Tensor] = unusable,
) -> tuple[Tensor, Tensor]:
    """Latents whose images are wrong, (k, D), moved along the ray to `centre` until they are not; and their images.

    A row keeps 3/4, 1/2 or 1/4 of its ray, the most that it can; all are tried at once. A row that is wrong even then
    becomes the centre.

    Args:
        decode: latents (j, D) of rows (j,) -> images (j, C, S, S).
        rows: (k,), which latents these are.
        centre: (D,), or (k, D), one for each row.
        wrong: (j, C, S, S) -> (j,) bool.
    """
    centre = centre.to(z).expand_as(z)
    tried = torch.stack([*(torch.lerp(centre, z, share) for share in _KEPT), centre])
    images = decode(tried.flatten(0, 1), rows.repeat(len(tried)))
    good = ~wrong(images).unflatten(0, tried.shape[:2])
    good[-1] = True
    best, each = good.int().argmax(0), torch.arange(len(z))
    return tried[best, each], images.unflatten(0, tried.shape[:2])[best, each]


def check(cancel: threading.Event | None) -> None:
    """Raises Cancelled if it is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled


def report(progress: Progress | None, done: int, total: int, what: str) -> None:
    """Call `progress`, if there is one."""
    if progress is not None:
        progress(done, total, what)


def _ranges(guards: Sequence[Guard | None]) -> Tensor | None:
    """(n, 2, R), infinite where there is no guard, or where nothing is known; None where there is none at all."""
    found = [None if guard is None else guard.ranges for guard in guards]
    like = next((one for one in found if one is not None), None)
    if like is None:
        return None
    free = torch.tensor([-math.inf, math.inf])[:, None].expand_as(like)
    return torch.stack([free if one is None else torch.where(one[0] <= one[1], one, free) for one in found])


def _content(latent: Tensor) -> bytes:
    return hashlib.sha1(latent.numpy(force=True).tobytes()).digest()
