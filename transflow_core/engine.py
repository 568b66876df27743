"""What the demo and the command line share: a prior with caches, batches, progress and a way to stop."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from .compute import ComputeThread
from .evidence import Evidence, EvidenceImage, Latent, Picture, Source, content_of, read_picture
from .faces import AlignedFace
from .images import ImageError
from .posterior import Gaussian, Posterior, interpolate
from .preview import Preview
from .prior import Prior

__all__ = ["Cancelled", "Engine", "Progress"]

Progress = Callable[[int, int, str], None]
"""Called with how much is done, how much there is, and what is being done."""

# The flow holds an image when decode(encode(image)) shows it again. Beyond two bytes of error nobody would call it
# the same.
_LARGEST_ERROR = 2 / 255
# A standard normal never leaves ±7. With a latent this far out, one image would throw the mean of a hundred good ones.
_LARGEST_LATENT = 1000.0


class Cancelled(Exception):
    """The person pressed Stop."""


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


class Engine:
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

    Example:
        >>> from transflow_core import load_prior
        >>> engine = Engine(load_prior("celeba64"))
        >>> evidence = engine.evidence([Image.new("RGB", (64, 64), "grey")])
        >>> evidence[0].summary, evidence.condition(lam_ratio=0.5).mean.shape
        ('no face found: taken whole; unusual for this prior', torch.Size([12288]))
    """

    def __init__(
        self, prior: Prior, *, batch_size: int = 16, cached: int | None = None, compute: ComputeThread | None = None
    ) -> None:
        self.prior = prior
        self._compute = compute
        self.batch_size = batch_size
        cached = cached or max(16, 25_000_000 // prior.dim)  # numbers of 4 bytes
        self._preview = Preview(prior)
        self._pictures = _Cache(cached)
        self._latents = _Cache(cached)

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function(*args, **kwargs)`, where this engine computes: for long arithmetic with its latents."""
        return self._compute.run(function, *args, **kwargs) if self._compute else function(*args, **kwargs)

    def read(self, source: Source, *, whole: str = "auto", landmarks: str = "5") -> Picture:
        """One file to its faces, cached by content. What is wrong with a file is said in the Picture, not raised."""
        try:
            name, content, digest = content_of(source)
        except ImageError as error:
            return Picture(error.name, problem=error.problem)
        key = (digest, self.prior.image_size, whole, landmarks)
        picture = self._pictures.get(key)
        if picture is None or picture.name != name:
            picture = read_picture(content, name=name, size=self.prior.image_size, whole=whole, landmarks=landmarks)
            self._pictures.put(key, picture)
        return picture

    def evidence(
        self,
        sources: Iterable[Source],
        *,
        whole: str = "auto",
        landmarks: str = "5",
        faces: Literal["largest", "all"] = "largest",
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Evidence:
        """Files to evidence. A file that cannot be used stays in the list with the reason; the others go on.

        Args:
            sources: paths, bytes, binary files or PIL images.
            whole, landmarks: see `faces.align`.
            faces: of a picture with several, the largest, or all as evidence of their own.

        Raises Cancelled if `stop` is set on the way.
        """
        sources = list(sources)
        chosen: list[tuple[Picture, AlignedFace | None]] = []
        for index, source in enumerate(sources):
            _report(progress, stop, index, len(sources), "looking for faces")
            picture = self.read(source, whole=whole, landmarks=landmarks)
            found = picture.faces if faces == "all" else picture.faces[:1]
            chosen.extend((picture, face) for face in found or (None,))
        return self.choose(chosen, progress=progress, stop=stop)

    def choose(
        self,
        chosen: Sequence[tuple[Picture, AlignedFace | None]],
        *,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Evidence:
        """Evidence from faces that were picked by hand: another face of a group photo, or the picture taken whole."""
        frames = [face.image for _, face in chosen if face is not None]
        latents = iter(self.encode(frames, progress=progress, stop=stop))
        return Evidence(tuple(self._judge(picture, face, next(latents) if face else None) for picture, face in chosen))

    def encode(
        self,
        frames: Sequence[Image.Image],
        *,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> list[Latent]:
        """Latents of images that are in the frame already, from the cache where they are known."""
        keys = [(_digest(frame), self.prior.fingerprint) for frame in frames]
        known = {key: self._latents.get(key) for key in keys}
        missing = [(key, frame) for key, frame in dict(zip(keys, frames, strict=True)).items() if known[key] is None]
        for start in range(0, len(missing), self.batch_size):
            _report(progress, stop, start, len(missing), "inverting the flow")
            batch = missing[start : start + self.batch_size]
            for (key, _), latent in zip(batch, self.run(self._invert, [frame for _, frame in batch]), strict=True):
                known[key] = latent
                self._latents.put(key, latent)
        _report(progress, stop, len(missing), len(missing), "inverting the flow")
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
        return posterior

    def decode(self, z: Tensor, *, progress: Progress | None = None, stop: threading.Event | None = None) -> Tensor:
        """Latents (n, D) -> images (n, C, S, S) in [0, 1] on the CPU, batch by batch."""
        images = []
        for start in range(0, len(z), self.batch_size):
            _report(progress, stop, start, len(z), "sampling")
            images.append(self.run(self.prior.decode, z[start : start + self.batch_size]).cpu())
        _report(progress, stop, len(z), len(z), "sampling")
        return torch.cat(images) if images else self.prior.decode(z).cpu()

    def sample(
        self,
        posterior: Gaussian,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Tensor:
        """n images from a posterior, (n, C, S, S) in [0, 1]. A seed gives the same noise at every λ."""
        z = posterior.sample(n, seed=seed, temperature=temperature)
        return self.decode(z, progress=progress, stop=stop)

    def preview(self, posterior: Gaussian, n: int, *, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """The images of `sample` while a slider is dragged, faster; `Preview` says what a processor does less exactly.

        They are of the very draws that `sample` gives, so that nothing but sharpness changes afterwards.
        """
        z = posterior.sample(n, seed=seed, temperature=temperature)
        return self.run(self._preview.decode, z, self.batch_size).cpu()

    def sweep(
        self,
        evidence: Evidence,
        lam_ratios: Sequence[float],
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Tensor:
        """The same n draws at each λ/m, as in Fig. 7 and 8: (len(lam_ratios), n, C, S, S) in [0, 1]."""
        posteriors = [evidence.condition(lam_ratio=ratio) for ratio in lam_ratios]
        z = torch.cat([posterior.sample(n, seed=seed, temperature=temperature) for posterior in posteriors])
        images = self.decode(z, progress=progress, stop=stop)
        return images.reshape(len(lam_ratios), n, *images.shape[1:])

    def interpolate(
        self,
        a: Gaussian,
        b: Gaussian,
        steps: int,
        n: int,
        *,
        method: str = "linear",
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Tensor:
        """The same n draws at `steps` posteriors from a to b, as in Fig. 3: (steps, n, C, S, S) in [0, 1]."""
        if steps < 2:
            raise ValueError(f"an interpolation has at least 2 steps, its ends, not {steps}")
        path = [interpolate(a, b, i / (steps - 1), method=method) for i in range(steps)]
        z = torch.cat([point.sample(n, seed=seed, temperature=temperature) for point in path])
        images = self.decode(z, progress=progress, stop=stop)
        return images.reshape(steps, n, *images.shape[1:])

    def _invert(self, frames: list[Image.Image]) -> list[Latent]:
        """Through the flow; an image whose latent is not plainly typical is decoded again: does it come back?"""
        v = self.prior.to_unit(frames)
        encoded = self.prior.encode_and_score(v, self.batch_size)
        typical = torch.tensor([self._typical(float(value)) for value in encoded.log_prior])
        errors: list[float | None] = [None] * len(frames)
        for index in torch.nonzero(~typical).flatten().tolist():
            back = self.prior.decode(encoded.z[index : index + 1])
            error = float((back[0] - v[index]).abs().max())
            errors[index] = error if error == error else float("inf")
        rows = zip(encoded.z.cpu().unbind(), encoded.log_prior.tolist(), encoded.log_prob.tolist(), errors, strict=True)
        return [Latent(z.clone(), log_prior, log_prob, error) for z, log_prior, log_prob, error in rows]

    def _typical(self, log_prior: float) -> bool:
        typicality = self.prior.typicality
        return typicality is not None and typicality.judge(log_prior).word == "typical"

    def _judge(self, picture: Picture, face: AlignedFace | None, latent: Latent | None) -> EvidenceImage:
        if face is None or latent is None:
            return EvidenceImage(picture, None, problem=picture.problem)
        verdict = self.prior.typicality.judge(latent.log_prior) if self.prior.typicality else None
        problem = None
        holds = latent.error is None or (latent.error < _LARGEST_ERROR and latent.z.abs().max() < _LARGEST_LATENT)
        if not holds:
            problem = "it is so unlike the images that this flow was trained on that the flow cannot be inverted on it."
        return EvidenceImage(picture, face, latent, verdict, problem=problem)


def _digest(frame: Image.Image) -> str:
    return hashlib.sha256(frame.tobytes() + repr((frame.mode, frame.size)).encode()).hexdigest()


def _report(progress: Progress | None, stop: threading.Event | None, done: int, total: int, what: str) -> None:
    if stop is not None and stop.is_set():
        raise Cancelled(f"stopped while {what}")
    if progress is not None:
        progress(done, total, what)
