"""A reader of TensorFlow's frozen graphs (GraphDef protobuf) that needs no TensorFlow: nodes, edges and constants.

The wire format is protobuf's: a field is a varint key `number << 3 | type` and a varint, 4 or 8 bytes, or a length and
that many bytes. Only the fields that a constant graph needs are kept; the file is mapped, and constants stay views of
it until they are used.
"""

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..base import CheckpointError

__all__ = ["Constant", "Graph", "Node", "read_graph"]

_MOST_NODES = 1_000_000
_MOST_ELEMENTS = 1 << 26  # of one constant that is not stored in full but declared as one number repeated
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
# Where TensorProto lists single numbers, by dtype: (field number, wire struct or "" for varints).
_LISTS = {1: (5, "<f4"), 2: (6, "<f8"), 3: (7, ""), 4: (7, ""), 5: (7, ""), 6: (7, ""), 9: (10, ""), 10: (11, "")}


@dataclass(frozen=True)
class Constant:
    """A tensor in the file: its dtype's TensorFlow number, its shape, and where its numbers are."""

    dtype: int
    shape: tuple[int, ...]
    content: memoryview
    numbers: tuple[float, ...]

    def array(self) -> np.ndarray:
        """The numbers, (shape). CheckpointError if the file has too few or too many."""
        count = math.prod(self.shape)
        if self.dtype not in _DTYPES:
            raise CheckpointError(f"a constant of TensorFlow type {self.dtype} is no plain number")
        dtype = np.dtype(_DTYPES[self.dtype])
        if len(self.content):
            if len(self.content) != count * dtype.itemsize:
                raise CheckpointError(f"a constant declares {self.shape} and holds {len(self.content)} bytes")
            return np.frombuffer(self.content, dtype).reshape(self.shape)
        if count > _MOST_ELEMENTS or len(self.numbers) > max(count, 1) or (count and not self.numbers):
            raise CheckpointError(f"a constant declares {self.shape} and lists {len(self.numbers)} numbers")
        # TensorFlow leaves out what repeats the last number.
        listed = np.array(self.numbers, dtype)
        return np.concatenate([listed, np.broadcast_to(listed[-1:], count - len(listed))]).reshape(self.shape)


@dataclass(frozen=True)
class Node:
    """One operation: its name, its kind, the names of the nodes it reads, and what attributes we need."""

    name: str
    op: str
    inputs: tuple[str, ...]
    constant: Constant | None = None
    shape: tuple[int, ...] | None = None
    dtype: int | None = None


@dataclass(frozen=True)
class Graph:
    """A frozen graph: its nodes by name, in the file's order."""

    where: str
    nodes: dict[str, Node] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """Parse a frozen GraphDef. Raises CheckpointError or ValueError for bytes that are none."""
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    nodes: dict[str, Node] = {}
    for number, value in _fields(data):
        if number == 1 and isinstance(value, memoryview):
            node = _node(value)
            if node.name in nodes or len(nodes) >= _MOST_NODES:
                raise CheckpointError(
                    f"{path}: not a graph: node {node.name[:80]!r} appears twice, or there are too many"
                )
            nodes[node.name] = node
    if not nodes:
        raise CheckpointError(f"{path}: a graph without nodes")
    return Graph(str(path), nodes)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise CheckpointError("not a protobuf: a number runs past its end")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Every (field number, value): an int for varints, else the bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise CheckpointError(f"not a protobuf: wire type {wire}")
        if length > len(data) - at:
            raise CheckpointError("not a protobuf: a field declares more bytes than there are")
        yield number, data[at : at + length]
        at += length


def _text(value: int | memoryview) -> str:
    if isinstance(value, int) or len(value) > 10_000:
        raise CheckpointError("not a graph: a name is no text")
    return bytes(value).decode("utf-8")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _node(data: memoryview) -> Node:
    name = op = ""
    inputs: list[str] = []
    constant = shape = dtype = None
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            op = _text(value)
        elif number == 3:
            inputs.append(_text(value))
        elif number == 5 and isinstance(value, memoryview):
            key, attribute = "", memoryview(b"")
            for n, v in _fields(value):
                if n == 1:
                    key = _text(v)
                elif n == 2 and isinstance(v, memoryview):
                    attribute = v
            if key in ("value", "shape", "dtype"):
                for n, v in _fields(attribute):
                    if key == "value" and n == 8 and isinstance(v, memoryview):
                        constant = _tensor(v)
                    elif key == "shape" and n == 7 and isinstance(v, memoryview):
                        shape = _shape(v)
                    elif key == "dtype" and n == 6 and isinstance(v, int):
                        dtype = v
    # "^name" only orders, "name:1" is a second output.
    sources = tuple(i.split(":")[0] for i in inputs if not i.startswith("^"))
    return Node(name, op, sources, constant, shape, dtype)


def _shape(data: memoryview) -> tuple[int, ...] | None:
    sizes = []
    for number, value in _fields(data):
        if number == 3 and value:  # unknown rank
            return None
        if number == 2 and isinstance(value, memoryview):
            size = 0
            for n, v in _fields(value):
                if n == 1 and isinstance(v, int):
                    size = _signed(v)
            sizes.append(size)
    if len(sizes) > 16:
        raise CheckpointError("not a graph: a shape of too many dimensions")
    return tuple(sizes)


def _tensor(data: memoryview) -> Constant:
    dtype, shape, content = 0, (), memoryview(b"")
    packed: dict[int, list[float]] = {}
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 2 and isinstance(value, memoryview):
            shape = _shape(value) or ()
        elif number == 4 and isinstance(value, memoryview):
            content = value
        elif number in (5, 6, 7, 10, 11):
            packed.setdefault(number, []).extend(_numbers(number, value))
    if any(n < 0 for n in shape):
        raise CheckpointError("not a graph: a constant of unknown size")
    field_number = _LISTS.get(dtype, (0, ""))[0]
    return Constant(dtype, shape, content, tuple(packed.get(field_number, ())))


def _numbers(field_number: int, value: int | memoryview) -> list[float]:
    if isinstance(value, int):
        return [_signed(value)]
    if field_number in (5, 6):
        size, code = (4, "f") if field_number == 5 else (8, "d")
        if len(value) % size:
            raise CheckpointError("not a graph: a list of numbers ends within one")
        return list(struct.unpack(f"<{len(value) // size}{code}", value))
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers
