"""The middleware and the API from outside: headers, uploads, addresses, callers who disconnect, long calls."""

import asyncio
import json
import queue
import socket
import struct
import threading
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import gradio as gr
import httpx
import pytest
from gradio.blocks import BlocksConfig
from gradio.utils import get_upload_folder
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.visitors import Visitor
from demo import Engines, build, launch
from demo.page import Page
from demo.server import admission, api, files, middleware
from demo.server.middleware import Quota, RateLimit
from demo.server.state import Session

from ...helpers import EXAMPLES, make_tiny_prior

TIMEOUT = 120
FILE = {"_type": "gradio.FileData"}
FACE = EXAMPLES / "sepia" / "sepia_00.png"


def tiny_page(folder):
    """The page of the tiny prior alone."""
    make_tiny_prior().save(folder / "tiny.safetensors")
    return build(Engines(folder, device="cpu"), first_prior="tiny.safetensors")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A page of the tiny prior alone: its app, and its address."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        demo = tiny_page(tmp_path_factory.mktemp("priors"))
        app, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
        yield app, url.rstrip("/")
        demo.close()


def test_what_may_take_all_of_the_machine_begins_when_the_page_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(Page, "block_thread", lambda self: None)
    demo = tiny_page(tmp_path)
    addresses = queue.SimpleQueue()
    demo.ahead = lambda: addresses.put(demo.local_url)
    try:
        _, url, _ = launch(demo, quiet=True)
        assert addresses.get(timeout=TIMEOUT) == url
    finally:
        demo.close()


def test_a_page_that_answers_late_is_reached_and_one_that_is_not_there_is_not(small):
    """As that of a busy machine: Gradio itself waits for three seconds."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def answer():
            asking, _ = listening.accept()
            with asking:
                asking.recv(4096)
                time.sleep(3.5)
                asking.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        assert gr.networking.url_ok(url)
        answering.join()
    assert not gr.networking.url_ok(url)


def test_a_server_that_is_told_to_end_before_it_has_begun_ends_without_a_complaint(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    demo = tiny_page(tmp_path)

    def told(*_, **__):
        raise KeyboardInterrupt  # as on SIGTERM

    monkeypatch.setattr(demo, "launch", told)
    with pytest.raises(SystemExit) as ended:
        launch(demo, prevent_thread_lock=True)
    assert ended.value.code == 0


@pytest.fixture
def http(small):
    with httpx.Client(base_url=small[1], timeout=TIMEOUT) as client:
        yield client


def uploaded(http):
    with FACE.open("rb") as file:
        return http.post("/gradio_api/upload", files={"files": file}).json()[0]


def begun(http, endpoint, **given):
    """The address at which the answer of a call comes."""
    url = f"/gradio_api/call/v2/{endpoint}"
    return f"{url}/{http.post(url, json=given).json()['event_id']}"


def call(http):
    images = [{"path": uploaded(http), "meta": FILE}]
    return begun(http, "align", images=images, prior="tiny.safetensors", align="never")


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/nothing", "/theme.css"])
def test_every_answer_has_the_headers(http, path):
    headers = http.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "object-src 'none'" in headers["content-security-policy"]


def test_the_page_works_under_its_policy_and_talks_to_nobody_else(small, new_page):
    page = new_page()  # a complaint on its console, as of what the policy refuses, fails this test
    asked = set()
    page.on("request", lambda request: asked.add(request.url))
    page.goto(small[1])
    page.wait_for_selector("#sheet img")
    for tab in ("Interpolate", "Classify", "How it works", "Studio"):
        page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_selector("#sheet img")
    own = (small[1], "data:", "blob:")
    assert not [url for url in asked if not url.startswith(own)]


def test_sessions_of_gradio_are_few(small):
    """Whoever made them with a raw call; Gradio's default is ten thousand."""
    assert small[0].state_holder.capacity == admission.SERVER["state_session_capacity"] <= 200


