"""Where the time of the page's waits goes, stage by stage, in the browser and in the server on one clock.

    python -m benchmarks.stages                  # letting the slider go, and new evidence to its strip of previews
    python -m benchmarks.stages --prior celeba64
    python -m benchmarks.stages --cold           # `sample` on 18 images, from nothing

Needs Debian's chromium and an idle machine. The server that is measured is the app itself, with a line written whenever
a stage begins or ends; a stage is the median time from the mark before it.
"""

import argparse
import functools
import importlib
import resource
import runpy
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transflow_core.priors.catalogue import ASSETS
from transflow_core.recipes import DEFAULT_PRIOR

RELEASES = 9

# In the page: let the slider go, and mark the request, its answer, the new picture, and when it is decoded and painted.
_RELEASE = """
position => new Promise(done => {
  const now = () => performance.timeOrigin + performance.now();
  const marks = {begin: now()};
  const whole = window.fetch;
  window.fetch = async (...asked) => {
    if (String(asked[0]?.url ?? asked[0]).includes('queue/join')) marks.asked ??= now();
    return await whole(...asked);
  };
  const observer = new MutationObserver(async () => {
    observer.disconnect();
    marks.shown = now();
    await document.querySelector('#sheet img').decode();
    marks.decoded = now();
    requestAnimationFrame(() => {
      const after = new MessageChannel();
      after.port1.onmessage = () => { marks.painted = now(); window.fetch = whole; done(marks); };
      after.port2.postMessage(0);
    });
  });
  observer.observe(document.querySelector('#sheet .stage img'), {attributeFilter: ['src']});
  const range = document.querySelector('#closeness-range');
  range.value = position;
  range.dispatchEvent(new Event('change', {bubbles: true}));
})
"""
# Click an example set, and mark when its images are read, its samples shown, and its first and its whole strip there.
_CLICK = r"""
key => new Promise(done => {
  const now = () => performance.timeOrigin + performance.now();
  const marks = {};
  const status = document.querySelector('#evidence-status');
  const panel = new MutationObserver(() => { if (/^\s*18 pictures/.test(status.innerText)) marks.begin ??= now(); });
  panel.observe(status, {subtree: true, childList: true, characterData: true});
  const sheet = new MutationObserver(() => { marks.shown = now(); });
  sheet.observe(document.querySelector('#sheet .stage img'), {attributeFilter: ['src']});
  document.addEventListener('strip', function seen(event) {
    if (!event.detail) return;
    if (!event.detail.bare) { marks.five = now(); return; }
    marks.nine = now();
    panel.disconnect(); sheet.disconnect(); document.removeEventListener('strip', seen);
    done(marks);
  });
  document.querySelector(`#evidence [data-example=${key}]`).click();
})
"""


def _say(mark: str) -> None:
    print(f"@{mark} {1000 * time.time():.1f}", file=sys.stderr, flush=True)


