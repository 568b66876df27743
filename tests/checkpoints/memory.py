"""How much memory something takes at its peak, as the kernel counts it: torch's and numpy's too."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from transflow_core.checkpoints import CheckpointError, convert

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 47331428\n"
_PROCESS = Path("/proc/self")


def _kib(key: str) -> int:
    line = next(line for line in (_PROCESS / "status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


@contextmanager
def at_most(mib: float) -> Iterator[None]:
    """AssertionError if what stands in the block took more at its peak; on Linux, elsewhere nothing is measured."""
    gc.collect()
    try:
        (_PROCESS / "clear_refs").write_text("5")  # the peak is what it is now
        before = _kib("VmRSS")
    except OSError:
        yield
        return
    yield
    taken = (_kib("VmHWM") - before) / 1024
    assert taken <= mib, f"it took {taken:,.0f} MiB"


def refused(path: Path, match: str, **options: object) -> None:
    """`convert` says no for this reason, in 200 MiB (torch and a small flow are within it), and names no folder."""
    with at_most(200), pytest.raises(CheckpointError, match=match) as error:
        convert(path, options=options)
    assert str(path.parent) not in str(error.value)
