"""A reader of TensorFlow's frozen graphs (GraphDef protobuf) that needs no TensorFlow: nodes, edges and constants.

The wire format is protobuf's: a field is a varint key `number << 3 | type` and a varint, 4 or 8 bytes, or a length and
that many bytes. Only the fields that a constant graph needs are kept; the file is mapped, and constants stay views of
it until they are used.
"""

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..base import CheckpointError

__all__ = ["MOST_COMPUTED", "Constant", "Graph", "Node", "read_graph"]

MOST_COMPUTED = 1 << 22
"""Numbers of a graph that are not stored in it, over all its constants: one number declared many times over, or the
result of arithmetic. A Glow has some thousands, of actnorms; its kernels are stored."""

# Fields and listed whole numbers that are parsed: a quarter of a minute of Python. A step of OpenAI's takes some 4,000.
_MOST_FIELDS = 4_000_000
_LONGEST_NAME = 1000
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
# Where TensorProto lists single numbers, by dtype; and how those fields' numbers are kept here.
_LISTS = {1: 5, 2: 6, 3: 7, 4: 7, 5: 7, 6: 7, 9: 10, 10: 11}
_LISTED = {5: "<f4", 6: "<f8", 7: "<i8", 10: "<i8", 11: "<i8"}


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor in the file: its dtype's TensorFlow number, its shape, and where its numbers are.

    Attributes:
        dtype, shape: as declared.
        content: the numbers in full, or nothing.
        listed: what is given instead: numbers of which the last one repeats.
    """

    dtype: int
    shape: tuple[int, ...]
    content: memoryview
    listed: np.ndarray

    @property
    def stored(self) -> bool:
        """Are its numbers in the file, so that it takes no memory?"""
        return len(self.content) > 0

    def array(self) -> np.ndarray:
        """The numbers, (shape). CheckpointError if the file has too few or too many."""
        count = math.prod(self.shape)
        if self.dtype not in _DTYPES:
            raise CheckpointError(f"a constant of TensorFlow type {self.dtype} is no plain number")
        dtype = np.dtype(_DTYPES[self.dtype])
        if self.stored:
            if len(self.content) != count * dtype.itemsize:
                raise CheckpointError(f"a constant declares {self.shape} and holds {len(self.content)} bytes")
            return np.frombuffer(self.content, dtype).reshape(self.shape)
        listed = len(self.listed)
        if count - listed > MOST_COMPUTED or listed > max(count, 1) or (count and not listed):
            raise CheckpointError(f"a constant declares {self.shape} and lists {listed} numbers")
        # TensorFlow leaves out what repeats the last number.
        numbers = self.listed.astype(dtype)
        return np.concatenate([numbers, np.broadcast_to(numbers[-1:], count - listed)]).reshape(self.shape)


@dataclass(frozen=True, slots=True)
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
    """Parse a frozen GraphDef. Raises CheckpointError or ValueError for bytes that are none or declare too much."""
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    reader, nodes, computed = _Reader(), {}, 0
    for number, value in reader.fields(data):
        if number == 1 and isinstance(value, memoryview):
            node = reader.node(value)
            if node.name in nodes:
                raise CheckpointError(f"{path.name}: not a graph: node {node.name[:80]!r} appears twice")
            if node.constant is not None and not node.constant.stored:
                computed += max(0, math.prod(node.constant.shape) - len(node.constant.listed))
            if computed > MOST_COMPUTED:
                raise CheckpointError(f"{path.name}: its constants declare many more numbers than they have")
            nodes[node.name] = node
    if not nodes:
        raise CheckpointError(f"{path.name}: a graph without nodes")
    return Graph(path.name, nodes)


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


def _text(value: int | memoryview) -> str:
    if isinstance(value, int) or len(value) > _LONGEST_NAME:
        raise CheckpointError("not a graph: a name is no text, or endless")
    return bytes(value).decode("utf-8")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


class _Reader:
    """Parses one file, and counts: whatever is kept of a field takes memory, so that their number is bounded."""

    def __init__(self) -> None:
        self._left = _MOST_FIELDS

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise CheckpointError("a graph of more parts than any Glow has")

    def fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Every (field number, value): an int for varints, else the bytes."""
        at = 0
        while at < len(data):
            self._count()
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

    def node(self, data: memoryview) -> Node:
        name = op = ""
        inputs: list[str] = []
        constant = shape = dtype = None
        for number, value in self.fields(data):
            if number == 1:
                name = _text(value)
            elif number == 2:
                op = _text(value)
            elif number == 3:
                inputs.append(_text(value))
            elif number == 5 and isinstance(value, memoryview):
                key, attribute = "", memoryview(b"")
                for n, v in self.fields(value):
                    if n == 1:
                        key = _text(v)
                    elif n == 2 and isinstance(v, memoryview):
                        attribute = v
                if key in ("value", "shape", "dtype"):
                    for n, v in self.fields(attribute):
                        if key == "value" and n == 8 and isinstance(v, memoryview):
                            constant = self._tensor(v)
                        elif key == "shape" and n == 7 and isinstance(v, memoryview):
                            shape = self._shape(v)
                        elif key == "dtype" and n == 6 and isinstance(v, int):
                            dtype = v
        # "^name" only orders, "name:1" is a second output.
        sources = tuple(i.split(":")[0] for i in inputs if not i.startswith("^"))
        return Node(name, op, sources, constant, shape, dtype)

    def _shape(self, data: memoryview) -> tuple[int, ...] | None:
        sizes = []
        for number, value in self.fields(data):
            if number == 3 and value:  # unknown rank
                return None
            if number == 2 and isinstance(value, memoryview):
                size = 0
                for n, v in self.fields(value):
                    if n == 1 and isinstance(v, int):
                        size = _signed(v)
                sizes.append(size)
                if len(sizes) > 16:
                    raise CheckpointError("not a graph: a shape of too many dimensions")
        return tuple(sizes)

    def _tensor(self, data: memoryview) -> Constant:
        dtype, shape, content = 0, (), memoryview(b"")
        listed: dict[int, bytearray] = {}
        for number, value in self.fields(data):
            if number == 1 and isinstance(value, int):
                dtype = value
            elif number == 2 and isinstance(value, memoryview):
                shape = self._shape(value) or ()
            elif number == 4 and isinstance(value, memoryview):
                content = value
            elif number in _LISTED:
                listed.setdefault(number, bytearray()).extend(self._numbers(number, value))
        if any(n < 0 for n in shape):
            raise CheckpointError("not a graph: a constant of unknown size")
        number = _LISTS.get(dtype, 5)
        return Constant(dtype, shape, content, np.frombuffer(listed.get(number, b""), _LISTED[number]))

    def _numbers(self, field_number: int, value: int | memoryview) -> bytes | memoryview:
        """Listed numbers as the bytes of `_LISTED`; whole numbers are packed as varints."""
        if isinstance(value, int):
            return _signed(value).to_bytes(8, "little", signed=True)
        if field_number in (5, 6):
            if len(value) % (4 if field_number == 5 else 8):
                raise CheckpointError("not a graph: a list of numbers ends within one")
            return value
        numbers, at = bytearray(), 0
        while at < len(value):
            self._count()
            number, at = _varint(value, at)
            numbers += _signed(number & (1 << 64) - 1).to_bytes(8, "little", signed=True)
        return bytes(numbers)
