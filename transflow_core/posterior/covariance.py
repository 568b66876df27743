"""Covariances that never become a D × D matrix: a diagonal, or a diagonal plus a low-rank part."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Covariance:
    """The covariance diag(d) + F Fᵀ in D dimensions.

    Arithmetic runs in float64; what is stored keeps its precision.

    Attributes:
        diagonal: d ≥ 0: a number, kept as () float64, for that multiple of the identity in any dimension; or (D,).
        factor: F, (D, k), or None for a diagonal covariance; a factor of zeros becomes None. Where d is 0, the row of F
            must be 0 too: that dimension is known exactly.

    Raises ValueError if a shape does not fit, a number is not finite, or a variance is negative.

    Example:
        >>> Covariance(2.0, torch.tensor([[1.0], [0.0]])).variance
        tensor([3., 2.])
    """

    diagonal: Tensor
    factor: Tensor | None = None

    def __init__(self, diagonal: float | Tensor, factor: Tensor | None = None) -> None:
        if not isinstance(diagonal, Tensor) or diagonal.ndim == 0:
            # A scalar costs nothing in float64, and as a 0-dimensional tensor it does not widen what it meets.
            diagonal = torch.as_tensor(diagonal, dtype=torch.float64)
        shapes = f"(D,) and (D, k); got {tuple(diagonal.shape)} and {None if factor is None else tuple(factor.shape)}"
        if diagonal.ndim > 1 or (factor is not None and factor.ndim != 2):
            raise ValueError(f"diagonal and factor of a covariance are {shapes}")
        if factor is not None and diagonal.ndim and len(factor) != len(diagonal):
            raise ValueError(f"the factor of a covariance does not fit its diagonal: they are {shapes}")
        if not torch.isfinite(diagonal).all() or (factor is not None and not torch.isfinite(factor).all()):
            raise ValueError("a covariance must be finite")
        if (diagonal < 0).any():
            raise ValueError(f"a variance cannot be negative; the smallest given is {diagonal.min().item():g}")
        if factor is not None and not factor.any():
            factor = None
        if factor is not None and (factor.ne(0).any(1) & (diagonal == 0)).any():
            raise ValueError("the covariance is singular: add a positive diagonal wherever the factor acts")
        object.__setattr__(self, "diagonal", diagonal)
        object.__setattr__(self, "factor", factor)

    @classmethod
    def of(cls, value: "Covariance | float | Tensor") -> "Covariance":
        """A covariance as it is; a number or (D,) as the diagonal of one."""
        return value if isinstance(value, Covariance) else cls(value)

    @classmethod
    def _masked(cls, diagonal: Tensor, factor: Tensor | None) -> "Covariance":
        # A diagonal may underflow to 0 where its factor, which goes as the root, does not.
        if factor is not None and (diagonal == 0).any():
            factor = torch.where((diagonal == 0).unsqueeze(-1), 0, factor)
        return cls(diagonal, factor)

    @property
    def dim(self) -> int | None:
        """D, or None for a multiple of the identity, which fits every dimension."""
        if self.factor is not None:
            return len(self.factor)
        return len(self.diagonal) if self.diagonal.ndim else None

    @property
    def variance(self) -> Tensor:
        """Marginal variances, the diagonal of the whole matrix: () when it is a multiple of the identity, else (D,)."""
        return self.diagonal if self.factor is None else self.factor.square().sum(1) + self.diagonal

    def to(self, device: str | torch.device, dtype: torch.dtype) -> "Covariance":
        """On a device, in a precision; itself where nothing changes. A scalar diagonal stays in float64."""
        diagonal = self.diagonal.to(device, dtype if self.diagonal.ndim else torch.float64)
        factor = None if self.factor is None else self.factor.to(device, dtype)
        if diagonal is self.diagonal and factor is self.factor:
            return self
        return self._masked(diagonal, factor)

    def scaled(self, scale: float | Tensor) -> "Covariance":
        """R½ Σ R½ with R = diag(scale): a number (then it is scale · Σ), or (D,). Correlations stay as they are."""
        root = scale**0.5
        if isinstance(root, Tensor) and root.ndim:
            root = root.unsqueeze(-1)
        return self._masked(self.diagonal * scale, None if self.factor is None else self.factor * root)

    def __add__(self, other: "Covariance") -> "Covariance":
        """The sum of two covariances; its rank is the sum of theirs."""
        factors = [c.factor for c in (self, other) if c.factor is not None]
        return self._masked(self.diagonal + other.diagonal, torch.cat(factors, 1) if factors else None)

    def root(self, x: Tensor) -> Tensor:
        """B x for every row x of (n, D), with B Bᵀ = diag(d) + F Fᵀ: (n, D) float64.

        B = diag(d)^½ (I + W Wᵀ)^½ with W = diag(d)^-½ F, and (I + W Wᵀ)^½ = I + W V diag(1 / (1 + √(1 + s))) Vᵀ Wᵀ
        from the eigenvalues s and eigenvectors V of Wᵀ W. B changes continuously with d and F and takes D numbers, so
        one noise serves every covariance. Where d is a multiple of the identity, B is symmetric.
        """
        x, root = x.double(), self.diagonal.double().sqrt()
        if self.factor is None:
            return x * root
        inverse = torch.where(root > 0, 1 / root, 0)  # what is known exactly takes no part
        factor = self.factor.double()
        whitened = factor * inverse.unsqueeze(-1)
        s, vectors = torch.linalg.eigh(whitened.T @ whitened)
        basis = factor @ vectors
        return x * root + ((x * inverse) @ basis / (1 + (1 + s.clamp_min(0)).sqrt())) @ basis.T
