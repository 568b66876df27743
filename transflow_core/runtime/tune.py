"""Settings of a whole process: OpenMP's threads, Python's lock, open files, and how glibc gives memory out.

Programs call `tune`: the command line, the page, benchmarks. `import transflow_core` changes nothing by itself.
"""

import contextlib
import ctypes
import os
import sys

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# The hidden maps of one image (see `flows.fused`) several times over, and the most that glibc takes.
_MMAP_BYTES, _KEPT_BYTES = 32 << 20, 512 << 20


def tune(server: bool = False) -> None:
    """Set up this process for a flow. Call it before torch is imported: OpenMP reads its setting then.

    What the environment says already stays as it is.

    Args:
        server: whether many threads answer requests while one computes, as those of the page do.
    """
    # A thread of GNU's OpenMP that waits for another spins for 3 ms before it sleeps. Where something else has the core
    # of either, it spins nearly all of the time (`python -m benchmarks.threads --busy`). This is a tenth of a
    # millisecond, more than any pause within a flow.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # By default memory goes back to the system after most pieces of a batch, and comes anew page by page: a third of
    # the time of a decode at 128×128 (docs/performance.md). Up to 512 MB that were once used at a time are kept.
    _glibc("mallopt", _M_MMAP_THRESHOLD, _MMAP_BYTES)
    _glibc("mallopt", _M_TRIM_THRESHOLD, _KEPT_BYTES)
    if server:
        # By default there are eight heaps for each core. A server's hundreds of threads leave a hole here and there in
        # each: within ten minutes of heavy use it had half a gigabyte more.
        _glibc("mallopt", _M_ARENA_MAX, 2)
        # Seconds after which a thread that wants Python's lock is given it; Python's own are 25 times as long. A flow
        # lets go of the lock at each of its thousands of operations, and waits that long where another has taken it.
        sys.setswitchinterval(2e-4)
        # A connection is an open file. By default a process may have 1,024, though the system would give it far more.
        with contextlib.suppress(ImportError, ValueError, OSError):
            import resource  # not on Windows

            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def give_back() -> bool:
    """Give the system all memory that is kept and free, once; gives whether there was any.

    What a flow takes next comes anew, page by page: a fifth of a second for 16 images at 128×128, and no more after it.
    """
    return _glibc("malloc_trim", 0)


def _glibc(function: str, *values: int) -> bool:
    """Call a function of glibc's allocator, unless the environment sets that up itself. False elsewhere than there."""
    if sys.platform != "linux" or any(key.startswith(("MALLOC_", "GLIBC_TUNABLES")) for key in os.environ):
        return False
    try:
        return getattr(ctypes.CDLL(None), function)(*values) == 1
    except (OSError, AttributeError):  # another C library
        return False
