"""A served demo and a real browser."""

import asyncio
import contextlib
import math
import os
import re
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from typer.testing import CliRunner

from demo import Engines, build, launch
from demo.examples import example_sets
from demo.server import files, state
from demo.server.admission import Request
from demo.snippet import command_line, python_code
from demo.tabs.studio_results import SHARED
from transflow_core.cli import app
from transflow_core.compute import Cancelled
from transflow_core.engine import Engine
from transflow_core.images import sheets
from transflow_core.operations import enlarging

from ..helpers import METHODS, ROOT, TIMEOUT, apart, frames, make_tiny_prior

ARTIFACTS = ROOT / "artifacts"  # pictures of each tab, on a desktop and on a phone
WAIT = 1000 * TIMEOUT  # milliseconds
expect.set_options(timeout=WAIT)  # else it waits for five seconds, whatever a page's own timeout is
FILE = {"_type": "gradio.FileData"}
TINY, OTHER = "tiny.safetensors", "other.safetensors"
_STATUS = pytest.StashKey[int]()
EXAMPLES = {key: [str(file) for file in example.files] for key, example in example_sets().items()}


def pytest_unconfigure(config) -> None:
    """End at once. A thread of Gradio may still compute for a page that is closed, and where Python takes such a thread
    down in the midst of C++, the process aborts after all tests have passed."""
    if (status := config.stash.get(_STATUS, None)) is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus) -> None:
    """For `pytest_unconfigure`."""
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.fixture(scope="session")
def engines(tmp_path_factory) -> Iterator[Engines]:
    """The priors of both pages: those that ship, and two tiny ones; and a cache folder for what the pages serve."""
    folder = tmp_path_factory.mktemp("priors")
    make_tiny_prior().save(folder / TINY)
    make_tiny_prior(seed=1, side=32).save(folder / OTHER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield Engines(folder)


def _serve(demo: gr.Blocks) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:  # other runs look for one from 7860 on at the same time
        port = free.getsockname()[1]
    _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True, server_port=port)
    yield url.rstrip("/")
    demo.close()


@pytest.fixture(scope="session")
def served(engines) -> Iterator[str]:
    """The address of the demo with the priors that ship, served from this process. It cannot enlarge pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enlarging, "find_spec", lambda name: None)
        demo = build(engines)
    yield from _serve(demo)


@pytest.fixture(scope="session")
def served_small(engines) -> Iterator[str]:
    """The same with the tiny prior in every tab, for tests that do not check what its images look like. It offers to
    enlarge pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("demo.page.CLASSIFYING_PRIOR", TINY)
        patch.setattr(enlarging, "find_spec", lambda name: name)
        demo = build(engines, first_prior=TINY)
    yield from _serve(demo)


