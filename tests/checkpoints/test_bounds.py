"""Small files that declare much: refused, and before their memory is taken."""

import json
import struct
import zipfile
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from transflow_core.checkpoints import CheckpointError, convert, load_native
from transflow_core.checkpoints.base import Tensors
from transflow_core.checkpoints.peers.folding import Assembly
from transflow_core.checkpoints.tensorflow import graphdef
from transflow_core.flows import GlowConfig, LevelConfig
from transflow_core.prior import load_prior

from ..helpers import make_tiny_prior
from .memory import at_most
from .peers import Chaiyujin, GlowIP, Rosinality

# Of a file of some kilobytes. What torch and a small flow take is within it.
MIB = 200


def refused(path, match, **options):
    with at_most(MIB), pytest.raises(CheckpointError, match=match) as error:
        convert(path, options=options)
    assert str(path.parent) not in str(error.value)


def test_the_measure_sees_what_numpy_and_torch_take():
    with pytest.raises(AssertionError, match="MiB"), at_most(50):
        np.ones(1 << 24).sum()
    with pytest.raises(AssertionError, match="MiB"), at_most(50):
        torch.ones(1 << 25).sum()


# A GraphDef, field by field: enough of protobuf to write one.


def varint(value):
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def part(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def shape_of(*sizes):
    return b"".join(part(2, part(1, size)) for size in sizes)


def node(name, op, inputs=(), **attributes):
    body = part(1, name) + part(2, op) + b"".join(part(3, i) for i in inputs)
    for key, value in attributes.items():
        body += part(5, part(1, key) + part(2, value))
    return part(1, body)


def constant(name, *sizes, content=None):
    """A float32 constant: one number declared many times over, or stored."""
    number = part(4, content) if content else part(5, struct.pack("<f", 0.5))
    return node(name, "Const", value=part(8, part(1, 1) + part(2, shape_of(*sizes)) + number))


LONG_LIST = part(1, 3) + part(7, bytes(10_000))  # int32, packed: no fields of their own

IMAGE = node("input/image", "Placeholder", shape=part(7, shape_of(1, 8, 8, 3)))


def kernels(names):
    return b"".join(node(f"conv{i}", "Conv2D", ("input/image", name)) for i, name in enumerate(names))


def test_a_graph_whose_constants_together_are_large(tmp_path):
    """Each within any bound of one: 1.4 kB took 5.8 GB."""
    names = [f"c{i}" for i in range(24)]
    graph = IMAGE + b"".join(constant(name, 1, 1, 2048, 2048) for name in names) + kernels(names)
    (tmp_path / "graph.pb").write_bytes(graph)
    assert len(graph) < 3000
    refused(tmp_path / "graph.pb", "many more numbers", image_size=8, bits=5, check=False)


def test_a_graph_that_computes_much_of_little(tmp_path):
    names = [f"exp{i}" for i in range(400)]
    graph = IMAGE + constant("c", 1, 1, 512, 512, content=bytes(1 << 20))
    graph += b"".join(node(name, "Exp", ("c",)) for name in names) + kernels(names)
    (tmp_path / "graph.pb").write_bytes(graph)
    refused(tmp_path / "graph.pb", "larger than any", image_size=8, bits=5, check=False)


def test_a_graph_of_very_many_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(graphdef, "_MOST_FIELDS", 10_000)  # the bound itself takes half a minute to reach
    (tmp_path / "graph.pb").write_bytes(part(1, part(1, "a") + part(3, "") * 10_000))
    refused(tmp_path / "graph.pb", "more parts", check=False)
    (tmp_path / "graph.pb").write_bytes(part(1, part(1, "a") + part(5, part(1, "value") + part(2, part(8, LONG_LIST)))))
    refused(tmp_path / "graph.pb", "more parts", check=False)


def test_an_archive_whose_flag_is_a_gigabyte_of_zeros(tmp_path):
    """Deflated it is a file of some hundred kilobytes."""
    peer, path = Rosinality(steps=(1,), size=8, width=3), tmp_path / "model.npz"
    arrays = {name: tensor.numpy() for name, tensor in peer.state.items()}
    flag = "blocks.0.flows.0.actnorm.initialized"
    np.savez_compressed(path, **{name: a for name, a in arrays.items() if name != flag})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open(f"{flag}.npy", "w") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (1 << 27,)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(128):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 300_000
    refused(path, "more numbers than it can hold", **peer.options)


def test_a_flag_is_one_number():
    tensors = Tensors({"done": (4,), "zero": ()}, lambda name: torch.zeros(tensors.shapes[name]), "file.pt")
    with pytest.raises(CheckpointError, match="single number"):
        tensors.flag("done")
    assert tensors.flag("zero") is False


def test_names_that_share_their_numbers_count_each_time(tmp_path):
    state = Chaiyujin(steps=(1,), size=8, width=3).state
    shared = torch.zeros(1 << 16)
    state |= {f"extra.{i}": shared for i in range(100)}
    torch.save(state, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "more numbers than it can hold")


def test_a_pickle_that_calls_what_allocates(tmp_path):
    """bytearray(2**31), which torch.load(weights_only=True) calls."""
    content = b"\x80\x02}X\x01\x00\x00\x00acbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x80\x00\x85Rs."
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3")
    refused(tmp_path / "model.pt", "unsupported global 'builtins bytearray'")


def test_an_archive_with_an_index_of_a_hundred_thousands_of_files(tmp_path):
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *bytes(4), *[0] * 4, 0, 0, 0, 1, *[0] * 4, 0, 0) + b"x"
    index = entry * (9_000_000 // len(entry))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(index), 30, 0)
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04" + bytes(26) + index + end)
    refused(tmp_path / "model.pt", "index that is too large")


def test_a_configuration_that_unfolds_by_aliases(tmp_path):
    """Merge keys copy what they merge: seven kilobytes took 1.9 GB and 12 seconds."""
    path = GlowIP(steps=(1, 1), size=8, width=3).save(tmp_path)
    (tmp_path / "configs.json").unlink()
    lines = ["a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(100)) + "}"]
    for one, other in pairwise(f"a{i}" for i in range(7)):
        lines.append(f"{other}: &{other} {{<<: [" + ", ".join([f"*{one}"] * 9) + "]}")
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    assert (tmp_path / "config.yaml").stat().st_size < 7500
    refused(path, "aliases")


def test_shapes_and_settings_alone_make_no_large_flow():
    """Of a permutation's C numbers a Glow stores three C × C matrices."""
    config = GlowConfig(1024, tuple(LevelConfig(9, 1) for _ in range(7)), channels=16)
    with at_most(MIB), pytest.raises(CheckpointError, match="of which the file has few"):
        Assembly(config, Tensors({"indices": (4096,)}, torch.zeros, "file.npz"))


def test_a_native_folder_with_a_huge_configuration(tmp_path):
    make_tiny_prior().save(tmp_path / "small")
    for name in ("config.json", "typicality.json"):
        good = (tmp_path / "small" / name).read_bytes() if name == "config.json" else b""
        (tmp_path / "small" / name).write_bytes(b" " * 3_000_000)
        refused(tmp_path / "small", f"small/{name}: too large")
        (tmp_path / "small" / name).write_bytes(good)


# Weights that are damaged, and files that are not what they seem.


@pytest.fixture
def folder(tmp_path):
    make_tiny_prior().save(tmp_path / "small")
    return tmp_path / "small"


def test_one_flipped_bit_in_the_weights_is_seen_and_the_file_named(folder):
    assert load_native(folder).name == "tiny"
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1000] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^small/model\.safetensors: the file is damaged: its sha256"):
        load_prior(folder)
    (folder / "SHA256SUMS").unlink()
    load_prior(folder, device="cpu")  # without the sum nothing tells


