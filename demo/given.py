"""A file that a call gives as text, as agents must: base64 in a data: address, or an address on the web."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gradio.processing_utils import ssrf_protected_download

from transflow_core.images import MAX_BYTES

from .session import new_folder

__all__ = ["file_of"]

_DATA = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[\w.-]+)*;base64,")
_OURS = "/gradio_api/file="


def file_of(address: str) -> Path:
    """The file that an address gives, in a folder of this server; or the place of one that this server gave out.

    Where the latter lies is untrusted, as a path is that a client names: whoever calls checks it. What is fetched comes
    from public addresses alone: Gradio asks no machine of a private network.

    Args:
        address: `data:image/png;base64,…`, or `http://…` or `https://…`.

    Raises:
        ValueError: it is none of these, not base64, larger than a picture may be, or cannot be fetched.
    """
    if match := _DATA.match(address):
        return _decoded(address[match.end() :], match["kind"])
    if not address.startswith(("http://", "https://")):
        raise ValueError("expected an uploaded file, base64 as data:image/png;base64,…, or an http(s) address")
    if _OURS in address:
        return Path(unquote(urlsplit(address).path.partition(_OURS)[2]))
    try:
        path = Path(ssrf_protected_download(address, str(new_folder())))
    except Exception as error:  # of whichever HTTP client Gradio has
        raise ValueError(f"{address[:200]} could not be fetched: is it a public address of a picture?") from error
    if path.stat().st_size > MAX_BYTES:
        path.unlink()
        raise ValueError(f"{address[:200]} has more than {MAX_BYTES >> 20} MiB")
    return path


def _decoded(text: str, kind: str | None) -> Path:
    if len(text) > MAX_BYTES // 3 * 4 + 4:
        raise ValueError(f"a picture in base64 may have {MAX_BYTES >> 20} MiB")
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"this is not base64 ({error})") from error
    path = new_folder() / f"picture{mimetypes.guess_extension(kind or '') or ''}"
    path.write_bytes(content)
    return path