def test_a_call_does_not_describe_the_whole_page(small, http, monkeypatch):
    """For each call, which is a session of its own, Gradio would, in the thread that answers everybody."""
    described, describe = [], BlocksConfig.config_for_block
    counted = staticmethod(lambda *a, **k: described.append(a) or describe(*a, **k))
    monkeypatch.setattr(BlocksConfig, "config_for_block", counted)
    before = len(small[0].state_holder.session_data)
    assert "event: complete" in http.get(call(http)).text
    assert len(small[0].state_holder.session_data) > before
    assert len(described) < len(small[0].blocks.blocks) / 2  # a page that was closed just now may have some of its own


def test_callers_put_out_no_page_that_is_in_use(small, monkeypatch):
    """Each call is a session of Gradio's, which keeps messages for so many of them."""
    queue = small[0].blocks._queue
    sent, events = queue.pending_messages_per_session, queue.pending_event_ids_session
    monkeypatch.setattr(sent, "max_size", len(sent) + 2)
    sent["a page"], events["a page"] = object(), set()
    for index in range(2 * sent.max_size):
        assert sent["a page"]  # as a stream that is open does at each message and heartbeat
        sent[f"call {index}"], events[f"call {index}"] = object(), set()
    assert "a page" in sent and "a page" in events
    assert "call 0" not in sent and "call 0" not in events
    for session in [key for key in sent if key.startswith(("call", "a page"))]:
        del sent[session], events[session]


def test_whoever_left_between_two_steps_of_an_event_ends_it_without_an_error(small):
    queue = small[0].blocks._queue
    gone, here = (SimpleNamespace(session_hash=name, _id=name, alive=True) for name in ("gone", "here"))
    queue.pending_messages_per_session["here"] = messages = asyncio.Queue()
    try:
        for event in (gone, here):
            queue.send_message(event, SimpleNamespace())
    finally:
        del queue.pending_messages_per_session["here"]
    assert not gone.alive and here.alive and messages.get_nowait().event_id == "here"


# ---- files -------------------------------------------------------------------------------------------------------


def test_an_upload_lies_in_a_folder_of_this_process(http, small):
    assert "/transflow-studio-" in uploaded(http)


def test_a_quota_is_a_callers_own_and_comes_back():
    quota = Quota(each=100, total=1000, seconds=60)
    assert quota.refusal("a", 60, now=0) is None
    assert "Upload limit" in quota.refusal("a", 60, now=1)
    assert quota.refusal("b", 60, now=1) is None and quota.refusal("a", 40, now=2) is None
    assert quota.refusal("a", 60, now=61) is None


def test_all_uploads_together_have_a_bound_also_between_two_sweeps():
    lying = 900
    quota = Quota(each=10_000, total=1000, seconds=3600, used=lambda: lying)
    assert "full of uploads" in quota.refusal("a", 200, now=0)
    assert quota.refusal("a", 60, now=0) is None and "full of uploads" in quota.refusal("b", 60, now=1)
    lying = 0
    assert quota.refusal("b", 200, now=100) is None


