"""OpenAI's frozen graph: read without TensorFlow by name and by structure, and, where it is installed, run by it.

The graphs in `data/` were written by `glow.py`.
"""

import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from transflow_core.checkpoints import CheckpointError, convert, recognise, run_graph
from transflow_core.checkpoints.tensorflow.graphdef import read_graph
from transflow_core.checkpoints.tensorflow.structure import graph_settings, graph_tensors, image_node, named_tensors
from transflow_core.prior import Prior, load_prior

from ..peers import OpenAI

DATA = Path(__file__).parent / "data"
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow, an optional extra, is not installed"
)
without_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="tensorflow is installed"
)


@pytest.fixture(params=["graph", "folded"])
def graph_file(request, tmp_path):
    path = tmp_path / f"{request.param}.pb"
    path.write_bytes(gzip.decompress((DATA / f"openai_{request.param}.pb.gz").read_bytes()))
    return path


def nchw(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def reference(file=DATA / "openai_graph_io.npz"):
    """What TensorFlow computed: the x that it encoded (its noise included), the latents, and the decoded images."""
    with np.load(file) as io:
        x = torch.floor(nchw(io["u"]).float() / 8) / 32 - 0.5 + nchw(io["noise"]) / 32
        levels = sorted(name for name in io.files if name.startswith("eps_"))
        z = torch.cat([nchw(io[name]).flatten(1) for name in levels], 1)
        return nchw(io["u"]), x, z, nchw(io["decoded"])


def test_a_frozen_graph_becomes_the_native_glow(graph_file):
    """Names kept, or every constant folded and renamed: size and bits are told by the graph itself."""
    checkpoint = convert(graph_file, options={"check": False})
    assert (checkpoint.flow.config.image_size, checkpoint.pixels.bits) == (8, 5)
    assert checkpoint.flow.latent_shapes == ((6, 4, 4), (24, 2, 2))
    _, x, z, decoded = reference()
    with torch.inference_mode():
        torch.testing.assert_close(checkpoint.flow(x)[0], z, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(checkpoint.flow.inverse(z)[0], decoded, atol=1e-5, rtol=1e-5)


def test_the_folded_graph_has_none_of_the_names_and_the_same_variables(tmp_path):
    graphs = []
    for name in ("graph", "folded"):
        path = tmp_path / f"{name}.pb"
        path.write_bytes(gzip.decompress((DATA / f"openai_{name}.pb.gz").read_bytes()))
        graphs.append(read_graph(path))
    named, folded = graphs
    assert "model/0/0/f1/l_1/actnorm_scale/logs" in named.nodes
    assert not any(name in folded.nodes for name in named.nodes if name.endswith(("/logs", "/b", "/W")))
    assert any("__cf__" in name for name in folded.nodes)
    assert named_tensors(folded) is None
    variables = named_tensors(named)
    for found in (graph_tensors(named), graph_tensors(folded)):
        assert set(found.shapes) == {name for name in variables.shapes if name in found.shapes}
        for name in found.shapes:
            torch.testing.assert_close(found.take(name), variables.take(name), atol=1e-6, rtol=1e-5)


def test_recognised_without_reading_a_number(graph_file):
    found = recognise(graph_file)
    assert (found.format, found.container) == ("OpenAI Glow", "graph")
    assert {"image_size", "bits", "label", "check"} <= found.asks.keys()
    graph = read_graph(graph_file)
    assert image_node(graph).name == "input/image"
    assert graph_settings(graph) == {"image_size": 8, "bits": 5}


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
        with pytest.raises(CheckpointError, match=r"public Glow.*run_graph"):
            convert(graph_file, options={"check": False})


@without_tensorflow
def test_without_tensorflow_what_needs_it_says_so(graph_file, tmp_path):
    with pytest.raises(CheckpointError, match="needs tensorflow, an optional extra"):
        run_graph(graph_file)
    (tmp_path / "model.ckpt.index").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="needs tensorflow, an optional extra"):
        convert(tmp_path / "model.ckpt", options={"image_size": 8, "bits": 5})


def test_a_graph_that_could_touch_files_is_not_run(graph_file):
    graph_file.write_bytes(graph_file.read_bytes().replace(b"\x12\x07Sigmoid", b"\x12\x07WriteFi"))
    with pytest.raises(CheckpointError, match="more than compute: WriteFi"):
        run_graph(graph_file)


def test_a_graph_without_the_documented_nodes_is_not_run(graph_file):
    graph_file.write_bytes(graph_file.read_bytes().replace(b"truediv_4", b"truediv_x"))
    with pytest.raises(CheckpointError, match="no node model/truediv_4"):
        run_graph(graph_file)
    with pytest.raises(FileNotFoundError):
        run_graph(graph_file.parent / "nothing.pb")


@pytest.fixture(scope="module", params=["additive", "affine, classes", "no top"])
def written(request, tmp_path_factory):
    """A graph, a checkpoint and what they compute, written by TensorFlow now."""
    from .glow import write

    folder = tmp_path_factory.mktemp("tensorflow")
    affine = request.param == "affine, classes"
    write(folder, affine=affine, learn_top=request.param != "no top", classes=3 if affine else 0)
    return folder, ({"label": 0} if affine else {})


@needs_tensorflow
@pytest.mark.parametrize("name", ["graph.pb", "folded.pb", "model.ckpt", "variables.npz"])
def test_all_that_tensorflow_writes_is_read_and_graphs_are_checked(written, name):
    folder, label = written
    _, x, z, _ = reference(folder / "io.npz")
    options = label | ({} if name.endswith(".pb") else {"image_size": 8, "bits": 5})
    checkpoint = convert(folder / name, options=options)
    assert ("checked" in checkpoint.metadata) == name.endswith(".pb")
    with torch.inference_mode():
        torch.testing.assert_close(checkpoint.flow(x)[0], z, atol=1e-4, rtol=1e-4)


@needs_tensorflow
def test_the_graph_runs_as_a_prior(written):
    folder, _ = written
    u, _, z, decoded = reference(folder / "io.npz")
    prior = Prior.from_checkpoint(run_graph(folder / "graph.pb"), device="cpu")
    torch.testing.assert_close(prior.decode(z), (decoded + 0.5).clamp(0, 1), atol=1e-5, rtol=1e-5)
    encoded = prior.encode(u.permute(0, 2, 3, 1).numpy())
    assert encoded.equal(prior.encode(u.permute(0, 2, 3, 1).numpy()))  # its noise is held at its mean
    converted = load_prior(folder / "graph.pb", device="cpu", label=0)
    noiseless = torch.floor(u.float() / 8) / 32 + 1 / 64
    torch.testing.assert_close(encoded, converted.encode(noiseless), atol=1e-4, rtol=1e-4)
    assert prior.log_prob(u.permute(0, 2, 3, 1).numpy()).isnan().all()


def definition_of(folder):
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString((folder / "graph.pb").read_bytes())
    return definition


@needs_tensorflow
def test_a_graph_whose_inside_differs_is_refused(written, tmp_path):
    """Multiplying a latent by its deviation instead of dividing is nothing that a reader of the steps would see."""
    folder, label = written
    definition = definition_of(folder)
    next(n for n in definition.node if n.name == "model/pool0/truediv_1").op = "Mul"
    (tmp_path / "graph.pb").write_bytes(definition.SerializeToString())
    with pytest.raises(CheckpointError, match=r"differ from the graph's own.*run_graph"):
        convert(tmp_path / "graph.pb", options=label)
    convert(tmp_path / "graph.pb", options=label | {"check": False})


@needs_tensorflow
def test_a_graph_that_differs_in_form_alone_is_read_by_its_names_and_checked(written, tmp_path):
    """max(x, 0) is a ReLU that no chain of ReLUs shows."""
    folder, label = written
    definition = definition_of(folder)
    zero = definition.node.add(name="zero")
    zero.CopyFrom(next(n for n in definition.node if n.op == "Const" and n.name.endswith("f1/l_1/actnorm_center/b")))
    zero.name = "zero"
    zero.attr["value"].tensor.tensor_content = bytes(len(zero.attr["value"].tensor.tensor_content))
    relu = next(n for n in definition.node if n.op == "Relu" and n.name.startswith("model/"))
    relu.op = "Maximum"
    relu.input.append("zero")
    (tmp_path / "graph.pb").write_bytes(definition.SerializeToString())
    assert "checked" in convert(tmp_path / "graph.pb", options=label).metadata
    with pytest.raises(CheckpointError, match="public Glow"):
        convert(tmp_path / "graph.pb", options=label | {"check": False})


@needs_tensorflow
def test_node_names_beside_the_graph_win(written, tmp_path):
    folder, _ = written
    (tmp_path / "graph.pb").write_bytes((folder / "graph.pb").read_bytes())
    names = {
        "inputs": {"enc_x": "input/image", "dec_eps": ["Placeholder", "Placeholder_1"]},
        "outputs": {"enc_eps": ["model/pool0/truediv_1", "model/truediv_9"], "dec_x_float": "model_1/Reshape_4"},
    }
    (tmp_path / "names.json").write_text(json.dumps(names))
    with pytest.raises(CheckpointError, match="no node model/truediv_9"):
        run_graph(tmp_path / "graph.pb")
    names["outputs"]["enc_eps"][1] = "model/truediv_4"
    (tmp_path / "names.json").write_text(json.dumps(names))
    assert run_graph(tmp_path / "graph.pb").flow.latent_shapes == ((6, 4, 4), (24, 2, 2))


def test_an_archive_of_variables_takes_the_place_of_a_graph(tmp_path):
    peer = OpenAI("additive", lu=False)
    assert recognise(peer.save(tmp_path)).container == "NumPy archive"
