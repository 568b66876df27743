"""Faults of the host: a prior that is missing or damaged, and a server that is told to end while it works."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from huggingface_hub import constants, file_download

import demo.server.priors
from demo import Engines, build
from demo.server.admission import Queue
from transflow_core import hub

from ...helpers import EXAMPLES, ROOT, make_tiny_prior

TIMEOUT = 120
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.fixture
def priors(tmp_path, monkeypatch):
    """A folder with a good prior, `good.safetensors`, and nothing that ships."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setattr("demo.server.priors.shipped_priors", list)
    (tmp_path / "priors").mkdir()
    make_tiny_prior().save(tmp_path / "priors" / "good.safetensors")
    return tmp_path / "priors"


def spoil(path, how):
    data = path.read_bytes()
    bad = path.with_name("bad.safetensors")
    if how != "missing":
        bad.write_bytes({"pointer": POINTER, "short": data[: len(data) // 2], "empty": b""}[how])


@pytest.mark.parametrize("how", ["pointer", "short", "empty", "missing"])
def test_a_first_prior_that_cannot_be_loaded_is_named_and_the_page_comes_with_another(priors, how):
    spoil(priors / "good.safetensors", how)
    demo = build(Engines(priors, device="cpu"), first_prior="bad.safetensors")
    (told,) = (b.value for b in demo.blocks.values() if getattr(b, "elem_id", None) == "missing")
    assert "bad.safetensors" in told and str(priors) not in told
    assert ("git lfs pull" in told) == (how == "pointer")
    (picker,) = (b for b in demo.blocks.values() if getattr(b, "elem_id", None) == "prior")
    assert picker.value == "good.safetensors"


def test_without_any_prior_it_ends_in_words(priors):
    (priors / "good.safetensors").write_bytes(POINTER)
    with pytest.raises(SystemExit, match=r"good\.safetensors.*git lfs pull"):
        build(Engines(priors, device="cpu"), first_prior="good.safetensors")


def test_a_good_page_tells_of_no_fault(priors):
    demo = build(Engines(priors, device="cpu"), first_prior="good.safetensors")
    assert not [b for b in demo.blocks.values() if getattr(b, "elem_id", None) == "missing"]


# ---- the network ----------------------------------------------------------------------------------------------------


class SlowHub(BaseHTTPRequestHandler):
    """A Hub of one file, over a line on which half of it comes, and then nothing until `go_on` is set."""

    content, stuck, go_on = b"", threading.Event(), threading.Event()

    def do_HEAD(self):
        found = self.path.endswith("/prior.safetensors")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(self.content) if found else 0))
        if found:
            self.send_header("ETag", '"1"')
            self.send_header("X-Repo-Commit", "0" * 40)
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()

    def do_GET(self):
        if self.path.startswith("/api/"):
            file = {"type": "file", "rfilename": "prior.safetensors", "path": "prior.safetensors", "oid": "1"}
            file["size"] = len(self.content)
            answer = [file] if "/tree/" in self.path else {"id": "owner/faces", "sha": "0" * 40, "siblings": [file]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())
            return
        self.do_HEAD()
        if self.path.endswith("/prior.safetensors"):
            half = len(self.content) // 2
            self.wfile.write(self.content[:half])
            self.wfile.flush()
            self.stuck.set()
            self.go_on.wait(TIMEOUT)
            self.wfile.write(self.content[half:])

    def log_message(self, *_):
        pass


@pytest.fixture
def slow_hub(priors, monkeypatch, tmp_path):
    SlowHub.content = (priors / "good.safetensors").read_bytes()
    SlowHub.stuck, SlowHub.go_on = threading.Event(), threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(hub, "VISITOR", replace(hub.VISITOR, cache=tmp_path / "cache"))
    monkeypatch.setattr(demo.server.priors, "VISITOR", hub.VISITOR)
    yield SlowHub
    SlowHub.go_on.set()
    server.shutdown()
    server.server_close()


def test_a_slow_network_delays_only_who_gave_the_address(priors, slow_hub):
    engines = Engines(priors, device="cpu", hub="on")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(engines.get, "hf://owner/faces/prior.safetensors")
        try:
            assert slow_hub.stuck.wait(TIMEOUT)
            assert engines.get("good.safetensors").prior.image_size == 16
            assert not slow.done()
        finally:
            slow_hub.go_on.set()
        assert slow.result(TIMEOUT).prior.image_size == 16


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_a_drained_queue_accepts_no_more_requests_and_waits_for_the_others():
    queue = Queue()
    with queue.enter("a"):
        assert not queue.drain(0)
        with pytest.raises(ValueError, match="is restarting"), queue.enter("b"):
            pass
    assert queue.drain(0)


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


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM is a signal of Unix")
def test_a_server_that_is_told_to_end_finishes_what_it_has_begun(priors, tmp_path):
    begun, go_on = tmp_path / "begun", tmp_path / "go_on"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    command = [sys.executable, "-c", _PAGE, str(priors), str(begun), str(go_on)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/gradio_api", timeout=TIMEOUT) as http:
            wait_for(lambda: http.get("/info").status_code == 200, process)
            with (EXAMPLES / "sepia" / "sepia_00.png").open("rb") as file:
                path = http.post("/upload", files={"files": file}).json()[0]
            images = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
            given = {"images": images, "prior": "good.safetensors", "align": "never"}
            call = http.post("/call/v2/align", json=given).json()["event_id"]
            wait_for(begun.exists, process)
            with http.stream("GET", f"/call/v2/align/{call}") as answer:
                process.send_signal(signal.SIGTERM)
                wait_for(lambda: "is restarting" in refusal(http, given), process)
                go_on.touch()
                text = "".join(answer.iter_text())
        assert "event: complete" in text and json.loads(text.partition("data: ")[2].splitlines()[0])[1]
        _, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0 and "Traceback" not in errors, errors
        assert not list((tmp_path / "gradio").glob("transflow-studio-*"))  # nothing is left behind
    finally:
        process.kill()
        process.wait()


def refusal(http, given):
    call = http.post("/call/v2/align", json=given).json()["event_id"]
    text = ""
    with http.stream("GET", f"/call/v2/align/{call}") as answer:
        for line in answer.iter_lines():
            text += line
            if line.startswith("data:") and "null" not in line:
                break
            if "heartbeat" in line:
                break
    return text


def wait_for(reached, process):
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            if reached():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("not reached")
