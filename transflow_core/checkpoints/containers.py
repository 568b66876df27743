"""From an untrusted file to named tensors: PyTorch pickles, NumPy archives, safetensors, TensorFlow checkpoints.

A container says what tensors there are before it reads one, and nothing here allocates what a file merely declares:
all tensors of a file together have at most as many numbers as the file has bytes, and `_SPARE_NUMBERS` where they are
compressed.
"""

import io
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from ..untrusted import check_safetensors
from .base import CheckpointError, Tensors, guarded
from .pickles import inspect_pickle

__all__ = ["CONTAINERS", "LARGEST_HEADER", "kind_of", "open_tensors", "read_npy_header"]

_MOST_ENTRIES = 100_000
_LARGEST_INDEX = 8 << 20  # of an archive: zipfile makes ten times as much of it
_LARGEST_PICKLE = 32 << 20
LARGEST_HEADER = 4 << 20  # of a peer's safetensors, whose names are longer than ours
_SPARE_NUMBERS = 1 << 22


def kind_of(path: Path) -> str:
    """The container that a file is, by its first bytes: a key of `CONTAINERS`, or "native folder" or "graph".

    Raises FileNotFoundError if there is nothing, CheckpointError for a file that is none of them.
    """
    if path.is_dir():
        return "native folder"
    if not path.is_file():
        if Path(f"{path}.index").is_file():
            return "TensorFlow checkpoint"
        raise FileNotFoundError(f"{path.name}: no such file")
    if path.suffix == ".index" or path.name.endswith(".meta"):
        return "TensorFlow checkpoint"
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"PK\x03\x04":
        with guarded(path, "zip archive"), path.open("rb") as file, zipfile.ZipFile(_ShortReads(file)) as archive:
            names = archive.namelist()
        return "PyTorch pickle" if any(n.endswith("data.pkl") for n in names) else "NumPy archive"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "PyTorch pickle"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if head[:6] == b"\x93NUMPY":
        raise CheckpointError(
            f"{path.name}: a single NumPy array, not a flow. If it holds attribute directions, use load_directions"
        )
    if head[:1] == b"\x0a":  # the first field of a GraphDef is a node
        return "graph"
    if head.startswith(b"version https://"):
        raise CheckpointError(f"{path.name}: a git-LFS pointer, not the file itself: `git lfs pull` fetches it")
    raise CheckpointError(
        f"{path.name}: found {len(head)} first byte(s) {head[:8]!r}; expected a native .safetensors file, a PyTorch "
        "pickle (.pt, .pth, .pkg), a NumPy archive (.npz) or a frozen TensorFlow graph (.pb)"
    )


