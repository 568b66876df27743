"""Arguments of the API that a machine makes up: each call is answered, or refused in words; nothing else is raised."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from demo.api import ENDPOINTS, Endpoints
from transflow_core.engine import Engine

from ..helpers import EXAMPLES, make_tiny_prior

FACE = EXAMPLES / "sepia" / "sepia_00.png"
# What JSON can say, small and large; files are what a stranger may write in their place.
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 130),
        st.sampled_from([2**31, 10**400, 1e308, -0.0, 0.5, float("inf"), float("nan")]),
        st.text(max_size=5),
        st.sampled_from(["auto", "always", "tiny", "linear", "paper", "sheet", "png", "\0", "\ud800", "../x"]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = {
    "info": ["prior"],
    "align": ["images", "prior", "whole"],
    "encode": ["images", "prior", "whole"],
    "condition": ["images", "prior", "lam_ratio", "weights", "whole", "robust", "masks"],
    "sample": ["evidence", "prior", "lam_ratio", "n", "seed", "temperature", "output", "whole"],
    "sweep": ["evidence", "prior", "lam_ratios", "n", "seed", "temperature", "whole"],
    "interpolate": ["a", "b", "prior", "lam_ratio", "steps", "n", "method", "seed", "temperature", "output", "whole"],
    "restyle": [
        "photographs",
        "evidence",
        "prior",
        "strength",
        "likeness",
        "toned",
        "whole",
        "output",
        "robust",
        "masks",
    ],
    "mix": ["a", "b", "prior", "how", "share", "whole", "robust"],
    "classify": ["examples", "queries", "prior", "lam_ratio", "likelihood", "whole"],
}


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradio")
    engine = Engine(make_tiny_prior())

    def get(name):
        if name != "tiny":
            raise ValueError("not among the priors offered")
        return engine

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GRADIO_TEMP_DIR", str(folder))
        upload = folder / "aa" / "face.png"
        upload.parent.mkdir()
        upload.write_bytes(FACE.read_bytes())
        yield Endpoints(SimpleNamespace(get=get, names=lambda: ["tiny"])), [{"path": str(upload)}]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(ENDPOINTS), wrong=st.dictionaries(st.integers(0, 10), JSON, min_size=1, max_size=3))
@example(name="sample", wrong={3: 10**400})
@example(name="condition", wrong={3: []})
@example(name="classify", wrong={0: {"": [{}]}})
def test_any_argument(endpoints, name, wrong):
    api, files = endpoints
    given = {key: files for key in ("images", "evidence", "a", "b", "queries", "photographs") if key in NAMES[name]}
    given |= {"prior": "tiny"} | ({"examples": {"a": files, "b": files}} if name == "classify" else {})
    given |= {key: 2 for key in ("n", "steps") if key in NAMES[name]}
    given |= {NAMES[name][place % len(NAMES[name])]: value for place, value in wrong.items()}
    try:
        answer = getattr(api, name)(**given)
    except ValueError as error:
        assert str(error)
        return
    told = answer[-1] if isinstance(answer, tuple) else answer
    json.dumps(told, allow_nan=False)
