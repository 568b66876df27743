"""Files to evidence: a few at a time, cached, and read ahead of the flow."""

import itertools
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from PIL import Image

from .compute import BATCH, Cache, Cancelled, Compute, How, Progress, check, report
from .evidence import LARGEST_LATENT, Evidence, EvidenceImage, Pick, Source
from .faces import AlignedFace
from .images import ImageError
from .pictures import AlignMode, File, Landmarks, Picture, PictureReader, content_of, read_picture
from .posterior import Posterior
from .priors.prior import Prior
from .runtime.worker import Priority

# Pictures that are read ahead: enough that the flow never waits for one, and no more in memory.
_AHEAD = 2 * BATCH


class Reader(Compute):
    """A prior that reads files. Pictures are cached by their content: the same file is never read twice.

    Args:
        prior: the prior.
        pictures: where files are decoded and faces are looked for, while the flow inverts those before; by default in
            the thread that calls.
        how: see `Compute`.

    Example:
        >>> from transflow_core import load_prior
        >>> reader = Reader(load_prior("celeba64"))
        >>> evidence = reader.read([Image.new("RGB", (64, 64), "grey")])
        >>> evidence[0].summary, evidence.posterior(lam_ratio=0.5).mean.shape
        ('no face found: the whole picture is used; far too smooth for this model', torch.Size([12288]))
    """

    def __init__(self, prior: Prior, *, pictures: PictureReader | None = None, **how: Any) -> None:
        super().__init__(prior, **how)
        self._reader = pictures
        self._pictures = Cache(self._cached)

    def forget(self, seconds: float) -> None:
        """Drop what is cached of images that were not used for so long."""
        super().forget(seconds)
        self._pictures.forget(seconds)

    @property
    def ahead(self) -> int:
        """How many other clients have their turn before this one, where this engine computes or reads."""
        return max(super().ahead, self._reader.ahead if self._reader is not None else 0)

    def read_steps(
        self,
        sources: Iterable[Source | File],
        *,
        onto: Evidence | None = None,
        align: AlignMode = "auto",
        landmarks: Landmarks = "5",
        faces: Pick = "largest",
        robust: bool = True,
        most: int | None = None,
        early: bool = False,
        priority: Priority = "now",
        cancel: threading.Event | None = None,
    ) -> Iterator[Evidence]:
        """Read, align and invert files a few at a time, and give what there is after each time.

        The first evidence is `onto` with what there is to read; the next have 1, 2, 4 and then always 8 images more,
        and the last is the result, unless `cancel` was set. Each says how many sources are `remaining`. A file that
        cannot be used stays in the evidence with its reason. At most 16 pictures are read ahead of the flow.

        A saved posterior (`.safetensors`) takes the evidence's place when it comes alone. Otherwise the evidence's
        `notes` say why not.

        Args:
            sources: what to read, and how it counts; or files alone: paths, bytes, binary files or PIL images.
            onto: what these are added to; nothing by default.
            align, landmarks: see `faces.align`.
            faces, robust: of files that are given alone, see `Source`.
            most: images that there may be in the end; those that do not fit are left out with a note.
            early: also give the evidence of before each time a picture is read, with what is `coming`.
            priority, cancel: see `How`.
        """
        onto = replace(Evidence(prior=self.prior.name) if onto is None else onto, notes=(), remaining=0)
        given = [one if isinstance(one, Source) else Source(one, face=faces, robust=robust) for one in listed(sources)]
        files = [one for one in given if not _is_posterior(one.file)]
        if len(given) == 1 and not files:
            yield self._with_saved(onto, Path(str(given[0].file)))
            return
        notes = []
        if len(files) < len(given):
            names = ", ".join(Path(str(one.file)).name for one in given if _is_posterior(one.file))
            notes.append(f"{names}: give images, or one saved posterior by itself.")
        room = len(files) if most is None else max(0, most - len(onto))
        if len(files) > room:
            notes.append(f"Only {most} images fit: the last {len(files) - room} are left out.")
            files = files[:room]
        onto = replace(onto, remaining=len(files), notes=tuple(notes))
        yield onto
        reading = self._ahead([one.file for one in files], cancel, align=align, landmarks=landmarks)
        # The first batches are smaller, so that something is seen early. None depends on the clock, since a latent
        # depends in its last bits on the batch that it was inverted in.
        batch: list[tuple[Source, Picture, AlignedFace | None]] = []
        size = 1
        try:
            for done, (picture, source) in enumerate(zip(reading, files, strict=True), 1):
                batch += [(source, picture, face) for face in _chosen(picture, source.face)]
                if done == len(files) or len(batch) >= size:
                    onto = onto.added(self._judged(batch, cancel=cancel, priority=priority), len(files) - done)
                    yield onto
                    batch, size = [], min(2 * size, BATCH)
                elif early:
                    yield replace(onto, coming=tuple(EvidenceImage(*one) for one in batch))
        except Cancelled:
            return
        finally:
            reading.close()

    def read(
        self,
        sources: Iterable[Source | File],
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        **how: Any,
    ) -> Evidence:
        """The last evidence of `read_steps`, whose keywords it takes. Raises Cancelled if `cancel` is set."""
        steps = self.read_steps(sources, cancel=cancel, **how)
        evidence = begun = next(steps)
        report(progress, 0, begun.remaining, "reading the images")
        for evidence in steps:
            report(progress, begun.remaining - evidence.remaining, begun.remaining, "reading the images")
        if evidence.remaining:
            raise Cancelled
        return evidence

    def posterior(
        self, sources: Iterable[Source | File], lam_ratio: float | Sequence[float] | None = None, **how: Any
    ) -> Posterior:
        """Images, or one saved posterior, to a posterior.

        Args:
            sources, how: see `read_steps` and `read`.
            lam_ratio: λ/m: one number, or one for each latent level, fine to coarse. By default 0.5; a saved posterior
                keeps its own.

        Raises ValueError when there is nothing to condition on, with what is wrong with each image; when a saved
        posterior is damaged, of another prior, or not alone; for another number of levels.
        """
        found = self.read(sources, **how).checked().posterior(self.ratio(lam_ratio))
        return replace(found, metadata={**self.prior.provenance, **found.metadata})  # what it is saved with

    def faces(self, file: File, *, cancel: threading.Event | None = None, **how: Any) -> Picture:
        """One file to its aligned faces, or what is wrong with it; keywords as for `read_picture`."""
        return self._faces(file, cancel, **how).result()

    def picture(self, file: File, **how: Unpack[How]) -> Image.Image:
        """A whole picture, decoded where this engine reads files. Raises ImageError, and Cancelled."""
        name, content, _ = content_of(file)
        found = self._read(content, how.get("cancel"), name=name, size=1, align="never", keep=True).result()
        if found.image is None:
            raise ImageError(name, found.problem or "")
        return found.image

    def choose(self, image: EvidenceImage, face: AlignedFace | None, **how: Unpack[How]) -> EvidenceImage:
        """The same image by another face of its picture, or by the whole picture."""
        return self._judged([(image.source, image.picture, face)], **how)[0]

    def load_posterior(self, path: str | Path) -> Posterior:
        """A saved posterior; ValueError, naming the file, if it is damaged or was made with another prior."""
        path = Path(path)
        try:
            posterior = Posterior.load(path)
        except ValueError as error:
            words = str(error).removeprefix(f"{path}: ")
            raise ValueError(f"{path.name} is not a saved posterior: {words}") from error
        return self.checked_posterior(posterior, path.name)

    def checked_posterior(self, posterior: Posterior, title: str = "the posterior") -> Posterior:
        """A posterior as it is; ValueError, with its title, if it was made with another prior."""
        made_with = posterior.metadata.get("fingerprint")
        if posterior.dim != self.prior.dim or made_with not in (None, self.prior.fingerprint):
            name = posterior.metadata.get("prior", "another prior")
            if name == self.prior.name:
                raise ValueError(f"{title} was made with another {name}, and opens with that one alone")
            raise ValueError(f"{title} was made with {name}, not with {self.prior.name}: choose that prior for it")
        if not posterior.mean.abs().max() < LARGEST_LATENT:
            raise ValueError(f"{title} lies beyond all that this prior can show: it is damaged, or no posterior of it")
        return posterior

    def _with_saved(self, onto: Evidence, path: Path) -> Evidence:
        try:
            return replace(onto, images=(), saved=self.load_posterior(path), saved_name=path.name, example="")
        except OSError as error:
            return replace(onto, notes=(f"{path.name} cannot be read ({error.strerror or 'no such file'}).",))
        except ValueError as error:
            return replace(onto, notes=(str(error),))

    def _judged(
        self, chosen: Sequence[tuple[Source, Picture, AlignedFace | None]], **how: Unpack[How]
    ) -> list[EvidenceImage]:
        latents = iter(self.encode([face.image for *_, face in chosen if face is not None], **how))
        images = []
        for source, picture, face in chosen:
            image = EvidenceImage.of(source, picture, face, self.prior.lacking(abs(face.similarity[0])) if face else 0)
            images.append(image.judged(next(latents), self.prior.typicality) if face else image)
        return images

    def _read(self, content: Any, cancel: threading.Event | None, **how: Any) -> Future[Picture]:
        """`read_picture`; done at once where there is no reader."""
        if self._reader is None:
            check(cancel)
            return _done(read_picture(content, **how))
        return self._reader.submit(content, cancel=cancel, **how)

    def _faces(self, file: File, cancel: threading.Event | None, **how: Any) -> Future[Picture]:
        """One file to its faces; done at once where it is known already."""
        try:
            name, content, digest = content_of(file)
        except ImageError as error:
            return _done(Picture(error.name, problem=error.problem))
        how["size"] = how.get("size") or self.prior.image_size
        key = (digest, *sorted(how.items()))
        known, keep = self._pictures.get(key), self._pictures.put
        if known is not None:
            return _done(replace(known, name=name))
        reading = self._read(content, cancel, name=name, **how)
        reading.add_done_callback(lambda read: read.cancelled() or read.exception() or keep(key, read.result()))
        return reading

    def _ahead(
        self, files: Sequence[File], cancel: threading.Event | None, **how: Any
    ) -> Generator[Picture, None, None]:
        """Pictures in their order; with a reader, those that follow are read meanwhile. Raises Cancelled."""
        coming = iter(files)
        waiting: deque[Future[Picture]] = deque()
        try:
            while True:
                check(cancel)
                room = _AHEAD if self._reader is not None else 1
                waiting.extend(self._faces(one, cancel, **how) for one in itertools.islice(coming, room - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def listed(files: Any) -> list[Any]:
    """Files, or one that was given without a list, as a list."""
    if isinstance(files, str | os.PathLike | bytes | Image.Image | Source) or hasattr(files, "read"):
        return [files]
    return list(files)


def _is_posterior(file: File) -> bool:
    return isinstance(file, str | os.PathLike) and Path(file).suffix.lower() == ".safetensors"


def _chosen(picture: Picture, pick: Pick) -> Sequence[AlignedFace | None]:
    """The faces that are meant; the largest where there is no such face, None where there is none at all."""
    if pick == "whole":
        return (picture.whole,)
    some = picture.faces[pick : pick + 1] if isinstance(pick, int) else picture.faces if pick == "all" else ()
    return some or picture.faces[:1] or (None,)


def _done(picture: Picture) -> Future[Picture]:
    future: Future[Picture] = Future()
    future.set_result(picture)
    return future
