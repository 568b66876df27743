"""The page under use by many at once: whose answer who gets, who waits how long, what is left in memory and on disk.

    python -m benchmarks.soak --write                # both parts, the figures into docs/reliability.md: an idle machine
    python -m benchmarks.soak light                      # a light caller alone, and beside the others
    python -m benchmarks.soak crowd --clients 4 --actions 5 --pages 0
    python -m benchmarks.soak abuse --write              # each attack of one address, for a minute: 17 minutes
    python -m benchmarks.soak hour --clients 3           # a small load for an hour: what grows?

On the loopback alone, against `python app.py` that it starts and ends. Each client has a page's session, the API, or
both; one in ten of the actions is garbage, and in one of ten the client hangs up before the answer. Beside them, one
client aligns twelve pictures without a face again and again, and another sends 64 calls at a time. A caller of light
calls is timed alone, beside each of these two, and in the crowd.

What must hold: an answer has the seed that was asked for; equal questions have equal answers; nothing fails but what is
garbage; the light caller waits at most twice as long beside the heavy one; memory at the end is within a tenth of what
it was when each client had done a few actions; and of the files none is left once they are older than a file may be
(here one minute).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import itertools
import json
import math
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.page import ARGUMENTS, ROOT, serve
from benchmarks.tables import into
from benchmarks.visitors import ONCE, Visitor
from demo.tabs.studio import OPENING

EXAMPLES = sorted((ROOT / "assets" / "examples").glob("*/*.png"))
KEYS = list(json.loads((ROOT / "assets" / "examples" / "sets.json").read_text(encoding="utf-8")))
PRIOR = "celeba64"
_CHANGED = "before => document.querySelector('#sheet img')?.src !== before"
_A_TURN, _PAUSE = 5, 5
# Not the set that the page opens with, which changes nothing where it stands already.
_CLICKED = [index for index, key in enumerate(KEYS) if key != OPENING][:3]
_CLOSED = 600  # seconds for which a page that was closed may come back to its files
META = {"_type": "gradio.FileData"}


class Garbage(Exception):
    """It was refused, as it should be."""


def address(index: int) -> dict[str, str]:
    """The headers of a client with an address of its own."""
    return {"x-forwarded-for": f"192.0.2.{index % 250 + 1}"}


class Caller:
    """One address that calls the API.

    Args:
        url: of the page.
        index: makes its `address`.
    """

    def __init__(self, url: str, index: int) -> None:
        self.http = httpx.Client(base_url=f"{url}/gradio_api", timeout=600, headers=address(index), limits=ONCE)

    def upload(self, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
        paths = self.http.post("/upload", files=[("files", file) for file in files]).raise_for_status().json()
        return [{"path": path, "orig_name": name, "meta": META} for path, (name, _) in zip(paths, files, strict=True)]

    def begin(self, endpoint: str, **given: Any) -> str:
        url = f"/call/v2/{endpoint}"
        return f"{url}/{self.http.post(url, json=given).raise_for_status().json()['event_id']}"

    def end(self, url: str, over: threading.Event | None = None) -> list[Any]:
        """The answer; whoever has `over` hangs up at the next heartbeat after it is set."""
        text = ""
        with self.http.stream("GET", url) as answer:
            for line in answer.raise_for_status().iter_lines():
                text += f"{line}\n"
                if over is not None and over.is_set():
                    raise Garbage("hung up")
        if "event: complete" not in text:
            raise Garbage(text.rpartition("event: error")[2][-300:])
        return json.loads(text.partition("event: complete\ndata: ")[2].splitlines()[0])

    def call(self, endpoint: str, **given: Any) -> list[Any]:
        return self.end(self.begin(endpoint, **given))

    def bytes_of(self, file: dict[str, Any]) -> bytes:
        return self.http.get(f"/file={file['path']}").raise_for_status().content


class Figures:
    """What was seen, by all threads."""

    def __init__(self) -> None:
        self.waits: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[str] = Counter()
        self.mixed, self.answers = 0, {}
        self._lock = threading.Lock()

    def timed(self, kind: str, action: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            return action()
        except Exception as error:
            with self._lock:
                self.errors[f"{kind}: {type(error).__name__}: {' '.join(str(error).split())[:120]}"] += 1
        finally:
            with self._lock:
                self.waits[kind].append(time.perf_counter() - start)

    def same(self, question: tuple, answer: np.ndarray) -> None:
        """Equal questions have equal answers, whoever asks: to a level of 255, or a nat.

        A picture has other last bits in another batch, such as when two ask for it at once.
        """
        with self._lock:
            first = self.answers.setdefault(question, answer)
            self.mixed += first.shape != answer.shape or np.abs(first - answer).max() > 1

    def count(self) -> int:
        """Of all that was done."""
        with self._lock:
            return sum(map(len, self.waits.values()))

    def wrong(self) -> None:
        with self._lock:
            self.mixed += 1


def noise(seed: int, side: int = 1000) -> bytes:
    """A picture without a face, of one megapixel, that nobody sent before."""
    rows = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rows).resize((side, side)).save(buffer, "JPEG")
    return buffer.getvalue()


class Client:
    """One client's actions, one after the other, from its own seed."""

    def __init__(self, url: str, index: int, figures: Figures) -> None:
        self._random, self._figures = random.Random(index), figures
        self._caller, self._visitor = Caller(url, index), Visitor(url, address(index))
        self._actions = [self.example, self.slider, self.clear, self.sample, self.encode, self.classify, self.drop]
        self._actions += [self.garbage, self.leave]

    def run(self, actions: int, until: float = math.inf) -> None:
        for _ in range(actions):
            if time.monotonic() > until:
                return
            action = self._random.choice(self._actions)
            self._figures.timed(action.__name__, action)

    def close(self) -> None:
        """Close the page."""
        self._visitor.leave()

    def _example(self) -> tuple[str, bytes]:
        path = self._random.choice(EXAMPLES)
        return path.name, path.read_bytes()

    def example(self) -> None:
        self._visitor.happens("evidence-examples", "select", data={"example": self._random.choice(KEYS)})

    def slider(self) -> None:
        self._visitor.happens("lam", "release", value=self._random.choice([0.1, 0.5, 2.0]))

    def clear(self) -> None:
        self._visitor.happens("evidence-clear", "click")

    def drop(self) -> None:
        self._visitor.happens("evidence-files", "upload", value=self._visitor.upload([self._example()]))

    def sample(self) -> None:
        file, seed = self._example(), self._random.randrange(5)
        given = {"evidence": self._caller.upload(file), "n": 2, "seed": seed, "prior": PRIOR}
        (sheet, *_), facts = self._caller.call("sample", **given)
        if facts["recipe"]["seed"] != seed or facts["evidence"][0]["name"] != file[0]:
            self._figures.wrong()
        with Image.open(io.BytesIO(self._caller.bytes_of(sheet))) as picture:
            self._figures.same(("sample", file[0], seed), np.asarray(picture, float))

    def encode(self) -> None:
        file = self._example()
        _, told = self._caller.call("encode", images=self._caller.upload(file), prior=PRIOR)
        if [image["name"] for image in told["images"]] != [file[0]]:
            self._figures.wrong()
        self._figures.same(("encode", file[0]), np.asarray(told["images"][0]["log_prior"]))

    def classify(self) -> None:
        files = [self._caller.upload(self._example()) for _ in range(3)]
        _, told = self._caller.call("classify", examples={"a": files[0], "b": files[1]}, images=files[2])
        if list(told["classes"]) != ["a", "b"] or told["images"][0]["name"] != files[2][0]["orig_name"]:
            self._figures.wrong()

    def garbage(self) -> None:
        data = self._random.choice([b"", b"no image", noise(1, 64)[:300], b"\x89PNG" + bytes(100)])
        with contextlib.suppress(Garbage):
            self._caller.call("encode", images=self._caller.upload(("garbage.png", data)), prior=PRIOR)
            self._figures.wrong()
        with contextlib.suppress(Garbage):
            self._caller.call("sample", evidence=self._caller.upload(("x.safetensors", data)), n=10**9)
            self._figures.wrong()

    def leave(self) -> None:
        url = self._caller.begin(
            "align", images=self._caller.upload(("left.jpg", noise(self._random.randrange(2**31))))
        )
        with self._caller.http.stream("GET", url) as answer:
            next(answer.iter_bytes(), None)  # the first word of it, and gone


