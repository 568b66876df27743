"""How glibc gives memory out, for programs that take and free some megabytes thousands of times a second.

What the environment says of it (MALLOC_…, or GLIBC_TUNABLES) stays as it is. Elsewhere than on Linux with glibc nothing
happens. The numbers are of glibc's malloc.h.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

__all__ = ["few_arenas", "give_back", "keep_freed"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# The hidden maps of one piece (see `flows.fused`) several times over, and the most that glibc takes.
_MMAP_BYTES, _KEPT_BYTES = 32 << 20, 512 << 20


@functools.cache
def keep_freed() -> bool:
    """Keep what a flow frees for what it takes next; gives whether it is so now.

    By default memory goes back to the system after most pieces of a batch, and comes anew page by page: a third of the
    time of a decode at 128×128 (docs/performance.md). Up to 512 MB that were once used at a time are kept.
    """
    return _set(_M_MMAP_THRESHOLD, _MMAP_BYTES) and _set(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@functools.cache
def few_arenas() -> bool:
    """Have the threads that come share two heaps; gives whether it is so now.

    By default there are eight for each core. A server's hundreds of threads leave a hole here and there in each: within
    ten minutes of heavy use it had half a gigabyte more.
    """
    return _set(_M_ARENA_MAX, 2)


def give_back() -> bool:
    """Give the system all that is kept and free, once; gives whether there was any.

    What a flow takes next comes anew, page by page: a fifth of a second for 16 images at 128×128, and no more after it.
    """
    if not _ours():
        return False
    try:
        return ctypes.CDLL(None).malloc_trim(0) == 1
    except (OSError, AttributeError):  # another C library
        return False


def _ours() -> bool:
    return sys.platform == "linux" and not any(key.startswith(("MALLOC_", "GLIBC_TUNABLES")) for key in os.environ)


def _set(option: int, value: int) -> bool:
    if not _ours():
        return False
    try:
        return ctypes.CDLL(None).mallopt(option, value) == 1
    except (OSError, AttributeError):  # another C library
        return False
