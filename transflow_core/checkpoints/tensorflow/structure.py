"""Where a frozen graph keeps a Glow's variables: found by what they do, since names may be folded away and may mislead.

Freezing tools replace `exp(3 * logs)` by one constant called `…__cf__17`, and the code of the published graph is not
public. The structure tells: a step is the chain 1×1 convolution, 3×3, ReLU, 1×1, ReLU, 3×3, each with a constant shift
and scale around it. What is found is given back under OpenAI's own names, so that one reader serves both.
"""

import math
import re
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from ..base import CheckpointError, Tensors
from .graphdef import MOST_COMPUTED, Graph, Node

__all__ = ["graph_settings", "graph_tensors", "image_node", "named_tensors"]

_SAME = {"Identity", "StopGradient", "Snapshot", "CheckNumerics", "Print"}
_SIZES = {"Shape", "ShapeN", "Size", "Rank"}
_BINARY = {
    "Add": np.add,
    "AddV2": np.add,
    "BiasAdd": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "RealDiv": np.divide,
    "Div": np.divide,
    "Pow": np.power,
}
_UNARY = {
    "Exp": np.exp,
    "Log": np.log,
    "Neg": np.negative,
    "Abs": np.abs,
    "Reciprocal": np.reciprocal,
    "Inv": np.reciprocal,
    "Sqrt": np.sqrt,
    "Rsqrt": lambda a: 1 / np.sqrt(a),
    "Square": np.square,
}
_STEP = (
    "actnorm_center/b",
    "actnorm_scale/logs",
    "f1/l_1/W",
    "f1/l_1/actnorm_center/b",
    "f1/l_1/actnorm_scale/logs",
    "f1/l_2/W",
    "f1/l_2/actnorm_center/b",
    "f1/l_2/actnorm_scale/logs",
    "f1/l_last/W",
    "f1/l_last/b",
    "f1/l_last/logs",
)
_POOL = ("conv/W", "conv/b", "conv/logs")


def image_node(graph: Graph) -> Node:
    """The placeholder that the encoder reads images from. CheckpointError if there is none."""
    placeholders = [n for n in graph.nodes.values() if n.op in ("Placeholder", "PlaceholderV2")]
    for name in ("input/image", "input/enc_x"):
        if any(n.name == name for n in placeholders):
            return graph.nodes[name]
    images = [(n.shape[1], n) for n in placeholders if n.shape and len(n.shape) == 4 and n.shape[3] in (1, 3)]
    if not images:
        raise CheckpointError(f"{graph.where}: the graph has no placeholder for images (input/image)")
    return max(images, key=lambda image: image[0])[1]


def graph_settings(graph: Graph) -> dict[str, int]:
    """What the graph itself tells: `image_size` from its placeholder, `bits` from the noise that it adds."""
    settings = {}
    shape = image_node(graph).shape
    if shape and len(shape) == 4 and shape[1] == shape[2] > 0:
        settings["image_size"] = shape[1]
    walk = _Walk(graph)
    for node in graph.nodes.values():
        if node.op == "RandomUniform":
            for user in walk.users.get(node.name, ()):
                other = [walk.constant(i) for i in graph.nodes[user].inputs if i != node.name]
                if graph.nodes[user].op == "Mul" and len(other) == 1 and other[0] is not None and other[0].size == 1:
                    width = float(other[0].reshape(()))
                    bits = round(-math.log2(width)) if width > 0 else 0
                    if 1 <= bits <= 8 and width == 2.0**-bits:
                        settings["bits"] = bits
    return settings


def graph_tensors(graph: Graph) -> Tensors:
    """The variables under OpenAI's names, found by structure. CheckpointError if it is not their public Glow."""
    arrays = _by_structure(graph)
    shapes = {name: array.shape for name, array in arrays.items()}
    return Tensors(shapes, lambda name: torch.from_numpy(np.array(arrays[name])), graph.where)