def light(caller: Caller, count: int, salt: int) -> list[float]:
    """Seconds of small calls, each with a picture that is in nobody's cache."""
    waits = []
    for index in range(count):
        files = caller.upload(("light.png", noise(salt + index, 64)))
        start = time.perf_counter()
        caller.call("encode", images=files, prior=PRIOR, align="never")
        waits.append(time.perf_counter() - start)
    return waits


def heavy(url: str, over: threading.Event, begun: threading.Event) -> None:
    """Twelve pictures without a face, again and again."""
    caller = Caller(url, 240)
    pictures = [noise(10**6 + index) for index in range(12)]
    for turn in itertools.count():
        if over.is_set():
            return
        # A few bytes behind a picture make a file of it that is in nobody's cache.
        files = caller.upload(*((f"{i}.jpg", data + b"%d" % turn) for i, data in enumerate(pictures)))
        with contextlib.suppress(Garbage):
            call = caller.begin("align", images=files, prior=PRIOR)
            begun.set()
            caller.end(call, over)


def flood(url: str, over: threading.Event, begun: threading.Event) -> None:
    """64 calls at a time, as long as there are others."""
    caller = Caller(url, 241)
    files = caller.upload(("small.png", noise(5, 64)))
    while not over.is_set():
        calls = [caller.begin("align", images=files, prior=PRIOR, align="never") for _ in range(64)]
        begun.set()
        for call in calls:
            with contextlib.suppress(Garbage):
                caller.end(call, over)


