"""The middleware and the API from outside: headers, uploads, addresses, callers who disconnect, long calls."""

import asyncio
import contextlib
import json
import socket
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import httpx
import pytest
from gradio.utils import LRUCache
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from benchmarks.visitors import Visitor
from demo import build, gradio_compat, launch
from demo.server import admission, files, middleware
from demo.server.admission import EVENTS, Queue, RateLimit
from demo.server.middleware import ServerMiddleware
from demo.server.state import Session
from demo.tabs.studio_results import View

from ...helpers import EXAMPLES, TIMEOUT, apart
from ..conftest import FILE, TINY, begun, uploaded, waited

FACE = EXAMPLES / "sepia" / "sepia_00.png"
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.mark.parametrize("by", ["option", "variable"])
@pytest.mark.parametrize("name", ["server_name", "server_port"])
def test_an_address_or_a_port_that_cannot_be_had_is_told_and_no_other_one_is_taken(name, by, engines, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        wrong, fine, message = {
            "server_name": ("192.0.2.1", "127.0.0.1", r"no address 192\.0\.2\.1\. .* GRADIO_SERVER_NAME"),
            "server_port": (port, port + 1, f"port {port} is taken"),
        }[name]
        monkeypatch.setenv(f"GRADIO_{name.upper()}", str(wrong if by == "variable" else fine))
        how = {name: wrong} if by == "option" else {}
        with pytest.raises(SystemExit, match=message):
            launch(build(engines, first_prior=TINY), prevent_thread_lock=True, quiet=True, **how)


@pytest.fixture
def http(served_small):
    with httpx.Client(base_url=served_small, timeout=TIMEOUT) as client:
        yield client


def test_many_tiny_uploads_count_by_what_they_take_on_the_disk(http, monkeypatch):
    monkeypatch.setattr(middleware, "UPLOADS", RateLimit(1, 10 * files.FILE, timeout=0))
    answers = []
    for index in range(3):
        tiny = [("files", (f"{n}.png", f"{index} {n}".encode())) for n in range(6)]
        answers.append(http.post("/gradio_api/upload", files=tiny).status_code)
    assert answers == [200, 200, 413]


def test_a_file_of_more_than_64_mb_is_refused(http):
    assert http.post("/gradio_api/upload", files={"files": bytes(64 * 2**20 + 1)}).status_code == 413


def test_an_upload_that_is_cut_off_leaves_nothing(served_small):
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: {2**20}\r\n"
    part = 'Content-Disposition: form-data; name="files"; filename="a.png"'
    with socket.create_connection(served_small.removeprefix("http://").split(":")) as line:
        line.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n{part}\r\n\r\n".encode())
        line.sendall(bytes(2**19))
        parts = waited(lambda: [one for one in files.upload_folder().iterdir() if one.is_file()])
    assert waited(lambda: not any(one.exists() for one in parts))


def call(http):
    return begun(http, "align", images=[uploaded(http)], prior=TINY, align="never")


def behind(host="8.8.8.8", headers=None, cleanup=None):
    """A client of this address; an app behind the middleware answers with the caller that a handler sees."""

    async def app(scope, receive, send):
        seen = {"client": scope["client"][0], "header": dict(scope["headers"])[b"x-forwarded-for"].decode()}
        await JSONResponse(seen)(scope, receive, send)

    served = ServerMiddleware(app, cleanup or SimpleNamespace(size=0))
    return TestClient(served, client=(host, 1), headers=headers)


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/nothing", "/theme.css"])
def test_every_answer_has_the_headers(http, path):
    headers = http.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "object-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'self' https://huggingface.co https://*.hf.space" in headers["content-security-policy"]


def test_the_page_is_sent_compressed_to_who_reads_that(http):
    sizes = []
    for coding in ("gzip", "identity"):
        with http.stream("GET", "/", headers={"accept-encoding": coding}) as answer:
            assert answer.headers.get("content-encoding", "identity") == coding
            sizes.append(len(b"".join(answer.iter_raw())))
            assert sizes[-1] == int(answer.headers["content-length"])
    assert 2 * sizes[0] < sizes[1]
    assert not http.request("HEAD", "/").content


def test_the_page_works_under_its_policy_and_talks_to_nobody_else(served_small, new_page):
    page = new_page()  # a complaint on its console, as of what the policy refuses, fails this test
    asked = set()
    page.on("request", lambda request: asked.add(request.url))
    page.goto(served_small)
    page.wait_for_selector("#sheet img")
    for tab in ("Interpolate", "Behind it", "How far it goes", "Tell apart", "About", "Studio"):
        page.get_by_role("tab", name=tab, exact=True).click()
        if tab == "How far it goes":
            page.wait_for_function("[...document.querySelectorAll('#far img')].every(one => one.naturalWidth)")
    page.wait_for_selector("#sheet img")
    own = (served_small, "data:", "blob:")
    assert not [url for url in asked if not url.startswith(own)]


def test_callers_put_out_no_page_that_is_in_use(monkeypatch):
    """Each call is a session of Gradio's, which keeps messages for so many of them, and forgets the others' events."""
    plain = SimpleNamespace(pending_messages_per_session=LRUCache(3), pending_event_ids_session={})
    gradio_compat.keep_pages(SimpleNamespace(_queue=plain))
    sent, events = plain.pending_messages_per_session, plain.pending_event_ids_session
    for index in range(9):
        sent[f"call {index}"] = events[f"call {index}"] = asyncio.Queue()
        if index == 0:
            sent["a page"] = events["a page"] = asyncio.Queue()
        assert sent["a page"]  # as a stream that is open does at each message and heartbeat
    assert set(sent) == set(events) == {"a page", "call 7", "call 8"}
    for number in range(999):  # the page is slow, and misses nothing
        sent["a page"].put_nowait(number)
    assert [asyncio.run(sent["a page"].get()) for _ in range(2)] == [0, 1]
    monkeypatch.setattr(gradio_compat, "_UNHEARD", -1)
    for number in range(9999):  # nobody reads them
        sent["a page"].put_nowait(number)
    assert sent["a page"].qsize() < 999 and sent["a page"].get_nowait() > 9000


def test_an_event_runs_once_its_page_listens_and_too_many_are_refused_at_the_door(http, monkeypatch):
    """Else whoever invents sessions has as many turns of the worker, and answers that nobody reads fill the memory."""
    monkeypatch.setattr(EVENTS, "timeout", TIMEOUT)
    event = next(one for one in http.get("/config").json()["dependencies"] if one["targets"][0][1] == "select")
    body = {"fn_index": event["id"], "data": [], "session_hash": "invented"}
    asked = http.post("/gradio_api/queue/join", json=body).raise_for_status().json()["event_id"]
    waited(lambda: EVENTS.busy(("session", "invented")))
    assert Session._all["invented"].heard is False
    with http.stream("GET", "/gradio_api/queue/data", params={"session_hash": "invented"}) as stream:
        assert any("process_completed" in line and asked in line for line in stream.iter_lines())
    assert Session._all["invented"].heard and not EVENTS.busy(("session", "invented"))
    monkeypatch.setattr(EVENTS, "each", 0)
    refused = http.post("/gradio_api/queue/join", json=body)
    assert refused.status_code == 429 and "Too many" in refused.json()["detail"]


# ---- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "caller"),
    [
        ("127.0.0.1", "1.1.1.1, 9.9.9.9", "", "9.9.9.9"),
        ("10.0.3.7", "9.9.9.9", "", "9.9.9.9"),
        ("127.0.0.1", "", "", "127.0.0.1"),
        ("8.8.8.8", "9.9.9.9", "", "8.8.8.8"),  # no proxy of ours: it may write what it likes
        ("10.0.3.7", "9.9.9.9", "0", "10.0.3.7"),
        ("8.8.8.8", "1.1.1.1, 9.9.9.9, 7.7.7.7", "2", "9.9.9.9"),
        ("8.8.8.8", "9.9.9.9", "3", "9.9.9.9"),
        ("2001:db8:1:2:a:b:c:d", "", "", "2001:db8:1:2::"),  # a client has the whole network
        ("127.0.0.1", "2001:db8:1:2::9", "", "2001:db8:1:2::"),
        ("::ffff:8.8.8.8", "", "", "8.8.8.8"),
    ],
)
def test_a_client_is_its_address_and_no_more_proxies_are_believed_than_there_are(
    peer, forwarded, proxies, caller, monkeypatch
):
    """Neither can an agent pretend to be another caller: Gradio calls its endpoint with the agent's headers."""
    monkeypatch.setenv("TRANSFLOW_PROXIES", proxies)
    seen = behind(peer, {"x-forwarded-for": forwarded}).get("/").json()
    assert seen == {"client": caller, "header": caller}