@pytest.mark.parametrize(
    ("peer", "told", "caller"),
    [
        ("127.0.0.1", "1.1.1.1, 9.9.9.9", "9.9.9.9"),
        ("10.0.3.7", "9.9.9.9", "9.9.9.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("8.8.8.8", "9.9.9.9", "8.8.8.8"),  # no proxy of ours: it may write what it likes
    ],
)
def test_only_a_proxy_of_the_host_is_believed(peer, told, caller):
    assert middleware.caller_of({"client": (peer, 1), "headers": [(b"x-forwarded-for", told.encode())]}) == caller


class TestRateLimit:
    def test_the_first_come_at_once_and_the_others_at_their_rate(self):
        limit = RateLimit(rate=10, burst=3, timeout=60)
        waits = [limit.wait("a", now=5.0) for _ in range(6)]
        assert waits == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])

    def test_nobody_waits_for_another_and_silence_is_paid_back_up_to_the_burst(self):
        limit = RateLimit(rate=10, burst=3, timeout=60)
        for _ in range(20):
            limit.wait("a", now=5.0)
        assert limit.wait("b", now=5.0) == 0
        assert [limit.wait("a", now=1000.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])

    @given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.floats(0.5, 20), st.integers(1, 10))
    def test_no_second_lets_in_more_than_burst_and_rate(self, gaps, rate, burst):
        limit, now, begun = RateLimit(rate, burst, timeout=1e9), 0.0, []
        for gap in gaps:
            now += gap
            begun.append(now + limit.wait("a", now))
        for start in begun:
            assert sum(start <= at < start + 1 for at in begun) <= burst + rate + 1 + 1e-6

    def test_whoever_would_wait_too_long_is_refused_and_it_costs_nothing(self):
        limit = RateLimit(rate=1, burst=1, timeout=2)
        assert [limit.wait("a", now=0.0) for _ in range(5)] == pytest.approx([0, 1, 2, None, None])
        assert limit.wait("a", now=1.0) == pytest.approx(2)

    def test_a_call_too_many_is_refused_in_words(self, http, monkeypatch):
        monkeypatch.setattr(RateLimit, "wait", lambda self, caller: None)
        answer = http.post("/gradio_api/call/v2/info", json={})
        assert answer.status_code == 429 and "Too many" in answer.json()["detail"]


def test_an_upload_beyond_the_quota_is_refused_in_words(http, monkeypatch):
    monkeypatch.setattr(Quota, "refusal", lambda self, caller, size: f"{caller} may not give {size}")
    answer = http.post(
        "/gradio_api/upload", files={"files": b"x" * 1000}, headers={"x-forwarded-for": "1.1.1.1, 9.9.9.9"}
    )
    assert answer.status_code == 413 and answer.json()["detail"].startswith("9.9.9.9 may not give 1")


def test_an_upload_that_does_not_tell_its_size_is_refused(http):
    answer = http.post("/gradio_api/upload", content=iter([b"--x"]), headers={"content-type": "multipart/form-data"})
    assert answer.status_code == 411


@pytest.mark.parametrize("number", [28, 30])
def test_a_disk_that_is_full_or_read_only_is_told_in_words(http, monkeypatch, number):
    from gradio import route_utils

    def fails(*_, **__):
        raise OSError(number, "no", "/some/where")

    monkeypatch.setattr(route_utils, "NamedTemporaryFile", fails)
    answer = http.post("/gradio_api/upload", files={"files": b"x"})
    assert answer.status_code == 507 and "disk" in answer.json()["detail"]
    assert "/some" not in answer.text and "Errno" not in answer.text


def test_a_full_disk_under_a_result_is_told_in_words(http, monkeypatch):
    from transflow_core.operations import result

    def full(*_, **__):
        raise OSError(28, "No space left on device", "/some/where")

    monkeypatch.setattr(result, "save_png", full)
    text = http.get(call(http)).text
    assert "event: error" in text and "disk of this server is full" in text and "/some" not in text


