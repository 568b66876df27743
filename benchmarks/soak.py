"""The page under use by many at once: whose answer who gets, who waits how long, what is left in memory and on disk.

    python -m benchmarks.soak                            # 20 clients of 50 actions and four pages: an idle machine
    python -m benchmarks.soak --clients 4 --actions 5 --pages 0

On the loopback alone, against `python app.py` that it starts and ends. Each client has a page's session, the API, or
both; one in ten of the actions is garbage, and in one of ten the client hangs up before the answer. Beside them, one
client aligns twelve pictures without a face again and again, and another sends 64 calls at a time. A caller of light
calls is timed alone, and beside all of these.

What must hold: an answer has the seed that was asked for; equal questions have equal answers; nothing fails but what is
garbage; the light caller waits at most twice as long; and in the end nobody waits.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.page import ARGUMENTS, ROOT, serve
from benchmarks.visitors import Visitor

EXAMPLES = sorted((ROOT / "assets" / "examples").glob("*/*.png"))
KEYS = list(json.loads((ROOT / "assets" / "examples" / "sets.json").read_text(encoding="utf-8")))
PRIOR = "celeba64"
_CHANGED = "before => document.querySelector('#sheet img')?.src !== before"
META = {"_type": "gradio.FileData"}


class Garbage(Exception):
    """It was refused, as it should be."""


class Caller:
    """One address that calls the API.

    Args:
        url: of the page.
        index: makes its address: callers are told apart by it.
    """

    def __init__(self, url: str, index: int) -> None:
        headers = {"x-forwarded-for": f"192.0.2.{index % 250 + 1}"}
        self.http = httpx.Client(base_url=f"{url}/gradio_api", timeout=600, headers=headers)

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
            raise Garbage(text[-300:])
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
                self.errors[f"{kind}: {type(error).__name__}: {str(error)[:120]}"] += 1
        finally:
            with self._lock:
                self.waits[kind].append(time.perf_counter() - start)

    def same(self, question: tuple, answer: bytes) -> None:
        """Equal questions have equal answers, whoever asks."""
        digest = hashlib.sha256(answer).hexdigest()
        with self._lock:
            self.mixed += self.answers.setdefault(question, digest) != digest

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
        self._caller, self._visitor = Caller(url, index), Visitor(url)
        self._actions = [self.example, self.slider, self.clear, self.sample, self.encode, self.classify, self.drop]
        self._actions += [self.garbage, self.leave]

    def run(self, actions: int, until: float = math.inf) -> None:
        for _ in range(actions):
            if time.monotonic() > until:
                return
            action = self._random.choice(self._actions)
            self._figures.timed(action.__name__, action)

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
        if facts["seed"] != seed or facts["evidence"][0]["name"] != file[0]:
            self._figures.wrong()
        self._figures.same(("sample", file[0], seed), self._caller.bytes_of(sheet))

    def encode(self) -> None:
        file = self._example()
        _, told = self._caller.call("encode", images=self._caller.upload(file), prior=PRIOR)
        if [image["name"] for image in told] != [file[0]]:
            self._figures.wrong()
        self._figures.same(("encode", file[0]), f"{told[0]['log_prior']:.0f}".encode())

    def classify(self) -> None:
        files = [self._caller.upload(self._example()) for _ in range(3)]
        (told,) = self._caller.call("classify", examples={"a": files[0], "b": files[1]}, queries=files[2])
        if told["classes"] != ["a", "b"] or told["queries"][0]["name"] != files[2][0]["orig_name"]:
            self._figures.wrong()

    def garbage(self) -> None:
        data = self._random.choice([b"", b"no image", noise(1, 64)[:300], b"\x89PNG" + bytes(100)])
        _, told = self._caller.call("encode", images=self._caller.upload(("garbage.png", data)), prior=PRIOR)
        if told[0]["problem"] is None:
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
        caller.call("encode", images=files, prior=PRIOR, whole="always")
        waits.append(time.perf_counter() - start)
    return waits


def heavy(url: str, over: threading.Event) -> None:
    """Twelve pictures without a face, again and again."""
    caller = Caller(url, 240)
    for salt in range(0, 10**6, 12):
        if over.is_set():
            return
        files = caller.upload(*((f"{i}.jpg", noise(10**6 + salt + i)) for i in range(12)))
        with contextlib.suppress(Garbage):
            caller.end(caller.begin("align", images=files, prior=PRIOR), over)


def flood(url: str, over: threading.Event) -> None:
    """64 calls at a time, as long as there are others."""
    caller = Caller(url, 241)
    files = caller.upload(("small.png", noise(5, 64)))
    while not over.is_set():
        calls = [caller.begin("align", images=files, prior=PRIOR, whole="always") for _ in range(64)]
        for call in calls:
            with contextlib.suppress(Garbage):
                caller.end(call, over)


def pages(url: str, count: int, over: threading.Event, figures: Figures) -> None:
    """Real pages in Chromium: examples are clicked, tabs looked at; what a console complains of is an error."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        opened = []
        for _ in range(count):
            page = browser.new_page()
            page.set_default_timeout(600_000)
            page.on("pageerror", lambda error: figures.errors.update([f"page: {error}"]))
            figures.timed("page opened", lambda page=page: (page.goto(url), page.wait_for_selector("#sheet img")))
            opened.append(page)
        for turn in range(10**6):
            if over.is_set():
                break
            page = opened[turn % count]
            before = page.get_attribute("#sheet img", "src")
            page.locator(".examples button[data-example]").nth(turn % 3).click()
            figures.timed("page, example", lambda page=page, b=before: page.wait_for_function(_CHANGED, arg=b))
        browser.close()


