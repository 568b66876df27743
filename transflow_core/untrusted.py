"""Safetensors files: of one that somebody gave, the sizes are checked before anything in it is believed."""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

_MAX_BYTES = 2**31
MAX_HEADER = 2**20
"""Bytes that a header may have. It holds names, shapes and words, never numbers."""


def refuse_pointer(start: bytes, where: str, error: type[ValueError] = ValueError) -> None:
    """Raise `error` if a file, by its first 16 bytes, is one that git-LFS has not fetched."""
    if start == b"version https://":
        raise error(f"{where}: a git-LFS pointer, not the file itself: `git lfs pull` fetches it")


@contextmanager
def open_safetensors(path: Path, what: str, where: str | None = None, max_header: int = MAX_HEADER) -> Iterator[Any]:
    """The file's handle (see `safetensors.safe_open`), in a with block; what is wrong with the file is a ValueError.

    The handle maps the file: clone a tensor that outlives the block, or whoever overwrites the file changes it.

    Args:
        what: whose file it is, for the message about one of more than 2 GiB.
        where: what messages call it; by default the path.
        max_header: bytes that its header may have.
    """
    where = where or str(path)
    if not path.is_file():
        raise FileNotFoundError(f"{where}: no such file")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
    refuse_pointer(start, where)
    if len(start) < 8 or not 0 < struct.unpack("<Q", start[:8])[0] <= min(max_header, size - 8):
        raise ValueError(f"{where}: not a safetensors file, or a truncated one")
    if size > _MAX_BYTES:
        raise ValueError(f"{where}: {size / 2**20:,.0f} MiB is too large for a {what}")
    try:
        with safe_open(path, "pt") as handle:
            yield handle
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error  # an OSError's words tell the path
        raise ValueError(f"{where}: not a readable safetensors file ({reason})") from error


def save_safetensors(tensors: Mapping[str, Any], path: Path, header: Mapping[str, str]) -> None:
    """Write tensors and the words of the header; a file that was there is replaced as a whole. Raises OSError.

    What safetensors writes itself, its owner alone can read, and of a full disk it makes an error of its own.
    """
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.write_bytes(save(dict(tensors), dict(header)))
        beside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        beside.unlink(missing_ok=True)
