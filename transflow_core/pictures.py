"""A file to its aligned faces, in a child process with limits; a file that cannot be read has its reason."""

import contextlib
import contextvars
import functools
import gc
import hashlib
import io
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from PIL import Image

from .faces import AlignedFace
from .faces import align as align_faces
from .faces.alignment import AlignMode, may_be_ready
from .faces.models import Landmarks, load_detectors
from .images import ImageError, load_image
from .images.reading import MAX_PIXELS, image_errors, load_decoders, name_of, open_image, read_source
from .runtime.sandbox import gaps, limit_growth, lock
from .runtime.worker import Worker

_log = logging.getLogger(__name__)
_PREVIEW = 480
File = str | os.PathLike | bytes | BinaryIO | Image.Image
"""Where a picture comes from: a path, its bytes, a binary file, or a PIL image."""

_QUICK_BYTES, _QUICK_PIXELS = 2**20, 300_000
# The slowest honest picture takes ten seconds on an idle core.
_SECONDS = 120.0
# What a child gets of the environment, which may hold secrets.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "OMP_NUM_THREADS")
_LENGTH = 8  # bytes of the number that goes before an answer


@dataclass(frozen=True)
class Picture:
    """One file as it was read: every face in it, or why there is none.

    Attributes:
        name: what a person calls the file.
        faces: aligned faces, largest first; empty when `problem` says why, in plain words.
        whole: the picture's centre square in the frame, whether or not there are faces; None if it could not be read.
        size: width and height of the upright picture, in pixels: those of the faces' boxes.
        preview: the whole picture as a JPEG, at most 480 pixels long, to point at its faces.
        image: the upright picture itself, where it was asked for.
    """

    name: str
    faces: tuple[AlignedFace, ...] = ()
    whole: AlignedFace | None = None
    problem: str | None = None
    size: tuple[int, int] = (0, 0)
    preview: bytes = field(default=b"", repr=False)
    image: Image.Image | None = field(default=None, repr=False)

    @property
    def found(self) -> tuple[AlignedFace, ...]:
        """Those of `faces` that are faces, and not the whole picture."""
        return tuple(face for face in self.faces if face.placement != "whole")


def content_of(file: File) -> tuple[str, bytes | Path | Image.Image, str]:
    """Name, content (of a file on disk its path) and digest of a picture. Raises ImageError if it cannot be read."""
    name = name_of(file)
    if isinstance(file, Image.Image):
        with image_errors(name):  # it may not have been decoded yet
            return name, file, digest_of(file)
    data = read_source(file, name)
    return name, Path(file) if isinstance(file, str | os.PathLike) else data, hashlib.sha256(data).hexdigest()


def digest_of(image: Image.Image) -> str:
    """A digest of an image's pixels, mode and size, and of what else decides how it looks."""
    more = [image.info.get(key) for key in ("transparency", "icc_profile", "exif", "xmp")]
    about = repr((image.mode, image.size, image.getpalette(), *more))
    return hashlib.sha256(image.tobytes() + about.encode()).hexdigest()


def read_picture(
    content: bytes | Path | Image.Image,
    *,
    name: str,
    size: int,
    align: AlignMode = "auto",
    landmarks: Landmarks = "5",
    keep: bool = False,
) -> Picture:
    """Decode a file and align its faces. A file that cannot be used gives a Picture whose `problem` says why.

    Args:
        content, name: see `images.load_image`.
        size: side of the frame, in pixels.
        align, landmarks: see `faces.align`.
        keep: give the picture itself, and look for no faces.
    """
    try:
        image = load_image(content, name=name)
    except ImageError as error:
        return Picture(error.name, problem=error.problem)
    if keep:
        return Picture(name, size=image.size, image=image)
    faces = tuple(align_faces(image, size=size, align=align, landmarks=landmarks))
    square = faces[0] if faces and faces[0].placement == "whole" else align_faces(image, size=size, align="never")[0]
    problem = None if faces else "no face was found in it."
    upright = image.size
    image.thumbnail((_PREVIEW, _PREVIEW))
    image.save(buffer := io.BytesIO(), "JPEG", quality=80)
    return Picture(name, faces, square, problem, upright, buffer.getvalue())