class Visitors:
    """Opens pages, and collects the errors on their consoles."""

    def __init__(self, browser) -> None:
        self._browser, self._contexts, self._errors = browser, [], []

    def __call__(
        self, width: int = 1280, height: int = 900, dark: bool = False, touch: bool = False, motion: bool = False
    ):
        """A new visitor, with `touch` on a phone. Without `motion` the page is at rest sooner, and costs less."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="no-preference" if motion else "reduce",
            accept_downloads=True,
            has_touch=touch,
            is_mobile=touch,
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(WAIT)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self._errors.append(str(error)))
        page.on("console", lambda message: self._errors.append(message.text) if message.type == "error" else None)
        return page

    def close(self) -> None:
        """Close all pages."""
        while self._contexts:
            self._contexts.pop().close()

    def check(self) -> None:
        """No page has logged an error so far."""
        # A request that the closed network refuses is no fault of the page's code.
        # Neither is the stream that a reload cuts off, for which Gradio has four words.
        cut = ("AbortError", "Connection errored out", "Unexpected error 404: Not Found", "TypeError: network error")
        network = ("net::ERR", "Failed to load resource", "Failed to fetch", *cut)
        errors = [text for text in self._errors if not any(word in text for word in network)]
        self._errors.clear()
        assert not errors, errors


@pytest.fixture
def new_page(browser) -> Iterator[Visitors]:
    """`new_page()` opens a new visitor. An error on a console fails the test."""
    visitors = Visitors(browser)
    yield visitors
    visitors.close()
    visitors.check()


@pytest.fixture
def page(new_page):
    """One visitor on a desktop."""
    return new_page()


@pytest.fixture(scope="module")
def _kept(browser) -> Iterator[dict]:
    kept = {"visitors": Visitors(browser), "page": None, "failed": 0}
    yield kept
    kept["visitors"].close()


@pytest.fixture
def kept_page(_kept, request) -> Iterator[Callable]:
    """`kept_page(open, reset)`: one page for all tests of a module, since a page takes seconds to load.

    `open(page)` loads it, at first and after a failed test; `reset(page)` brings it back to that state.
    """

    def get(open_, reset):
        again = getattr(request.node, "execution_count", 1) > 1  # pytest-rerunfailures runs it once more
        if _kept["page"] is None or again or _kept["failed"] != request.session.testsfailed:
            _kept["visitors"].close()
            _kept["failed"], _kept["page"] = request.session.testsfailed, _kept["visitors"]()
            open_(_kept["page"])
        else:
            reset(_kept["page"])
        return _kept["page"]

    yield get
    _kept["visitors"].check()


class Held:
    """A method of `Engine` that waits until `go_on` is set, or it is cancelled. `which` calls do, by their number.

    With `preview` these are the calls for a preview alone; with False all others.
    """

    def __init__(self, monkeypatch, method, which=lambda number: True, preview=None):
        self.begun, self.go_on, self.cancelled = (threading.Event() for _ in range(3))
        self.calls = 0
        plain = getattr(Engine, method)

        def held(*args, **how):
            counts = preview in (None, how.get("preview", False))
            number, self.calls = self.calls, self.calls + counts
            waits = counts and which(number)
            while waits and not self.go_on.wait(0.01):
                self.begun.set()
                if (cancel := how.get("cancel")) is not None and cancel.is_set():
                    self.cancelled.set()
                    raise Cancelled
            return plain(*args, **how)

        monkeypatch.setattr(Engine, method, held)


@pytest.fixture
def hold(monkeypatch):
    """`hold("encode")` is a `Held`."""
    SHARED.clear()  # else samples that another test drew are there at once
    held = []
    yield lambda *how, **more: held.append(Held(monkeypatch, *how, **more)) or held[-1]
    for one in held:
        one.go_on.set()


@pytest.fixture
def clock(monkeypatch):
    """`clock.seconds` have passed since there was no session yet."""
    now, begun = SimpleNamespace(seconds=0), time.time()
    passed = SimpleNamespace(time=lambda: begun + now.seconds, monotonic=lambda: begun + now.seconds)
    for module in (files, state):
        monkeypatch.setattr(module, "time", passed)
    monkeypatch.setattr(state.Session, "_all", {})
    return now


@pytest.fixture
def unsmoothed_sheets(monkeypatch) -> None:
    """Sheets that repeat pixels, so that two of them differ by what their images differ.

    A latent depends in its last bits on the batch in which it was encoded, so that the same image, made twice, may be
    one byte off here and there. Lanczos, in two passes that each round, makes two of such a byte.
    """
    monkeypatch.setattr(sheets, "enlarge", lambda image, side: image.resize((side, side), Image.Resampling.NEAREST))


def unfold(page, title: str) -> None:
    """Open an accordion. Its contents are made then, and get their values a moment later.

    These would replace a value that was typed meanwhile, for which no user is quick enough.
    """
    button = page.locator("button.label-wrap", has_text=title)
    if "open" not in button.get_attribute("class"):
        button.click()
    frames(page, 30)
    page.evaluate("new Promise(done => requestIdleCallback(done))")


def reset_page(page) -> None:
    """Close dialogs, messages and accordions that an earlier test left open."""
    page.keyboard.press("Escape")
    page.evaluate("""() => document.querySelectorAll('[data-testid=toast-close], button.label-wrap.open').forEach(
      one => { if (one.offsetParent) one.click(); })""")


def through(how):
    """A script by which the stream of answers, and nothing else, passes through a TransformStream."""
    return f"""
{{
  const plain = window.fetch;
  window.fetch = async (what, how) => {{
    const answer = await plain(what, how);
    if (!String(what.url ?? what).includes('/queue/data')) return answer;
    const body = answer.body.pipeThrough(new TransformStream({how}));
    return new Response(body, {{status: answer.status, headers: answer.headers}});
  }};
}}
"""


def says(page, selector, text):
    """Wait until an element has this text."""
    page.wait_for_function("([at, text]) => document.querySelector(at)?.innerText.includes(text)", arg=[selector, text])


def saved(page, selector, folder, tap=None) -> Path:
    """The file that a click downloads, or a tap."""
    with page.expect_download() as download:
        (tap or page.click)(selector)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def drag(page, selector, start, end, steps=12):
    """Drag the mouse from one place of an element to another, in fractions of its sides, and leave it down."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    first, last = ((box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end))
    page.mouse.move(*first)
    page.mouse.down()
    page.mouse.move(*last, steps=steps)


