"""Attribute directions: OpenAI's order becomes ours, and they move any latent."""

import numpy as np
import pytest
import torch

from transflow_core.checkpoints import CELEBA_ATTRIBUTES, CheckpointError, load_directions

SHAPES = ((6, 4, 4), (12, 2, 2), (48, 1, 1))
DIM = 192


@pytest.fixture
def rows():
    return np.random.default_rng(0).standard_normal((40, DIM)).astype(np.float32)


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_brought_from_nhwc_into_our_order(rows, order, tmp_path):
    np.save(tmp_path / "z_manipulate.npy", np.asarray(rows, order=order))
    directions = load_directions(tmp_path / "z_manipulate.npy", SHAPES)
    assert directions.names == CELEBA_ATTRIBUTES and len(directions.names) == 40
    smiling = rows[CELEBA_ATTRIBUTES.index("Smiling")]
    start, expected = 0, []
    for c, h, w in SHAPES:
        level = smiling[start : start + c * h * w].reshape(h, w, c)
        expected += [level[y, x, k] for k in range(c) for y in range(h) for x in range(w)]
        start += c * h * w
    assert directions["Smiling"].equal(torch.tensor(np.array(expected)))


def test_amounts_add_up_and_the_latent_is_left_alone(rows, tmp_path):
    np.save(tmp_path / "z.npy", rows[:2])
    directions = load_directions(tmp_path / "z.npy", SHAPES, names=("Smiling", "Young"))
    z = torch.randn(3, DIM, generator=torch.Generator().manual_seed(0))
    before = z.clone()
    moved = directions.apply(z, {"Smiling": 0.5, "Young": -2})
    torch.testing.assert_close(moved, z + 0.5 * directions["Smiling"] - 2 * directions["Young"])
    assert z.equal(before)
    with pytest.raises(KeyError, match="Smiling, Young"):
        directions.apply(z, {"Beard": 1})
    with pytest.raises(ValueError, match="192"):
        directions.apply(z[:, :-1], {"Smiling": 1})


def test_the_published_files_shape_fits_a_256_pixel_glow(tmp_path):
    """(40, 196608) float32: only the header and the size are made here."""
    shapes = (*((6 * 2**i, 128 >> i, 128 >> i) for i in range(5)), (384, 4, 4))
    np.save(tmp_path / "z.npy", np.zeros((1, 196608), np.float32))
    assert load_directions(tmp_path / "z.npy", shapes, names=("Smiling",)).vectors.shape == (1, 196608)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((39, DIM), np.float32),
        np.zeros((40, DIM + 1), np.float32),
        np.zeros((40, DIM), np.int32),
        np.full((40, DIM), np.nan, np.float32),
        np.array([None], dtype=object),
    ],
    ids=["rows", "width", "whole numbers", "nan", "objects"],
)
def test_what_does_not_fit_is_refused(array, tmp_path):
    np.save(tmp_path / "z.npy", array, allow_pickle=True)
    with pytest.raises(CheckpointError):
        load_directions(tmp_path / "z.npy", SHAPES)


def test_a_damaged_or_missing_file(rows, tmp_path):
    np.save(tmp_path / "z.npy", rows)
    content = (tmp_path / "z.npy").read_bytes()
    for cut in (0, 3, 9, 50, 127, 128, len(content) - 1):
        (tmp_path / "z.npy").write_bytes(content[:cut])
        with pytest.raises(CheckpointError):
            load_directions(tmp_path / "z.npy", SHAPES)
    with pytest.raises(FileNotFoundError):
        load_directions(tmp_path / "nothing.npy", SHAPES)
