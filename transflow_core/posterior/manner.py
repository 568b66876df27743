"""How latents are drawn from what the evidence tells: three manners, each with its numbers, as a plain value."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["DEFAULT_MANNER", "KINDS", "Manner"]

_OLD = "predictive"
_MOST_LEVELS = 32
_MOST_TEXT = 1000


@dataclass(frozen=True)
class Manner:
    """One of three ways to draw, and its numbers. Made by `Manner.mean`, `Manner.local` and `Manner.blend`.

    - "mean": the paper's, a draw of the posterior of the *mean* of the set, N(μp, Σp).
    - "local": a new member of the set, each place of it from images of its own: the paper's posterior under weights
      that differ from place to place (see `Local`). Older files and links call it "predictive".
    - "blend": the Bayesian bootstrap: each draw has its own Dirichlet weights over the evidence, and is of the paper's
      posterior under them.

    In all three r = λ/m says how much the prior counts: r → ∞ is the prior N(0, I), r → 0 the evidence alone.

    Attributes:
        kind: "mean", "local" or "blend".
        lam_ratio: r, from 0 to infinity: one number, or one a latent level, fine to coarse.
        likeness: of "local", 0 to 1: at 1 draws are images of the evidence, and the newer the nearer it is to 0.
        pieces: of "blend", k ≥ 1: how many pieces of evidence effectively make up one draw. With all of them, or more
            than there are, it is "mean".

    Raises ValueError for an unknown kind or a number out of its range.

    Example:
        >>> manner = Manner.blend(pieces=2)
        >>> str(manner), Manner.parse(str(manner)) == manner
        ('blend:lam_ratio=0.1,pieces=2', True)
    """

    kind: str
    lam_ratio: float | tuple[float, ...]
    likeness: float | None = None
    pieces: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in _NUMBERS:
            raise ValueError(f"unknown manner of drawing {self.kind!r}; there are {', '.join(_NUMBERS)}")
        object.__setattr__(self, "lam_ratio", _ratio(self.lam_ratio))
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if name in _NUMBERS[self.kind]:
                object.__setattr__(self, name, _number(value, name, low, high))
            elif value is not None:
                raise ValueError(f"{name} is no number of the manner {self.kind!r}")

    @classmethod
    def mean(cls, lam_ratio: float | Sequence[float] = 0.5) -> "Manner":
        """The paper's posterior of the mean."""
        return cls("mean", _ratio(lam_ratio))

    @classmethod
    def local(cls, likeness: float = 0.5, lam_ratio: float | Sequence[float] = 0.02) -> "Manner":
        """New members of the set."""
        return cls("local", _ratio(lam_ratio), likeness=likeness)

    @classmethod
    def blend(cls, pieces: float = 2.0, lam_ratio: float | Sequence[float] = 0.1) -> "Manner":
        """Blends of effectively `pieces` pieces."""
        return cls("blend", _ratio(lam_ratio), pieces=pieces)

    def with_lam(self, lam_ratio: float | Sequence[float]) -> "Manner":
        """The same manner at another λ/m."""
        return replace(self, lam_ratio=lam_ratio)

    def to_dict(self) -> dict[str, Any]:
        """Its kind and numbers, as JSON takes them; an infinite λ/m is the text "inf"."""
        ratio = self.lam_ratio
        values = [_plain(value) for value in ratio] if isinstance(ratio, tuple) else _plain(ratio)
        return {"kind": self.kind, "lam_ratio": values} | {name: getattr(self, name) for name in _NUMBERS[self.kind]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Manner":
        """From what `to_dict` gave; numbers that are left out are that kind's defaults. Not trusted: ValueError."""
        if not isinstance(values, Mapping):
            raise ValueError(f"a manner of drawing is a kind and its numbers, not {type(values).__name__}")
        kind = values.get("kind")
        if kind == _OLD:
            kind = "local"
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"unknown manner of drawing {str(kind)[:40]!r}; there are {', '.join(KINDS)}")
        numbers = {name: value for name, value in values.items() if name != "kind"}
        unknown = numbers.keys() - {"lam_ratio", *_NUMBERS[kind]}
        if unknown:
            raise ValueError(f"the manner {kind!r} has no number called {', '.join(sorted(map(str, unknown)))[:80]}")
        return replace(KINDS[kind], **numbers)

    @classmethod
    def parse(cls, text: str) -> "Manner":
        """From text such as "local:likeness=0.7,lam_ratio=0.02" or "blend"; levels are joined by "/".

        Not trusted: raises ValueError in words.
        """
        if not isinstance(text, str) or len(text) > _MOST_TEXT:
            raise ValueError("a manner of drawing is a short text such as 'local:likeness=0.7'")
        kind, _, rest = text.partition(":")
        values: dict[str, Any] = {"kind": kind.strip()}
        for entry in filter(None, (entry.strip() for entry in rest.split(","))):
            name, equals, value = (part.strip() for part in entry.partition("="))
            if not equals or name in values:
                raise ValueError(f"{entry[:40]!r} is not one number of a manner of drawing, such as 'lam_ratio=0.1'")
            values[name] = value.split("/") if name == "lam_ratio" and "/" in value else value
        return cls.from_dict(values)

    def __str__(self) -> str:
        ratio = self.lam_ratio if isinstance(self.lam_ratio, tuple) else (self.lam_ratio,)
        numbers = {"lam_ratio": "/".join(map(_short, ratio))}
        numbers |= {name: _short(getattr(self, name)) for name in _NUMBERS[self.kind]}
        return f"{self.kind}:" + ",".join(f"{name}={value}" for name, value in numbers.items())

    def __repr__(self) -> str:
        ratio = self.lam_ratio
        words = f"[{', '.join(map(_code, ratio))}]" if isinstance(ratio, tuple) else _code(ratio)
        numbers = {"lam_ratio": words} | {name: _short(getattr(self, name)) for name in _NUMBERS[self.kind]}
        return f"Manner.{self.kind}({', '.join(f'{name}={value}' for name, value in numbers.items())})"


_NUMBERS: dict[str, tuple[str, ...]] = {"mean": (), "local": ("likeness",), "blend": ("pieces",)}
_RANGES = {"likeness": (0.0, 1.0), "pieces": (1.0, 1e6)}


def _ratio(value: Any) -> float | tuple[float, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return _number(value, "lam_ratio", 0.0, math.inf)
    if not 1 <= len(value) <= _MOST_LEVELS:
        raise ValueError(f"lam_ratio is one number, or one a level, not {len(value)} of them")
    return tuple(_number(one, "lam_ratio", 0.0, math.inf) for one in value)


def _number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{name} is a number, not {type(value).__name__}")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} is a number, not {str(value)[:40]!r}") from error
    if not low <= number <= high:
        raise ValueError(f"{name} goes from {low:g} to {high:g}; got {number:g}")
    return number


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else "inf"


def _short(value: float) -> str:
    """The fewest digits that give this very number again."""
    return repr(value).removesuffix(".0")


def _code(value: float) -> str:
    return _short(value) if math.isfinite(value) else 'float("inf")'


#: Each kind with its default numbers.
KINDS: dict[str, Manner] = {"mean": Manner.mean(), "local": Manner.local(), "blend": Manner.blend()}
DEFAULT_MANNER = KINDS["local"]