def is_quick(content: bytes | Image.Image, *, size: int, align: AlignMode = "auto") -> bool:
    """Whether `read_picture` takes a tenth of a second at most: few pixels, by its header, and no long search."""
    try:
        if not isinstance(content, Image.Image):
            with image_errors("image"):
                content = open_image(content, "image")
    except ImageError:
        return True  # so is its refusal
    pixels = content.width * content.height
    return pixels <= _QUICK_PIXELS and (align == "never" or may_be_ready(content.size, size, align))


class PictureReader:
    """Decodes files and finds the faces in them, a picture of each client in turn, in child processes.

    A decoder that fails on a crafted file takes its process along and no more. Of two children one reads what is quick
    (`is_quick`), so that a small picture never waits for a photograph. The other makes way for all else.

    Example:
        >>> PictureReader().submit(b"no picture", name="a.png", size=64).result().problem
        'this is not an image. JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF and BMP are read.'
    """

    def __init__(self) -> None:
        self._quick, self._slow = _Child("quick pictures", quick=True), _Child("pictures", quick=False)
        self._begun: dict[Hashable, Future[Picture]] = {}

    @classmethod
    @functools.cache
    def shared(cls) -> "PictureReader":
        """The one of this process, where a server wants no second. It logs what its children keep, see `gaps`."""
        for gap in gaps():
            _log.warning("Pictures are decoded in a process that keeps %s.", gap)
        return cls()

    @property
    def ahead(self) -> int:
        """How many other clients have their turn before this one; see `Worker.ahead`."""
        return max(self._quick.ahead, self._slow.ahead)

    @contextlib.contextmanager
    def begun(self, files: Iterable[Path], **how: Any) -> Iterator[None]:
        """Read files ahead: `submit` with the same arguments then returns what was begun. The end cancels the rest."""
        for file in files:
            key, reading = _key(file, {"name": file.name, **how}), self.submit(file, name=file.name, **how)
            self._begun[key] = reading
        try:
            yield
        finally:
            for reading in self._begun.values():
                reading.cancel()
            self._begun.clear()

    def submit(
        self, content: bytes | Path | Image.Image, *, cancel: threading.Event | None = None, **how: Any
    ) -> Future[Picture]:
        """`read_picture` at its client's turn; see `Worker.submit`."""
        if isinstance(content, Path) and (begun := self._begun.pop(_key(content, how), None)):
            return begun
        read: Future[Picture] = Future()
        context = contextvars.copy_context()

        def ask(child: _Child) -> None:
            asked = child.submit(child.ask, content, how, cancel=cancel)
            read.add_done_callback(lambda _: read.cancelled() and asked.cancel())
            asked.add_done_callback(answered)

        def answered(asked: Future[Picture | None]) -> None:
            if asked.cancelled() or read.cancelled():
                return
            with contextlib.suppress(InvalidStateError):  # it was cancelled just now
                if error := asked.exception():
                    read.set_exception(error)
                elif (picture := asked.result()) is not None:
                    read.set_result(picture)
                else:
                    context.run(ask, self._slow)

        ask(self._quick)
        return read


def _key(file: Path, how: dict[str, Any]) -> Hashable:
    return file, tuple(sorted(how.items()))