class Begun(threading.Event):
    """Set at each request of a work, which it counts."""

    count = 0

    def set(self) -> None:
        self.count += 1
        super().set()


@contextlib.contextmanager
def under_way(url: str, *works: Callable[[str, threading.Event, Begun], None]) -> Iterator[list[Begun]]:
    """Each of the works has begun, and ends in the end."""
    over, threads, begun = threading.Event(), [], []
    try:
        for work in works:
            begun.append(Begun())
            threads.append(threading.Thread(target=work, args=(url, over, begun[-1]), daemon=True))
            threads[-1].start()
            begun[-1].wait(600)
        yield begun
    finally:
        over.set()
        for thread in threads:
            thread.join()


def pages(count: int, figures: Figures) -> Callable[[str, threading.Event, threading.Event], None]:
    """Real pages in Chromium: examples are clicked; what a console complains of is an error."""
    from playwright.sync_api import sync_playwright

    def work(url: str, over: threading.Event, begun: threading.Event) -> None:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            opened = []
            for index in range(count):
                page = browser.new_page(extra_http_headers=address(200 + index))
                page.set_default_timeout(600_000)
                page.on("pageerror", lambda error: figures.errors.update([f"page: {error}"]))
                figures.timed("page opened", lambda page=page: (page.goto(url), page.wait_for_selector("#sheet img")))
                opened.append(page)
            begun.set()
            for turn in itertools.count():
                if over.is_set():
                    break
                page = opened[turn % count]
                before = page.get_attribute("#sheet img", "src")
                page.locator(".examples button[data-example]:visible").nth(_CLICKED[turn % 3]).click()
                figures.timed("page, example", lambda page=page, b=before: page.wait_for_function(_CHANGED, arg=b))
            browser.close()

    return work


