"""PNG files that say how they were made."""

import os
from collections.abc import Mapping
from typing import BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from .memory import one_large_at_a_time
from .opening import ImageError, Source, image_errors, name_of, open_image

__all__ = ["read_png_metadata", "save_png"]


def save_png(
    image: Image.Image, path: str | os.PathLike[str] | BinaryIO, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a PNG that carries its metadata.

    Each entry becomes a text chunk (tEXt, or iTXt where Latin-1 does not suffice), which image viewers show and which
    survives copying and mailing, though not most social networks.

    Args:
        image: what to save.
        path: a path or a binary file object.
        metadata: what the file should say of itself. Keys are 1 to 79 printable Latin-1 characters (the format's rule),
            values any text without NUL.

    Raises:
        ValueError: a key or a value that the format cannot hold.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> save_png(Image.new("RGB", (2, 2)), file, metadata={"lam_ratio": "0.5"})
        >>> read_png_metadata(file.getvalue())
        {'lam_ratio': '0.5'}
    """
    info = PngInfo()
    for key, value in (metadata or {}).items():
        if not 1 <= len(key) <= 79 or not key.isprintable() or ord(max(key)) > 255 or key != key.strip():
            raise ValueError(f"a PNG keyword is 1 to 79 printable Latin-1 characters without outer spaces, not {key!r}")
        if "\0" in value:
            raise ValueError(f"the text of {key!r} contains a NUL character, which a PNG cannot hold")
        info.add_text(key, value)
    image.save(path, format="PNG", pnginfo=info)


def read_png_metadata(source: Source) -> dict[str, str]:
    """The text chunks of an untrusted PNG.

    Args:
        source: a path, the bytes of a file or a binary file object.

    Returns:
        Keyword to text, in the file's order; empty when there are none.

    Raises:
        ImageError: not a PNG, or one that `load_image` would refuse.
    """
    name = name_of(source)
    with image_errors(name):
        image, needed = open_image(source, name=name)
        if not isinstance(image, PngImageFile):
            raise ImageError(name, f"this is a {image.format} image. Only a PNG carries how it was made.")
        if image.is_animated:  # what follows the pixels would be read by decoding all frames
            raise ImageError(name, "this is an animation. Only a still PNG carries how it was made.")
        with one_large_at_a_time(needed):
            return {key: str(text) for key, text in image.text.items()}