def test_whoever_exceeds_a_limit_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(middleware, "RATE", RateLimit(1, 9, timeout=0))
    monkeypatch.setattr(middleware, "UPLOADS", RateLimit(1, 1999, timeout=0))
    monkeypatch.setattr(middleware, "_DISK", 3500)
    monkeypatch.setattr(middleware, "_BODY", 1000)
    cleanup = SimpleNamespace(size=0)
    one, two = behind("8.8.8.8", cleanup=cleanup), behind("9.9.9.9", cleanup=cleanup)

    def status(client, path, content):
        answer = client.post(f"/gradio_api/{path}", content=content)
        return answer.status_code, answer.json().get("detail", "")[:12]

    assert [status(one, "call/v2/info", b"{}") for _ in range(2)] == [(200, ""), (429, "Too many req")]
    assert status(two, "call/v2/info", b"{}")[0] == 200
    monkeypatch.setattr(middleware, "RATE", RateLimit(1, 99, timeout=0))
    assert [status(one, "upload", b"x" * 1000) for _ in range(2)] == [(200, ""), (413, "Upload limit")]
    assert status(one, "nothing", b"x" * 999) == (413, "Upload limit")
    assert status(two, "upload", iter([b"x"])) == (411, "An upload mu")
    assert [status(two, "upload", b"x" * size) for size in (1500, 1500)] == [(200, ""), (413, "The server's")]
    assert cleanup.size == 2500  # until the next sweep
    monkeypatch.setattr(middleware.shutil, "disk_usage", lambda folder: SimpleNamespace(free=99))
    assert [status(two, "upload", b"x" * size) for size in (99, 100)] == [(200, ""), (413, "The server's")]
    for content in (b"x" * 1001, iter([b"x" * 600] * 2)):
        assert status(one, "run/info", content) == (413, "This request")


