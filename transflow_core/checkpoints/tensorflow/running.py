"""OpenAI's frozen graph, run by TensorFlow itself through its documented node names. TensorFlow is an optional extra.

The code that made the published graph is not public, so what the graph computes is its graph. This runs it as it is; it
gives latents and images, but no density: no documented node holds one.
"""

import hashlib
import importlib.util
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...flows import Flow
from ...pixels import PixelConvention
from ..base import Checkpoint, CheckpointError, guarded
from .graphdef import Graph, read_graph
from .structure import graph_settings

__all__ = ["GraphNodes", "TensorFlowFlow", "check_against_graph", "run_graph", "tensorflow_is_installed"]

# A graph is a program. These operations compute and do nothing else; files, networks and foreign code are not here.
_PURE = frozenset(
    word
    for line in (
        "Abs Add AddN AddV2 All Any ArgMax ArgMin Assert BiasAdd BroadcastGradientArgs BroadcastTo Cast Ceil",
        "CheckNumerics Concat ConcatOffset ConcatV2 Const Conv2D Conv2DBackpropInput Cumprod Cumsum DepthToSpace",
        "Diag Div DivNoNan Equal Erf Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod Gather GatherNd GatherV2",
        "Greater GreaterEqual Identity IdentityN Inv InvertPermutation L2Loss LeakyRelu Less LessEqual LinSpace",
        "Log Log1p LogMatrixDeterminant LogicalAnd LogicalNot LogicalOr MatMul BatchMatMul BatchMatMulV2",
        "MatrixBandPart MatrixDeterminant MatrixDiag MatrixInverse MatrixTriangularSolve Max MaxPool Maximum Mean",
        "Min Minimum Mod Mul Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2 Placeholder PlaceholderV2",
        "PlaceholderWithDefault Pow PreventGradient Prod RandomStandardNormal RandomUniform Range Rank RealDiv",
        "Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor Reverse ReverseV2 Rint Round Rsqrt",
        "Select SelectV2 Shape ShapeN Sigmoid Sign Size Slice Snapshot Softmax Softplus SpaceToDepth Split SplitV",
        "Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice Sub Sum Tanh Tile Transpose TruncateDiv",
        "TruncateMod Unpack Where ZerosLike",
    )
    for word in line.split()
)


@dataclass(frozen=True)
class GraphNodes:
    """The nodes through which a graph is used.

    Args:
        image: placeholder of uint8 images (n, S, S, 3).
        eps: the encoder's whitened latents, fine to coarse.
        decoder: the decoder's placeholders for them, in the same order.
        decoded: the decoded images in [-0.5, 0.5], before they are rounded.
    """

    image: str
    eps: tuple[str, ...]
    decoder: tuple[str, ...]
    decoded: str

    @classmethod
    def of(cls, graph: Graph, path: Path) -> "GraphNodes":
        """From `names.json` beside the graph, or the names that OpenAI's demo documents. CheckpointError otherwise."""
        nodes = cls._beside(path) or cls._documented(graph)
        for name in (nodes.image, *nodes.eps, *nodes.decoder, nodes.decoded):
            if name not in graph.nodes:
                raise CheckpointError(f"{path.name}: the graph has no node {name}, through which it would be run")
        if not nodes.eps or len(nodes.eps) != len(nodes.decoder):
            raise CheckpointError(
                f"{path.name}: {len(nodes.eps)} encoder outputs and {len(nodes.decoder)} decoder inputs do not match"
            )
        return nodes

    @classmethod
    def _beside(cls, path: Path) -> "GraphNodes | None":
        file = path.parent / "names.json"
        if not file.is_file():
            return None
        with guarded(file, "list of node names"):
            document = json.loads(file.read_text(encoding="utf-8"))
            ins, outs = document.get("inputs"), document.get("outputs")
            if not ins or not outs:
                return None
            return cls(ins["enc_x"], tuple(outs["enc_eps"]), tuple(ins["dec_eps"]), outs["dec_x_float"])

    @classmethod
    def _documented(cls, graph: Graph) -> "GraphNodes":
        pools = sorted(int(m[1]) for n in graph.nodes if (m := re.fullmatch(r"model/pool(\d+)/truediv_1", n)))
        eps = (*(f"model/pool{i}/truediv_1" for i in pools), "model/truediv_4")
        # "Placeholder", "Placeholder_1" …, as TensorFlow numbers what nobody named.
        decoder = tuple("Placeholder" + (f"_{i}" if i else "") for i in range(len(eps)))
        return cls("input/image", eps, decoder, "model_1/Reshape_4")


def tensorflow_is_installed() -> bool:
    """Can the graph be run here?"""
    return importlib.util.find_spec("tensorflow") is not None