def paint(page, canvas, start, end):
    """A stroke over a canvas."""
    drag(page, canvas, start, end)
    page.mouse.up()


def done(steps, between=lambda: None):
    """The updates of a handler. It waits in the queue of the page, as `events.on` does for it.

    `between` is called after each of them.
    """
    updates, come = [], None
    with contextlib.suppress(StopIteration):
        while True:
            found = steps.send(come)
            # Playwright has a loop in this thread.
            come = apart(asyncio.run, found.admitted()) if isinstance(found, Request) else None
            if come is None:
                updates.append(found)
                between()
    return updates


def waited(reached):
    """What a function gives as soon as it is true."""
    for _ in range(TIMEOUT * 20):
        if found := reached():
            return found
        time.sleep(0.05)
    raise AssertionError("not reached")


def uploaded(http, more=b""):
    """A file as the API takes it: a face, and more bytes."""
    data = Path(EXAMPLES["sepia"][0]).read_bytes() + more
    return {"path": http.post("/gradio_api/upload", files={"files": data}).json()[0], "meta": FILE}


def begun(http, endpoint, **given):
    """The address at which the answer of a call comes."""
    url = f"/gradio_api/call/v2/{endpoint}"
    return f"{url}/{http.post(url, json=given).json()['event_id']}"


def run_python(code):
    """Code that the page shows, in the current folder."""
    exec(compile(code, "snippet", "exec"), {})


def run_shell(lines):
    """The same of commands."""
    for line in lines.splitlines():
        if parts := shlex.split(line, comments=True):
            assert parts[0] == "transflow"
            result = CliRunner().invoke(app, parts[1:])
            assert result.exit_code == 0, result.output


def codes_run(steps):
    """Run the code of a result in the current folder: in Python, and then as commands."""
    yield run_python(python_code(steps))
    yield run_shell(command_line(steps))


def same(path, picture):
    """Whether a file holds this picture, to a rounding."""
    with Image.open(path) as image:
        return np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(picture).astype(int)).max() <= 1


# The Studio ------------------------------------------------------------------------------------------------------

LAM = METHODS["local"].lam_ratio


def opened(page, url, panel=True):
    """Open the page, with the panel for researchers, and wait for samples: those of the model alone, unless the address
    says more."""
    page.goto(url if "?" in url else url + "/?example=none")
    researchers(page, panel)
    page.wait_for_selector("#sheet .large img")
    page.wait_for_function("document.querySelector('#samples-status')?.innerText.includes('samples in')")
    return page


def researchers(page, on=True):
    """Open the panel for researchers, or close it. The page stays as it was left."""
    page.wait_for_selector("#lab .toggle-button", state="attached")
    if page.locator("#lab.open").count() != on:
        page.evaluate("document.querySelector('#lab .toggle-button').click()")
    page.wait_for_selector("#lab.open" if on else "#lab:not(.open)", state="attached")


def reset(page):
    """Bring a page that another test used to the state of a new one without images."""
    reset_page(page)
    page.get_by_role("tab", name="Studio", exact=True).click()
    if page.input_value("#prior input") != TINY:
        choose_prior(page, TINY)
    page.click("#evidence-clear")
    page.click("#reset")
    page.get_by_role("tab", name="Download").filter(visible=True).click()
    page.click("#sheet .cells button >> nth=0")
    page.wait_for_function(
        """at => /^No images yet.* 16 samples in .* seed 0$/.test(document.querySelector('#samples-status')?.innerText)
          && !document.querySelector('#evidence-cards .card')
          && Math.abs(document.querySelector('#lam-range').value - at) < 0.006
          && document.querySelector('#method-auto input').checked && location.search === '?example=none'""",
        arg=math.log10(LAM),
    )


@pytest.fixture
def studio(kept_page, served_small):
    """The Studio with the tiny prior and no images. The tests of a module share the page."""
    return kept_page(lambda page: opened(page, served_small), reset)


def choose_prior(page, name):
    researchers(page)
    page.click("#prior input")
    page.get_by_role("option", name=name).click()


def choose_example(page, example):
    """Click an example set, and wait for samples, inner tab and address."""
    page.click(f"#evidence [data-example={example}]")
    page.wait_for_url(re.compile(f"example={example}"))
