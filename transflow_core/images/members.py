"""Large sets of images: a folder, a zip, or a tar as WebDataset writes them; each image is read when its turn comes."""

import functools
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .files import IMAGE_SUFFIXES, find_images
from .opening import ImageError

__all__ = ["Member", "find_members"]

_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    OSError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    EOFError,
)


@dataclass(frozen=True)
class Member:
    """One image of a set; a binary file as `load_image` and `Engine.stream` take it, opened when it is read.

    Attributes:
        name: within the set.
        path: of the file, or of the archive that holds it.
        size: in bytes, as the archive says; that may be untrue.
        start: in a tar, where its bytes begin; in a zip -1; None for a file of its own.
    """

    name: str
    path: Path
    size: int
    start: int | None = None

    def read(self, most: int = -1) -> bytes:
        """At most this many bytes of it. Raises ImageError if it cannot be unpacked."""
        try:
            if self.start == -1:
                with _opened_zip(self.path).open(self.name) as file:
                    return file.read(most)
            with self.path.open("rb") as file:
                file.seek(self.start or 0)
                return file.read(most if self.start is None else min(most % 2**62, self.size))
        except _DAMAGED as error:
            raise ImageError(Path(self.name).name, "it cannot be unpacked.") from error


def find_members(paths: Path | Iterable[Path]) -> Iterator[Member]:
    """The images below folders, in zips and in tars, one set after the other, each in an order of its own.

    A tar is read as it lies there, in constant memory; what is no image in it (a WebDataset's labels) is passed over. A
    file of another kind is a member whatever its suffix. Hidden files, and `__MACOSX`, are left out.

    Raises ImageError if a path does not exist, a folder has no images, or an archive is damaged.
    """
    for path in [paths] if isinstance(paths, Path) else paths:
        suffix = path.suffix.lower()
        if path.is_file() and suffix in (".zip", ".tar"):
            try:
                yield from (_in_zip if suffix == ".zip" else _in_tar)(path)
            except _DAMAGED as error:
                raise ImageError(path.name, f"it is no {suffix[1:]} that can be read ({error}).") from error
            continue
        for file in find_images(path):
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            yield Member(name, file, file.stat().st_size)


def _in_zip(path: Path) -> Iterator[Member]:
    for entry in sorted(_opened_zip(path).infolist(), key=lambda entry: entry.filename):
        if not entry.is_dir() and _is_image(entry.filename):
            yield Member(entry.filename, path, entry.file_size, -1)


def _in_tar(path: Path) -> Iterator[Member]:
    with tarfile.open(path, "r:") as archive:
        while (entry := archive.next()) is not None:
            archive.members = []  # it would keep them all  # pyright: ignore[reportAttributeAccessIssue]
            if entry.isreg() and not entry.issparse() and _is_image(entry.name):
                yield Member(entry.name, path, entry.size, entry.offset_data)


def _is_image(name: str) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.removeprefix("./").split("/"))
    return not hidden and Path(name).suffix.lower() in IMAGE_SUFFIXES


@functools.lru_cache(2)
def _opened_zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)  # its list of names is read once, not for every member