def memory(process: Any) -> float:
    """Megabytes of the server and its children that nobody else has: 0 where there is no /proc."""
    total = 0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += _resident(int(child))
        total += _resident(process.pid)
    return total / 1024


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _disk(folder: Path) -> tuple[int, float]:
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(files), sum(files) / 2**20


def main() -> None:
    """Run it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--actions", type=int, default=50, help="of each client")
    parser.add_argument("--pages", type=int, default=4, help="real pages in Chromium")
    parser.add_argument("--minutes", type=float, default=30, help="no action begins later than this")
    parser.add_argument("--light", type=int, default=10, help="calls of the light caller, alone and beside the others")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server is ended, too
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    process, url, _ = serve()
    figures, over = Figures(), threading.Event()
    try:
        caller = Caller(url, 242)
        light(caller, 2, 10)  # loads what is loaded once
        Client(url, 243, Figures()).run(9, time.monotonic() + 60 * given.minutes)
        alone = light(caller, given.light, 1000)
        warm, files = memory(process), _disk(folder)
        others = [threading.Thread(target=work, args=(url, over), daemon=True) for work in (heavy, flood)]
        if given.pages:
            others.append(threading.Thread(target=pages, args=(url, given.pages, over, figures), daemon=True))
        start, until = time.perf_counter(), time.monotonic() + 60 * given.minutes
        for other in others:
            other.start()
        clients = [Client(url, index, figures) for index in range(given.clients)]
        threads = [threading.Thread(target=client.run, args=(given.actions, until), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        beside = light(caller, given.light, 2000)
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        over.set()
        for other in others:
            other.join()
        after = light(caller, given.light, 3000)
        end, files_end = memory(process), _disk(folder)
    finally:
        over.set()
        process.terminate()
        process.wait()
    left = list(folder.iterdir())
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{given.clients} clients of {given.actions} actions, {given.pages} pages: {seconds:.0f} s\n")
    print("| action | count | median, s | 95 %, s |\n|---|---|---|---|")
    for kind, waits in sorted(figures.waits.items()):
        last = sorted(waits)[min(len(waits) - 1, int(0.95 * len(waits)))]
        print(f"| {kind} | {len(waits)} | {statistics.median(waits):.2f} | {last:.2f} |")
    print(f"\nunexpected errors: {sum(figures.errors.values())}")
    for words, count in figures.errors.most_common():
        print(f"  {count} × {words}")
    print(f"answers of somebody else, or that differ: {figures.mixed}, of {len(figures.answers)} questions")
    ratio = statistics.median(beside) / statistics.median(alone)
    print(f"light caller: {statistics.median(alone):.2f} s alone, ", end="")
    print(f"{statistics.median(beside):.2f} s beside: {ratio:.1f} ×, ", end="")
    print(f"{statistics.median(after):.2f} s when all are gone")
    print(f"memory: {warm:.0f} MB warm, {end:.0f} MB at the end ({100 * (end / max(warm, 1) - 1):+.0f} %)")
    print(f"files: {files[0]} ({files[1]:.0f} MB), {files_end[0]} ({files_end[1]:.0f} MB) at the end;", end=" ")
    print(f"{len(left)} folders when the server was told to end")


if __name__ == "__main__":
    main()