class _Child(Worker):
    """A worker whose jobs run in a child process, by `serve`; a `quick` one refuses what is not."""

    def __init__(self, name: str, *, quick: bool) -> None:
        super().__init__(name)
        self._quick = quick
        self._process = self._started()

    def ask(self, content: bytes | Path | Image.Image, how: dict[str, Any]) -> Picture | None:
        """What the child answers, within the thread. It never sees a path: this process opens the file."""
        try:
            data = read_source(content, how["name"]) if isinstance(content, Path) else content
        except ImageError as error:
            return Picture(error.name, problem=error.problem)
        if self._quick and isinstance(data, bytes) and len(data) > _QUICK_BYTES:
            return None
        if self._process.poll() is not None:
            self._ended()
            self._process = self._started()
        timer = threading.Timer(_SECONDS, self._process.kill)
        timer.start()
        try:
            asks, answers = self._process.stdin, self._process.stdout
            assert asks is not None and answers is not None  # both are pipes
            pickle.dump((data, how), asks)
            asks.flush()
            return _received(answers)
        except Exception:  # EOFError, BrokenPipeError, or whatever half an answer gives
            self._ended()
            return Picture(str(how["name"]), problem="the file could not be decoded. Export it again, as PNG or JPEG.")
        finally:
            timer.cancel()

    def _started(self) -> subprocess.Popen[bytes]:
        # It finds this package, in a checkout say.
        places = [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Not by multiprocessing, whose child would run the main module again: the page's builds the page.
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({self._quick})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # No secrets of the host; and no thread of numpy's, since one that is there before the lock would escape it.
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            | {"PYTHONPATH": os.pathsep.join(places), "OPENBLAS_NUM_THREADS": "1"},
        )
        self._ended = weakref.finalize(self, _end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()  # closes its pipes


def serve(quick: bool) -> None:
    """Read pictures for the parent process: arguments come pickled on stdin, pictures go back.

    First it loads what it needs, and then gives up files, the network and other programs (`runtime.sandbox`). No
    picture takes more than 500 MB. A `quick` child answers None to what would take long; the other makes way for its
    parent. It ends with its parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    if not quick and hasattr(os, "nice"):  # Windows has none
        os.nice(10)
    if not quick:
        logging.disable(logging.WARNING)  # the quick one says what is missing
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints is no reply
    load_decoders()
    limit_growth()
    lock(load_detectors())
    gc.freeze()  # so that `limit_growth` collects in no time
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent is over
        while True:
            content, how = pickle.load(sys.stdin.buffer)
            limit_growth()
            slow = quick and not is_quick(content, size=how["size"], align=how.get("align", "auto"))
            _send(None if slow else read_picture(content, **how), replies)


# --- a picture between the processes: plain data alone, for a stranger's file may have taken over the child ----------


def _send(picture: Picture | None, file: IO[bytes]) -> None:
    """The picture as JSON after its length, then its bytes and pixels in the order of the JSON."""
    blobs: list[bytes] = []

    def plain(value: Any) -> Any:
        if isinstance(value, complex):
            return value.real, value.imag
        if isinstance(value, bytes):
            blobs.append(value)
            return {"bytes": len(value)}
        if isinstance(value, Image.Image):
            blobs.append(value.tobytes())
            return {"pixels": value.size}
        return vars(value)

    facts = json.dumps(picture, default=plain).encode()
    file.writelines([len(facts).to_bytes(_LENGTH, "big"), facts, *blobs])
    file.flush()


def _received(file: IO[bytes]) -> Picture | None:
    """What `_send` wrote. Raises whatever else gives."""

    def exactly(count: int) -> bytes:
        if not 0 <= count <= 3 * MAX_PIXELS or len(data := file.read(count)) < count:
            raise EOFError
        return data

    def read(value: dict[str, Any]) -> Any:
        if "bytes" in value:
            return exactly(value["bytes"])
        if "pixels" in value:
            width, height = value["pixels"]
            return Image.frombytes("RGB", (width, height), exactly(3 * width * height))
        if "similarity" in value:
            value["box"], value["eyes"] = tuple(value["box"]), value["eyes"] and tuple(map(tuple, value["eyes"]))
            value["similarity"] = tuple(complex(*number) for number in value["similarity"])
            return AlignedFace(**value)
        value["faces"], value["size"] = tuple(value["faces"]), tuple(value["size"])
        return Picture(**value)

    return json.loads(exactly(int.from_bytes(exactly(_LENGTH), "big")), object_hook=read)
