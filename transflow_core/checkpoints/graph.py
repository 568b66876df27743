"""OpenAI's Glow in a frozen TensorFlow graph, read without TensorFlow: its variables, found by what they do.

Freezing tools replace `exp(3 * logs)` by one constant called `…__cf__17`, and the code of the published graph is not
public, so names say nothing. The structure does: a step is the chain 1×1 convolution, 3×3, ReLU, 1×1, ReLU, 3×3, each
with a constant shift and scale around it. What is found gets OpenAI's own names, so that their layout serves both.

The file is a protobuf. Its few fields are read here: the `protobuf` package copies all weights, and needs the schema of
TensorFlow to be written out, which is no shorter.

References:
    https://protobuf.dev/programming-guides/encoding/
    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/graph.proto
"""

import math
import mmap
import warnings
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .tensors import CheckpointError, Tensors

_TYPES = {1: ("<f4", 5), 2: ("<f8", 6), 3: ("<i4", 7), 9: ("<i8", 10)}  # of TensorFlow: dtype, field of single numbers
_SAME = {"Identity", "StopGradient", "Snapshot", "CheckNumerics", "Print"}
_SIZES = {"Shape", "ShapeN", "Size", "Rank"}
_MOVING = {"Pad", "PadV2", "ConcatV2", "Concat", "StridedSlice", "Slice", "Split", "SplitV"}
_BINARY = {
    **dict.fromkeys(("Add", "AddV2", "BiasAdd"), np.add),
    **dict.fromkeys(("RealDiv", "Div"), np.divide),
    "Sub": np.subtract,
    "Mul": np.multiply,
}
_UNARY = {"Exp": np.exp, "Log": np.log, "Neg": np.negative, "Reciprocal": np.reciprocal, "Inv": np.reciprocal}


def read_graph(path: Path) -> tuple[Tensors, dict[str, int]]:
    """The variables of a frozen GraphDef under OpenAI's names, and the `image_size` and `bits` that it gives.

    Raises CheckpointError or ValueError if the file is no graph, or is not OpenAI's public Glow.
    """
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # constants stay views of the file
    graph = _Graph({node.name: node for node in map(_node, _parts(_message(data), 1))}, path.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file's pages cannot be written to, and nobody does
        state = {name: torch.from_numpy(np.asarray(array)) for name, array in _variables(graph).items()}
    return Tensors(state, path.name), _settings(graph)


@dataclass(frozen=True, slots=True)
class _Node:
    """One operation: its kind, the names of the nodes that it reads, and the attributes that are needed."""

    name: str
    op: str
    inputs: tuple[str, ...]
    constant: np.ndarray | None
    shape: tuple[int, ...]


_Fields = dict[int, list[Any]]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number runs past its end")
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value & (1 << 64) - 1, at


def _message(data: memoryview) -> _Fields:
    """Every field's values by its number: an int for a varint, else the bytes."""
    fields, at = {}, 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
        else:
            length, at = _varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}.get(key & 7, len(data)), at)
            if length > len(data) - at:
                raise ValueError("a field declares more bytes than there are")
            value, at = data[at : at + length], at + length
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _node(data: memoryview) -> _Node:
    fields = _message(data)
    attributes = {_text(entry, 1): _parts(entry, 2) for entry in map(_message, _parts(fields, 5))}
    value, shape = (
        _parts(_message(attributes[key][-1]), number)[-1:] if attributes.get(key) else []
        for key, number in (("value", 8), ("shape", 7))
    )
    # "^name" only orders, "name:1" is a second output.
    sources = (bytes(source).decode().split(":")[0] for source in _parts(fields, 3))
    return _Node(
        _text(fields, 1),
        _text(fields, 2),
        tuple(source for source in sources if not source.startswith("^")),
        _constant(value[0]) if value else None,
        _shape(shape[0]) if shape else (),
    )


def _shape(data: memoryview) -> tuple[int, ...]:
    """Sizes, of which an unknown one is negative."""
    sizes = [_message(part).get(1, [0])[-1] for part in _parts(_message(data), 2)]
    return tuple(size - (1 << 64) if size >= 1 << 63 else size for size in sizes)


def _constant(data: memoryview) -> np.ndarray | None:
    """A tensor of plain numbers, or None for one of another type. What repeats its last number is left out."""
    fields = _message(data)
    dtype, single = _TYPES.get(fields.get(1, [0])[-1], ("", 0))
    if not dtype:
        return None
    shape = tuple(n for part in _parts(fields, 2)[-1:] for n in _shape(part))
    if content := _parts(fields, 4):
        return np.frombuffer(content[-1], dtype).reshape(shape)  # a view of the file
    listed = np.concatenate([np.zeros(0, dtype), *(_listed(value, dtype) for value in fields.get(single, []))])
    return np.concatenate([listed, np.repeat(listed[-1:], math.prod(shape) - len(listed))]).reshape(shape)


