"""How a file is put together, judged before Pillow opens it: a small file must not cost much memory or time.

Pillow keeps every segment of a JPEG and every private chunk of a PNG, and copies what each entry of a TIFF directory
points at, though all of them may point at the same bytes: 2 MB of TIFF took 1.1 GB, 24 MB of PNG 14 s. EXIF is a TIFF
directory too, in a JPEG, in a PNG, or in the ISO boxes of HEIF and AVIF. libjpeg goes over all pixels for each scan.
"""

import re
import struct
from collections.abc import Iterator

__all__ = ["check_directory", "check_structure", "jpeg_scans"]

# Honest files stay far below all of these.
_MOST_METADATA = 16 * 2**20
_MOST_SEGMENTS = 10_000
_MOST_CHUNKS = 100_000  # some writers cut a PNG's pixels into pieces of 4 kB
_MOST_ENTRIES = 10_000
_MOST_SUBDIRECTORIES = 2  # one below the other: EXIF, and in it interoperability

_PNG = b"\x89PNG\r\n\x1a\n"
_DIRECTORY = re.compile(rb"II\*\0|MM\0\*|II\+\0\x08\0|MM\0\+\0\x08")
# In compressed data 0xFF is followed by 0 or by a restart marker; before a marker it may be repeated.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_JPEG_START, _JPEG_END, _JPEG_SCAN, _JPEG_EXIF, _JPEG_APP2 = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2

_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SUBDIRECTORIES = (34665, 34853, 40965)  # EXIF, GPS, interoperability


def check_structure(data: bytes) -> None:
    """Raise ValueError if opening this file would cost more than such a file ever should."""
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(data)
    elif data.startswith(_PNG):
        _check_png(data)
    elif data[4:8] == b"ftyp":  # where EXIF stands in there is long to find out; its first bytes are told by sight
        for found in _DIRECTORY.finditer(data):
            check_directory(data, found.start())
    elif _DIRECTORY.match(data):
        check_directory(data)


def jpeg_scans(data: bytes) -> int:
    """How many times the decoder goes over the pixels of a JPEG: once, or more often where it is progressive."""
    return sum(code == _JPEG_SCAN for code, _ in _jpeg_segments(data))


def check_directory(data: bytes, start: int = 0) -> None:
    """Raise ValueError if what the first TIFF directory of `data[start:]` points at is too much, each entry counted."""
    found = _DIRECTORY.match(data, start)
    if not found:
        return
    order = "<" if data[start : start + 2] == b"II" else ">"
    large = len(found[0]) > 4
    offset = _number(data, start + (8 if large else 4), order + ("Q" if large else "I"))
    _check_entries(data, start, offset, order, large, _MOST_SUBDIRECTORIES)


def _check_entries(data: bytes, start: int, offset: int, order: str, large: bool, deeper: int) -> None:
    at = start + offset
    count = _number(data, at, order + ("Q" if large else "H"))
    if count > _MOST_ENTRIES:
        raise ValueError(f"a directory of {count} entries")
    at += 8 if large else 2
    entry = struct.Struct(order + ("HHQQ" if large else "HHII"))
    rest = data[at : at + count * entry.size]
    total = 0
    for tag, kind, number, value in entry.iter_unpack(rest[: len(rest) // entry.size * entry.size]):
        if tag in _SUBDIRECTORIES and deeper:
            _check_entries(data, start, value, order, large, deeper - 1)
        # What reaches beyond the end is read as far as it goes.
        total += min(number * _BYTES_OF_TYPE.get(kind, 0), max(0, len(data) - start - value))
        if total > _MOST_METADATA:
            raise ValueError("a directory that points at too much")


def _number(data: bytes, at: int, layout: str) -> int:
    """0 beyond the end: what is missing is for the reader to find."""
    size = struct.calcsize(layout)
    return struct.unpack_from(layout, data, at)[0] if at + size <= len(data) else 0


def _check_jpeg(data: bytes) -> None:
    total, exif = 0, b""
    for segments, (code, content) in enumerate(_jpeg_segments(data)):
        total += len(content)
        if segments > _MOST_SEGMENTS or total > _MOST_METADATA:
            raise ValueError("too many segments")
        if code == _JPEG_EXIF and content.startswith(b"Exif\0\0"):
            exif += content[6:]  # continued where it does not fit one segment
        elif code == _JPEG_APP2 and content.startswith(b"MPF\0"):
            check_directory(content, 4)
    check_directory(exif)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers up to the first picture's end, with what stands in their segments."""
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        code, at = found[1][0], found.end()
        if code == _JPEG_END:
            return
        length = 0 if code in (_JPEG_START, 0x01) else max(2, _number(data, at, ">H"))
        yield code, data[at + 2 : at + length]
        at += length


def _check_png(data: bytes) -> None:
    at, other = len(_PNG), 0
    for _ in range(_MOST_CHUNKS):
        length, kind = _number(data, at, ">I"), data[at + 4 : at + 8]
        if kind in (b"IEND", b""):
            return
        other += length if kind != b"IDAT" else 0
        if other > _MOST_METADATA:
            raise ValueError("chunks that are too large")
        if kind == b"eXIf":
            check_directory(data[at + 8 : at + 8 + length])
        at += 12 + length
    raise ValueError("too many chunks")