def named_tensors(graph: Graph) -> Tensors | None:
    """The constants that bear a variable's name, or None if some are folded away.

    They say nothing of what the graph does with them: whoever reads them must hold the result against the graph.
    """
    constants = {n.name: n.constant for n in graph.nodes.values() if n.op == "Const" and n.constant is not None}
    steps = {m[0] for name in constants if (m := re.match(r"model/\d+/\d+/", name))}
    pools = {m[0] for name in constants if (m := re.match(r"model/pool\d+/", name))}
    wanted = {s + v for s in steps for v in _STEP} | {p + v for p in pools for v in _POOL}
    if not steps or not wanted <= constants.keys():
        return None
    variables = {name: c for name, c in constants.items() if name.startswith("model/")}
    shapes = {name: c.shape for name, c in variables.items()}
    return Tensors(shapes, lambda name: torch.from_numpy(np.array(variables[name].array())), graph.where)


@dataclass(frozen=True)
class _Step:
    rotate: str
    first: str
    middle: str
    last: str


class _Walk:
    """A graph seen from both ends: who reads whom, and what is constant."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.nodes = graph, graph.nodes
        self.users: dict[str, list[str]] = {}
        for node in self.nodes.values():
            for source in node.inputs:
                self.users.setdefault(source, []).append(node.name)
        self._constants: dict[str, np.ndarray | None] = {}
        self._left = MOST_COMPUTED

    def fail(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"{self.graph.where}: {what}; the inside of this graph is not OpenAI's public Glow. Where tensorflow is "
            "installed, run_graph can run it as it is"
        )

    def node(self, name: str) -> Node:
        if name not in self.nodes:
            raise self.fail(f"a node reads {name[:80]!r}, which is not there")
        return self.nodes[name]

    def _take(self, *shapes: tuple[int, ...]) -> None:
        """Account for an array that is computed of such arrays and kept, before it takes memory."""
        self._left -= math.prod(np.broadcast_shapes(*shapes))
        if self._left < 0:
            raise self.fail("its constants are larger than any Glow's")

    def constant(self, name: str, depth: int = 24) -> np.ndarray | None:
        """The value of a node that depends on constants alone, in float64 where it was computed; else None."""
        if name not in self._constants:
            self._constants[name] = self._evaluate(self.node(name), depth) if depth else None
        return self._constants[name]

    def _evaluate(self, node: Node, depth: int) -> np.ndarray | None:
        if node.op == "Const":
            if node.constant is None or node.constant.dtype == 7:
                return None
            return node.constant.array()  # a view of the file, or one of those that `read_graph` counted
        if node.op in _SAME and node.inputs:
            return self.constant(node.inputs[0], depth - 1)
        if node.op in _UNARY and len(node.inputs) == 1:
            value = self.constant(node.inputs[0], depth - 1)
            if value is None:
                return None
            self._take(value.shape)
            return _UNARY[node.op](value.astype(np.float64))
        if node.op in _BINARY and len(node.inputs) == 2:
            a, b = (self.constant(i, depth - 1) for i in node.inputs)
            if a is None or b is None:
                return None
            self._take(a.shape, b.shape)
            return _BINARY[node.op](a.astype(np.float64), b.astype(np.float64))
        if node.op in ("Reshape", "ExpandDims", "Squeeze") and node.inputs:
            value = self.constant(node.inputs[0], depth - 1)
            if value is None or node.op != "Reshape":
                return None if value is None else value.reshape([n for n in value.shape if n != 1] or [1])
            shape = self.constant(node.inputs[1], depth - 1)
            return None if shape is None else value.reshape([int(n) for n in shape.ravel()])
        return None

    def reached(self, start: str) -> set[str]:
        """Every node whose numbers depend on the start's numbers (and not merely on its size)."""
        seen, queue = {start}, deque([start])
        while queue:
            for user in self.users.get(queue.popleft(), ()):
                if user not in seen and self.nodes[user].op not in _SIZES:
                    seen.add(user)
                    queue.append(user)
        return seen

    def _vector(self, name: str) -> np.ndarray | None:
        """A constant that is one number, or one number a channel, (1,) or (C,)."""
        value = self.constant(name)
        if value is None or value.size != (value.shape[-1] if value.ndim else 1):
            return None
        return value.reshape(-1).astype(np.float64)

    def affine(self, node: Node) -> tuple[str, np.ndarray, np.ndarray] | None:
        """(x, scale, shift) of a node that is `x * scale + shift` with constants, else None."""
        one, zero = np.ones(1), np.zeros(1)
        if node.op in _SAME and node.inputs:
            return node.inputs[0], one, zero
        if node.op not in _BINARY or node.op == "Pow" or len(node.inputs) != 2:
            return None
        x, other = node.inputs
        vector = self._vector(other)
        if vector is None and node.op in ("Add", "AddV2", "Mul"):
            x, other = other, x
            vector = self._vector(other)
        if vector is None or self.constant(x) is not None:
            return None
        if node.op in ("Mul", "RealDiv", "Div"):
            return x, vector if node.op == "Mul" else 1 / vector, zero
        return x, one, -vector if node.op == "Sub" else vector

    def back(self, name: str) -> tuple[str, np.ndarray, np.ndarray]:
        """Follow constant shifts and scales upwards: (source, scale, shift) with `name = source * scale + shift`."""
        scale, shift = np.ones(1), np.zeros(1)
        for _ in range(64):
            step = self.affine(self.node(name))
            if step is None:
                return name, scale, shift
            name, s, t = step
            scale, shift = scale * s, shift + scale * t
        raise self.fail("a chain of shifts and scales without end")

    def ahead(self, name: str) -> tuple[str, np.ndarray, np.ndarray]:
        """Follow them downwards, as long as there is one reader: (end, scale, shift)."""
        scale, shift = np.ones(1), np.zeros(1)
        for _ in range(64):
            users = [u for u in self.users.get(name, ()) if self.nodes[u].op not in _SIZES]
            step = self.affine(self.nodes[users[0]]) if len(users) == 1 else None
            if step is None:
                return name, scale, shift
            name, (_, s, t) = users[0], step
            scale, shift = scale * s, shift * s + t
        raise self.fail("a chain of shifts and scales without end")

    def through(self, name: str, reached: set[str], ops: set[str]) -> str:
        """Go upwards through operations that only move numbers, along the input that depends on the image."""
        for _ in range(64):
            node = self.node(name)
            if node.op not in ops | _SAME:
                return name
            sources = [i for i in node.inputs if i in reached]
            if len(sources) != 1:
                return name
            name = sources[0]
        raise self.fail("a chain of slices without end")


