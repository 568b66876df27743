"""What every reader returns, the error that every reader raises, and the named tensors that it reads from."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..flows import Flow
from ..pixels import PixelConvention

__all__ = ["Checkpoint", "CheckpointError", "Tensors", "guarded", "sha256_of"]


class CheckpointError(ValueError):
    """A file that is not a checkpoint we can read. The message says what was found and what was expected."""


@dataclass(frozen=True)
class Checkpoint:
    """A flow read from a file, with everything that makes it a prior.

    Attributes:
        flow: see `flows.Flow`.
        pixels: how 8-bit pixels become the flow's x.
        name: a short word for people.
        fingerprint: hexadecimal digest of the weights; equal fingerprints mean equal latents.
        typicality: the parsed `typicality.json`, or None when the file carries none.
        metadata: free words: format, licence, where it came from.
    """

    flow: Flow
    pixels: PixelConvention
    name: str
    fingerprint: str
    typicality: dict[str, Any] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@contextmanager
def guarded(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a stranger's bytes into a CheckpointError that does not tell the file's folder.

    The libraries below promise no set of exceptions for a damaged file (torch alone raises seven types), so this is
    the one place where every Exception is caught.
    """
    try:
        yield
    except (CheckpointError, FileNotFoundError):
        raise
    except Exception as error:
        words = (error.strerror if isinstance(error, OSError) else None) or str(error).strip()
        reason = words.split("\n")[0].replace(f"{path.parent}/", "")[:300]
        raise CheckpointError(f"{path.name}: not a readable {what} ({type(error).__name__}: {reason})") from error


def sha256_of(file: Path) -> str:
    """The file's digest in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Tensors:
    """The named tensors of a foreign checkpoint: shapes are known at once, numbers are read when they are taken.

    Args:
        shapes: every tensor's name and shape.
        load: name -> tensor, of any real type.
        where: the file, for messages.
        most: numbers that all of them may have together: what the file can hold. CheckpointError if they declare more.

    Example:
        >>> tensors = Tensors({"w": (2,)}, {"w": torch.ones(2)}.__getitem__, "file.pt")
        >>> tensors.take("w", 2)
        tensor([1., 1.], dtype=torch.float64)
        >>> tensors.take("w", 3)
        Traceback (most recent call last):
            ...
        transflow_core.checkpoints.base.CheckpointError: file.pt: w has shape (2,), expected (3,)
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], load: Callable[[str], Tensor], where: str, most: int | None = None
    ) -> None:
        self.shapes = dict(shapes)
        self.where = where
        self.declared = sum(map(math.prod, self.shapes.values()))
        if most is not None and self.declared > most:
            raise CheckpointError(f"{where}: its tensors declare more numbers than it can hold ({self.declared:,})")
        self._load = load
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def shape(self, name: str, *expected: int) -> tuple[int, ...]:
        """The shape of a tensor, held against what is expected; -1 stands for any size. CheckpointError otherwise."""
        if name not in self.shapes:
            raise CheckpointError(f"{self.where}: {name} is missing")
        shape = self.shapes[name]
        if expected and (
            len(shape) != len(expected) or any(e not in (-1, n) for n, e in zip(shape, expected, strict=True))
        ):
            wanted = (
                "(" + ", ".join("any" if e == -1 else str(e) for e in expected) + ("," * (len(expected) == 1)) + ")"
            )
            raise CheckpointError(f"{self.where}: {name} has shape {shape}, expected {wanted}")
        return shape

    def take(self, name: str, *expected: int) -> Tensor:
        """The numbers in float64, once their shape was checked. CheckpointError if one is not finite."""
        self.shape(name, *expected)
        self._taken.add(name)
        with guarded(Path(self.where), f"tensor {name}"):
            tensor = self._load(name).to("cpu", torch.float64)
        if tuple(tensor.shape) != self.shapes[name]:
            raise CheckpointError(f"{self.where}: {name} does not have the shape that it declares")
        if not tensor.sum().isfinite():  # the sum is not finite if one number is not, and is several times quicker
            raise CheckpointError(f"{self.where}: {name} holds numbers that are not finite")
        return tensor

    def flag(self, name: str) -> bool:
        """A single number that says yes or no. CheckpointError if it is no single number."""
        if math.prod(self.shape(name)) != 1:
            raise CheckpointError(f"{self.where}: {name} has shape {self.shapes[name]}, expected a single number")
        return bool(self.take(name).all())

    def numbers(self, pattern: str) -> list[int]:
        """The whole numbers that stand in the pattern's first group, over all names that match it, sorted."""
        matches = (re.match(pattern, name) for name in self.shapes)
        return sorted({int(m[1]) for m in matches if m})

    def refuse_unknown(self, ignored: Iterable[str] = ()) -> None:
        """CheckpointError if a tensor was neither taken nor matches an ignored pattern: it would mean something."""
        patterns = [re.compile(p) for p in ignored]
        rest = [n for n in self.shapes if n not in self._taken and not any(p.search(n) for p in patterns)]
        if rest:
            listed = ", ".join(sorted(rest)[:3])
            raise CheckpointError(f"{self.where}: {len(rest)} tensor(s) are not known to this format: {listed} …")

    def renamed(self, name_of: Callable[[str], str]) -> "Tensors":
        """The same tensors under other names."""
        old = {name_of(name): name for name in self.shapes}
        return Tensors({new: self.shapes[o] for new, o in old.items()}, lambda n: self._load(old[n]), self.where)