class _ShortReads:
    """A file for zipfile to find its index in. It reads the index at once, whatever size the archive declares."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int = -1) -> bytes:
        if size > _LARGEST_INDEX:
            raise CheckpointError("an archive with an index that is too large for a checkpoint")
        return self._read(size)


def open_tensors(path: Path, kind: str) -> list[Tensors]:
    """The state dictionaries that a file holds, the outermost first. Raises CheckpointError."""
    with guarded(path, kind):
        return CONTAINERS[kind](path)


def _torch_pickle(path: Path) -> list[Tensors]:
    size = path.stat().st_size
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _inspect_zip(path, size)
    else:
        with path.open("rb") as file:
            head = io.BytesIO(file.read(_LARGEST_PICKLE))
        for _ in range(5):  # magic number, protocol, system, the object, the storages' keys; then raw numbers
            inspect_pickle(head, size, path.name)
    # Mapped, not read: only the tensors that are taken come into memory. The older layout cannot be mapped.
    loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path.name}: it holds a {type(loaded).__name__}, expected a dictionary of tensors")
    candidates = [loaded, *(v for v in loaded.values() if isinstance(v, dict))]
    states = [state for candidate in candidates if (state := _plain_tensors(candidate, path))]
    if not states:
        raise CheckpointError(f"{path.name}: it holds no tensors")
    return [Tensors({k: tuple(t.shape) for k, t in s.items()}, s.__getitem__, path.name, size) for s in states]


def _inspect_zip(path: Path, size: int) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise CheckpointError(f"{path.name}: {len(entries)} entries in the archive are too many")
        # torch stores without compression; a compressed entry could unfold to anything.
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > size:
            raise CheckpointError(f"{path.name}: its archive declares more than the file holds")
        if any(e.filename.endswith("/constants.pkl") for e in entries):
            raise CheckpointError(
                f"{path.name}: a TorchScript archive, which is a program; expected a dictionary of tensors"
            )
        pickles = [e for e in entries if e.filename.endswith("data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > _LARGEST_PICKLE:
            raise CheckpointError(f"{path.name}: expected one index (data.pkl) of moderate size in the archive")
        inspect_pickle(io.BytesIO(archive.read(pickles[0])), size, path.name)


def _plain_tensors(candidate: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    state = {}
    for name, value in candidate.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            continue
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
            raise CheckpointError(f"{path.name}: {name} is not a plain tensor")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{path.name}: {name} declares more numbers than are stored")  # a stride of 0
        state[name] = value.detach()
    # DataParallel and torch.compile each put a word before every name.
    for prefix in ("module.", "_orig_mod.", "module."):
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def read_npy_header(file: Any, length: int, where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read a .npy header and hold it against the length of the data in bytes: (shape, Fortran order, dtype)."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise CheckpointError(f"{where}: an array of NumPy format {version}, expected (1, 0) or (2, 0)")
    start = file.tell()
    shape, fortran, dtype = readers[version](file, max_header_size=10_000)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise CheckpointError(f"{where}: an array of {dtype}, expected plain numbers")
    if any(n < 0 for n in shape) or start + math.prod(shape) * dtype.itemsize > length:
        raise CheckpointError(f"{where}: an array declares {shape} numbers and has fewer")
    return shape, fortran, dtype


def _numpy_archive(path: Path) -> list[Tensors]:
    archive = zipfile.ZipFile(path)  # stays open as long as its tensors: reading its index again for each takes minutes
    entries = {e.filename.removesuffix(".npy"): e for e in archive.infolist() if e.filename.endswith(".npy")}
    if not entries or len(entries) > _MOST_ENTRIES:
        raise CheckpointError(f"{path.name}: a zip archive with {len(entries)} arrays in it")
    shapes = {}
    for name, entry in entries.items():
        with archive.open(entry) as file:
            shapes[name] = read_npy_header(file, entry.file_size, f"{path.name}: {name}")[0]

    def load(name: str) -> Tensor:
        entry = entries[name]
        with archive.open(entry) as file:
            shape, fortran, dtype = read_npy_header(file, entry.file_size, f"{path.name}: {name}")
            data = file.read(math.prod(shape) * dtype.itemsize)
        array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        return torch.from_numpy(array.astype(dtype.newbyteorder("="), order="C"))

    # A slash cannot stand in an archive's names on every system, so `|` takes its place in TensorFlow's names.
    most = path.stat().st_size + _SPARE_NUMBERS
    return [Tensors(shapes, load, path.name, most).renamed(lambda name: name.replace("|", "/"))]


def _safetensors(path: Path) -> list[Tensors]:
    check_safetensors(path, "checkpoint", path.name, LARGEST_HEADER)
    file = safe_open(path, "pt").__enter__()  # mapped; it stays open as long as its tensors
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return [Tensors(shapes, file.get_tensor, path.name, path.stat().st_size)]


def _tensorflow_checkpoint(path: Path) -> list[Tensors]:
    prefix = str(path).removesuffix(".index").removesuffix(".meta")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise CheckpointError(
            f"{path.name}: reading a TensorFlow checkpoint needs tensorflow, an optional extra "
            "(pip install tensorflow-cpu)"
        ) from error
    reader = tf.train.load_checkpoint(prefix)
    dtypes = reader.get_variable_to_dtype_map()
    # The index names its shapes; the numbers lie in the data files beside it.
    limit = sum(os.path.getsize(f) for f in Path(prefix).parent.glob(Path(prefix).name + ".data-*"))
    shapes = {
        name: tuple(shape)
        for name, shape in reader.get_variable_to_shape_map().items()
        if dtypes[name].is_floating or dtypes[name].is_integer
    }
    return [Tensors(shapes, lambda name: torch.from_numpy(np.array(reader.get_tensor(name))), path.name, limit)]


CONTAINERS: dict[str, Callable[[Path], list[Tensors]]] = {
    "PyTorch pickle": _torch_pickle,
    "NumPy archive": _numpy_archive,
    "safetensors": _safetensors,
    "TensorFlow checkpoint": _tensorflow_checkpoint,
}
