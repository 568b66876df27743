"""Named tensors of a file: PyTorch pickles, NumPy archives, safetensors. Code in a file is never run."""

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..untrusted import open_safetensors, refuse_pointer

LARGEST_HEADER = 4 << 20  # bytes of a safetensors header: other projects' names are longer than ours


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be read. The message says what was found and what was expected."""


@contextmanager
def guarded(path: Path, what: str) -> Iterator[None]:
    """Turn every error of a decoder into a CheckpointError, in words that do not name the file's folder.

    The libraries below promise no set of exceptions for a damaged file: torch alone raises seven types.
    """
    try:
        yield
    except (CheckpointError, FileNotFoundError):
        raise
    except Exception as error:
        words = (error.strerror if isinstance(error, OSError) else None) or str(error).strip()
        reason = words.split("\n")[0].replace(f"{path.parent}/", "")[:300]
        if reason.startswith(f"{path.name}: "):
            raise CheckpointError(reason) from error  # it says all
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        raise CheckpointError(f"{path.name}: not a readable {what} ({kind}{reason})") from error


class Tensors:
    """The named tensors of a file, mapped where the file allows it: numbers are read when they are taken.

    Args:
        state: each tensor by its name, of any real type.
        where: the file, for messages.

    Example:
        >>> tensors = Tensors({"w": torch.ones(2)}, "file.pt")
        >>> tensors.take("w", 2)
        tensor([1., 1.], dtype=torch.float64)
    """

    def __init__(self, state: Mapping[str, Tensor], where: str) -> None:
        self.state, self.where = dict(state), where
        self.declared = sum(tensor.numel() for tensor in state.values())
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.state

    def shape(self, name: str, *expected: int) -> tuple[int, ...]:
        """A tensor's shape. CheckpointError if it is not the expected one, in which -1 stands for any size."""
        if name not in self.state:
            raise CheckpointError(f"{self.where}: {name} is missing")
        shape = tuple(self.state[name].shape)
        if expected and (len(shape) != len(expected) or any(e not in (-1, n) for n, e in zip(shape, expected))):  # noqa: B905
            wanted = ", ".join("any" if size == -1 else str(size) for size in expected)
            raise CheckpointError(f"{self.where}: {name} has shape {shape}, expected ({wanted})")
        return shape

    def take(self, name: str, *expected: int) -> Tensor:
        """A tensor in float64, once, if its shape fits. CheckpointError if a number in it is not finite."""
        self.shape(name, *expected)
        self._taken.add(name)
        tensor = self.state[name].double()
        self.state[name] = tensor.to("meta")  # its memory can go
        if not tensor.sum().isfinite():  # the sum is not finite if one number is not, and is several times quicker
            raise CheckpointError(f"{self.where}: {name} holds numbers that are not finite")
        return tensor

    def refuse_unknown(self, ignored: Iterable[str] = ()) -> None:
        """CheckpointError if a tensor was neither taken nor matches an ignored pattern: it would mean something."""
        patterns = [re.compile(pattern) for pattern in ignored]
        rest = [n for n in self.state if n not in self._taken and not any(p.search(n) for p in patterns)]
        if rest:
            listed = ", ".join(sorted(rest)[:3])
            raise CheckpointError(f"{self.where}: {len(rest)} of its tensors have no place in this format: {listed} …")


def kind_of(path: Path, any_format: bool = True) -> str:
    """How a file stores its tensors, by its first bytes: a key of `READERS`, "native folder" or "graph".

    Raises FileNotFoundError if there is none, CheckpointError for another kind, or no safetensors and not `any_format`.
    """
    if path.is_dir():
        return "native folder"
    if not path.is_file():
        raise FileNotFoundError(f"{path.name}: no such file")
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LARGEST_HEADER:
        return "safetensors"
    refuse_pointer(head, path.name, CheckpointError)
    if not any_format:
        raise CheckpointError(f"{path.name}: not a safetensors file, and no other format is opened here")
    if head[:4] == b"PK\x03\x04":
        with guarded(path, "zip archive"), zipfile.ZipFile(path) as archive:
            pickled = any(name.endswith("data.pkl") for name in archive.namelist())
        return "PyTorch pickle" if pickled else "NumPy archive"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "PyTorch pickle"
    if head[:1] == b"\x0a":  # the first field of a GraphDef is a node
        return "graph"
    raise CheckpointError(
        f"{path.name}: not a checkpoint. Expected a native .safetensors file, a PyTorch pickle (.pt, .pth, .pkg), a "
        "NumPy archive (.npz) or a frozen TensorFlow graph (.pb)"
    )


def _torch_pickle(path: Path) -> list[Tensors]:
    # Mapped, not read: only the tensors that are taken come into memory. The older layout cannot be mapped.
    loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path.name}: it holds a {type(loaded).__name__}, expected a dictionary of tensors")
    candidates = [loaded, *(value for value in loaded.values() if isinstance(value, dict))]
    states = [state for candidate in candidates if (state := _named(candidate))]
    if not states:
        raise CheckpointError(f"{path.name}: it holds no tensors")
    return [Tensors(state, path.name) for state in states]


def _named(candidate: dict[Any, Any]) -> dict[str, Tensor]:
    state = {name: one.detach() for name, one in candidate.items() if isinstance(name, str) and isinstance(one, Tensor)}
    # DataParallel and torch.compile each put a word before every name.
    for prefix in ("module.", "_orig_mod.", "module."):
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _numpy_archive(path: Path) -> list[Tensors]:
    state = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name, array in arrays.items():
            if array.dtype.kind not in "fiub":
                raise CheckpointError(f"{path.name}: {name} holds {array.dtype}, expected plain numbers")
            # A slash cannot stand in a file's name, so `|` takes its place in TensorFlow's names.
            native = np.array(array, array.dtype.newbyteorder("="), order="C")
            state[name.replace("|", "/")] = torch.from_numpy(native)
    return [Tensors(state, path.name)]


def _safetensors(path: Path) -> list[Tensors]:
    with open_safetensors(path, "checkpoint", path.name, LARGEST_HEADER) as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return [Tensors(state, path.name)]


READERS: dict[str, Callable[[Path], list[Tensors]]] = {
    "PyTorch pickle": _torch_pickle,
    "NumPy archive": _numpy_archive,
    "safetensors": _safetensors,
}
"""What reads the dictionaries of tensors that a file of a kind holds, the outermost first. Call it within `guarded`."""
