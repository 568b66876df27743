"""Arguments of the API that a machine makes up: each call is answered, or refused in words; nothing else is raised."""

import inspect
import json
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from demo.server.api import SERVED, endpoints
from transflow_core.engine import Engine

from ...helpers import EXAMPLES, make_tiny_prior

FACE = EXAMPLES / "sepia" / "sepia_00.png"
# What JSON can say, small and large; files are any JSON in their place.
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 130),
        st.sampled_from([2**31, 10**400, 1e308, -0.0, 0.5, float("inf"), float("nan")]),
        st.text(max_size=5),
        st.sampled_from(["auto", "always", "tiny", "linear", "paper", "images", "png", "\0", "\ud800", "../x"]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradio")
    engine = Engine(make_tiny_prior())

    def get(name):
        if name != "tiny":
            raise ValueError("not a model of this server")
        return engine

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GRADIO_TEMP_DIR", str(folder))
        upload = folder / "aa" / "face.png"
        upload.parent.mkdir()
        upload.write_bytes(FACE.read_bytes())
        yield endpoints(SimpleNamespace(get=get, names=lambda: ["tiny"])), [{"path": str(upload)}]


@settings(max_examples=80)
@given(name=st.sampled_from(["info", *SERVED]), wrong=st.dictionaries(st.integers(0, 20), JSON, min_size=1, max_size=3))
@example(name="sample", wrong={3: 10**400})
@example(name="condition", wrong={3: []})
@example(name="classify", wrong={0: {"": [{}]}})
def test_any_argument(served, name, wrong):
    functions, files = served
    names = list(inspect.signature(functions[name]).parameters)
    given = {key: files for key in ("images", "evidence", "a", "b", "photographs") if key in names}
    given |= {"prior": "tiny"} | ({"examples": {"a": files, "b": files}} if name == "classify" else {})
    given |= {key: 2 for key in ("n", "steps") if key in names}
    given |= {names[place % len(names)]: value for place, value in wrong.items()}
    try:
        answer = functions[name](**given)
    except ValueError as error:
        assert str(error)
        return
    told = answer[-1] if isinstance(answer, tuple) else answer
    json.dumps(told, allow_nan=False)