_PADDING = {"Pad", "PadV2", "ConcatV2", "Concat"}
_SLICING = {"StridedSlice", "Slice", "Split", "SplitV"}


def _by_structure(graph: Graph) -> dict[str, np.ndarray]:
    walk = _Walk(graph)
    reached = walk.reached(image_node(graph).name)
    kernels = {n.name: k for n in graph.nodes.values() if n.op == "Conv2D" and (k := _kernel(walk, n)) is not None}
    steps, used = [], set()
    for name, kernel in kernels.items():
        if name in reached and kernel.shape[:2] == (3, 3) and (step := _step(walk, name, kernels, reached)):
            steps.append(step)
            used |= {step.rotate, step.first, step.middle, step.last}
    pools = [n for n, k in kernels.items() if n in reached and n not in used and k.shape[:2] == (3, 3)]
    ranks = _ranks(walk, reached, {s.rotate for s in steps})
    steps.sort(key=lambda s: ranks[s.rotate])
    pools.sort(key=lambda n: ranks[n])
    if not steps or [ranks[s.rotate] for s in steps] != list(range(1, len(steps) + 1)):
        raise walk.fail(f"found {len(steps)} flow steps that do not follow one another")
    _check_sigmoids(walk, reached)
    arrays: dict[str, np.ndarray] = {}
    bounds = [0, *(ranks[p] for p in pools), len(steps)]
    for i, (low, high) in enumerate(pairwise(bounds)):
        if high <= low:
            raise walk.fail("two splits follow one another with no step between")
        for k, step in enumerate(steps[low:high]):
            _put_step(walk, arrays, f"model/{i}/{k}/", step, kernels)
    for i, pool in enumerate(pools):
        _put_zero_conv(walk, arrays, f"model/pool{i}/conv/", pool, kernels[pool], paired=True)
    channels = kernels[steps[-1].rotate].shape[2]
    _put_top(walk, arrays, kernels, reached, channels)
    return arrays


