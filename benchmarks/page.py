"""How long a visitor waits: from a cold start to a page that answers, and from a slider's move to new pixels.

The slider is measured with each prior that ships: while it moves (of a grown prior, the 2×2 means are shown), and from
letting it go to the whole images.

    python -m benchmarks.page

Needs Debian's chromium and an idle machine.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from transflow_core.shipped import shipped_priors

ROOT = Path(__file__).resolve().parent.parent
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MOVES, RELEASES = 30, 8

# In the page: set the slider as a drag or its end does, and time until the sheet's new picture is decoded and painted.
_MOVE = """
([position, event]) => new Promise(done => {
  const range = document.querySelector('#lam-range');
  const before = document.querySelector('#sheet img').src;
  const start = performance.now();
  const observer = new MutationObserver(async () => {
    const image = document.querySelector('#sheet img');
    if (!image || image.src === before) return;
    observer.disconnect();
    await image.decode();
    requestAnimationFrame(() => done(performance.now() - start));
  });
  observer.observe(document.querySelector('#sheet'), {subtree: true, childList: true, attributes: true});
  range.value = position;
  range.dispatchEvent(new Event(event, {bubbles: true}));
})
"""


def serve() -> tuple[subprocess.Popen, str, float]:
    """Start `python app.py` in a process of its own; returns it, its address, and seconds until the page answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    while time.perf_counter() - start < 120:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return process, url, time.perf_counter() - start
        except OSError:
            time.sleep(0.02)
    process.kill()
    raise RuntimeError("the page did not answer within two minutes")


def slider_delays(url: str) -> dict[tuple[str, str], list[float]]:
    """Milliseconds from λ's moves and releases to new pixels, 16 samples, 18 pieces of evidence, for each prior."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.wait_for_selector("#sheet img")
        page.click("#evidence [data-example=red_hair]")
        page.wait_for_url("**example=red_hair*")
        delays: dict[tuple[str, str], list[float]] = {}
        for prior in shipped_priors():
            page.click("#prior input")
            page.get_by_role("option", name=prior).click()
            page.get_by_role("tab", name="Numbers").click()
            page.wait_for_function("name => document.querySelector('#numbers').innerText.includes(name)", arg=prior)
            page.get_by_role("tab", name="Gallery").click()
            for event, times in (("input", MOVES), ("change", RELEASES)):
                found = []
                for move in range(times + 3):
                    found.append(page.evaluate(_MOVE, [-1.9 + 2.8 * (move * 7 % MOVES) / MOVES, event]))
                    if event == "change":
                        page.wait_for_timeout(4000)  # for everything that follows a release
                delays[prior, event] = found[3:]  # the first warm the caches of the flow's matrices
        browser.close()
    return delays


def main() -> None:
    """Print the table."""
    starts = []
    for _ in range(3):
        process, url, seconds = serve()
        starts.append(seconds)
        if len(starts) < 3:
            process.terminate()
            process.wait()
    try:
        delays = slider_delays(url)
    finally:
        process.terminate()
        process.wait()
    print("| what | median | range |\n|---|---|---|")
    print(
        f"| `python app.py` to a page that answers | {statistics.median(starts):.1f} s | "
        f"{min(starts):.1f}-{max(starts):.1f} s |"
    )
    for (prior, event), found in delays.items():
        what = "moved to new pixels" if event == "input" else "let go to whole images"
        print(
            f"| {prior}: slider {what}, 16 samples ({len(found)} times) | {statistics.median(found):.0f} ms | "
            f"{min(found):.0f}-{max(found):.0f} ms |"
        )


if __name__ == "__main__":
    main()
