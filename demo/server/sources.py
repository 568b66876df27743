"""A file that an API call sends as text, as agents must: base64 in a data: address, or the address of a result."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from transflow_core.images import MAX_BYTES

from .state import new_folder

__all__ = ["file_of"]

_DATA = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[\w.-]+)*;base64,")
_OURS = "/gradio_api/file="


def file_of(address: str) -> Path:
    """The file of an address: decoded into a folder of this server, or the path of a result of this server.

    That path is untrusted, like any path that a client sends: the caller must check it. Nothing is fetched from any
    address, since a client would choose the server, and the size.

    Args:
        address: `data:image/png;base64,…`, or `http(s)://…/gradio_api/file=…`.

    Raises:
        ValueError: it is neither, is not base64, or is larger than a picture may be.
    """
    if match := _DATA.match(address):
        return _decoded(address[match.end() :], match["kind"])
    if address.startswith(("http://", "https://")) and _OURS in address:
        return Path(unquote(urlsplit(address).path.partition(_OURS)[2]))
    raise ValueError(
        "only uploaded files are read, base64 as data:image/png;base64,…, and addresses of this server's own results"
    )


def _decoded(text: str, kind: str | None) -> Path:
    if len(text) > MAX_BYTES // 3 * 4 + 4:
        raise ValueError(f"a picture in base64 may have at most {MAX_BYTES >> 20} MiB")
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"this is not base64 ({error})") from error
    path = new_folder() / f"picture{mimetypes.guess_extension(kind or '') or ''}"
    path.write_bytes(content)
    return path