class TensorFlowFlow(nn.Module):
    """A frozen graph as a flow: x (n, 3, S, S) -> (z (n, D), nan), and back.

    The encoder takes bytes, so x is floored to them. Its dequantisation noise is fed with its mean, 1/2 of a bin, which
    makes encoding deterministic. The log-determinant is not known: it is nan. It runs where TensorFlow runs, whatever
    torch device it is moved to.
    """

    def __init__(self, path: Path, graph: Graph, nodes: GraphNodes) -> None:
        super().__init__()
        self.nodes = nodes
        strange = sorted({n.op for n in graph.nodes.values()} - _PURE)
        if strange:
            raise CheckpointError(
                f"{path.name}: the graph holds operations that do more than compute: {', '.join(strange[:5])}"
            )
        try:
            import tensorflow as tf
        except ImportError as error:
            raise CheckpointError(
                f"{path.name}: running the graph needs tensorflow, an optional extra (pip install tensorflow-cpu)"
            ) from error
        with guarded(path, "TensorFlow graph"):
            definition = tf.compat.v1.GraphDef()
            definition.ParseFromString(path.read_bytes())
            self._graph = tf.Graph()
            with self._graph.as_default():
                tf.import_graph_def(definition, name="")
            self._session = tf.compat.v1.Session(graph=self._graph)
            shape = self._tensor(nodes.image).shape.as_list()
            if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or not shape[1]:
                raise CheckpointError(f"{path.name}: {nodes.image} takes images of {shape}, expected (any, S, S, 3)")
            self.image_size, self.channels = shape[1], 3
            blank = np.zeros((1, shape[1], shape[2], 3), np.uint8)
            eps = self._run(nodes.eps, {nodes.image: blank})
        self.latent_shapes = tuple((e.shape[3], e.shape[1], e.shape[2]) for e in eps)
        if sum(map(math.prod, self.latent_shapes)) != 3 * shape[1] * shape[2]:
            raise CheckpointError(f"{path.name}: its latents {self.latent_shapes} are not as many as its pixels")
        # What has no weights in torch still has to say where it is.
        self._anchor = nn.Parameter(torch.zeros(0), requires_grad=False)

    def _tensor(self, name: str) -> Any:
        return self._graph.get_tensor_by_name(name + ":0")

    def _run(self, outputs: tuple[str, ...], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        n = len(next(iter(feeds.values())))
        feed = {self._tensor(name): value for name, value in feeds.items()}
        noise = []
        for op in self._graph.get_operations():
            if op.type in ("Placeholder", "PlaceholderV2") and op.name not in feeds:
                shape = op.outputs[0].shape
                if shape.rank is not None:
                    dtype = op.outputs[0].dtype.as_numpy_dtype
                    # The demo feeds labels of 0 and a grey small image, in both directions.
                    fill = 128 if dtype == np.uint8 else 0
                    feed[op.outputs[0]] = np.full([n if s is None else s for s in shape.as_list()], fill, dtype)
            elif op.type == "RandomUniform":
                noise.append(op)
        shapes = self._session.run([op.inputs[0] for op in noise], feed) if noise else []
        for op, shape in zip(noise, shapes, strict=True):
            feed[op.outputs[0]] = np.full(tuple(int(s) for s in shape), 0.5, np.float32)
        return self._session.run([self._tensor(name) for name in outputs], feed)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, S, S) in [-0.5, 0.5] -> (z (n, D), nan (n,))."""
        u = ((x.float() + 0.5) * 256).floor().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
        parts = []
        for image in u:  # one at a time: a large graph's batch is a large graph's memory
            eps = self._run(self.nodes.eps, {self.nodes.image: image[None]})
            parts.append(np.concatenate([e.transpose(0, 3, 1, 2).reshape(1, -1) for e in eps], 1))
        z = torch.from_numpy(np.concatenate(parts)) if parts else torch.zeros(0, 3 * self.image_size**2)
        return z.to(x.device, torch.float32), x.new_full((len(x),), torch.nan)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, 3, S, S), nan (n,))."""
        images = [z.new_zeros(0, 3, self.image_size, self.image_size)]
        for row in z.detach().cpu().split(1):
            parts = row.split([math.prod(shape) for shape in self.latent_shapes], 1)
            feeds = {
                name: part.reshape(1, *shape).permute(0, 2, 3, 1).numpy()
                for name, part, shape in zip(self.nodes.decoder, parts, self.latent_shapes, strict=True)
            }
            image = torch.from_numpy(self._run((self.nodes.decoded,), feeds)[0]).permute(0, 3, 1, 2)
            images.append(image.to(z.device, torch.float32))
        return torch.cat(images), z.new_full((len(z),), torch.nan)


def run_graph(path: str | Path) -> Checkpoint:
    """A checkpoint whose flow is the graph itself, run by TensorFlow. It has latents and images, but no density.

    Raises FileNotFoundError, or CheckpointError where tensorflow is missing or the graph lacks its documented nodes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path.name}: no such file")
    with guarded(path, "TensorFlow graph"):
        graph = read_graph(path)
        settings = graph_settings(graph)
        flow = TensorFlowFlow(path, graph, GraphNodes.of(graph, path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    pixels = PixelConvention(bits=settings.get("bits", 5), offset=0.5)
    return Checkpoint(flow, pixels, path.stem, digest, metadata={"format": "OpenAI Glow, run by TensorFlow"})


def check_against_graph(flow: Flow, pixels: PixelConvention, path: Path, graph: Graph, tolerance: float = 5e-3) -> None:
    """Hold a converted flow against the graph that it came from, on random bytes and latents, in both directions.

    Raises CheckpointError when a latent or a pixel differs by more than the tolerance.
    """
    reference = TensorFlowFlow(path, graph, GraphNodes.of(graph, path))
    generator = torch.Generator().manual_seed(0)
    size = reference.image_size
    smooth = torch.rand(1, 3, 4, 4, generator=generator)  # noise would be far outside what the flow can represent
    u = (torch.nn.functional.interpolate(smooth, size=(size, size), mode="bilinear") * 255).floor()
    v = pixels.from_bytes(u.to(torch.uint8))
    with torch.inference_mode():
        theirs = reference.forward(v - 0.5)[0]
        ours = flow.forward(pixels.dequantise(v, torch.full_like(v, 0.5)))[0]
        z = 0.7 * torch.randn(1, theirs.shape[1], generator=generator)
        differences = {"latents": ours - theirs, "pixels": flow.inverse(z)[0] - reference.inverse(z)[0]}
    for what, difference in differences.items():
        worst = float(difference.abs().max())
        if not worst <= tolerance:
            raise CheckpointError(
                f"{path.name}: the converted flow's {what} differ from the graph's own by {worst:.3g}: the inside of "
                "this graph is not OpenAI's public Glow. Use run_graph, which runs it as it is"
            )
