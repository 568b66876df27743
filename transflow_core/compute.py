"""What the page, the API and the command line share: a prior with caches, batches, progress and a way to cancel."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .evidence import LARGEST_LATENT, Evidence, EvidenceImage, Latent
from .faces import AlignedFace, mask_in_frame, paste
from .images import ImageError, load_image, to_pil
from .intake import Intake
from .masked import fill, frame_mask, likely
from .pictures import Landmarks, Picture, Source, Whole, content_of, digest_of, read_picture
from .posterior import (
    LIKENESS_TO_EVIDENCE,
    Closest,
    Gaussian,
    Guard,
    Local,
    Looks,
    Posterior,
    Restyling,
    Sampler,
    closest,
    interpolate,
    per_level,
)
from .preview import Preview
from .prior import Prior
from .pullback import decode_in_range
from .recipes import Method
from .restyled import Restyled
from .worker import Cancelled, ComputeThread, PictureLane

__all__ = ["Cancelled", "Compute", "Drawn", "Pick", "Progress"]

T = TypeVar("T")

Pick = Literal["largest", "all", "whole"] | int
"""Which of a picture's faces: its largest, all, the picture whole, or face number 0, 1, … in their order."""
Progress = Callable[[int, int, str], None]
"""Called with how much is done, how much there is, and what is being done."""

# Inverting eight images at once takes half the time of one by one. The first batches are smaller, so that something is
# seen early; none depends on the clock, since a latent depends in its last bits on the batch that it was inverted in.
_BATCH = 8
# Pictures of one reading that wait in the lane: enough that the flow never waits for it, and no more in memory.
_AHEAD = 2 * _BATCH


# What is painted away ends where the mask does; only a frame's own edge needs a soft one.
_PAINTED_FEATHER = 0.04

# A picture, the face of it that is taken, and what was given with it.
_Chosen = tuple[Picture, AlignedFace | None, dict[str, Any]]


# A draw that came out noisy is drawn again so often, with other donors; then it is moved towards its first one.
_FOLDS = 4


@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples, and what was done so that none is noisy.

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