@pytest.mark.parametrize("sign", [b"[],", b"{},", b"%25", rb"\u0061"])
def test_a_body_of_very_many_values_is_read_no_further_and_not_parsed_wherever_it_goes(sign):
    async def receive():
        sent.append(sign)
        return {"type": "http.request", "body": sign * (middleware._VALUES + 1), "more_body": True}

    sent: list[bytes] = []
    scope = {"type": "http", "method": "POST", "path": "/nothing", "headers": [], "client": ("8.8.8.8", 1)}
    answered = mock.AsyncMock()
    with mock.patch("json.loads", side_effect=AssertionError), mock.patch.object(middleware, "unquote", str):
        asyncio.run(ServerMiddleware(pytest.fail, SimpleNamespace(size=0))(scope, receive, answered))
    start, body = (call.args[0] for call in answered.call_args_list)
    assert len(sent) == 1 and start["status"] == 413 and b"too many values" in body["body"]


def test_a_body_is_parsed_outside_of_the_thread_that_answers_everybody():
    async def app(scope, receive, send):
        threads.append(threading.get_ident())
        await JSONResponse({})(scope, receive, send)

    def loads(text):
        threads.append(threading.get_ident())
        return {}

    threads = []
    with mock.patch.object(middleware.json, "loads", loads):
        TestClient(ServerMiddleware(app, SimpleNamespace(size=0)), client=("8.8.8.8", 1)).post("/nothing", json={})
    assert len(set(threads)) == 2


def test_whoever_leaves_before_the_request_is_complete_gets_no_answer_and_causes_no_error():
    async def receive():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/run/info", "headers": [], "client": ("8.8.8.8", 1)}
    asyncio.run(ServerMiddleware(pytest.fail, SimpleNamespace(size=0))(scope, receive, pytest.fail))


@pytest.mark.parametrize("ends", [False, True], ids=["breaks", "ends"])
def test_a_page_whose_stream_breaks_has_its_work_cancelled_but_not_one_whose_stream_ends(ends):
    """Once a stream has ended, the page may have asked for more before the server hears that nobody listens to it."""

    async def receive():
        return {"type": "http.disconnect"}

    async def app(scope, receive, send):
        if ends:
            await JSONResponse({})(scope, receive, send)
        await receive()

    async def visit():
        request = admission.PAGE.request(("visitor", "part"), "visitor")
        await request.admitted()
        with request:
            await ServerMiddleware(app, SimpleNamespace(size=0))(scope, receive, mock.AsyncMock())
            return request.is_set()

    scope = {"type": "http", "method": "GET", "path": "/gradio_api/queue/data", "query_string": b"session_hash=visitor"}
    scope |= {"headers": [], "client": ("8.8.8.8", 1)}
    assert asyncio.run(visit()) == (not ends)


