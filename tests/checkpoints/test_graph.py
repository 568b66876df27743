"""OpenAI's frozen graph, read by what its nodes do.

TensorFlow wrote the two graphs in `data/` (the script is tests/checkpoints/tensorflow/glow.py of commit 51ca188), and
computed what is in `openai_graph_io.npz`.
"""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from transflow_core.checkpoints import CheckpointError, convert

from .memory import refused

DATA = Path(__file__).parent / "data"


def write_graph(folder, name="graph"):
    """One of the two: names kept, or every constant folded and renamed."""
    path = folder / f"{name}.pb"
    path.write_bytes(gzip.decompress((DATA / f"openai_{name}.pb.gz").read_bytes()))
    return path


@pytest.fixture(params=["graph", "folded"])
def graph_file(request, tmp_path):
    return write_graph(tmp_path, request.param)


def nchw(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def test_a_frozen_graph_becomes_the_native_glow(graph_file):
    """Size and bits are in the graph itself. The x that TensorFlow encoded has its noise in it."""
    checkpoint = convert(graph_file)
    assert checkpoint.metadata["format"] == "OpenAI Glow"
    assert (checkpoint.flow.config.image_size, checkpoint.pixels.bits) == (8, 5)
    assert checkpoint.flow.latent_shapes == ((6, 4, 4), (24, 2, 2))
    with np.load(DATA / "openai_graph_io.npz") as io, torch.inference_mode():
        x = torch.floor(nchw(io["u"]).float() / 8) / 32 - 0.5 + nchw(io["noise"]) / 32
        z = torch.cat([nchw(io[f"eps_{i}"]).flatten(1) for i in (0, 1)], 1)
        torch.testing.assert_close(checkpoint.flow(x)[0], z, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(checkpoint.flow.inverse(z)[0], nchw(io["decoded"]), atol=1e-5, rtol=1e-5)


def test_a_graph_of_something_else_is_refused(graph_file):
    content = graph_file.read_bytes()
    # Replaced by words of the same length, so that the file stays a graph. No name is touched: what it does tells.
    for old, new in (
        (b"\x12\x04Relu", b"\x12\x04Tanh"),
        (b"StridedSlice", b"StridedShape"),
        (b"\x12\x03Mul", b"\x12\x03Max"),
    ):
        assert old in content
        graph_file.write_bytes(content.replace(old, new))
        with pytest.raises(CheckpointError, match="public Glow"):
            convert(graph_file)


@pytest.mark.parametrize(
    "content",
    [
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a node of 2**63 bytes
        b"\x0a" + b"\xff" * 40,  # a number without end
        b"\x0a\x02\x0a\x00",  # a node without a name, and no other
        b"\x0a\x03\x0f\x00\x00",  # a wire type that does not exist
        b"\x0a\x04\x0a\x02\xff\xfe",  # a name that is no text
    ],
    ids=["huge", "endless", "nameless", "wire", "text"],
)
def test_bytes_that_are_no_graph_are_refused(content, tmp_path):
    (tmp_path / "graph.pb").write_bytes(content)
    refused(tmp_path / "graph.pb", "graph.pb: ")
