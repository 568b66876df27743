"""How much memory a flow needs, and whether this machine has it. Users hear of it before anything fails."""

from pathlib import Path

from torch import nn

from ..flows.layers import CouplingNet
from ..flows.wavelet import TrainableFlow
from .tensors import CheckpointError


def available_memory() -> int | None:
    """Bytes that a process can still take, of the machine or its container; None where the system is no Linux."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        amount = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        # Cached files count as used there, and are given up when the memory is wanted.
        stats = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return min(amount, limit - used + int(stats.get("inactive_file", 0)))
    except (OSError, ValueError):  # no container, an older kind, or one without a limit
        return amount


def estimate_memory(flow: TrainableFlow) -> int:
    """Bytes to convert a flow (on any device, meta too) and decode one image, within about a third.

    Weights in float32, the largest coupling net again in float64, and six hidden maps of the widest net.
    """

    def numbers(module: nn.Module) -> int:
        return sum(tensor.numel() for tensor in module.state_dict().values())

    nets = [module for module in flow.modules() if isinstance(module, CouplingNet)]
    hidden = max(net.conv_mid.out_channels for net in nets) * (flow.config.image_size // 2) ** 2
    return 4 * numbers(flow) + 8 * max(map(numbers, nets)) + 6 * 4 * hidden + 64 * 2**20


def require_memory(flow: TrainableFlow, where: str) -> None:
    """CheckpointError, with both numbers, if this machine has less memory than the flow needs."""
    needed, available = estimate_memory(flow), available_memory()
    if available is not None and needed > available:
        raise CheckpointError(
            f"{where}: this prior of {flow.config.image_size}×{flow.config.image_size} pixels needs about "
            f"{needed / 2**30:.1f} GiB of memory, and {available / 2**30:.1f} GiB are free: use a larger machine"
        )
