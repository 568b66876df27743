"""Find the image files that a person means by a list of files and folders."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .opening import ImageError

__all__ = ["IMAGE_SUFFIXES", "find_images"]

IMAGE_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".gif",
        ".tif",
        ".tiff",
        ".bmp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    )
)
"""Lower-case suffixes of the files that are taken from a folder."""


def find_images(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The image files among files and folders.

    A folder stands for all images below it, in natural order (`img2` before `img10`); hidden files and folders and the
    `__MACOSX` folders of unpacked archives are skipped. A file that is named is taken whatever its suffix: when it is
    no image, `load_image` says so. The order of the arguments is kept, and a file named twice appears once.

    Args:
        paths: one path or several.

    Raises:
        ImageError: a path does not exist, or a folder has no images below it.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise ImageError(str(path), "there is no such file or folder. Check the spelling.")
        files = _images_below(path) if path.is_dir() else [path]
        if not files:
            kinds = "JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF or BMP"
            raise ImageError(str(path), f"there are no images in this folder ({kinds}).")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _images_below(folder: Path) -> list[Path]:
    files = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        files += [
            Path(root, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        ]
    return sorted(files, key=lambda file: [_natural(part) for part in file.relative_to(folder).parts])


def _natural(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key by which numbers count as numbers; the text itself decides between `1` and `01`."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    return [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts], text