def _marked(owner: type, name: str, before: str, after: str = "") -> None:
    """Have a method say when it is called, and when it returned."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def marked(*arguments: Any, **options: Any) -> Any:
        _say(before)
        result = method(*arguments, **options)
        if after:
            _say(after)
        return result

    setattr(owner, name, marked)


def serve_marked() -> None:
    """The app, in this process, with its marks."""
    from gradio.queueing import Queue

    from demo.tabs.studio import Studio
    from transflow_core.engine import Engine

    _marked(Queue, "push", "server: asked")
    _marked(Studio, "_fill", "server: draws")
    _marked(Engine, "sample", "server: decodes", "server: decoded")
    _marked(Engine, "_preview", "server: previews", "server: previewed")
    sys.argv = ["app.py"]
    runpy.run_path("app.py", run_name="__main__")


@contextmanager
def _served() -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """The address of the app in a process of its own, and its marks as they come, in ms."""
    from .page import serve

    server, url, _ = serve("-m", "benchmarks.stages", "--serve", stderr=subprocess.PIPE)
    marks: list[tuple[str, float]] = []

    def read() -> None:
        for line in server.stderr or ():
            if line.startswith("@"):
                mark, _, when = line[1:].rpartition(" ")
                marks.append((mark, float(when)))

    threading.Thread(target=read, daemon=True).start()
    try:
        yield url, marks
    finally:
        server.terminate()
        server.wait()


def _between(page: dict[str, float], server: list[tuple[str, float]], last: str) -> dict[str, float]:
    """Milliseconds from each mark to the next, of page and server in one order, each mark the first of its kind."""
    begin, end = page["begin"], page[last]
    marks = [(f"page: {mark}", when) for mark, when in page.items()] + server
    first: dict[str, float] = {}
    for mark, when in sorted(marks, key=lambda mark: mark[1]):
        if begin <= when <= end and mark not in first:
            first[mark] = when
    stages, before = {}, begin
    for mark, when in first.items():
        stages[mark], before = when - before, when
    return stages


def _table(title: str, rows: list[dict[str, float]]) -> None:
    places = {mark: [list(row).index(mark) for row in rows if mark in row] for row in rows for mark in row}
    marks = sorted(places, key=lambda mark: statistics.median(places[mark]))
    print(f"\n| {title}, to | ms, median of {len(rows)} |\n|---|---|")
    for mark in marks:
        if mark != "page: begin":
            print(f"| {mark} | {statistics.median([row.get(mark, 0.0) for row in rows]):.0f} |")
    print(f"| in all | {statistics.median([sum(row.values()) for row in rows]):.0f} |")


def waits(prior: str) -> None:
    """Print the two tables of the page."""
    from playwright.sync_api import sync_playwright

    from .page import ARGUMENTS, SETS, places  # not above: what starts cold imports as little as it can

    with _served() as (url, marks), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(180_000)
        page.goto(f"{url}/?prior={prior}&example=greyscale")
        page.wait_for_function("document.querySelector('#sheet img')?.alt.includes('greyscale')")
        page.wait_for_selector("#sheet .compare:enabled")
        page.wait_for_timeout(20_000)  # the example sets are inverted aside

        def measured(script: str, told: Any, last: str) -> dict[str, float]:
            begun = len(marks)
            seen = page.evaluate(script, told)
            page.wait_for_timeout(2_500)  # for everything that follows
            return _between(seen, marks[begun:], last)

        released = [measured(_RELEASE, place, "painted") for place in places(RELEASES + 1)]
        _table(f"{prior}: slider let go to whole images", released[1:])
        _table(f"{prior}: new evidence to its strips", [measured(_CLICK, key, "nine") for key in SETS])
        browser.close()


def cold(prior: str) -> None:
    """Print the stages of one `sample` on 18 images, in a process that has just begun."""
    print(f"| {prior}, `sample` on 18 images | processor s | s |\n|---|---|---|")

    def processor() -> float:
        return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])

    def stage(what: str, job: Callable[[], Any]) -> Any:
        before, begun = processor(), time.perf_counter()
        result = job()
        print(f"| {what} | {processor() - before:.2f} | {time.perf_counter() - begun:.2f} |")
        return result

    stage("import torch", lambda: importlib.import_module("torch"))
    core = stage("import the engine", lambda: importlib.import_module("transflow_core.engine"))
    engine = stage("load the prior", lambda: core.Engine(importlib.import_module("transflow_core").load_prior(prior)))
    files = sorted((ASSETS / "examples" / "greyscale").glob("*.png"))
    evidence = stage("read, align and invert", lambda: engine.read(files))
    posterior = stage("condition", evidence.posterior)
    stage("draw and decode 16", lambda: engine.sample(posterior, n=16).images)


def main() -> None:
    """Print tables."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    arguments.add_argument("--prior", default=DEFAULT_PRIOR)
    arguments.add_argument("--cold", action="store_true", help="of the command line instead")
    arguments.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        serve_marked()
    elif options.cold:
        cold(options.prior)
    else:
        waits(options.prior)


if __name__ == "__main__":
    main()