@contextlib.contextmanager
def watched(process: Any) -> Iterator[list[float]]:
    """Within, the megabytes of the server and its children, each five seconds."""
    seen, over = [sum(memory(process))], threading.Event()

    def watch() -> None:
        while not over.wait(5):
            seen.append(sum(memory(process)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def memory(process: Any) -> tuple[float, float]:
    """Megabytes of the server, and of its children: 0 where there is no /proc."""
    tasks = Path(f"/proc/{process.pid}/task")
    if not tasks.is_dir():
        return 0.0, 0.0
    children: list[str] = []
    for task in tasks.iterdir():
        with contextlib.suppress(OSError):  # of a thread that has ended meanwhile
            children += (task / "children").read_text().split()
    return _resident(process.pid) / 1024, sum(_resident(int(child)) for child in children) / 1024


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):  # of a child that has ended meanwhile
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def _handles(process: Any) -> int:
    """Open files of the server."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def _disk(folder: Path) -> tuple[int, float]:
    sizes = []
    for at, _, names in os.walk(folder):  # which passes over a folder that is deleted meanwhile
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                sizes.append(os.path.getsize(os.path.join(at, name)))
    return len(sizes), sum(sizes) / 2**20


@contextlib.contextmanager
def server(kept: int) -> Iterator[tuple[Any, str, Path]]:
    """A page of its own: process, address, and the folder of its files, each kept for so many seconds."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "TRANSFLOW_KEEP": str(kept)}
        process, url, _ = serve()
        try:
            yield process, url, Path(folder)
        finally:
            process.terminate()
            process.wait()


def light_part(given: argparse.Namespace) -> str:
    """The light caller, alone and beside the heavy ones in turns, as a table: a machine is not always equally fast."""
    salt, waits = itertools.count(1000, 1000), defaultdict(list)
    beside = {"alone": [], "beside the heavy one": [heavy], "beside 64 calls": [flood], "beside both": [heavy, flood]}
    with server(3600) as (_, url, _):
        caller = Caller(url, 242)
        light(caller, 5, 10)  # loads what is loaded once
        for _ in range(math.ceil(given.light / _A_TURN)):
            for name, works in beside.items():
                with under_way(url, *works):
                    waits[name] += light(caller, _A_TURN, next(salt))
    rows = [f"| {name} | {row(found)} | {ratio(found, waits['alone']):.2f} |" for name, found in waits.items()]
    return "\n".join(["| a light call | count | median, s | 95 %, s | ratio |", "|---|---|---|---|---|", *rows])


def ratio(waits: list[float], alone: list[float]) -> float:
    """Of the medians."""
    return statistics.median(waits) / statistics.median(alone)


def row(waits: list[float]) -> str:
    """Count, median and 95 % as cells."""
    last = sorted(waits)[min(len(waits) - 1, int(0.95 * len(waits)))]
    return f"{len(waits)} | {statistics.median(waits):.2f} | {last:.2f}"


def crowd_part(given: argparse.Namespace) -> str:
    """Everybody at once: the figures, as tables."""
    figures, kept = Figures(), 60
    with server(kept) as (process, url, folder):
        caller = Caller(url, 242)
        light(caller, 2, 10)
        alone = light(caller, given.light, 1000)
        clients = [Client(url, index, figures) for index in range(given.clients)]
        until = time.monotonic() + 60 * given.minutes
        works = [heavy, flood, *([pages(given.pages, figures)] if given.pages else [])]
        with under_way(url, *works):
            all_of(clients, given.warm, until)
            start, before = time.perf_counter(), figures.count()
            beside: list[float] = []
            timed = threading.Thread(target=lambda: beside.extend(light(caller, given.light, 2000)))
            timed.start()
            with watched(process) as seen:
                all_of(clients, given.actions, until)
            seconds, actions = time.perf_counter() - start, figures.count() - before
            timed.join()
        after = light(caller, given.light, 3000)
        files = _disk(folder)
        print("the crowd has left:", files, seen[::12], figures.errors, file=sys.stderr)
        for client in clients:
            client.close()
        patience = time.monotonic() + 2 * kept + _CLOSED
        while time.monotonic() < patience and _disk(folder)[0]:
            time.sleep(1)
        left, quiet = _disk(folder), memory(process)
    # What is held for a moment goes up and down by more than a tenth: medians of a minute.
    first, last = (statistics.median(some) for some in (seen[:12], seen[-12:]))
    growth = 100 * (last / max(first, 1) - 1)
    lines = ["| action | count | median, s | 95 %, s |", "|---|---|---|---|"]
    lines += [f"| {kind} | {row(waits)} |" for kind, waits in sorted(figures.waits.items())]
    lines += [
        "",
        f"- {given.clients} clients and {given.pages} pages did {actions} actions in {seconds:.0f} s, beside the heavy "
        "one and the one of 64 calls.",
        f"- Unexpected errors: {sum(figures.errors.values())}. Answers of somebody else, or that differ: "
        f"{figures.mixed}, of {len(figures.answers)} questions that were asked more than once or not.",
        f"- A light call: {statistics.median(alone):.2f} s alone, {statistics.median(beside):.2f} s in the crowd "
        f"({ratio(beside, alone):.1f} times), {statistics.median(after):.2f} s when all are gone.",
        f"- Memory of the server and its two readers of pictures: {first:.0f} MB in the minute after each client had "
        f"done {given.warm} actions, {last:.0f} MB in the last one ({growth:+.0f} %), {max(seen):.0f} MB at most, "
        f"{sum(quiet):.0f} MB when all had left.",
        f"- Files: {files[0]} ({files[1]:.0f} MB) at the end, {left[0]} when they were older than the {kept} s for "
        "which they were kept here.",
    ]
    return "\n".join([*lines, *(f"- {count} × {words}" for words, count in figures.errors.most_common())])


def all_of(clients: list[Client], actions: int, until: float) -> None:
    """So many actions of each, side by side."""
    threads = [threading.Thread(target=client.run, args=(actions, until), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def huge_masks(url: str, over: threading.Event, begun: Begun) -> None:
    """A mask of 3 kB and 36 megapixels, named sixty times."""
    caller, buffer = Caller(url, 243), io.BytesIO()
    Image.new("L", (6000, 6000)).save(buffer, "PNG")
    face, mask = caller.upload(("face.png", EXAMPLES[0].read_bytes()), ("mask.png", buffer.getvalue()))
    while not over.is_set():
        begun.set()
        with contextlib.suppress(Garbage, httpx.HTTPError):
            caller.call("condition", evidence=[face], masks=60 * [mask], prior=PRIOR)


async def post(url: str, path: str, body: bytes, begun: Begun) -> None:
    """A request of the attacker's, with as little work as possible: both stand on the same machine."""
    host, _, port = url.removeprefix("http://").partition(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.244\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(host, port)
        with contextlib.closing(writer):
            writer.write(head.encode() + body)
            await reader.read()
    begun.set()


def events(url: str, over: threading.Event, begun: Begun, *, sessions: int = 26) -> None:
    """Clicks on a set in sessions that nobody opened, 75 a second, whose answers nobody reads; 0: each in a new one."""
    body = Visitor(url).request("evidence-examples", "select", data={"example": KEYS[0]})

    async def click() -> None:
        sent = set()
        for index in itertools.count():
            named = body | {"session_hash": f"s{index % sessions if sessions else index}"}
            sent.add(asyncio.create_task(post(url, "/gradio_api/queue/join", json.dumps(named).encode(), begun)))
            await asyncio.sleep(1 / 75)
            if over.is_set():
                return

    asyncio.run(click())


def new_sessions(url: str, over: threading.Event, begun: Begun) -> None:
    """The same, each in a new session."""
    events(url, over, begun, sessions=0)


def bodies(url: str, over: threading.Event, begun: Begun) -> None:
    """8 MiB of empty lists to an address that is not there."""
    body = b"[" + b"[]," * 2_790_000 + b"0]"
    while not over.is_set():
        asyncio.run(post(url, "/nowhere", body, begun))


ATTACKS = {
    "a mask named 60 times": huge_masks,
    "events of 26 sessions": events,
    "events of new sessions": new_sessions,
    "bodies of 8 MiB": bodies,
}


def no_attack(url: str, over: threading.Event, begun: Begun) -> None:
    """What the others do without one."""
    begun.set()
    over.wait()


Waits = tuple[list[float], list[float]]


def attacked(
    process: Any, url: str, attacks: Iterable[Callable[[str, threading.Event, Begun], None]], seconds: float
) -> Iterator[tuple[float, Waits, Waits, float]]:
    """Of each attack: requests a second; waits of one visitor of the page and of one light caller, alone and beside it;
    and the most memory beside it."""
    salt, keys = itertools.count(1000), itertools.cycle(KEYS[:3])
    visitor, caller = Visitor(url), Caller(url, 242)

    def used(seconds: float) -> Waits:
        """Seconds of the visitor's clicks on three sets, and of light calls at the same time."""
        end, clicks, calls = time.monotonic() + seconds, list[float](), list[float]()

        def call() -> None:
            while time.monotonic() < end:
                calls.extend(light(caller, 1, next(salt)))
                time.sleep(0.1)  # else its own rate would hold it up

        calling = threading.Thread(target=call)
        calling.start()
        while time.monotonic() < end:
            clicks.append(visitor.happens("evidence-examples", "select", data={"example": next(keys)}))
        calling.join()
        return clicks, calls

    used(seconds / 2)  # the visitor's sets and states are there from now on
    for work in attacks:
        alone, begun = used(seconds / 2), time.monotonic()
        with under_way(url, work) as (attack,), watched(process) as seen:
            beside = used(seconds)
            rate = attack.count / (time.monotonic() - begun)
        yield rate, alone, beside, max(seen)


def abuse_part(given: argparse.Namespace) -> str:
    """One visitor of the page and one light caller, alone and then beside an attack of another address, as a table.

    Clicks make memory go up and down by themselves (`runtime.tune`). So a server without attacks goes first, with the
    same clicks and calls at the same time of its life.
    """
    with server(60) as (process, url, _):
        usual = [most for *_, most in attacked(process, url, [no_attack] * len(ATTACKS), given.attack)]
        handles = _handles(process)
    lines, reached = [], []
    with server(60) as (process, url, folder):
        beside_each = attacked(process, url, ATTACKS.values(), given.attack)
        for name, calm, (rate, alone, beside, most) in zip(ATTACKS, usual, beside_each, strict=True):
            cells = [
                f"{statistics.median(a):.2f} | {statistics.median(b):.2f} | {ratio(b, a):.1f}"
                for a, b in zip(alone, beside, strict=True)
            ]
            lines.append(f"| {name} | {rate:.1f} | {' | '.join(cells)} | {most - calm:+.0f} |")
            reached.append(most)
            print(lines[-1], *map(len, (*alone, *beside)), file=sys.stderr, flush=True)
        patience = time.monotonic() + 180  # files are kept for a minute, and looked at once a minute
        while time.monotonic() < patience and _disk(folder)[0]:
            time.sleep(1)
        lines += [
            "",
            f"- Memory of the server and its readers at most: {max(reached):.0f} MB, {max(usual):.0f} without attacks.",
            f"- Open files of the server at the end: {_handles(process)}, {handles} without attacks. "
            f"Files of visitors: {_disk(folder)[0]}.",
        ]
        with under_way(url, events):
            time.sleep(2)
            start = time.monotonic()
            process.terminate()
            process.wait()
        lines += [f"- SIGTERM while such events wait ends it in {time.monotonic() - start:.0f} s."]
    head = "| attack | a second | click, s | beside, s | times | light call, s | beside, s | times | memory, MB |"
    return "\n".join([head, f"|{9 * '---|'}", *lines])


def hour_part(given: argparse.Namespace) -> str:
    """A few clients with pauses: memory, open files, threads and files in the first ten minutes and the last ten."""
    figures, seen = Figures(), []

    def used(client: Client) -> None:
        while time.monotonic() < until:
            client.run(1)
            time.sleep(_PAUSE)

    with server(60) as (process, url, folder):
        clients = [Client(url, index, figures) for index in range(given.clients)]
        begun = time.monotonic()
        until = begun + 60 * given.minutes
        threads = [threading.Thread(target=used, args=(client,), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            of = Path(f"/proc/{process.pid}")
            counts = (len(os.listdir(of / "fd")), len(os.listdir(of / "task")), _disk(folder)[0])
            seen.append((time.monotonic(), sum(memory(process)), *counts))
            print(*seen[-1], figures.count(), file=sys.stderr, flush=True)
            time.sleep(5)
    first = [row for row in seen if row[0] < begun + 600]
    last = [row for row in seen if row[0] > seen[-1][0] - 600]
    names = ("", "memory of the server and its readers, MB", "open files", "threads", "files of visitors")
    lines = ["| median | first ten minutes | last ten minutes | most |", "|---|---|---|---|"]
    for at, name in list(enumerate(names))[1:]:
        cells = [statistics.median(row[at] for row in rows) for rows in (first, last)] + [max(row[at] for row in seen)]
        lines.append(f"| {name} | {' | '.join(f'{cell:.0f}' for cell in cells)} |")
    minutes, errors = (seen[-1][0] - begun) / 60, sum(figures.errors.values())
    lines += [
        "",
        f"- {given.clients} clients did {figures.count()} actions in {minutes:.0f} minutes, {_PAUSE} s apart.",
    ]
    lines += [f"- Unexpected errors: {errors}. Answers of somebody else, or that differ: {figures.mixed}."]
    return "\n".join([*lines, *(f"- {count} × {words}" for words, count in figures.errors.most_common())])


PARTS = {"light": light_part, "crowd": crowd_part, "abuse": abuse_part, "hour": hour_part}


def main() -> None:
    """Run it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"{', '.join(PARTS)}; all by default"
    )
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--actions", type=int, default=50, help="of each client")
    parser.add_argument("--warm", type=int, default=5, help="actions of each client before memory is looked at")
    parser.add_argument("--pages", type=int, default=4, help="real pages in Chromium")
    parser.add_argument("--minutes", type=float, default=60, help="no action begins later than this")
    parser.add_argument("--light", type=int, default=20, help="calls of the light caller, alone and beside the others")
    parser.add_argument("--attack", type=float, default=60, help="seconds of each attack")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server is ended, too
    for name in given.parts or PARTS:
        text = PARTS[name](given)
        print(text, flush=True)
        if given.write:
            into(ROOT / "docs" / "reliability.md", f"soak-{name}", text)


if __name__ == "__main__":
    main()