def _kernel(walk: _Walk, node: Node) -> np.ndarray | None:
    kernel = walk.constant(node.inputs[1]) if len(node.inputs) == 2 else None
    return kernel if kernel is not None and kernel.ndim == 4 else None


def _step(walk: _Walk, last: str, kernels: dict[str, np.ndarray], reached: set[str]) -> _Step | None:
    """The step whose coupling net ends in this convolution, or None if it ends no coupling net."""

    def before_relu(name: str, size: int) -> str | None:
        name = walk.through(walk.node(name).inputs[0], reached, _PADDING)
        if walk.node(name).op != "Relu":
            return None
        name = walk.back(walk.node(name).inputs[0])[0]
        return name if name in kernels and kernels[name].shape[:2] == (size, size) else None

    if not (middle := before_relu(last, 1)) or not (first := before_relu(middle, 3)):
        return None
    rotate = walk.through(walk.node(first).inputs[0], reached, _PADDING | _SLICING)
    if rotate not in kernels or kernels[rotate].shape[:2] != (1, 1):
        raise walk.fail(f"before {first} stands no 1×1 convolution of the channels")
    return _Step(rotate, first, middle, last)


def _ranks(walk: _Walk, reached: set[str], counted: set[str]) -> dict[str, int]:
    """For each node that depends on the image: the most counted nodes on a path to it, itself included."""
    waiting = {n: sum(i in reached for i in walk.nodes[n].inputs) for n in reached}
    ranks = dict.fromkeys(reached, 0)
    queue, done = deque(n for n, count in waiting.items() if not count), 0
    while queue:
        name, done = queue.popleft(), done + 1
        ranks[name] += name in counted
        for user in walk.users.get(name, ()):
            if user in waiting:
                ranks[user] = max(ranks[user], ranks[name])
                waiting[user] -= 1
                if not waiting[user]:
                    queue.append(user)
    if done != len(reached):
        raise walk.fail("it holds a loop")
    return ranks


def _check_sigmoids(walk: _Walk, reached: set[str]) -> None:
    """An affine coupling must be `(z2 + even channels) * sigmoid(odd channels + 2)`."""
    for name in reached:
        if walk.nodes[name].op != "Sigmoid":
            continue
        source, scale, shift = walk.back(walk.node(name).inputs[0])
        fits = np.all(scale == 1) and np.all(shift == 2) and _slice(walk, source) == (1, 2)
        products = [walk.node(u) for u in walk.users.get(name, ()) if walk.nodes[u].op == "Mul"]
        sums = [walk.node(i) for p in products for i in p.inputs if i != name]
        shifts = [_slice(walk, i) for s in sums if s.op in ("Add", "AddV2") for i in s.inputs]
        if not fits or (0, 2) not in shifts:
            raise walk.fail(f"the coupling at {name} is not (z2 + even channels) * sigmoid(odd channels + 2)")


def _slice(walk: _Walk, name: str) -> tuple[int, int] | None:
    """(begin, stride) of a slice over the channels."""
    node = walk.node(name)
    if node.op != "StridedSlice" or len(node.inputs) != 4:
        return None
    begin, stride = walk.constant(node.inputs[1]), walk.constant(node.inputs[3])
    if begin is None or stride is None or not begin.size or not stride.size:
        return None
    return int(begin.flat[-1]), int(stride.flat[-1])


