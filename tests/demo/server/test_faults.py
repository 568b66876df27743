"""Faults of the host: a prior that is missing or damaged, and a server that is told to end while it works."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import httpx
import pytest

from benchmarks.page import serve
from demo import Engines, build
from demo.server import admission

from ...helpers import TIMEOUT, make_tiny_prior
from ..conftest import begun, uploaded, waited

_TEXT = {"capture_output": True, "text": True, "timeout": TIMEOUT}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.fixture
def priors(tmp_path, monkeypatch):
    """A folder with a good prior, `good.safetensors`, and nothing that ships."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setattr("demo.server.priors.shipped_priors", list)
    (tmp_path / "priors").mkdir()
    make_tiny_prior().save(tmp_path / "priors" / "good.safetensors")
    return tmp_path / "priors"


@pytest.mark.parametrize("how", ["pointer", "short", "empty", "missing", "good"])
def test_a_first_prior_that_cannot_be_loaded_is_named_and_the_page_comes_with_another(priors, how):
    data = (priors / "good.safetensors").read_bytes()
    written = {"pointer": POINTER, "short": data[: len(data) // 2], "empty": b"", "good": data}.get(how)
    if written is not None:
        (priors / "bad.safetensors").write_bytes(written)
    demo = build(Engines(priors, device="cpu"), first_prior="bad.safetensors")
    values = {getattr(block, "elem_id", None): getattr(block, "value", None) for block in demo.blocks.values()}
    told = values.get("missing", "")
    assert values["prior"] == ("bad.safetensors" if how == "good" else "good.safetensors")
    assert ("bad.safetensors" in told) == (how != "good") and str(priors) not in told
    assert ("git lfs pull" in told) == (how == "pointer")


def test_without_any_prior_it_ends_in_words(priors):
    (priors / "good.safetensors").write_bytes(POINTER)
    with pytest.raises(SystemExit, match=r"good\.safetensors.*git lfs pull"):
        build(Engines(priors, device="cpu"), first_prior="good.safetensors")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GRADIO_SERVER_PORT", "70000", "up to 65535"),
        ("TRANSFLOW_KEEP", "1h", "whole number"),
        ("TRANSFLOW_PROXIES", "one", "whole number"),
    ],
)
def test_a_variable_that_is_no_number_is_refused_before_anything_starts(variable, value, message):
    for given, code in ((value, 1), ("", 0)):
        environment = os.environ | {variable: given}
        ran = subprocess.run([sys.executable, "-c", "from demo import launch"], env=environment, **_TEXT)
        assert ran.returncode == code and "Traceback" not in ran.stderr, ran.stderr
        assert code == 0 or (variable in ran.stderr and repr(value) in ran.stderr and message in ran.stderr)


# ---- the end ---------------------------------------------------------------------------------------------------------


_PAGE = """
import sys
from pathlib import Path
from demo import Engines, build, launch
from transflow_core.engine import Engine
import time

def slow(self, *args, **how):
    Path(sys.argv[2]).touch()
    while not Path(sys.argv[3]).exists():
        time.sleep(0.02)
    return read(self, *args, **how)

read, Engine.read = Engine.read, slow
launch(build(Engines(Path(sys.argv[1]), device="cpu"), first_prior="good.safetensors"), quiet=True)
"""


@pytest.fixture
def working(priors, tmp_path):
    """A server and its client. A call goes on once a file `go_on` exists. One named `begun` says that it runs."""
    if sys.platform == "win32":
        pytest.skip("SIGTERM is a signal of Unix")
    process, url, _ = serve(
        "-c", _PAGE, *map(str, (priors, tmp_path / "begun", tmp_path / "go_on")), stderr=subprocess.PIPE
    )
    with httpx.Client(base_url=url, timeout=TIMEOUT) as http:
        yield process, http
    process.kill()
    process.wait()


def ended(process, tmp_path):
    """Wait for the end of a server: it is none of a fault, and nothing is left behind."""
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0 and "Traceback" not in errors, errors
    assert not list((tmp_path / "gradio").glob("transflow-studio-*"))


def test_a_server_that_is_told_to_end_finishes_what_it_has_begun(working, tmp_path):
    process, http = working
    with http.stream("GET", call(http)) as answer:
        waited((tmp_path / "begun").exists)
        process.send_signal(signal.SIGTERM)
        waited(lambda: "is restarting" in refusal(http))
        (tmp_path / "go_on").touch()
        text = "".join(answer.iter_text())
    assert "event: complete" in text and json.loads(text.partition("data: ")[2].splitlines()[0])[1]
    ended(process, tmp_path)


def test_a_server_that_is_told_to_end_ends_whatever_waits_or_runs(working, tmp_path):
    process, http = working
    with contextlib.ExitStack() as stack:
        for _ in range(admission.API.each + 1):  # what runs does not even look whether it is cancelled
            stack.enter_context(http.stream("GET", call(http)))
        waited((tmp_path / "begun").exists)
        process.send_signal(signal.SIGTERM)
        ended(process, tmp_path)


def call(http):
    return begun(http, "align", images=[uploaded(http)], prior="good.safetensors", align="never")


def refusal(http):
    """What a call is answered at first; a heartbeat where it runs."""
    with http.stream("GET", call(http)) as answer:
        lines = answer.iter_lines()
        return next(lines) + next(lines)
