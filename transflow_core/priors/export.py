"""A prior as ONNX graphs, which run where Python does not: in a browser, on a phone, in another language."""

import hashlib
import json
import logging
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from ..flows.fused import Decode, Encode, GuardedFlow
from ..flows.wavelet import TrainableFlow
from ..posterior import standard_normal
from .prior import Prior

_NEEDS = ("onnxruntime", "onnx.external_data_helper", "onnxscript.optimizer")
_WEIGHTS = "weights.bin"
_SMALL = 1024
"""Bytes of a tensor that stays in its graph."""
_LARGEST_ERROR = 1e-3
_UNITS = {
    "n": "any number of images",
    "images": "colours from 0 to 1: (n, channels, height, width)",
    "z": "latents; under the model each number has a normal distribution, of mean 0 and variance 1",
    "log_det": "in nats: log p(x) = log N(z; 0, I) + log_det, of the x that the flow sees",
    "ranges": "the least and the largest value of each channel at each place inside the flow that is guarded. Decode "
    "within the least and the largest that encode.onnx gives for your images and their mirror images; infinite ones "
    "hold nothing",
    "seen": "as ranges, of these images, before the guard held them",
}


@torch.no_grad()
def export_onnx(
    prior: Prior, folder: str | Path, progress: Callable[[int, int, str], None] = lambda *_: None
) -> dict[str, Any]:
    """Write `encode.onnx`, `decode.onnx`, their `weights.bin`, and `config.json`, which says what goes in and out.

    A grown flow also has a graph for each coarser side that it can decode at, such as `decode_64.onnx`. Each graph is
    run, and held against the prior.

    Args:
        prior: a Glow, or one that was grown, on the CPU.
        progress: called with how many graphs are done, how many there are, and which is being written.

    Returns:
        What `config.json` says: shapes, units, and by how much each graph is off at most.

    Raises:
        ValueError: the prior is of another kind, or a graph is off by more than 1e-3.
        OSError: the extra `onnx` is not installed, or the folder cannot be written.
    """
    folder = Path(folder)
    if not isinstance(prior.flow, TrainableFlow):
        raise ValueError(f"{prior.name} cannot be exported: only a Glow can, or one that was grown")
    try:
        onnxruntime, *_ = (import_module(name) for name in _NEEDS)
    except ImportError as error:
        raise OSError(f'{error.name} is missing: pip install "transflow-studio[onnx]"') from error
    folder.mkdir(parents=True, exist_ok=True)
    # Three samples. To decode, two of them are moved, so that the guard has something to hold.
    images = prior.decode(0.5 * standard_normal(3, prior.dim)).clamp(0, 1).clone()
    encoded = prior.encode_and_score(images)
    z, ranges = encoded.z.clone(), cast(Tensor, encoded.ranges).clone()
    within = torch.stack([ranges[:, 0].amin(0), ranges[:, 1].amax(0)]).expand_as(ranges).contiguous()
    moved = z * torch.tensor([[1.0], [1.5], [3.0]])
    flow = GuardedFlow(prior.flow)
    encode = Encode(flow, prior.pixels.to_flow)
    graphs: dict[str, tuple[Encode | Decode, tuple[Tensor, ...], dict[str, Tensor]]] = {
        "encode.onnx": (encode, (images,), {"z": z, "ranges": ranges})
    }
    for times in range(flow.halvings + 1):
        side = prior.image_size >> times
        decode = Decode(flow, times, prior.pixels.from_flow)
        decoded = prior.guarded_decode(moved, side=side, ranges=within)[0]
        graphs[f"decode_{side}.onnx" if times else "decode.onnx"] = decode, (moved, within), {"images": decoded}
    config: dict[str, Any] = {"prior": prior.info(), "units": _UNITS, "graphs": {}}
    with (folder / _WEIGHTS).open("wb") as weights:
        known: dict[bytes, int] = {}
        for done, (name, (graph, inputs, expected)) in enumerate(graphs.items()):
            progress(done, len(graphs), f"writing {name}")
            (folder / name).write_bytes(_onnx(graph, inputs, weights, known))
            weights.flush()
            session = onnxruntime.InferenceSession(folder / name)
            given = dict(zip(graph.inputs, (one.numpy() for one in inputs), strict=True))
            found = map(torch.from_numpy, session.run(list(expected), given))
            off = max(float((one - other).abs().max()) for one, other in zip(found, expected.values(), strict=True))
            if not off <= _LARGEST_ERROR:
                raise ValueError(f"{name} is of no use: it is off by {off:.2g}")
            shapes = {"takes": session.get_inputs(), "gives": session.get_outputs()}
            config["graphs"][name] = {
                **{way: {one.name: one.shape for one in ends} for way, ends in shapes.items()},
                "off_by": off,
            }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return config


def _onnx(graph: Encode | Decode, inputs: tuple[Tensor, ...], weights: BinaryIO, known: dict[bytes, int]) -> bytes:
    """A graph as a file has it. Each of its tensors is in the file of weights once, for all graphs: `known` says where.

    Of all that the exporter can simplify only constants are: the rest takes minutes, and runtimes do it as they load.
    """
    external, optimizer = (import_module(name) for name in _NEEDS[1:])
    any_number = {name: {0: torch.export.Dim("n")} for name in graph.inputs}
    names = {"input_names": graph.inputs, "output_names": graph.outputs, "dynamic_shapes": any_number}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision is missing, it says
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about itself
        program: Any = torch.onnx.export(graph.eval(), inputs, dynamo=True, optimize=False, verbose=False, **names)
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.value_info, model.graph, model):
        part.ClearField("metadata_props")  # where on this machine the code lies
    for tensor in model.graph.initializer:
        values = tensor.raw_data
        if len(values) < _SMALL:
            continue
        if (digest := hashlib.sha256(values).digest()) not in known:
            known[digest] = weights.tell()
            weights.write(values)
        external.set_external_data(tensor, _WEIGHTS, known[digest], len(values))
        tensor.ClearField("raw_data")
    return model.SerializeToString()