class _Cache:
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

    Pictures are cached by their content, latents by the pixels of the aligned frame and the prior's fingerprint:
    moving λ never inverts an image again, and neither does dropping the same file twice.

    Args:
        prior: the prior; its device is where the flow runs.
        batch_size: images that go through the flow at once.
        cached: how many latents and how many pictures are kept; by default as many as 100 MB of latents are: 2,034 at
            64×64, 508 at 128×128.
        compute: where the flow runs, a batch at a time, for a server whose requests have threads of their own; by
            default in the thread that asks.
        pictures: where files are decoded and faces are looked for, a picture at a time, while the flow inverts those
            before; by default in the thread that asks.

    Example:
        >>> from transflow_core import load_prior
        >>> engine = Compute(load_prior("celeba64"))
        >>> intake = engine.intake([Image.new("RGB", (64, 64), "grey")])
        >>> intake.evidence[0].summary, intake.posterior(lam_ratio=0.5).mean.shape
        ('no face found: taken whole; far too smooth for this prior', torch.Size([12288]))
    """

    def __init__(
        self,
        prior: Prior,
        *,
        batch_size: int = 16,
        cached: int | None = None,
        compute: ComputeThread | None = None,
        pictures: PictureLane | None = None,
    ) -> None:
        self.prior = prior
        self._compute, self._lane = compute, pictures
        self.batch_size = batch_size
        cached = cached or max(16, 25_000_000 // prior.dim)  # numbers of 4 bytes
        self._preview = Preview(prior)
        self._pictures = _Cache(cached)
        self._latents = _Cache(cached)
        self._looks = _Cache(max(16, cached // 3))  # pictures, mirror images and ranges besides
        self._joined = _Cache(4)  # of the sets that are looked at: a slider asks for them at every λ

    def call(
        self,
        function: Callable[..., T],
        *args: Any,
        cancel: threading.Event | None = None,
        priority: int = 0,
        **kwargs: Any,
    ) -> T:
        """`function(*args, **kwargs)`, where this engine computes: for long arithmetic with its latents.

        Raises Cancelled if `cancel` is set before its turn; `priority`: see `FairThread.submit`.
        """
        if self._compute is not None:
            return self._compute.run(function, *args, cancel=cancel, priority=priority, **kwargs)
        _check(cancel)
        return function(*args, **kwargs)

    @property
    def before(self) -> int:
        """How many others have their turn before what is asked for now, where this engine computes or reads."""
        return max((thread.before for thread in (self._compute, self._lane) if thread is not None), default=0)

    def read(
        self,
        source: Source,
        *,
        whole: Whole = "auto",
        landmarks: Landmarks = "5",
        size: int | None = None,
        cancel: threading.Event | None = None,
    ) -> Picture:
        """One file to its faces, cached by content. What is wrong with a file is said in the Picture, not raised.

        Args:
            source: a path, bytes, a binary file or a PIL image.
            whole, landmarks: see `faces.align`.
            size: side of the aligned faces in pixels; by default the prior's.
        """
        return self._submit(source, whole, landmarks, cancel, size).result()

    def stream(
        self,
        sources: Iterable[Source],
        *,
        onto: Intake | None = None,
        whole: Whole = "auto",
        landmarks: Landmarks = "5",
        faces: Pick | Sequence[Pick] = "largest",
        labels: Sequence[str] | None = None,
        weights: Sequence[float] | None = None,
        robust: bool | Sequence[bool] = True,
        most: int | None = None,
        priority: int = 0,
        cancel: threading.Event | None = None,
    ) -> Iterator[Intake]:
        """Read, align and invert files a few at a time, and give what there is after each time.

        The first intake is `onto` with what there is to read; the next have 1, 2, 4 and then always 8 images more, and
        the last is the result. Each has the number of sources that are `left`: 0 in the last one, unless `cancel` was
        set on the way. A file that cannot be used stays in the evidence with its reason; the others go on.

        A saved posterior (`.safetensors`) takes the evidence's place when it comes alone; among other files, or when it
        is damaged or another prior's, the intake's `notes` say so. At most 16 pictures are read ahead of the flow.

        Args:
            sources: paths, bytes, binary files or PIL images.
            onto: what these are added to; nothing by default.
            whole, landmarks: see `faces.align`.
            faces: what is taken of a picture: its largest face, "all" as evidence of their own, face number 0, 1, …,
                or "whole"; one for all sources, or one for each.
            labels, weights: one for each source; see `EvidenceImage`.
            robust: whether what lies far outside counts less, see `Evidence.counts`; one for all sources, or one for
                each.
            most: images that there may be in the end; those that do not fit are left out with a note.
            priority: the flow inverts them when nobody waits for anything, see `FairThread.submit`.
            cancel: set it to end after the batch that is under way.
        """
        onto = replace(Intake(self.prior.name) if onto is None else onto, notes=(), left=0)
        sources = list(sources)
        n = len(sources)
        picks: Sequence[Pick] = faces if isinstance(faces, list | tuple) else [faces] * n  # type: ignore[list-item]
        robustly = [robust] * n if isinstance(robust, bool) else robust
        each = zip(sources, labels or [""] * n, weights or [1.0] * n, robustly, strict=True)
        hows: list[dict[str, Any]] = [
            dict(zip(("source", "label", "weight", "robust"), values, strict=True)) for values in each
        ]
        given = list(zip(sources, hows, picks, strict=True))
        saved = [path for path in map(_posterior_file, sources) if path is not None]
        if saved and len(sources) == 1:
            yield self._with_saved(onto, saved[0])
            return
        notes = []
        if saved:
            names = ", ".join(path.name for path in saved)
            notes.append(f"{names}: give images, or one saved posterior by itself.")
            given = [entry for entry in given if _posterior_file(entry[0]) is None]
        room = len(given) if most is None else max(0, most - len(onto.evidence))
        if len(given) > room:
            notes.append(f"Only {most} images fit: the last {len(given) - room} are left out.")
            given = given[:room]
        onto = replace(onto, left=len(given), notes=tuple(notes))
        yield onto
        reading = self._read_ahead([source for source, *_ in given], whole, landmarks, cancel)
        try:
            batch: list[_Chosen] = []
            size = 1
            for left, (picture, (_, how, pick)) in zip(
                reversed(range(len(given))), zip(reading, given, strict=True), strict=True
            ):
                batch += [(picture, face, how) for face in _taken(picture, pick)]
                if not left or len(batch) >= size:
                    onto = onto.added(self._judged(batch, cancel=cancel, priority=priority), left)
                    yield onto
                    batch, size = [], min(2 * size, _BATCH)
        except Cancelled:
            return
        finally:
            reading.close()

    def intake(
        self,
        sources: Iterable[Source],
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        **how: Any,
    ) -> Intake:
        """The last intake of `stream`, whose keywords it takes. Raises Cancelled if `cancel` is set on the way."""
        steps = self.stream(sources, cancel=cancel, **how)
        intake = begun = next(steps)
        _report(progress, 0, begun.left, "reading the images")
        for intake in steps:
            _report(progress, begun.left - intake.left, begun.left, "reading the images")
        if intake.left:
            raise Cancelled
        return intake

    def posterior(
        self,
        sources: Iterable[Source],
        lam_ratio: float | Sequence[float] | None = None,
        *,
        lam: float | Sequence[float] | None = None,
        **how: Any,
    ) -> Posterior:
        """Images, or one saved posterior, to a posterior.

        Args:
            sources: see `stream`, whose keywords and `intake`'s are taken as well.
            lam_ratio, lam: λ/m, or λ itself: one number, or one for each latent level, fine to coarse. With neither a
                saved posterior keeps its own, and images have λ/m = 0.5.

        Raises ValueError when there is nothing to condition on, with what is wrong with each image; when a saved
        posterior is damaged, of another prior, or not alone; for both λ, or another number of levels.
        """
        return self.intake(sources, **how).checked().posterior(self.ratio(lam_ratio), lam=self.ratio(lam))

    def ratio(self, values: float | Sequence[float] | None) -> float | Tensor | None:
        """λ as `Posterior.condition` takes it, of one number or of one for each latent level (None stays None)."""
        return per_level(values, self.prior.levels) if isinstance(values, Sequence) else values

    def choose(
        self, image: EvidenceImage, face: AlignedFace | None, *, cancel: threading.Event | None = None
    ) -> EvidenceImage:
        """The same piece of evidence by another face of its picture, or by the picture taken whole."""
        how = {"source": image.source, "label": image.label, "weight": image.weight, "robust": image.robust}
        return self._judged([(image.picture, face, how)], cancel=cancel)[0]

    def encode(
        self,
        frames: Sequence[Image.Image],
        *,
        progress: Progress | None = None,
        priority: int = 0,
        cancel: threading.Event | None = None,
    ) -> list[Latent]:
        """Latents of images that are in the frame already, from the cache where they are known.

        `priority`: see `FairThread.submit`.
        """
        keys = [(digest_of(frame), self.prior.fingerprint) for frame in frames]
        found = {key: self._latents.get(key) for key in keys}
        known = {key: latent for key, latent in found.items() if latent is not None}
        missing = [entry for entry in dict(zip(keys, frames, strict=True)).items() if entry[0] not in known]
        for start in range(0, len(missing), self.batch_size):
            _report(progress, start, len(missing), "inverting the flow")
            batch = missing[start : start + self.batch_size]
            latents = self.call(self._invert, [frame for _, frame in batch], cancel=cancel, priority=priority)
            for (key, _), latent in zip(batch, latents, strict=True):
                known[key] = latent
                self._latents.put(key, latent)
        _report(progress, len(missing), len(missing), "inverting the flow")
        return [known[key] for key in keys]

    def load_posterior(self, path: str | Path) -> Posterior:
        """A saved posterior, if it belongs to this prior.

        Raises ValueError, naming the file without its folder, when it is damaged or was made with another prior.
        """
        path = Path(path)
        try:
            posterior = Posterior.load(path)
        except ValueError as error:
            words = str(error).removeprefix(f"{path}: ")
            raise ValueError(f"{path.name} is not a saved posterior: {words}") from error
        made_with = posterior.metadata.get("fingerprint")
        if posterior.dim != self.prior.dim or made_with not in (None, self.prior.fingerprint):
            name = posterior.metadata.get("prior", "another prior")
            raise ValueError(f"{path.name} was made with {name}, not with {self.prior.name}: choose that prior for it")
        if not posterior.mean.abs().max() < LARGEST_LATENT:
            raise ValueError(
                f"{path.name} lies beyond all that this prior can show: it is damaged, or no posterior of it"
            )
        return posterior

    def draw(self, posterior: Posterior, how: Method, *, cancel: threading.Event | None = None) -> Sampler:
        """What samples of a posterior are drawn from: see `Posterior.draw`, with this prior's levels and its looks.

        Raises ValueError if the method has another number of λ/m than the prior has levels.
        """
        looks = None if how.method == "posterior" else self.looks(posterior, cancel=cancel)
        return posterior.draw(how, self.prior.levels, looks)

    def looks(self, posterior: Posterior, *, priority: int = 0, cancel: threading.Event | None = None) -> Looks:
        """What the images of a posterior look like (see `Posterior.draw`), from the cache where they are known."""
        return self._looks_of(posterior.latents, priority=priority, cancel=cancel)

    def _looks_of(self, rows: Tensor, *, priority: int = 0, cancel: threading.Event | None = None) -> Looks:
        keys = [(_content(row), self.prior.fingerprint) for row in rows]
        known = {key: self._looks.get(key) for key in keys}
        missing = [index for index, key in enumerate(keys) if known[key] is None]
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            found = self.call(self.prior.looks, rows[batch], cancel=cancel, priority=priority)
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

        With a `centre`, (D,) or (n, D), a latent whose image is broken is moved towards it until it is not. With
        `guards`, one for each latent, none leaves what its guard lets through.
        """
        if centre is None:
            return self._decoder(guards, progress, cancel)(z)[0]

        def decode(rows: Tensor) -> Tensor:
            of_rows = guards if len(guards) < 2 else [guards[int(number)] for number in rows[:, -1]]
            return self._decoder(of_rows, progress, cancel)(rows[:, :-1].contiguous())[0]

        # Some rows are decoded again: the number of each goes along, so that it keeps its guard.
        numbers = torch.arange(len(z)).to(z).unsqueeze(1)
        numbered, towards = (torch.cat([rows, numbers], 1) for rows in (z, centre.to(z).expand_as(z)))
        return decode_in_range(decode, numbered, towards)[0]

    def _decoder(
        self,
        guards: Sequence[Guard | None],
        progress: Progress | None,
        cancel: threading.Event | None,
        coarse: Callable[..., tuple[Tensor, Tensor]] | None = None,
        priority: int = 0,
    ) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Decodes (n, D) to images, and tells by how much each would have left its guard's ranges, (n,).

        Args:
            guards: one for each latent, or one for all, or none.
            coarse: in the place of `Prior.guarded_decode`.
        """
        ranges = self._ranges(guards)

        def decode(z: Tensor) -> tuple[Tensor, Tensor]:
            images, excess = [self.prior.decode(z[:0]).cpu()], [torch.zeros(0)]
            for start in range(0, len(z), self.batch_size):
                _report(progress, start, len(z), "sampling")
                rows = slice(start, start + self.batch_size)
                of_rows = ranges if ranges is None or len(ranges) == 1 else ranges[rows]
                how = {"cancel": cancel, "priority": priority, "ranges": of_rows}
                shown, beyond = self.call(coarse or self.prior.guarded_decode, z[rows], self.batch_size, **how)
                images.append(shown.cpu())
                excess.append(beyond.cpu())
            _report(progress, len(z), len(z), "sampling")
            return _coloured(torch.cat(images[len(z) > 0 :]), guards), torch.cat(excess)

        return decode

    def _ranges(self, guards: Sequence[Guard | None]) -> Tensor | None:
        """(n, 2, R), infinite where there is no guard; None where there is none at all."""
        found = [None if guard is None else guard.ranges for guard in guards]
        like = next((one for one in found if one is not None), None)
        if like is None:
            return None
        free = torch.tensor([-math.inf, math.inf])[:, None].expand_as(like)
        return torch.stack([free if one is None else one for one in found])

    def sample(
        self,
        sampler: Sampler,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Tensor:
        """n images, (n, C, S, S) in [0, 1], of a posterior (the paper's) or of what `draw` gives.

        A seed gives the same noise at every λ and with every method. None is broken: see `drawn`.
        """
        return self.drawn(sampler, n, seed=seed, temperature=temperature, progress=progress, cancel=cancel).images

    def drawn(
        self,
        sampler: Sampler,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Drawn:
        """The images of `sample`, with what was done so that none is noisy.

        A draw that is put together of several images and comes out noisy (see `Guard.noisy`) is drawn again, with other
        donors, up to four times; then it is moved towards its first donor until it is whole.
        """
        return self._drawn(sampler, n, seed, temperature, self._decoder([sampler.guard], progress, cancel))

    def _drawn(
        self,
        sampler: Sampler,
        n: int,
        seed: int,
        temperature: float,
        decode: Callable[[Tensor], tuple[Tensor, Tensor]],
    ) -> Drawn:
        z = sampler.sample(n, seed, temperature)
        images, excess = decode(z)
        redrawn = torch.zeros(n, dtype=torch.int64)
        guard = sampler.guard
        if isinstance(sampler, Local) and guard is not None:
            bad = guard.noisy(images)
            z = z.clone()
            for fold in range(1, _FOLDS + 1):
                if not bad.any():
                    break
                z[bad] = sampler.sample(n, seed, temperature, fold=fold)[bad]
                redrawn[bad] = fold
                images[bad], excess[bad] = decode(z[bad])
                bad[bad.clone()] = guard.noisy(images[bad])
            if bad.any():
                first = sampler.first(n, seed, fold=_FOLDS)[bad]
                images[bad], z[bad], _ = decode_in_range(lambda rows: decode(rows)[0], z[bad], first, guard.noisy)
            projected = bad
        else:
            images, z, projected = decode_in_range(lambda rows: decode(rows)[0], z, sampler.mean)
        return Drawn(images, z, redrawn, projected, excess > 1)

    def preview(
        self,
        sampler: Sampler,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        cancel: threading.Event | None = None,
        priority: int = 0,
    ) -> Tensor:
        """The images of `sample` while a slider is dragged, faster; `Preview` says what a processor does less exactly.

        They are of the very draws that `sample` gives, so that nothing but sharpness changes afterwards.
        `priority`: see `FairThread.submit`.
        """
        decode = self._decoder([sampler.guard], None, cancel, self._preview.decode, priority)
        return self._drawn(sampler, n, seed, temperature, decode).images

    def sweep(
        self,
        posterior: Posterior,
        methods: Iterable[Method],
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Tensor:
        """The same n draws by several methods, (methods, n, C, S, S) in [0, 1]: at several λ/m of the paper's it is
        Fig. 7 and 8."""
        at = [self.draw(posterior, how) for how in methods]
        return self._draws(at, n, seed=seed, temperature=temperature, progress=progress, cancel=cancel)

    def interpolate(
        self,
        a: Sampler,
        b: Sampler,
        steps: int,
        n: int,
        *,
        method: str = "linear",
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Tensor:
        """The same n draws at `steps` posteriors from a to b, as in Fig. 3: (steps, n, C, S, S) in [0, 1]."""
        if steps < 2:
            raise ValueError(f"an interpolation has at least 2 steps, its ends, not {steps}")
        path = [interpolate(a, b, i / (steps - 1), method=method) for i in range(steps)]
        return self._draws(path, n, seed=seed, temperature=temperature, progress=progress, cancel=cancel)

    def restyle(
        self,
        photographs: Iterable[EvidenceImage],
        posterior: Posterior,
        strengths: Sequence[float | Sequence[float]] = (1.0,),
        *,
        likeness: float | Sequence[float] = LIKENESS_TO_EVIDENCE,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Restyled:
        """Photographs of people in the style of the evidence, by optimal transport of their latents: see `Restyling`.

        Args:
            photographs: faces that were read: `intake([file], faces="all").evidence`; those without a latent are left
                out.
            posterior: of the evidence.
            strengths: from 0, the photograph itself, to 1; each one number, or one for each latent level, fine to
                coarse.
            likeness: 0 keeps most of the person, 1 what the evidence has.

        Raises ValueError, in words, when there is no face to restyle.

        Example:
            >>> from transflow_core import load_prior
            >>> engine = Compute(load_prior("celeba64"))
            >>> photograph = Image.new("RGB", (90, 120), "grey")
            >>> evidence = engine.posterior([Image.new("RGB", (64, 64), "white")])
            >>> restyled = engine.restyle(engine.intake([photograph], faces="all").evidence, evidence)
            >>> restyled.pasted(photograph).size
            (90, 120)
        """
        photographs = Evidence(tuple(photographs))
        faces = photographs.used
        z = photographs.z
        towards = Restyling.of(posterior, self.prior.levels, self.prior.typicality, likeness)
        rows = torch.cat([self.call(towards, z, strength, cancel=cancel) for strength in strengths])
        # Nothing leaves the ranges of the photograph and of the style; colours may.
        style = self.looks(posterior, cancel=cancel).of(posterior.counting).guard
        own = self._looks_of(z, cancel=cancel).rows()
        guards = [style.union(looks.guard).uncoloured() for looks in own] * len(strengths)
        images = self.decode(rows, centre=z.repeat(len(strengths), 1), guards=guards, progress=progress, cancel=cancel)
        before = self.prior.to_unit([face.face.image for face in faces if face.face is not None]).cpu()
        return Restyled(faces, before, images.reshape(len(strengths), *before.shape))

    def masked(
        self, intake: Intake, masks: Mapping[int, Image.Image | None], *, cancel: threading.Event | None = None
    ) -> Intake:
        """Pieces of evidence of which a part does not count: it is filled in, by what the rest of the piece and the
        other pieces make likely (see `masked.fill`), and what is filled in conditions.

        Args:
            intake: evidence, read.
            masks: for the place of a piece, its mask over the face's frame, white where nothing counts; any size. None,
                or one that is all black, lets all of it count again.

        Example:
            >>> from transflow_core import load_prior
            >>> engine = Compute(load_prior("celeba64"))
            >>> mask = Image.new("L", (64, 64))
            >>> mask.paste(255, (10, 20, 50, 30))
            >>> intake = engine.masked(engine.intake([Image.new("RGB", (64, 64), "grey")]), {0: mask})
            >>> intake.evidence[0].filled.getpixel((0, 0))
            (128, 128, 128)
        """
        for index, mask in masks.items():
            image = intake.evidence[index]
            mask = mask and frame_mask(mask, self.prior.image_size)
            whole = image if image.mask is None else self.choose(image, image.face, cancel=cancel)
            intake = intake.put(index, replace(whole, mask=mask if mask and image.face and mask.getbbox() else None))
        places = [index for index in masks if intake.evidence[index].mask is not None]
        if not places:
            return intake
        # What is far outside is no guide to what is likely.
        others = Evidence(tuple(image for image in intake.evidence if image.mask is None and not image.far))
        towards = likely(self.prior, others.z, others.weights) if others.used else likely(self.prior)
        pieces = [intake.evidence[index] for index in places]
        for index, image in zip(places, self._filled(pieces, towards, cancel), strict=True):
            intake = intake.put(index, image)
        return intake

    def paint_away(
        self,
        photograph: Image.Image,
        faces: Iterable[EvidenceImage],
        mask: Image.Image,
        *,
        cancel: threading.Event | None = None,
    ) -> tuple[Image.Image, tuple[EvidenceImage, ...]]:
        """A photograph of people without what a mask covers of their faces' frames: it is drawn anew, by what the rest
        of each face makes likely; the rest of the photograph stays. Gives it, and the faces as they are in it.

        Args:
            photograph: as `load_image` gives it.
            faces: of it, as `intake([photograph], faces="all").evidence` has them.
            mask: white where something is to go, in the proportions of the photograph.

        Raises ValueError for a mask of other proportions, and one that touches no face's frame.
        """
        faces = tuple(faces)
        cut = [image.face and mask_in_frame(mask, photograph.size, image.face) for image in faces]
        touched = [i for i, one in enumerate(cut) if one is not None and one.getbbox()]
        if not touched:
            raise ValueError("the mask touches no face: what lies outside of the faces' frames cannot be drawn anew")
        pieces = [
            replace(image, mask=frame_mask(one, self.prior.image_size))
            for image, one in zip(faces, cut, strict=True)
            if one is not None and one.getbbox()
        ]
        filled = self._filled(pieces, likely(self.prior), cancel)
        placed, changes, now = [], [], dict(zip(touched, filled, strict=True))
        for before, after in zip(pieces, filled, strict=True):
            assert before.face is not None and after.filled is not None  # a face was cut, and filled in
            placed.append(before.face)
            changes.append((np.asarray(after.filled, float) - np.asarray(before.face.image, float)) / 255)
        for i, after in now.items():
            face = after.face and after.filled and replace(after.face, image=after.filled)
            now[i] = replace(after, face=face, mask=None, filled=None)
        painted = paste(photograph, placed, changes, feather=_PAINTED_FEATHER)
        return painted, tuple(now.get(i, image) for i, image in enumerate(faces))

    def _filled(
        self, pieces: Sequence[EvidenceImage], towards: Gaussian, cancel: threading.Event | None
    ) -> list[EvidenceImage]:
        """Pieces with masks, filled in and judged as they are then."""
        run, filled = partial(self.call, cancel=cancel), []
        for start in range(0, len(pieces), _BATCH):
            batch = pieces[start : start + _BATCH]
            frames = self.prior.to_unit([piece.face.image for piece in batch if piece.face is not None])
            masks = [piece.mask for piece in batch if piece.mask is not None]
            filled += to_pil(fill(self.prior, frames, masks, towards, run=run))
        latents = self.encode(filled, cancel=cancel)
        return [
            replace(piece.rejudged(latent, self.prior.typicality), filled=frame)
            for piece, latent, frame in zip(pieces, latents, filled, strict=True)
        ]

    def _draws(
        self,
        samplers: Sequence[Sampler],
        n: int,
        *,
        seed: int,
        temperature: float,
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> Tensor:
        """The same n draws of each, as `drawn` gives them: (len(samplers), n, C, S, S)."""
        images = []
        for index, sampler in enumerate(samplers):

            def report(done: int, _: int, what: str, before: int = index * n) -> None:
                _report(progress, before + done, len(samplers) * n, what)

            how = {"seed": seed, "temperature": temperature, "progress": report, "cancel": cancel}
            images.append(self.drawn(sampler, n, **how).images)
        return torch.stack(images)

    def picture(self, source: Source, *, cancel: threading.Event | None = None) -> Image.Image:
        """A whole picture, decoded where this engine reads files: for a server in a child process with limits.

        Raises ImageError if it cannot be used, and Cancelled.
        """
        if self._lane is None:
            return load_image(source)
        name, content, _ = content_of(source)
        found = self._lane.submit(content, cancel=cancel, name=name, size=1, whole="always", keep=True).result()
        if found.image is None:
            raise ImageError(name, found.problem or "")
        return found.image

    def _submit(
        self,
        source: Source,
        whole: Whole,
        landmarks: Landmarks,
        cancel: threading.Event | None,
        size: int | None = None,
    ) -> Future[Picture]:
        """One file on its way to its faces; at once where it is known already, or where there is no lane for it."""
        try:
            name, content, digest = content_of(source)
        except ImageError as error:
            return _done(Picture(error.name, problem=error.problem))
        size = size or self.prior.image_size
        key = (digest, size, whole, landmarks)
        known = self._pictures.get(key)
        if known is not None:
            return _done(replace(known, name=name))

        how: dict[str, Any] = {"name": name, "size": size, "whole": whole, "landmarks": landmarks}
        if self._lane is None:
            reading = _done(read_picture(content, **how))
        else:
            reading = self._lane.submit(content, cancel=cancel, **how)
        reading.add_done_callback(lambda read: self._keep(key, read))
        return reading

    def _keep(self, key: Hashable, read: Future[Picture]) -> None:
        if not read.cancelled() and read.exception() is None:
            self._pictures.put(key, read.result())

    def _read_ahead(
        self, sources: Sequence[Source], whole: Whole, landmarks: Landmarks, cancel: threading.Event | None
    ) -> Generator[Picture, None, None]:
        """Pictures in their order; with a lane, those that follow are read meanwhile. Raises Cancelled."""
        coming = iter(sources)
        waiting: deque[Future[Picture]] = deque()
        try:
            while True:
                _check(cancel)
                ahead = _AHEAD if self._lane is not None else 1
                for source in itertools.islice(coming, ahead - len(waiting)):
                    waiting.append(self._submit(source, whole, landmarks, cancel))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _with_saved(self, onto: Intake, path: Path) -> Intake:
        try:
            saved = self.load_posterior(path)
        except ValueError as error:
            return replace(onto, notes=(str(error),))
        except OSError as error:
            return replace(onto, notes=(f"{path.name} cannot be read ({error.strerror or 'no such file'}).",))
        return replace(onto, evidence=Evidence(), saved=saved, saved_name=path.name, example="")

    def _judged(
        self, chosen: Sequence[_Chosen], cancel: threading.Event | None, priority: int = 0
    ) -> list[EvidenceImage]:
        frames = [face.image for _, face, _ in chosen if face is not None]
        latents = iter(self.encode(frames, priority=priority, cancel=cancel))
        typicality = self.prior.typicality
        return [
            EvidenceImage.judged(picture, face, next(latents) if face else None, typicality, **how)
            for picture, face, how in chosen
        ]

    def _invert(self, frames: list[Image.Image]) -> list[Latent]:
        """Through the flow; an image whose latent is not plainly typical is decoded again: does it come back?"""
        v = self.prior.to_unit(frames)
        encoded = self.prior.encode_and_score(v, self.batch_size)
        typical = torch.tensor([self._typical(float(value)) for value in encoded.log_prior])
        errors: list[float | None] = [None] * len(frames)
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


def _content(latent: Tensor) -> bytes:
    return hashlib.sha1(latent.numpy(force=True).tobytes()).digest()


def _coloured(images: Tensor, guards: Sequence[Guard | None]) -> Tensor:
    """Images, (n, C, S, S), with the colours that their guards let through; one guard may be of all."""
    if len(guards) == 1:
        return images if guards[0] is None else guards[0].coloured(images)
    rows: dict[int, list[int]] = {}
    for index, guard in enumerate(guards):
        rows.setdefault(id(guard), []).append(index)
    for of_guard in rows.values():
        if (guard := guards[of_guard[0]]) is not None:
            images[of_guard] = guard.coloured(images[of_guard])
    return images


def _posterior_file(source: Source) -> Path | None:
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    return path if path is not None and path.suffix.lower() == ".safetensors" else None


def _taken(picture: Picture, pick: Pick) -> Sequence[AlignedFace | None]:
    """The faces that are meant; the largest where there is no such face, None where there is none at all."""
    if pick == "whole":
        return (picture.whole,)
    some = picture.faces[pick : pick + 1] if isinstance(pick, int) else picture.faces if pick == "all" else ()
    return some or picture.faces[:1] or (None,)


def _done(picture: Picture) -> Future[Picture]:
    future: Future[Picture] = Future()
    future.set_result(picture)
    return future


def _check(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled


def _report(progress: Progress | None, done: int, total: int, what: str) -> None:
    if progress is not None:
        progress(done, total, what)
