"""Files from strangers: damaged, lying about their sizes, or built to run code or to explode."""

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from transflow_core.checkpoints import CheckpointError, convert, load_directions, recognise
from transflow_core.checkpoints.pickles import inspect_pickle

from .peers import Chaiyujin, GlowIP, OpenAI, Rosinality, Y0ast

DATA = Path(__file__).parent / "tensorflow" / "data"


def _zip(folder):
    return Chaiyujin(steps=(1, 1), size=8, width=3).save(folder), {}


def _legacy(folder):
    peer = Y0ast(steps=(1,), size=8, width=3)
    torch.save(peer.state, folder / "old.pth", _use_new_zipfile_serialization=False)
    return folder / "old.pth", {}


def _npz(folder):
    return OpenAI("additive", lu=False, steps=(1,), size=8, width=3).save(folder), {}


def _compressed(folder):
    return OpenAI("additive", lu=False, steps=(1,), size=8, width=3, extra={"compressed": True}).save(folder), {}


def _safetensors(folder):
    from safetensors.torch import save_file

    peer = Rosinality(steps=(1,), size=8, width=3)
    save_file({k: v.contiguous().clone() for k, v in peer.state.items()}, folder / "model.safetensors")
    return folder / "model.safetensors", peer.options


def _graph(folder, name="graph"):
    path = folder / f"{name}.pb"
    path.write_bytes(gzip.decompress((DATA / f"openai_{name}.pb.gz").read_bytes()))
    return path, {"check": False}


def _folded(folder):
    return _graph(folder, "folded")


FILES = {
    "zip": _zip,
    "legacy": _legacy,
    "npz": _npz,
    "compressed npz": _compressed,
    "safetensors": _safetensors,
    "graph": _graph,
    "folded graph": _folded,
}


@pytest.fixture(params=FILES)
def good(request, tmp_path):
    path, options = FILES[request.param](tmp_path)
    convert(path, options=options)
    return path, options


def read(path, options):
    """1 if the file was refused. Anything that is neither a checkpoint nor a refusal fails the test."""
    try:
        convert(path, options=options)
    except CheckpointError:
        return 1
    return 0