def _listed(value: int | memoryview, dtype: str) -> np.ndarray:
    """Single numbers of a constant: floats as they are, whole ones as varints, one by one or packed."""
    if dtype in ("<f4", "<f8"):
        return np.frombuffer(value if isinstance(value, memoryview) else b"", dtype)
    numbers, at = [value] if isinstance(value, int) else [], 0
    while isinstance(value, memoryview) and at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return np.array(numbers, np.uint64).astype(dtype)


def _parts(fields: _Fields, number: int) -> list[memoryview]:
    return [value for value in fields.get(number, []) if isinstance(value, memoryview)]


def _text(fields: _Fields, number: int) -> str:
    return bytes((_parts(fields, number) or [memoryview(b"")])[-1]).decode("utf-8")


class _Graph:
    """A graph, followed from its constants and its image to its end.

    Attributes:
        image: the placeholder that the encoder reads images from.
        order: names of all nodes, each after those that it reads.
        reached: nodes whose numbers depend on the image's numbers, and not only on its size.
        constants: values of the nodes that depend on constants alone.
        lines: of every other node, (source, scale, shift) with `node = source * scale + shift`, (1,) or (C,) each.
        ends: scale and shift that stand between a node and what reads it otherwise.
        slices: of a node, (begin, stride) of its slices over the channels.
        kernels: weights of the convolutions.
    """

    def __init__(self, nodes: dict[str, _Node], where: str) -> None:
        self.nodes, self.where = nodes, where
        self.image = self._image()
        self.order = list(TopologicalSorter({node.name: node.inputs for node in nodes.values()}).static_order())
        self.reached, self.constants = {self.image.name}, {}
        self.lines: dict[str, tuple[str, np.ndarray, np.ndarray]] = {}
        self.ends: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.slices: dict[str, set[tuple[int, int]]] = {}
        self.kernels: dict[str, np.ndarray] = {}
        for name in self.order:  # a loop is a ValueError
            self._follow(nodes[name])

    def fail(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: {what}. The inside of this graph is not OpenAI's public Glow")

    def _image(self) -> _Node:
        found = [node for node in self.nodes.values() if node.op in ("Placeholder", "PlaceholderV2")]
        named = [node for node in found if node.name in ("input/image", "input/enc_x")]
        images = named or [node for node in found if len(node.shape) == 4 and node.shape[3] in (1, 3)]
        if not images:
            raise CheckpointError(f"{self.where}: the graph has no placeholder for images (input/image)")
        return max(images, key=lambda node: node.shape[1] if node.shape else 0)

    def _follow(self, node: _Node) -> None:
        constant = self._constant(node)
        if constant is not None:
            self.constants[node.name] = constant
            return
        if node.op in _SIZES:
            self.lines[node.name] = node.name, np.ones(1), np.zeros(1)
            return
        if self.reached.intersection(node.inputs):
            self.reached.add(node.name)
        line = self._line(node)
        self.lines[node.name] = line or (node.name, np.ones(1), np.zeros(1))
        if line is None:
            for source, *end in (self.lines[name] for name in node.inputs if name in self.lines):
                self.ends[source] = end[0], end[1]
        if node.op == "Conv2D" and len(node.inputs) == 2:
            kernel = self.constants.get(node.inputs[1])
            if kernel is not None and kernel.ndim == 4:
                self.kernels[node.name] = kernel
        if slice_ := self.slice_of(node.name):
            self.slices.setdefault(self.lines[node.inputs[0]][0], set()).add(slice_)

    def _constant(self, node: _Node) -> np.ndarray | None:
        if node.op == "Const":
            return node.constant
        takes = 2 if node.op in _BINARY or node.op == "Reshape" else 1
        known = [self.constants[name] for name in node.inputs[:takes] if name in self.constants]
        if len(known) != takes:
            return None
        if node.op in _SAME:
            return known[0]
        if node.op == "Reshape":
            return known[0].reshape([int(n) for n in known[1].ravel()])
        if node.op in ("ExpandDims", "Squeeze"):  # where the ones stand plays no part in what follows
            return known[0].reshape([n for n in known[0].shape if n != 1] or [1])
        function = _BINARY.get(node.op) or _UNARY.get(node.op)
        if function is None:
            return None
        return function(*(value.astype(np.float64) for value in known))

    def _line(self, node: _Node) -> tuple[str, np.ndarray, np.ndarray] | None:
        """The line of a node that shifts or scales another, or repeats it, by constants; else None."""
        if node.op in _SAME and node.inputs:
            return self.lines[node.inputs[0]]
        if node.op not in _BINARY or len(node.inputs) != 2:
            return None
        x, other = node.inputs
        if x in self.constants and node.op in ("Add", "AddV2", "Mul"):
            x, other = other, x
        value = self.constants.get(other)
        if value is None or x not in self.lines or value.size != (value.shape[-1] if value.ndim else 1):
            return None
        source, scale, shift = self.lines[x]
        vector = value.reshape(-1).astype(np.float64)
        if node.op in ("Mul", "RealDiv", "Div"):
            vector = vector if node.op == "Mul" else 1 / vector
            return source, scale * vector, shift * vector
        return source, scale, shift - vector if node.op == "Sub" else shift + vector

    def origin(self, name: str) -> str:
        """Go up through what only moves numbers, along the input that depends on the image."""
        while True:
            source, scale, shift = self.lines[name]
            inputs = [name for name in self.nodes[source].inputs if name in self.reached]
            if self.nodes[source].op not in _MOVING or len(inputs) != 1 or (scale != 1).any() or shift.any():
                return source
            name = inputs[0]

    def slice_of(self, name: str) -> tuple[int, int] | None:
        """(begin, stride) of a slice over the channels."""
        node = self.nodes[name]
        if node.op != "StridedSlice" or len(node.inputs) != 4:
            return None
        begin, stride = (self.constants.get(node.inputs[i]) for i in (1, 3))
        if begin is None or stride is None or not begin.size or not stride.size or node.inputs[0] not in self.lines:
            return None
        return int(begin.flat[-1]), int(stride.flat[-1])


def _settings(graph: _Graph) -> dict[str, int]:
    """`image_size` from the images' placeholder, `bits` from the noise that the encoder adds."""
    shape, settings = graph.image.shape, {}
    if len(shape) == 4 and shape[1] == shape[2] > 0:
        settings["image_size"] = shape[1]
    widths = {2.0**-bits: bits for bits in range(1, 9)}
    for source, scale, _ in graph.lines.values():
        if graph.nodes[source].op == "RandomUniform" and scale[0] in widths:
            settings["bits"] = widths[scale[0]]
    return settings


_Chain = tuple[str, str, str, str]  # the 1×1 convolution of a step, and the three of its coupling's net


def _variables(graph: _Graph) -> dict[str, np.ndarray]:
    """All arrays of a Glow by OpenAI's names."""
    threes = [name for name, k in graph.kernels.items() if name in graph.reached and k.shape[:2] == (3, 3)]
    steps = [step for name in threes if (step := _chain(graph, name))]
    used = {name for step in steps for name in step}
    # Of a node that depends on the image: the most steps on a path to it, its own included.
    rotations, ranks = {step[0] for step in steps}, dict.fromkeys(graph.order, 0)
    for name in graph.order:
        ranks[name] = (name in rotations) + max((ranks[source] for source in graph.nodes[name].inputs), default=0)
    steps.sort(key=lambda step: ranks[step[0]])
    pools = sorted((name for name in threes if name not in used), key=ranks.__getitem__)
    if not steps or [ranks[step[0]] for step in steps] != list(range(1, len(steps) + 1)):
        raise graph.fail(f"found {len(steps)} flow steps that do not follow one another")
    _check_sigmoids(graph)
    arrays: dict[str, np.ndarray] = {}
    for i, (low, high) in enumerate(pairwise([0, *(ranks[pool] for pool in pools), len(steps)])):
        if high <= low:
            raise graph.fail("two splits follow one another with no step between")
        for k, step in enumerate(steps[low:high]):
            arrays |= _step(graph, f"model/{i}/{k}/", step)
    for i, pool in enumerate(pools):
        arrays |= _last_conv(graph, f"model/pool{i}/conv/", pool, paired=True)
    return arrays | _top(graph, graph.kernels[steps[-1][0]].shape[2])


def _chain(graph: _Graph, last: str) -> _Chain | None:
    """The step whose coupling net ends in this convolution, or None if it ends no coupling net."""

    def before_relu(name: str, size: int) -> str | None:
        relu = graph.nodes[graph.origin(graph.nodes[name].inputs[0])]
        if relu.op != "Relu" or not relu.inputs or relu.inputs[0] not in graph.lines:
            return None
        name = graph.lines[relu.inputs[0]][0]
        return name if name in graph.kernels and graph.kernels[name].shape[:2] == (size, size) else None

    if not (middle := before_relu(last, 1)) or not (first := before_relu(middle, 3)):
        return None
    rotate = graph.origin(graph.nodes[first].inputs[0])
    if rotate not in graph.kernels or graph.kernels[rotate].shape[:2] != (1, 1):
        raise graph.fail(f"before {first} stands no 1×1 convolution of the channels")
    return rotate, first, middle, last


def _check_sigmoids(graph: _Graph) -> None:
    """An affine coupling must be `(z2 + even channels) * sigmoid(odd channels + 2)`."""
    shifted: set[str] = set()
    for node in graph.nodes.values():
        if node.op == "Mul" and len(node.inputs) == 2:
            for name, other in (node.inputs, node.inputs[::-1]):
                added = graph.nodes[other].inputs if graph.nodes[other].op in ("Add", "AddV2") else ()
                shifted |= {name} if (0, 2) in map(graph.slice_of, added) else set()
    for name in graph.reached:
        if graph.nodes[name].op == "Sigmoid":
            source, scale, shift = graph.lines[graph.nodes[name].inputs[0]]
            if name not in shifted or (scale != 1).any() or (shift != 2).any() or graph.slice_of(source) != (1, 2):
                raise graph.fail(f"the coupling at {name} is not (z2 + even channels) * sigmoid(odd channels + 2)")


def _shift_and_logs(graph: _Graph, line: tuple[np.ndarray, np.ndarray], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """`x * scale + shift` as `(x + b) * exp(3 * logs)`."""
    scale, shift = line
    if not {len(scale), len(shift)} <= {1, channels} or not (scale > 0).all():
        raise graph.fail("a layer is not followed by one shift and one positive scale for each channel")
    scale, shift = np.broadcast_to(scale, channels), np.broadcast_to(shift, channels)
    return shift / scale, np.log(scale) / 3


def _step(graph: _Graph, name: str, step: _Chain) -> dict[str, np.ndarray]:
    rotate, first, middle, last = step
    channels = graph.kernels[rotate].shape[2]
    arrays = {name + "invconv/W": graph.kernels[rotate][0, 0]}
    norms = {"": (graph.lines[graph.nodes[rotate].inputs[0]][1:], channels)}
    for layer, conv in (("f1/l_1/", first), ("f1/l_2/", middle)):
        arrays[f"{name}{layer}W"] = graph.kernels[conv]
        norms[layer] = graph.ends[conv], graph.kernels[conv].shape[3]
    for layer, norm in norms.items():
        b, logs = _shift_and_logs(graph, *norm)
        arrays |= {f"{name}{layer}actnorm_center/b": b, f"{name}{layer}actnorm_scale/logs": logs}
    return arrays | _last_conv(graph, name + "f1/l_last/", last, paired=graph.kernels[last].shape[3] == channels)


def _last_conv(graph: _Graph, name: str, conv: str, paired: bool) -> dict[str, np.ndarray]:
    kernel = graph.kernels[conv]
    if conv not in graph.ends or (paired and graph.slices.get(conv) != {(0, 2), (1, 2)}):
        raise graph.fail(f"the outputs of {conv} are not taken as even and odd channels")
    b, logs = _shift_and_logs(graph, graph.ends[conv], kernel.shape[3])
    return {name + "W": kernel, name + "b": b, name + "logs": logs}


def _top(graph: _Graph, channels: int) -> dict[str, np.ndarray]:
    """The learned top prior, which no image reaches: a convolution of zeros, and a row for each class."""
    arrays: dict[str, np.ndarray] = {}
    for name, kernel in graph.kernels.items():
        if name not in graph.reached and kernel.shape == (3, 3, 2 * channels + 1, 2 * channels) and not arrays:
            arrays = _last_conv(graph, "model/prior/p/", name, paired=False)
    for node in graph.nodes.values():
        weight = graph.constants.get(node.inputs[1]) if node.op == "MatMul" and len(node.inputs) == 2 else None
        if weight is not None and node.name not in graph.reached and weight.shape[1:] == (2 * channels,):
            b, logs = _shift_and_logs(graph, graph.ends[node.name], 2 * channels)
            name = "model/prior/y_emb/"
            return arrays | {name + "W": weight, name + "b": b, name + "logs": logs}
    return arrays
