"""A safetensors file that somebody gave: its sizes are checked before anything in it is believed."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

__all__ = ["MAX_HEADER", "open_safetensors"]

_MAX_BYTES = 2**31
MAX_HEADER = 2**20
"""Bytes that a header may have. It holds names, shapes and words, never numbers."""


@contextmanager
def open_safetensors(path: Path, what: str) -> Iterator[Any]:
    """The file's handle (see `safetensors.safe_open`), in a with block; what is wrong with the file is a ValueError.

    The handle maps the file: clone a tensor that outlives the block, or whoever overwrites the file changes it.

    Args:
        path: of the file.
        what: whose file it is, for the message about one that is too large.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file, truncated, or of more than 2 GiB.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) < 8 or not 0 < struct.unpack("<Q", start)[0] <= min(MAX_HEADER, size - 8):
        raise ValueError(f"{path}: not a safetensors file, or a truncated one")
    if size > _MAX_BYTES:
        raise ValueError(f"{path}: {size / 2**20:,.0f} MiB is too large for a {what}")
    try:
        with safe_open(path, "pt") as handle:
            yield handle
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from error
