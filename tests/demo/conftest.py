"""A served demo and a real browser. Screenshots go to `artifacts/`, so that a person can look at them."""

import io
import shlex
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from demo import Engines, build, launch
from demo.examples import example_sets
from transflow_core.cli import app
from transflow_core.compute import Cancelled
from transflow_core.engine import Engine
from transflow_core.images import enlarge, sheets

from ..helpers import frames, make_tiny_prior

ROOT = Path(__file__).resolve().parent.parent.parent
ARTIFACTS = ROOT / "artifacts"
# Generous: the machine that runs the tests may be busy. Nothing is asserted about time.
PATIENCE = 120_000
EXAMPLES = {key: [str(file) for file in example.files] for key, example in example_sets().items()}


@pytest.fixture(scope="session")
def engines(tmp_path_factory) -> Iterator[Engines]:
    """The priors of both pages: those that ship, and a tiny one; and a cache folder for what the pages serve."""
    folder = tmp_path_factory.mktemp("priors")
    make_tiny_prior().save(folder / "tiny.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield Engines(folder)


def _serve(demo: gr.Blocks) -> Iterator[str]:
    _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
    yield url.rstrip("/")
    demo.close()


@pytest.fixture(scope="session")
def served(engines) -> Iterator[str]:
    """The address of the demo, served from this process."""
    yield from _serve(build(engines))


@pytest.fixture(scope="session")
def served_small(engines) -> Iterator[str]:
    """The same with the tiny prior, for tests that are not about its images: they need not wait for them."""
    yield from _serve(build(engines, first_prior="tiny.safetensors"))


@pytest.fixture
def new_page(browser) -> Iterator[Callable]:
    """`new_page(width=1280, height=900, dark=False, touch=False)` opens a new visitor, with `touch` on a phone.

    A complaint on a console fails the test.
    """
    contexts, complaints = [], []

    def open_page(width: int = 1280, height: int = 900, dark: bool = False, touch: bool = False):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            accept_downloads=True,
            has_touch=touch,
            is_mobile=touch,
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # A request that the closed network refuses is no fault of the page's code.
    # Neither is the stream that a reload cuts off.
    foreign = ("net::ERR", "Failed to load resource", "Failed to fetch", "AbortError", "Connection errored out")
    own = [text for text in complaints if not any(word in text for word in foreign)]
    assert not own, own


class Held:
    """A method of `Engine` that waits until `go_on` is set, or it is stopped. `which` calls do, by their number."""

    def __init__(self, monkeypatch, method, which=lambda number: True):
        self.begun, self.go_on, self.stopped = (threading.Event() for _ in range(3))
        self.calls = 0
        plain = getattr(Engine, method)

        def held(*args, **how):
            number, self.calls = self.calls, self.calls + 1
            while which(number) and not self.go_on.wait(0.01):
                self.begun.set()
                if (stop := how.get("cancel")) is not None and stop.is_set():
                    self.stopped.set()
                    raise Cancelled
            return plain(*args, **how)

        monkeypatch.setattr(Engine, method, held)


@pytest.fixture
def hold(monkeypatch):
    """`hold("encode")` is a `Held`."""
    held = []
    yield lambda *how, **more: held.append(Held(monkeypatch, *how, **more)) or held[-1]
    for one in held:
        one.go_on.set()


@pytest.fixture
def unsmoothed_sheets(monkeypatch) -> None:
    """Sheets that repeat pixels, so that two of them differ by what their images differ.

    A latent depends in its last bits on the batch in which it was encoded, so that the same image, made twice, may be
    one byte off here and there. Lanczos, in two passes that each round, makes two of such a byte.
    """
    monkeypatch.setattr(sheets, "enlarge", lambda image, side, *, how: enlarge(image, side, how="pixels"))


@pytest.fixture
def page(new_page):
    """One visitor on a desktop."""
    return new_page()


@pytest.fixture(scope="session")
def shot() -> Callable:
    """`shot(page, name)` writes `artifacts/NAME.png`, the whole page."""
    ARTIFACTS.mkdir(exist_ok=True)

    def take(page, name: str) -> Path:
        path = ARTIFACTS / f"{name}.png"
        page.screenshot(path=path, full_page=True)
        return path

    return take


def unfold(page, title: str) -> None:
    """Open an accordion. What it holds is made then, and given its value a moment later.

    That would go over what was typed meanwhile, which no person is quick enough for.
    """
    page.get_by_text(title).click()
    frames(page, 30)
    page.evaluate("new Promise(done => requestIdleCallback(done))")


def says(page, selector, words):
    """Wait until an element has these words."""
    page.wait_for_function(
        "([at, words]) => document.querySelector(at)?.innerText.includes(words)", arg=[selector, words]
    )


def saved(page, selector, folder) -> Path:
    """The file that a click gives."""
    with page.expect_download() as download:
        page.click(selector)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def noise(count, seed, size=(90, 120)):
    """Pictures without a face, to be uploaded: each takes a while to be read."""
    rng, files = np.random.default_rng(seed), []
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(buffer := io.BytesIO(), "PNG")
        files.append({"name": f"noise{seed}_{index}.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    return files


def run_python(code):
    """Code that the page shows, in the folder that a person is in."""
    exec(compile(code, "snippet", "exec"), {})


def run_shell(lines):
    """The same of commands."""
    for line in lines.splitlines():
        if words := shlex.split(line, comments=True):
            assert words[0] == "transflow"
            result = CliRunner().invoke(app, words[1:])
            assert result.exit_code == 0, result.output


def same(path, picture):
    """Whether a file holds this picture, to a rounding."""
    with Image.open(path) as image:
        return np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(picture).astype(int)).max() <= 1
