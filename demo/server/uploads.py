"""Files that an API call names: uploaded before, or sent as text, as agents must. Nothing else is read.

Gradio moves only values that are marked as files, and checks their folders only after its launch. It has not checked
these values, so they are checked here.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import Field, TypeAdapter

from transflow_core import limits
from transflow_core.evidence import Source
from transflow_core.images.reading import MAX_BYTES

from ..gradio_compat import is_upload
from .files import new_folder

_DATA = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[\w.-]+)*;base64,")
_UNSAFE = re.compile(r'[\x00-\x1f/\\<>:"|?*]|^\.+')
_OURS, _TO_BASE64 = "/gradio_api/file=", str.maketrans("-_", "+/")
_WEIGHT = Field(ge=limits.WEIGHT.low, le=limits.WEIGHT.high)
_PHOTOS = TypeAdapter(list[tuple[str, Annotated[float, _WEIGHT], Annotated[str, Field(pattern=f"^{_DATA.pattern}")]]])


def uploaded(files: Any, name: str, most: int = limits.MOST_IMAGES) -> list[Path]:
    """Paths of the files of one argument, which may be anything.

    Args:
        files: a list of uploads {"path": …}, of texts `data:image/png;base64,…`, and of addresses
            `http(s)://…/gradio_api/file=…` of this server's own results.
        name: of the argument.
        most: how many files there may be.

    Raises:
        ValueError: there is none, there are too many, or one is anything else.
    """
    if not isinstance(files, list) or not files:
        raise ValueError(f"{name}: send a list of at least one file (gradio_client.handle_file)")
    if len(files) > most:
        raise ValueError(f"{name}: at most {most} files in one call, not {len(files)}")
    paths = []
    for file in files:
        path = _named(file, name) if isinstance(file, str) else file.get("path") if isinstance(file, dict) else None
        found = Path(os.path.abspath(path)) if isinstance(path, str) and "\0" not in path else None
        if found is None or not is_upload(found) or not os.path.isfile(found):
            raise ValueError(f"{name}: only uploaded files are read (gradio_client.handle_file uploads one)")
        paths.append(found)
    return paths


def photos_of(text: str) -> list[Source]:
    """The photos that a browser kept, as `static/keep.js` writes them: [[name, weight, data:image/jpeg…], …] as JSON.

    They are sent as base64url. They are crops: none is a file of the user's, so they have no suffix, and each weight is
    that which it counts by.

    Raises ValueError for anything else.
    """
    entries, photos = _PHOTOS.validate_json(text), []
    files = uploaded([data.translate(_TO_BASE64) for *_, data in entries], "photos")
    for file, (name, weight, _) in zip(files, entries, strict=True):
        stem = Path(_UNSAFE.sub("_", name)).stem.replace(".", "_")[-60:]
        photos.append(Source(file.rename(file.with_name(stem or "photo")), weight=weight, robust=False))
    return photos


def _named(text: str, name: str) -> str:
    """The path of a text: of a new file with what it encodes, or as it stands in an address. Nothing is fetched from an
    address: a client would choose the server, and the size."""
    if match := _DATA.match(text):
        encoded = text[match.end() :]
        if len(encoded) > MAX_BYTES // 3 * 4 + 4:
            raise ValueError(f"{name}: a picture in base64 may have at most {MAX_BYTES >> 20} MiB")
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError(f"{name}: this is not base64 ({error})") from error
        path = new_folder() / f"picture{mimetypes.guess_extension(match['kind'] or '') or ''}"
        path.write_bytes(content)
        return str(path)
    if text.startswith(("http://", "https://")) and _OURS in text:
        return unquote(re.split("[?#]", text.partition(_OURS)[2])[0])  # `urlsplit` drops tabs, which hide a name
    raise ValueError(
        f"{name}: only uploaded files are read, base64 as data:image/png;base64,…, and addresses of this server's own "
        "results"
    )
