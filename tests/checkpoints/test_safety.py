"""Files from users: damaged, or built to run code or to take memory. And their settings."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from transflow_core.checkpoints import CheckpointError, convert, layouts
from transflow_core.checkpoints.fold import fold
from transflow_core.checkpoints.tensors import Tensors

from ..helpers import Unpickled, make_tiny_prior
from .memory import POINTER, at_most, refused
from .projects import CHAIYUJIN, GLOWIP, OPENAI, ROSINALITY, Y0AST, project
from .test_graph import write_graph


def _safetensors(folder):
    save_file(project(ROSINALITY).state, folder / "other.safetensors")
    return folder / "other.safetensors"


def _compressed(folder):
    with np.load(project(OPENAI).save(folder)) as arrays:
        np.savez_compressed(folder / "variables.npz", **dict(arrays))
    return folder / "variables.npz"


def _native(folder):
    make_tiny_prior().save(folder / "native.safetensors")
    return folder / "native.safetensors"


MAKERS = {
    "native": _native,
    "zip": lambda folder: project(CHAIYUJIN).save(folder),
    "legacy": lambda folder: project(Y0AST).save(folder, _use_new_zipfile_serialization=False),
    "npz": lambda folder: project(OPENAI).save(folder),
    "compressed npz": _compressed,
    "safetensors": _safetensors,
    "graph": write_graph,
    "folded": lambda folder: write_graph(folder, "folded"),
}
SETTINGS = {"safetensors": {"image_size": 8, "bits": 5}}


@pytest.mark.parametrize("kind", MAKERS)
def test_truncated_anywhere_it_is_refused(kind, tmp_path):
    path, options = MAKERS[kind](tmp_path), SETTINGS.get(kind, {})
    convert(path, options=options)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    cuts = {0, 1, 2, 4, 8, 9, 64, len(content) // 2, *rng.integers(0, len(content) - 200, 8).tolist()}
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        try:
            convert(path, options=options)
        except CheckpointError as error:
            assert str(error).count(path.name) == 1, "it says which file once"
            if path.suffix == ".safetensors" and cut > 8:
                assert "safetensors file" in str(error), "and what it is"
            continue
        # A graph that is cut between two nodes is a graph, and may have lost nothing but what decodes.
        assert path.suffix == ".pb", cut


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("place", ["alone", "beside the weights"])
def test_code_in_a_pickle_is_not_run_and_the_reason_is_given(older, place, tmp_path):
    state = project(CHAIYUJIN).state
    payload = Unpickled(open, str(tmp_path / "ran"), "w")
    torch.save(
        payload if place == "alone" else {"graph": state, "criterion": payload},
        tmp_path / "model.pt",
        _use_new_zipfile_serialization=not older,
    )
    with pytest.raises(CheckpointError, match=r"(?i)weights|unsupported|global"):
        convert(tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()


def test_a_pickled_array_in_an_npz_is_not_run(tmp_path):
    array = np.array([Unpickled(open, str(tmp_path / "ran"), "w")], dtype=object)
    np.savez(tmp_path / "variables.npz", **{"model|0|0|actnorm_center|b": array})
    refused(tmp_path / "variables.npz", "pickle")
    assert not (tmp_path / "ran").exists()


def test_shapes_and_settings_alone_make_no_large_flow():
    """Of a permutation's C numbers a Glow stores three C × C matrices."""
    shapes = {}
    for i in range(7):
        channels = 64 * 2**i
        for k in range(9):
            step = f"model/{i}/{k}/"
            shapes |= {step + "actnorm_center/b": (channels,), step + "shuffle/indices": (channels,)}
            shapes |= {step + "f1/l_1/W": (0, 0, 0, 1), step + "f1/l_last/W": (0, 0, 0, channels)}
    state = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    with at_most(200), pytest.raises(CheckpointError, match="but the file has"):
        fold(layouts.OPENAI, Tensors(state, "file.npz"), {"image_size": 1024, "bits": 5})


def test_what_is_no_checkpoint_says_what_was_found_and_expected(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    refused(tmp_path / "empty", "not a checkpoint")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    refused(tmp_path / "photo.jpg", "Expected a native")
    torch.save({"encoder.weight": torch.zeros(2), "encoder.bias": torch.zeros(2)}, tmp_path / "gan.pt")
    refused(tmp_path / "gan.pt", r"encoder\.bias.*rosinality.*OpenAI")
    for pointer in (tmp_path / "model.pt", tmp_path / "graph.pb"):
        pointer.write_text(POINTER)
        refused(pointer, "git lfs pull")
    for nothing in (tmp_path, tmp_path / "nothing.pt"):
        with pytest.raises(FileNotFoundError):
            convert(nothing)


def test_a_damaged_file_beside_the_weights_is_refused(tmp_path):
    path = project(GLOWIP).save(tmp_path)
    for content in (b"", b"{", b"\xff\xfe", b'{"size": "\\ud800"}', b"[" * 60_000, b" " * 2_000_000):
        (tmp_path / "configs.json").write_bytes(content)
        refused(path, r"\.json|size")