@pytest.mark.parametrize("number", [28, 30])
def test_a_disk_that_is_full_or_read_only_is_told_in_words(http, monkeypatch, number):
    from gradio import route_utils

    from transflow_core.operations import call as operations

    def fails(*_, **__):
        raise OSError(number, "no", "/some/where")

    monkeypatch.setattr(operations, "save_png", fails)
    running = call(http)
    monkeypatch.setattr(route_utils, "NamedTemporaryFile", fails)
    answer = http.post("/gradio_api/upload", files={"files": b"x"})
    assert answer.status_code == 507
    for text in (answer.text, http.get(running).text):
        assert "disk" in text and "/some" not in text and "Errno" not in text


def test_a_picture_of_the_camera_meets_the_limits_of_pictures_and_is_kept_as_a_file(served_small):
    """177 megapixels, as a header claims them: this process opens nothing, and the session keeps a path."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 8_850, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"\x89PNG\r\n\x1a\n" + header + b"\0\0\0\0IEND\xaeB`\x82"
    visitor = Visitor(served_small)
    visitor.happens("evidence-clear", "click")
    (file,) = visitor.upload([("image.png", data)])
    with mock.patch("PIL.Image.open", side_effect=AssertionError):
        visitor.happens("evidence-camera", "input", value=file)
    session = Session._all[visitor.session]
    image = session.evidence["evidence"][-1]
    assert "million" in image.problem and image.name == "picture 1"
    assert Path(image.source.file).read_bytes() == data and image.source.file in Session.in_use()


def test_what_benchmarks_time_of_a_click_is_all_that_follows_it(served_small):
    visitor = Visitor(served_small)
    visitor.happens("evidence-examples", "select", data={"example": "red_hair"})
    session = Session._all[visitor.session]
    assert session.state(View).result.request.evidence is session.evidence["evidence"]
    assert session.evidence["evidence"].example == "red_hair"


# ---- owners ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(served_small):
    """`opened(**headers)` is a visitor: a client with the cookie that the page gave."""
    with contextlib.ExitStack() as stack:

        def visitor(page=True, **headers):
            client = stack.enter_context(httpx.Client(base_url=served_small, timeout=TIMEOUT, headers=headers))
            assert not page or "httponly" in client.get("/").headers["set-cookie"].lower()
            return client

        yield visitor


def naming(path):
    """What names a file, to somebody who wants it hidden."""
    name = path.rsplit("/", 2)[1]
    body = json.dumps({"images": [{"path": path, "meta": FILE}], "prior": TINY})
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in name)
    yield from (body, body.replace(name, escaped), body.replace(name, f"nothing/../{name}"))
    yield json.dumps({"images": [f"http://localhost/gradio_api/file={path.replace(name[0], f'%{ord(name[0]):x}')}"]})


def test_what_a_visitor_uploads_is_seen_and_used_by_nobody_else(opened):
    """Not even from the same address, by somebody who knows the path."""
    more = b"a visitor's"
    mine, other, program = opened(), opened(), opened(page=False)
    path = uploaded(mine, more)["path"]
    file, call = f"/gradio_api/file={path}", "/gradio_api/call/v2/align"
    assert mine.get(file).content == FACE.read_bytes() + more
    for url in (file, file.replace("/transflow", "/%74ransflow"), f"{file}?x=1"):
        assert [one.get(url).status_code for one in (other, program)] == [403, 403]
    for body in naming(path):
        for url in (call, "/gradio_api/queue/join", "/gradio_api/run/align"):
            answer = other.post(url, content=body, headers=JSON)
            assert answer.status_code == 403 and "another visitor's" in answer.json()["detail"], body
    name = path.rsplit("/", 2)[1]
    broken = f"http://localhost/gradio_api/file={path.replace(name, name[:9] + chr(9) + name[9:])}"  # a tab
    assert "nly uploaded files" in refused(other, "call/v2/encode", json.dumps({"images": [broken], "prior": TINY}))
    event = mine.post(call, content=next(naming(path)), headers=JSON).json()["event_id"]
    assert "event: complete" in mine.get(f"{call}/{event}").text
    assert uploaded(other, more)["path"] == path and other.get(file).status_code == 200  # who has the file may have it


def test_no_link_leads_to_an_upload(opened, tmp_path):
    """Such as /proc/self/fd/14 while it is sent: its name does not say whose it is."""
    mine, other = opened(page=False), opened(page=False, **{"x-forwarded-for": "192.0.2.2"})
    (link := tmp_path / "link.png").symlink_to(uploaded(mine, b"somebody's")["path"])
    for url in (f"/gradio_api/file={link}", f"/gradio_api/file/{link}"):
        assert other.get(url).status_code == 403
    for file in ({"path": str(link)}, {"path": str(link), "meta": FILE}, f"http://x/gradio_api/file={link}"):
        text = refused(other, "call/v2/encode", json.dumps({"images": [file], "prior": TINY}))
        assert "nly uploaded files are read" in text, file


def test_a_programs_uploads_are_its_addresses(opened):
    mine, same, other = (opened(page=False, **{"x-forwarded-for": f"192.0.2.{n}"}) for n in (1, 1, 2))
    file = f"/gradio_api/file={uploaded(mine, b'a program')['path']}"
    assert [one.get(file).status_code for one in (mine, same, other)] == [200, 200, 403]


@pytest.mark.parametrize(("proto", "words"), [("https", "none; secure; partitioned"), ("http", "lax")])
def test_the_cookie_is_kept_in_a_spaces_frame_as_well(proto, words):
    told = behind(headers={"x-forwarded-proto": proto}).get("/").headers["set-cookie"].lower()
    assert f"samesite={words}" in told and "path=/" in told


# ---- addresses -----------------------------------------------------------------------------------------------------


def test_no_film_is_taken(http):
    film = {"video": ("film.webm", b"film", "video/webm")}
    assert http.post("/gradio_api/process_recording", files=film).status_code == 403


@pytest.mark.parametrize("path", ["upload_progress?upload_id=x", "custom_component/x/client/a/b.js"])
def test_gradio_keeps_and_prints_no_names_of_strangers(http, path):
    answer = http.get(f"/gradio_api/{path}")
    assert answer.status_code == 404 and "no such page" in answer.text


def test_who_asks_first_does_not_choose_the_address_of_the_api(http):
    for headers in ({"x-forwarded-host": "evil.example"}, {}):
        answer = http.get("/gradio_api/info", headers=headers)
        assert "evil.example" not in answer.text or headers
    assert "/sample" in answer.json()["named_endpoints"]


def test_nobody_watches_the_page(http):
    assert http.get("/monitoring").status_code == 403


@pytest.mark.parametrize("name", ["session_hash", "event_id"])
def test_a_session_has_no_long_name(http, name):
    body = {"data": [], "fn_index": 0, "session_hash": "x"} | {name: "x" * 1000}
    answer = http.post("/gradio_api/queue/join", json=body)
    assert answer.status_code == 400 and "too long" in answer.text


def test_copies_of_the_page_wait_for_one_another_alone(monkeypatch):
    """Each takes a thread for a while."""
    monkeypatch.setattr(middleware, "PAGES", queue := Queue(each=1, waiting=1))
    holding = queue.request("8.8.8.8")
    apart(asyncio.run, holding.admitted())
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(behind().get, "/config")
        waited(lambda: len(queue._requests) == 2)
        assert behind().get("/config").status_code == 503 and behind("9.9.9.9").get("/config").status_code == 200
        queue.remove(holding)
        assert first.result().status_code == 200
    assert not queue._requests


def test_a_cache_keeps_nobodys_pictures(http):
    for path in ("/", f"/gradio_api/file={uploaded(http)['path']}"):
        assert http.get(path).headers["cache-control"] == "private, no-cache"


PASSED_ON = [
    "file=https://x.com/x",
    "file=http%3A//x.com/x",
    "proxy=https://x.com",
    "file/https://x.com",
]


@pytest.mark.parametrize("path", PASSED_ON)
def test_nothing_is_passed_on_from_elsewhere(http, path):
    answer = http.get(f"/gradio_api/{path}")
    assert answer.status_code == 403 and "other servers" in answer.text


def test_a_cookie_that_takes_long_to_read_is_not_read(opened):
    """Python 3.11.7 takes time that grows with the square of its length."""
    mine, other = opened(), opened(page=False)
    slow, path = "\\" * 20_000, uploaded(mine, b"with a cookie")["path"]
    cookie = f'transflow_visitor={mine.cookies["transflow_visitor"]}; a="{slow}"'
    for headers in ([("cookie", cookie)], [("cookie", "b=1"), ("cookie", cookie)]):
        assert other.get("/gradio_api/app_id", headers=headers).status_code == 200
        assert other.get(f"/gradio_api/file={path}", headers=headers).status_code == 200  # it is still mine


def test_an_event_whose_answer_was_lost_runs_once(http):
    """A browser, or `stream.js`, sends it again, perhaps before the server knows that the answer is lost."""
    calls = dict(json={"data": [TINY], "session_hash": "lost"}, headers={"x-call": "1"})
    info = next(one for one in http.get("/config").json()["dependencies"] if one["api_name"] == "info")
    calls["json"]["fn_index"] = info["id"]
    call = lambda _: http.post("/gradio_api/queue/join", **calls).json()["event_id"]  # noqa: E731
    with ThreadPoolExecutor(4) as threads:
        (first,) = {*threads.map(call, range(4)), call(0)}
    calls["headers"] = {"x-call": "2"}
    assert call(0) != first


def test_a_size_of_the_icon_that_there_is_not_is_no_full_disk(http):
    answer = http.get("/pwa_icon/512")
    assert answer.status_code == 404 and "no such picture" in answer.text


@pytest.mark.parametrize("ranges", ["bytes=0-1,3-4", "bytes=0-1-2", "bytes=0-" + "9" * 5000])
def test_several_ranges_of_a_file_are_refused_in_words(http, ranges):
    answer = http.get(f"/gradio_api/file={uploaded(http)['path']}", headers={"range": ranges})
    assert answer.status_code == 416 and "one range" in answer.json()["detail"]


# ---- calls ---------------------------------------------------------------------------------------------------------


def refused(http, path, body):
    """The answer to a call that is refused, at once or when it runs."""
    answer = http.post(f"/gradio_api/{path}", content=body, headers=JSON)
    assert answer.status_code < 500 and "Traceback" not in answer.text
    if answer.status_code == 200 and path.startswith("call"):
        answer = http.get(f"/gradio_api/{path}/{answer.json()['event_id']}")
        assert "event: error" in answer.text
    return answer.text


# Of an agent: its argument is a deep list.
DEEP = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "info", "arguments": {"prior": %s%s}}}'
BODIES = ["", "[]", "{}", '{"data": 3}', '{"data": []}', "null", '"x"', "[" * 5000, "\x00"]


@pytest.mark.parametrize("body", BODIES + [DEEP % ("[" * depth, "]" * depth) for depth in (100, 700, 1500)])
def test_a_call_without_sense_is_refused_in_words(http, body):
    for path in ("call/align", "call/v2/align", "call/v2/nothing", "queue/join", "run/align", "mcp/"):
        assert refused(http, path, body), path


def test_who_hangs_up_ends_the_call(http, served_small, hold):
    held = hold("faces")
    url = call(http)
    with httpx.Client(base_url=served_small, timeout=TIMEOUT) as leaving, leaving.stream("GET", url):
        assert held.begun.wait(TIMEOUT)
    assert held.cancelled.wait(TIMEOUT)


def test_a_call_takes_no_longer_than_it_may_and_is_told_so(http, monkeypatch, hold):
    monkeypatch.setattr(admission.API, "seconds", 0.05)
    held = hold("faces")
    text = http.get(call(http)).text
    assert held.cancelled.is_set() and "may take 0.05 seconds" in text


@pytest.mark.parametrize("name", ["", " ", "a\0b", "\ud800", "x" * 1000, "a\nb"])
def test_a_class_has_a_name_that_can_be_shown(http, name):
    files = [uploaded(http)]
    body = json.dumps({"examples": {name: files}, "images": files, "prior": TINY})
    assert "name" in refused(http, "call/v2/classify", body)


def test_an_upload_that_was_swept_is_told_in_words(http):
    file = uploaded(http)
    Path(file["path"]).unlink()
    text = refused(http, "call/v2/encode", json.dumps({"images": [file], "prior": TINY}))
    assert "Errno" not in text and "only uploaded files" in text
