"""Common random numbers: the same seed gives the same noise, whatever is done with it and wherever."""

import torch
from torch import Tensor

__all__ = ["standard_normal"]


def standard_normal(n: int, dim: int, seed: int = 0, start: int = 0) -> Tensor:
    """Rows `start` to `start + n` of the endless table of standard normal noise that belongs to a seed.

    Row i depends on the seed and on `dim` alone: neither on n, nor on how the rows are cut into batches, nor on the
    device, since it is drawn on the CPU. Samples that share a seed therefore share their ε at every λ, temperature
    and interpolation step.

    Args:
        n: how many rows, at least 0.
        dim: length of a row, at least 1.
        seed: any integer that fits 64 bits.
        start: index of the first row, at least 0. Rows before it are drawn and thrown away.

    Returns:
        (n, dim) float32 on the CPU.

    Example:
        >>> standard_normal(4, 3, seed=7)[2:].equal(standard_normal(2, 3, seed=7, start=2))
        True
    """
    if n < 0 or dim < 1 or start < 0:
        raise ValueError(f"noise needs n ≥ 0, dim ≥ 1 and start ≥ 0; got n={n}, dim={dim}, start={start}")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.empty(n, dim)
    # One row a call: torch.randn(n, dim) fills its buffer by other paths according to its total size, so that its
    # first rows would change with n.
    for _ in range(start):
        torch.randn(dim, generator=generator)
    for row in noise:
        torch.randn(dim, generator=generator, out=row)
    return noise