@pytest.mark.parametrize("sums", ["", "x", "0" * 64 + "  other.safetensors", " " * 2_000_000])
def test_sums_that_tell_nothing_of_the_weights_are_refused(folder, sums):
    (folder / "SHA256SUMS").write_text(sums)
    with pytest.raises(CheckpointError, match="small/SHA256SUMS"):
        load_prior(folder)


def test_short_and_missing_weights_are_named(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"^small/model\.safetensors: "):
        load_prior(folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"small: no model\.safetensors"):
        load_prior(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "graph.pb"])
def test_a_git_lfs_pointer_is_called_one(folder, name):
    (folder / name).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 47331428\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        load_prior(folder if name == "model.safetensors" else folder / name)


def test_the_priors_that_ship_have_their_sums():
    from transflow_core.shipped import MODELS, shipped_priors

    for name in shipped_priors():
        assert (MODELS / name / "SHA256SUMS").is_file()


@pytest.mark.parametrize("what", ["P", "L", "U", "log_diag"])
def test_a_1x1_convolution_that_cannot_be_inverted_is_refused_when_it_is_read(tmp_path, what):
    file = tmp_path / "prior.safetensors"
    make_tiny_prior().save(file)
    tensors = load_file(file)
    size = struct.unpack("<Q", file.read_bytes()[:8])[0]
    header = json.loads(file.read_bytes()[8 : 8 + size])["__metadata__"]
    name = f"levels.1.steps.0.conv1x1.{what}"
    tensors[name].zero_() if what == "P" else tensors[name].fill_(1e30 if what != "log_diag" else -200)
    save_file(tensors, file, header)
    with pytest.raises(CheckpointError, match=r"levels\.1\.steps\.0\.conv1x1"):
        load_prior(file)