def test_a_picture_of_the_camera_meets_the_limits_of_pictures_and_is_kept_as_a_file(small, tmp_path):
    """177 megapixels, as a header claims them: this process opens nothing, and the session keeps a path."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 8_850, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"\x89PNG\r\n\x1a\n" + header + b"\0\0\0\0IEND\xaeB`\x82"
    visitor = Visitor(small[1])
    (file,) = visitor.upload([("image.png", data)])
    with patch("PIL.Image.open", side_effect=AssertionError):
        visitor.happens("evidence-camera", "input", value=file)
    session = Session._all[visitor.session]
    image = session.evidence["evidence"][-1]
    assert "million" in image.problem and image.name == "picture 1"
    assert Path(image.source.file).read_bytes() == data and image.source.file in Session.in_use()


# ---- owners ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(small):
    """`opened(**headers)` is a visitor: a client with the cookie that the page gave."""
    clients = []

    def visitor(page=True, **headers):
        clients.append(httpx.Client(base_url=small[1], timeout=TIMEOUT, headers=headers))
        if page:
            assert "httponly" in clients[-1].get("/").headers["set-cookie"].lower()
        return clients[-1]

    yield visitor
    for client in clients:
        client.close()


def given_to(http, data):
    return http.post("/gradio_api/upload", files={"files": ("mine.png", data)}).json()[0]


def naming(path):
    """What names a file, to somebody who wants it hidden."""
    name = path.rsplit("/", 2)[1]
    escaped = path.replace(name, "".join(f"\\u{ord(letter):04x}" for letter in name))
    detour = path.replace(name, f"nothing/../{name}")
    image = '{{"images": [{{"path": "{}", "meta": {{"_type": "gradio.FileData"}}}}], "prior": "tiny.safetensors"}}'
    yield from (image.format(one) for one in (path, escaped, detour))
    yield '{{"images": ["http://localhost/gradio_api/file={}"]}}'.format(
        path.replace(name, f"%{ord(name[0]):x}{name[1:]}")
    )


def test_what_a_visitor_uploads_is_seen_and_used_by_nobody_else(opened):
    """Not even from the same address, by somebody who knows the path."""
    data = FACE.read_bytes() + b"a visitor's"
    mine, other, program = opened(), opened(), opened(page=False)
    path = given_to(mine, data)
    file, call = f"/gradio_api/file={path}", "/gradio_api/call/v2/align"
    assert mine.get(file).content == data
    for url in (file, file.replace("/transflow", "/%74ransflow"), f"{file}?x=1"):
        assert [one.get(url).status_code for one in (other, program)] == [403, 403]
    for body in naming(path):
        for url in (call, "/gradio_api/queue/join", "/gradio_api/run/align"):
            answer = other.post(url, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 403 and "another visitor's" in answer.json()["detail"], body
    event = mine.post(call, content=next(naming(path)), headers={"content-type": "application/json"}).json()["event_id"]
    assert "event: complete" in mine.get(f"{call}/{event}").text
    assert given_to(other, data) == path and other.get(file).content == data  # who has the file may have it


def test_a_programs_uploads_are_its_addresses(opened):
    mine, same, other = (opened(page=False, **{"x-forwarded-for": f"192.0.2.{n}"}) for n in (1, 1, 2))
    file = f"/gradio_api/file={given_to(mine, FACE.read_bytes() + b'a program')}"
    assert [one.get(file).status_code for one in (mine, same, other)] == [200, 200, 403]


@pytest.mark.parametrize(
    ("proto", "words"), [("https", "samesite=none; secure; partitioned"), ("http", "samesite=lax")]
)
def test_the_cookie_is_kept_in_a_spaces_frame_as_well(small, proto, words):
    told = httpx.get(small[1], headers={"x-forwarded-proto": proto}).headers["set-cookie"].lower()
    assert words in told and "path=/" in told


# ---- addresses -----------------------------------------------------------------------------------------------------


def test_no_file_is_fetched_from_an_address(http, small):
    for path in ("http://example.com/x.png", "https://example.com/x.png", f"{small[1]}/theme.css"):
        text = http.get(begun(http, "align", images=[{"path": path, "meta": FILE}])).text
        assert "event: error" in text and "Upload the file" in text


@pytest.mark.parametrize(
    "path", ["file=https://example.com/x", "file=http%3A//example.com/x", "proxy=https://example.com"]
)
def test_nothing_is_passed_on_from_elsewhere(http, path):
    answer = http.get(f"/gradio_api/{path}")
    assert answer.status_code == 403 and "other servers" in answer.text


# ---- calls ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"data": 3}', '{"data": []}', "null", '"x"', "[" * 5000, "\x00"])
@pytest.mark.parametrize("path", ["call/align", "call/v2/align", "call/v2/nothing", "queue/join", "run/align"])
def test_a_call_without_sense_is_refused_in_words(http, path, body):
    answer = http.post(f"/gradio_api/{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code < 500 and "Traceback" not in answer.text
    if answer.status_code == 200 and "event_id" in answer.json() and path != "queue/join":
        text = http.get(f"/gradio_api/{path}/{answer.json()['event_id']}").text
        assert "event: error" in text


def test_a_request_that_is_too_large_is_refused(http, monkeypatch):
    monkeypatch.setattr(middleware, "_BODY", 1000)
    assert http.post("/gradio_api/call/v2/align", content=b" " * 1001).status_code == 413
    assert http.post("/gradio_api/call/v2/align", content=iter([b" " * 600] * 2)).status_code in (400, 413)


def test_who_hangs_up_ends_the_call(http, small, hold):
    held = hold("faces")
    url = call(http)
    with httpx.Client(base_url=small[1], timeout=TIMEOUT) as leaving, leaving.stream("GET", url):
        assert held.begun.wait(TIMEOUT)
    assert held.cancelled.wait(TIMEOUT)


def test_what_a_call_was_given_is_in_use_while_it_waits_and_runs(http, small, hold):
    held = hold("faces")
    url = call(http)
    with httpx.Client(base_url=small[1], timeout=TIMEOUT) as leaving, leaving.stream("GET", url):
        assert held.begun.wait(TIMEOUT)
        (file,) = files._used
        files.sweep(file.parent.parent, list(files._used), age=-1.0)
        assert file.read_bytes() == FACE.read_bytes()
    assert held.cancelled.wait(TIMEOUT)


def test_uploads_are_found_however_deep_they_lie_and_nothing_else(small):
    folder = Path(get_upload_folder()).resolve()
    one, two = folder / "a" / "one.png", folder / "b" / "two.png"
    given = {
        "class": [{"path": str(one), "meta": FILE}, {"path": "a\0b"}, {"path": "/etc/passwd"}, {"path": 3}],
        "n": 1,
    }
    assert sorted(api._uploads_in((given, [[gr.FileData(path=str(two))]], "text"), {"deep": None})) == [one, two]


def test_a_call_takes_no_longer_than_it_may_and_is_told_so(http, monkeypatch, hold):
    monkeypatch.setattr(admission.CALLS, "seconds", 0.05)
    held = hold("faces")
    text = http.get(call(http)).text
    assert held.cancelled.is_set() and "longer than 0.05 seconds" in text


def test_infinite_numbers_are_text(http, tmp_path):
    """JSON has no number for them: λ = ∞ is in a saved posterior of the prior itself."""
    import torch

    from transflow_core.posterior import Posterior

    prior = make_tiny_prior()
    saved = tmp_path / "prior.safetensors"
    Posterior.condition(torch.ones(2, prior.dim), float("inf")).save(saved)
    with saved.open("rb") as file:
        path = http.post("/gradio_api/upload", files={"files": file}).json()[0]
    given = {"evidence": [{"path": path, "meta": FILE}], "n": 1, "method": "posterior", "lam_ratio": "inf"}
    text = http.get(begun(http, "sample", prior="tiny.safetensors", **given)).text
    assert "event: complete" in text, text
    facts = json.loads(text.partition("data: ")[2].splitlines()[0], parse_constant=pytest.fail)[1]
    assert facts["recipe"]["lam_ratio"] == "inf" and facts["m"] == 2


@pytest.mark.parametrize("name", ["", " ", "a\0b", "\ud800", "x" * 1000, "a\nb"])
def test_a_class_has_a_name_that_can_be_shown(http, name):
    path = uploaded(http)
    files = [{"path": path, "meta": FILE}]
    body = json.dumps({"examples": {name: files}, "images": files, "prior": "tiny.safetensors"})
    url = "/gradio_api/call/v2/classify"
    answer = http.post(url, content=body, headers={"content-type": "application/json"})
    assert answer.status_code < 500
    if answer.status_code == 200:
        text = http.get(f"{url}/{answer.json()['event_id']}").text
        assert "event: error" in text and "name" in text


def test_an_upload_that_was_swept_is_told_in_words(http):
    path = uploaded(http)
    Path(path).unlink()
    text = http.get(begun(http, "encode", images=[{"path": path, "meta": FILE}], prior="tiny.safetensors")).text
    assert "event: error" in text and "Errno" not in text and "only uploaded files" in text
