"""Images in folders and zips; each member of a large set is read when its turn comes."""

import codecs
import contextlib
import os
import re
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from .reading import ImageError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".heic", ".heif", ".hif", ".avif"}
    | {".gif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Lower-case suffixes of the files that are taken from a folder."""


def find_images(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The image files among files and folders; ImageError if a path does not exist, or a folder has none below it.

    A folder gives all images below it, in natural order (`img2` before `img10`), without hidden files and `__MACOSX`. A
    named file is taken whatever its suffix. The order of the arguments is kept, and a file named twice appears once.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise ImageError(str(path), "there is no such file or folder. Check the spelling.")
        files = _files_below(path) if path.is_dir() else [path]
        if not files:
            kinds = "JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF or BMP"
            raise ImageError(str(path), f"there are no images in this folder ({kinds}).")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def find_others(paths: Iterable[Path]) -> list[tuple[Path, bool]]:
    """What `find_images` does not take of folders, because of its name, but hidden files; and whether it is text.

    A text may lie beside pictures. Any other file may be a picture that was left out.
    """
    return [(file, _is_text(file)) for path in paths if path.is_dir() for file in _files_below(path, images=False)]


def _is_text(file: Path) -> bool:
    with contextlib.suppress(UnicodeDecodeError, OSError), file.open("rb") as opened:
        beginning = codecs.getincrementaldecoder("utf-8")().decode(opened.read(1024))
        return "\0" not in beginning and file.suffix.lower() != ".svg"
    return False


def _files_below(folder: Path, images: bool = True) -> list[Path]:
    files = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        files += [Path(root, name) for name in names if not _is_hidden(name) and _is_image(name) == images]
    return sorted(files, key=lambda file: [_natural(part) for part in file.relative_to(folder).parts])


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.removeprefix("./").split("/"))


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _natural(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key by which numbers count as numbers; the text itself decides between `1` and `01`."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    return [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts], text


class Member(NamedTuple):
    """One image of a set; a binary file as `load_image` takes it, opened when it is read.

    Attributes:
        name: within the set.
        size: in bytes, as a zip says; that may be untrue.
        open: gives the binary file.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]

    def read(self, most: int = -1) -> bytes:
        """At most this many bytes of it. Raises ImageError if it cannot be unpacked."""
        try:
            with self.open() as file:
                return file.read(most)
        except Exception as error:  # each compression has errors of its own
            raise ImageError(Path(self.name).name, "it cannot be unpacked.") from error


def find_members(path: Path) -> list[Member]:
    """The images below a folder, or in a zip. What `find_images` skips is skipped, and so is a link to nothing.

    Raises ImageError if the path does not exist, a folder has no images, or a zip is damaged.
    """
    if path.is_dir() or path.suffix.lower() != ".zip":
        files = {file.relative_to(path).as_posix(): file for file in find_images(path) if file.exists()}
        return [Member(name, file.stat().st_size, partial(file.open, "rb")) for name, file in files.items()]
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, RuntimeError, EOFError) as error:
        raise ImageError(path.name, f"it is no zip that can be read ({error}).") from error
    shown = (entry for entry in archive.infolist() if not entry.is_dir() and not _is_hidden(entry.filename))
    images = (entry for entry in shown if _is_image(entry.filename))
    members = (Member(entry.filename, entry.file_size, partial(archive.open, entry)) for entry in images)
    return sorted(members, key=lambda member: member.name)