def _put_norm(
    walk: _Walk, arrays: dict[str, np.ndarray], name: str, scale: np.ndarray, shift: np.ndarray, channels: int
) -> None:
    """`x * scale + shift` as the actnorm `(x + b) * exp(3 * logs)`."""
    b, logs = _shift_and_logs(walk, scale, shift, channels)
    arrays[f"{name}_center/b"] = b.reshape(1, 1, 1, channels)
    arrays[f"{name}_scale/logs"] = logs.reshape(1, 1, 1, channels)


def _shift_and_logs(walk: _Walk, scale: np.ndarray, shift: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    if not {len(scale), len(shift)} <= {1, channels} or not (scale > 0).all():
        raise walk.fail("a layer is not followed by one shift and one positive scale a channel")
    scale, shift = np.broadcast_to(scale, channels), np.broadcast_to(shift, channels)
    return shift / scale, np.log(scale) / 3


def _put_step(
    walk: _Walk, arrays: dict[str, np.ndarray], name: str, step: _Step, kernels: dict[str, np.ndarray]
) -> None:
    channels = kernels[step.rotate].shape[2]
    _, scale, shift = walk.back(walk.node(step.rotate).inputs[0])
    _put_norm(walk, arrays, name + "actnorm", scale, shift, channels)
    arrays[name + "invconv/W"] = kernels[step.rotate][0, 0]
    for layer, conv in (("l_1", step.first), ("l_2", step.middle)):
        arrays[f"{name}f1/{layer}/W"] = kernels[conv]
        _, scale, shift = walk.ahead(conv)
        _put_norm(walk, arrays, f"{name}f1/{layer}/actnorm", scale, shift, kernels[conv].shape[3])
    affine = kernels[step.last].shape[3] == channels
    _put_zero_conv(walk, arrays, name + "f1/l_last/", step.last, kernels[step.last], paired=affine)


def _put_zero_conv(
    walk: _Walk, arrays: dict[str, np.ndarray], name: str, conv: str, kernel: np.ndarray, paired: bool
) -> None:
    end, scale, shift = walk.ahead(conv)
    channels = kernel.shape[3]
    b, logs = _shift_and_logs(walk, scale, shift, channels)
    slices = {_slice(walk, user) for user in walk.users.get(end, ())} - {None}
    if paired and slices != {(0, 2), (1, 2)}:
        raise walk.fail(f"the outputs of {conv} are not taken as even and odd channels")
    arrays |= {name + "W": kernel, name + "b": b.reshape(1, 1, 1, channels), name + "logs": logs.reshape(1, channels)}


def _put_top(
    walk: _Walk, arrays: dict[str, np.ndarray], kernels: dict[str, np.ndarray], reached: set[str], channels: int
) -> None:
    """The learned top prior, which no image reaches: a convolution of zeros, and a row for each class."""
    for name, kernel in kernels.items():
        if name not in reached and kernel.shape == (3, 3, 2 * channels + 1, 2 * channels):
            _put_zero_conv(walk, arrays, "model/prior/p/", name, kernel, paired=False)
            break
    for node in walk.nodes.values():
        weight = walk.constant(node.inputs[1]) if node.op == "MatMul" and len(node.inputs) == 2 else None
        if weight is not None and node.name not in reached and weight.ndim == 2 and weight.shape[1] == 2 * channels:
            _, scale, shift = walk.ahead(node.name)
            b, logs = _shift_and_logs(walk, scale, shift, 2 * channels)
            arrays["model/prior/y_emb/W"] = weight
            arrays["model/prior/y_emb/b"] = b.reshape(1, -1)
            arrays["model/prior/y_emb/logs"] = logs.reshape(1, -1)
            break