def test_truncated_anywhere_it_is_refused(good):
    path, options = good
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    cuts = {0, 1, 2, 4, 8, 9, 64, len(content) // 2, *rng.integers(0, len(content) - 200, 25).tolist()}
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        # A graph that is cut between two nodes is a graph, and may have lost nothing but what decodes.
        assert read(path, options) or path.suffix == ".pb", cut


def test_flipped_bits_and_overwritten_sizes_raise_nothing_else(good):
    path, options = good
    content, rng, refused = path.read_bytes(), np.random.default_rng(1), 0
    for trial in range(80):
        bad = bytearray(content)
        # Headers and indices stand at the ends of these files; numbers fill the middle.
        low, high = [(0, len(bad)), (0, 1500), (max(0, len(bad) - 3000), len(bad))][trial % 3]
        at = int(rng.integers(low, min(high, len(bad)) - 8))
        if trial % 4 == 0:
            bad[at : at + 8] = struct.pack("<Q", 2**62 - 1)
        else:
            bad[at] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(bad)
        refused += read(path, options)
    assert refused > 10


@pytest.mark.parametrize("file", ["configs.json", "config.yaml"])
def test_a_damaged_file_beside_the_weights_is_refused(file, tmp_path):
    path = GlowIP(steps=(1, 1), size=8, width=3).save(tmp_path)
    (tmp_path / "configs.json").unlink()
    for content in (
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 200_000,
        b"a: &a [*a, *a]",
        b'{"size": "\\ud800"}',
        b"!!python/object:os.x {}",
    ):
        (tmp_path / file).write_bytes(content)
        assert read(path, {})
    (tmp_path / file).write_bytes(b" " * 2_000_000)
    with pytest.raises(CheckpointError, match="too large"):
        convert(path)


class Payload:
    """Unpickled by an unguarded reader, this leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("place", ["alone", "beside the weights"])
def test_code_in_a_pickle_is_not_run_and_the_reason_is_given(older, place, tmp_path):
    state = Chaiyujin(steps=(1,), size=8, width=3).state
    payload = Payload(tmp_path / "ran")
    torch.save(
        payload if place == "alone" else {"graph": state, "criterion": payload},
        tmp_path / "model.pt",
        _use_new_zipfile_serialization=not older,
    )
    with pytest.raises(CheckpointError, match=r"(?i)weights|unsupported|global"):
        convert(tmp_path / "model.pt")
    with pytest.raises(CheckpointError):
        recognise(tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()


def test_a_pickled_array_in_an_npz_is_not_run(tmp_path):
    array = np.array([Payload(tmp_path / "ran")], dtype=object)
    np.savez(tmp_path / "variables.npz", **{"model|0|0|actnorm_center|b": array})
    with pytest.raises(CheckpointError, match="plain numbers"):
        convert(tmp_path / "variables.npz")
    assert not (tmp_path / "ran").exists()


def test_a_torchscript_program_is_refused(tmp_path):
    path, _ = _zip(tmp_path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/constants.pkl", pickle.dumps((), protocol=2))  # what marks a program
    with pytest.raises(CheckpointError, match="TorchScript"):
        convert(path)


def test_a_tensor_that_repeats_one_number_without_end_is_refused(tmp_path):
    """A stride of 0 makes ten bytes of file into any number of gigabytes."""
    state = Chaiyujin(steps=(1,), size=8, width=3).state
    state["flow.layers.1.actnorm.bias"] = torch.zeros(1).expand(1, 2**40, 1, 1)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="more numbers"):
        convert(tmp_path / "model.pt")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/data/0", bytes(50_000_000))
    with pytest.raises(CheckpointError, match="declares more"):
        convert(tmp_path / "model.pt")


def test_an_array_that_declares_more_than_it_has_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**20)})
    with zipfile.ZipFile(tmp_path / "variables.npz", "w") as archive:
        archive.writestr("model|0|0|actnorm_center|b.npy", header.getvalue())
    with pytest.raises(CheckpointError, match="has fewer"):
        convert(tmp_path / "variables.npz")
    (tmp_path / "z.npy").write_bytes(header.getvalue())
    with pytest.raises(CheckpointError, match="has fewer"):
        load_directions(tmp_path / "z.npy", ((1, 1, 2),))


def test_a_pickle_that_declares_a_huge_storage_is_refused_before_it_is_allocated(tmp_path):
    """The older layout allocates what it declares before it reads a byte."""
    path, _ = _legacy(tmp_path)
    content = path.read_bytes()
    declared = b"K\x0c" + b"N"  # BININT1 12, NONE: the size in the storage of a level's actnorm
    assert declared in content
    path.write_bytes(content.replace(declared, b"J" + struct.pack("<i", 2**31 - 1) + b"N", 1))
    with pytest.raises(CheckpointError, match="declare more numbers"):
        convert(path)


def nested(depth):
    """A pickle of a few bytes whose tuple has 2**depth members when it is unfolded, as a dictionary's key."""
    return b"\x80\x02})" + b"".join(b"q%c" % i + b"h%c\x86" % i for i in range(depth)) + b"K\x01s."


def test_a_pickle_that_unfolds_without_end_is_refused(tmp_path):
    inspect_pickle(io.BytesIO(nested(5)), 100, "five levels are harmless")
    with pytest.raises(CheckpointError, match="nested"):
        inspect_pickle(io.BytesIO(nested(100)), 100, "a hundred are not")
    path = _zip(tmp_path)[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", nested(100))
    with pytest.raises(CheckpointError, match="nested"):
        convert(path)


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
    with pytest.raises(CheckpointError):
        convert(tmp_path / "graph.pb")


def test_an_empty_folder_and_an_empty_file_are_refused(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(CheckpointError):
        convert(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        convert(tmp_path)
