"""A process that gives up files, the network and other programs, before it reads what a stranger sent. On Linux.

References:
    Landlock (https://docs.kernel.org/userspace-api/landlock.html) for files, TCP and signals; a seccomp filter
    (https://docs.kernel.org/userspace-api/seccomp_filter.html) for sockets of every kind and other programs.
"""

import ctypes
import functools
import gc
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

_MAX_GROWTH = 480_000_000

_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2  # for prctl
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
# How many rights over files each version of Landlock knows; a later one knows at least as many as the last here.
_FILE_RIGHTS = (13, 14, 15, 15, 16)
_READ_FILE, _BENEATH_PATH = 1 << 2, 1
_TCP_SINCE, _SCOPES_SINCE = 4, 6

# By machine: its number in a filter, and the calls that are refused: socket, execve, execveat, ptrace, kill,
# io_uring_setup (which could make sockets), chmod, fchmodat, fchmodat2 (of which Landlock knows nothing).
_REFUSED = {
    "x86_64": (0xC000003E, (41, 59, 322, 101, 62, 425, 90, 268, 452)),
    "aarch64": (0xC00000B7, (198, 221, 281, 117, 129, 425, 53, 452)),
}
_OTHER_ABI = 0x40000000  # x32 has the same calls by other numbers


def gaps() -> tuple[str, ...]:
    """What `lock` cannot take from a process on this machine, in words; nothing where it takes all."""
    kept = []
    if _landlock_version() < 1:
        kept.append("its files (the kernel has no Landlock)")
    if not _filters():
        kept.append("the network and other programs (the kernel takes no seccomp filter)")
    return tuple(kept)


def lock(readable: Iterable[Path] = ()) -> None:
    """Take from this process, for good, what `gaps` does not name: files but `readable`, the network, other programs.

    Open files stay open. It holds for the thread that calls and those that it starts, so call it while there is one.

    Raises OSError if the kernel refuses what it said that it has.
    """
    if _landlock_version() >= 1 or _filters():
        _checked(_libc().prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if (version := _landlock_version()) >= 1:
        rights = (1 << _FILE_RIGHTS[min(version, len(_FILE_RIGHTS)) - 1]) - 1
        handled = struct.pack("3Q", rights, 3 * (version >= _TCP_SINCE), 3 * (version >= _SCOPES_SINCE))
        rules = _checked(_libc().syscall(_CREATE_RULESET, handled, len(handled), 0))
        for path in readable:
            file = os.open(path, os.O_RDONLY)
            _checked(_libc().syscall(_ADD_RULE, rules, _BENEATH_PATH, struct.pack("=Qi", _READ_FILE, file), 0))
            os.close(file)
        _checked(_libc().syscall(_RESTRICT_SELF, rules, 0))
        os.close(rules)
    if _filters():
        program = _program(*_REFUSED[platform.machine()])
        buffer = ctypes.create_string_buffer(program)
        header = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
        _checked(_libc().prctl(_SET_SECCOMP, _FILTER, header, 0, 0))


def limit_growth() -> None:
    """Let this process take 480 MB more than it has, and no more: a decoder then fails. On Linux alone."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    gc.collect()  # from Python 3.13 on, what a refused file took may stay until then
    status = _status()
    status.seek(0)
    has = next(int(line.split()[1]) for line in status.read().splitlines() if line.startswith(b"VmData:")) * 1024
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (has + _MAX_GROWTH, most))


@functools.cache
def _status() -> BinaryIO:
    return open("/proc/self/status", "rb", buffering=0)


def _program(machine: int, refused: tuple[int, ...]) -> bytes:
    """A filter of 64-bit instructions: code, jump if true, jump if false, value. It ends in "allow", then "EPERM"."""
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    end = len(refused) + 4  # the place of "allow"
    steps = [(load, 0, 0, 4), (equal, 0, end - 1, machine), (load, 0, 0, 0), (at_least, end - 3, 0, _OTHER_ABI)]
    steps += [(equal, end - 4 - place, 0, number) for place, number in enumerate(refused)]
    steps += [(answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050001)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _landlock_version() -> int:
    """0 and less where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return _libc().syscall(_CREATE_RULESET, None, 0, 1)


def _filters() -> bool:
    """Whether the kernel takes a filter: it complains of the address of this one, which is none."""
    if not sys.platform.startswith("linux") or platform.machine() not in _REFUSED:
        return False
    _libc().prctl(_SET_SECCOMP, _FILTER, None, 0, 0)
    return ctypes.get_errno() == 14  # EFAULT


def _checked(answer: int) -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
