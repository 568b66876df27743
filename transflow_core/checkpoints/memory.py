"""How much memory a flow needs, and whether this machine has it: said before anything fails."""

import os
from pathlib import Path

from ..flows import GlowConfig, GrownConfig
from .base import CheckpointError

__all__ = ["available_memory", "estimate_memory", "require_memory"]


def available_memory() -> int | None:
    """Bytes that a process can still take on this machine, or None where the system does not tell.

    The smallest of what the kernel thinks is available and what the container's limit leaves.
    """
    amounts = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                amounts.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError):
        try:
            amounts.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (ValueError, OSError, AttributeError):  # not on this system
            return None
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            used = int((group / "memory.current").read_text())
            # Cached files count as used there, and are given up when the memory is wanted.
            stats = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            amounts.append(int(limit) - used + int(stats.get("inactive_file", 0)))
    except (OSError, ValueError):
        pass  # no container, or an older kind
    return min(amounts) if amounts else None


def estimate_memory(config: GlowConfig | GrownConfig) -> int:
    """Bytes to convert this flow and decode one image with it, within about a third, on top of what a process has.

    Weights once in float32 and the largest step again in float64, plus the handful of hidden maps that are alive at
    once in the widest level.
    """
    if isinstance(config, GrownConfig):
        details, side, channels = config.details, config.base.image_size, 3 * config.channels
        read = config.channels + details.context
        step = 9 * (channels + read) * details.width + details.width**2 + 9 * details.width * channels
        step += details.width * side * side + 5 * channels * channels
        weights = details.steps * step + 9 * details.context * (read + details.context) + 18 * read * channels
        maps = 2 * max(details.width, details.context + channels) * side * side
        return estimate_memory(config.base) + 4 * weights + 8 * step + 6 * 4 * maps
    weights, largest, maps = 0, 0, 0
    for level, (channels, height, width) in zip(config.levels, config.level_shapes, strict=True):
        hidden = level.width
        net = 9 * (channels // 2 + config.edge) * hidden + hidden * hidden + 9 * (hidden + config.edge) * channels
        step = net + 5 * channels * channels + config.position * hidden * height * width
        weights += level.steps * step + 9 * channels * channels
        largest = max(largest, step)
        maps = max(maps, hidden * height * width)
    return 4 * weights + 8 * largest + 6 * 4 * maps + 64 * 2**20


def require_memory(config: GlowConfig | GrownConfig, where: str) -> None:
    """CheckpointError, with both numbers, if this machine has not the memory that the flow needs."""
    needed, available = estimate_memory(config), available_memory()
    if available is not None and needed > available:
        raise CheckpointError(
            f"{where}: this prior ({config.image_size}×{config.image_size}, {len(config.latent_shapes)} levels) needs "
            f"about {needed / 2**30:.1f} GiB of memory and {available / 2**30:.1f} GiB are free here: use a larger "
            "machine"
        )
