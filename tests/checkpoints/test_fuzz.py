"""Files that a machine makes up: what a stranger may give becomes a flow or a CheckpointError, in little memory.

Bytes are changed in good safetensors files, documents and arrays are made of whatever their syntax allows.
"""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from transflow_core.checkpoints import CheckpointError, convert

from ..fuzz import changed, edits, few, many
from ..helpers import make_tiny_prior
from . import test_safety
from .memory import at_most
from .projects import CHAIYUJIN, GLOWIP, ROSINALITY, Y0AST, project


@pytest.fixture(autouse=True)
def in_little_memory():
    """All examples of a test together: none takes more, and none keeps anything."""
    with at_most(400):
        yield


@pytest.fixture(scope="module", params=["native", "safetensors"])
def good(request, tmp_path_factory):
    """A good file's bytes and name, and where to put a bad one."""
    path = test_safety.MAKERS[request.param](tmp_path_factory.mktemp("fuzz"))
    return path, path.read_bytes()


def read(path, **options):
    try:
        convert(path, options=options)
    except (CheckpointError, FileNotFoundError) as error:
        assert str(path.parent) not in str(error)


@given(edits)
@few
def test_changed_bytes(good, changes):
    path, content = good
    path.write_bytes(changed(content, changes))
    read(path)


numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from([2**40, -1, 1e308, 1024]))
documents = st.recursive(
    st.one_of(numbers, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native") / "small"
    make_tiny_prior().save(folder)
    return folder, json.loads((folder / "config.json").read_text())


@given(st.data())
@many
def test_configurations_of_whatever_json_allows(native, data):
    """At one place, or at several: another number, another kind of thing, nothing."""
    folder, config = native
    config = json.loads(json.dumps(config))
    for _ in range(data.draw(st.integers(1, 3))):
        place = config
        while isinstance(place, dict | list) and place:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
            if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
                place[key] = data.draw(documents)
                break
            place = place[key]
    (folder / "config.json").write_text(json.dumps(config))
    read(folder)
    (folder / "config.json").write_text(data.draw(st.sampled_from(["{}", "[1]", json.dumps({"base": config})])))
    read(folder)


@given(st.data())
@few
def test_safetensors_with_tensors_of_any_shape_and_kind(tmp_path, data):
    make_tiny_prior().save(tmp_path / "good.safetensors")
    tensors = load_file(tmp_path / "good.safetensors")
    name = data.draw(st.sampled_from(sorted(tensors)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64, torch.float16, torch.int8, torch.bool]))
    value = data.draw(st.sampled_from([0.0, 1.0, 1e30, -1e30, torch.nan, torch.inf, 1e-30]))
    shape = data.draw(st.one_of(st.just(tuple(tensors[name].shape)), arrays.array_shapes(max_dims=4, max_side=4)))
    tensors[name] = torch.full(shape, value).to(dtype)
    with safe_open(tmp_path / "good.safetensors", "pt") as file:
        save_file(tensors, tmp_path / "bad.safetensors", file.metadata())
    read(tmp_path / "bad.safetensors")


@given(st.integers(1, 3), st.data())
@few
def test_layouts_with_tensors_that_do_not_fit(tmp_path, spoilt, data):
    model = project(data.draw(st.sampled_from([CHAIYUJIN, Y0AST, GLOWIP, ROSINALITY])))
    for _ in range(spoilt):
        name = data.draw(st.sampled_from(sorted(model.state)))
        same = st.just(tuple(model.state[name].shape))
        shape = data.draw(st.one_of(same, arrays.array_shapes(max_dims=5, max_side=9)))
        model.state[name] = torch.full(shape, data.draw(st.sampled_from([0.0, 1.0, -1.0, 1e30, 700.0])))
    read(model.save(tmp_path), **model.options)
