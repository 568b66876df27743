"""How long a visitor waits: from a cold start to a page that answers, and from a slider's move to new pixels.

The slider is measured with each prior that ships: while the strip of λ serves it and while the server does (of a grown
prior, the 2×2 means are shown), and from letting it go to the whole images; and how long it takes until the strip is
there.

    python -m benchmarks.page
    python -m benchmarks.page --strip     # how far a cross-fade is from the true images, by the number of λ
    python -m benchmarks.page --photos FOLDER [--tree OTHER ...]     # five photographs to their samples, in turn
    python -m benchmarks.page --photos FOLDER --line 5     # the same from another machine: megabits a second

Needs Debian's chromium and an idle machine.
"""

import argparse
import io
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from transflow_core.images import find_images
from transflow_core.priors.catalogue import shipped_priors

ROOT = Path(__file__).resolve().parent.parent
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP away.test 127.0.0.1",  # the server, as a page of another machine
]
MOVES, RELEASES = 30, 8
SETS = ("paintings", "drawings", "red_hair", "sepia", "sketch")

# In the page: set the slider as a drag or its end does, and time until what it changes is painted: the canvas of the
# strip, or a new picture of the sheet.
_MOVE = """
([position, event, strip]) => new Promise(done => {
  const range = document.querySelector('#closeness-range'), canvas = document.querySelector('#sheet canvas');
  const start = performance.now();
  const painted = () => requestAnimationFrame(() => {
    const after = new MessageChannel();
    after.port1.onmessage = () => done(performance.now() - start);
    after.port2.postMessage(0);
  });
  const observer = new MutationObserver(async () => {
    observer.disconnect();
    if (!strip) await document.querySelector('#sheet img').decode();
    painted();
  });
  if (strip) observer.observe(canvas, {attributeFilter: ['data-at']});
  else observer.observe(document.querySelector('#sheet .stage img'), {attributeFilter: ['src']});
  range.value = position;
  range.dispatchEvent(new Event(event, {bubbles: true}));
})
"""
# Milliseconds from new evidence, as the panel says when all of it is read, to the strip of every second position, and
# to the whole strip.
_STRIP = r"""
key => new Promise(done => {
  let start = 0;
  const waits = [];
  const panel = new MutationObserver(() => {
    if (/^\s*\d+ pictures/.test(document.querySelector('#evidence-status').innerText)) start ||= performance.now();
  });
  panel.observe(document.querySelector('#evidence-status'), {subtree: true, childList: true, characterData: true});
  document.addEventListener('strip', function seen(event) {
    const previews = event.detail ? event.detail.at.length : 0;
    if (!previews) return;  // the model alone comes first
    waits.push(performance.now() - start);
    if (previews < 9) return;
    panel.disconnect();
    document.removeEventListener('strip', seen);
    done(waits);
  });
  document.querySelector(`#evidence [data-example=${key}]`).click();
})
"""
# Strips do not reach the page, so that the server is asked.
_NO_STRIP = "document.addEventListener('strip', event => event.stopImmediatePropagation(), true)"
# Milliseconds until the page shows samples of one's own images.
_OWN = """
() => new Promise(done => {
  const start = performance.now();
  const look = () => /resemble yours/.test(document.querySelector('#faces-status')?.innerText)
    ? requestAnimationFrame(() => done(performance.now() - start)) : setTimeout(look, 5);
  look();
})
"""
MEGAPIXELS, GRAIN = 12, 8  # of a telephone's photograph, and the deviation of its noise in levels of 255
_PLACES = 48  # of the errors: even numbers of steps divide it


def serve(*command: str, stderr: int | None = None, tree: Path = ROOT) -> tuple[subprocess.Popen, str, float]:
    """Start the app in a process of its own; returns it, its address, and seconds until the page answered.

    Args:
        command: Python's arguments, by default `app.py`.
        stderr: as of `subprocess.Popen`.
        tree: the checkout whose page it is.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *(command or ["app.py"])],
        cwd=tree,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    while time.perf_counter() - start < 300:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return process, url, time.perf_counter() - start
        except OSError:
            time.sleep(0.02)
    process.kill()
    raise RuntimeError("the page did not answer within five minutes")


def places(count: int) -> list[float]:
    """Positions of the slider that jump to and fro, but 0.6: there the sheet itself is shown, and no preview."""
    return [0.045 + 0.94 * (move * 7 % MOVES) / MOVES for move in range(count)]


def delays(url: str, prior: str) -> dict[str, list[float]]:
    """Milliseconds of each wait with 16 samples and 18 to 24 pieces of evidence."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)

        def opened(strip: bool) -> Any:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(180_000)
            if not strip:
                page.add_init_script(_NO_STRIP)
            page.goto(f"{url}/?prior={prior}&example=greyscale")
            page.wait_for_function("document.querySelector('#sheet img')?.alt.includes('black')")
            return page

        page = opened(strip=True)
        page.wait_for_selector("#sheet .compare:enabled")
        waits = [page.evaluate(_STRIP, key) for key in SETS]
        found["new evidence to its strip"] = [of[0] for of in waits]
        found["new evidence to all nine positions of it"] = [of[-1] for of in waits]
        page.wait_for_timeout(3000)
        moved = [page.evaluate(_MOVE, [place, "input", True]) for place in places(4 * MOVES)]
        found["moved, by the strip"] = moved[3:]
        released = []
        for place in places(RELEASES + 2):
            released.append(page.evaluate(_MOVE, [place, "change", False]))
            page.wait_for_timeout(3000)  # for everything that follows a release
        found["let go to whole images"] = released[2:]  # the first warm the caches of the flow's matrices
        page.close()
        page = opened(strip=False)
        page.wait_for_timeout(5000)
        found["moved, by the server"] = [page.evaluate(_MOVE, [place, "input", False]) for place in places(MOVES)][3:]
        browser.close()
    return found


def photographs(folder: Path, pixels: float, cut: int, grain: float = 0) -> list[Any]:
    """Five files as a browser uploads them, of so many pixels or as they are for 0; another `cut`, other content.
    `grain` makes an enlarged picture as many bytes as a camera's."""
    found = []
    for path in find_images([folder])[:5]:
        with Image.open(path) as file:
            image = file.convert("RGB")
        if pixels:
            scale = math.sqrt(pixels / (image.width * image.height))
            image = image.resize((round(scale * image.width), round(scale * image.height)), Image.Resampling.LANCZOS)
        if grain:
            noise = np.random.default_rng(cut).normal(0, grain, (image.height, image.width, 3))
            image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
        image.crop((cut, cut, *image.size)).save(buffer := io.BytesIO(), "JPEG", quality=88)
        found.append({"name": f"{path.stem}.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()})
    return found


def drops(tree: Path, folder: Path, pixels: float, line: float = 0, count: int = 4) -> list[float]:
    """Seconds from five photographs to their samples, on a server that starts; the first as soon as the page is there.

    Args:
        tree: the checkout whose page it is.
        folder, pixels: see `photographs`.
        line: megabits a second of the way to the server, which is another machine for the page; 0 for none.
    """
    from playwright.sync_api import sync_playwright

    found, uploads = [], [photographs(folder, pixels, 1 + cut, GRAIN if line else 0) for cut in range(count)]
    process, url, _ = serve(tree=tree)
    url = url.replace("127.0.0.1", "away.test") if line else url
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            for index, files in enumerate(uploads):
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.set_default_timeout(180_000)
                page.goto(url)
                page.wait_for_function("/exists|resemble/.test(document.querySelector('#faces-status')?.innerText)")
                if index:
                    page.wait_for_timeout(20_000)  # for all that follows a start
                if line:
                    rates = {"downloadThroughput": -1, "uploadThroughput": line * 1e6 / 8}
                    how = {"offline": False, "latency": 30, **rates}
                    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", how)
                page.set_input_files("#evidence-files input[type=file]", files)
                found.append(page.evaluate(_OWN) / 1000)
                page.close()
            browser.close()
    finally:
        process.terminate()
        process.wait()
    return found


def crossfade_errors(prior: str, draws: int = 8) -> list[tuple[str, int, float, float, float]]:
    """How far midpoints of a cross-fade are from the true previews, in levels of 255, by the positions of a strip.

    Gives (method, number, mean error, that of the worst sample, that of the median sample at the worst midpoint).
    """
    from demo.examples import example_sets
    from demo.tabs.preview_strip import values_at
    from transflow_core.engine import Engine
    from transflow_core.priors.catalogue import load_prior
    from transflow_core.recipes import NUMBERS, Method

    engine, found = Engine(load_prior(prior)), []
    for kind in NUMBERS:
        errors: dict[int, list[torch.Tensor]] = {}
        for key in ("red_hair", "sketch", "cartoon"):
            posterior = engine.read(example_sets()[key].files).posterior()
            methods = [Method.checked({"method": kind, **values_at(kind, at / _PLACES)}) for at in range(_PLACES + 1)]
            at = [engine.draw(posterior, method) for method in methods]
            x = torch.stack([255 * engine.sample(one, draws, preview=True).images for one in at])
            for count in (5, 7, 9, 13, 25):
                step = _PLACES // (count - 1)
                middle = (x[:-1:step] + x[step::step]) / 2
                errors.setdefault(count, []).append((middle - x[step // 2 :: step]).abs().mean((2, 3, 4)))
        for count, some in errors.items():
            each = torch.stack(some)  # (sets, midpoints, draws)
            worst = each.median(-1).values.max()
            found.append((kind, count, float(each.mean()), float(each.max()), float(worst)))
    return found


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description="How long a visitor waits.")
    arguments.add_argument("--strip", action="store_true", help="errors of the cross-fade instead")
    arguments.add_argument("--prior", action="append", help="of these alone; may be given again")
    arguments.add_argument("--photos", type=Path, help="five photographs of this folder to their samples instead")
    arguments.add_argument("--tree", type=Path, action="append", help="another checkout, in turn; may be given again")
    arguments.add_argument("--line", type=float, default=0, help="megabits a second from the visitor to the server")
    options = arguments.parse_args()
    if options.photos:
        print("| checkout | megapixels | just opened | later |\n|---|---|---|---|")
        for pixels in (MEGAPIXELS * 1e6,) if options.line else (0, MEGAPIXELS * 1e6):
            size = f"{pixels / 1e6:g}" if pixels else "as they are"
            for tree in (ROOT, *(options.tree or ())):
                first, *others = drops(tree, options.photos, pixels, options.line)
                later = f"{statistics.median(others):.1f} s ({min(others):.1f}-{max(others):.1f})"
                print(f"| {tree.name} | {size} | {first:.1f} s | {later} |", flush=True)
        return
    priors = options.prior or shipped_priors()
    if options.strip:
        print("| prior | method | positions | mean error, of 255 | worst sample | median at the worst midpoint |")
        print("|---|---|---|---|---|---|")
        for prior in priors:
            for kind, count, *errors in crossfade_errors(prior):
                print(f"| {prior} | {kind} | {count} | {' | '.join(f'{error:.1f}' for error in errors)} |")
        return
    starts = []
    for _ in range(2):
        process, _, seconds = serve()
        starts.append(seconds)
        process.terminate()
        process.wait()
    process, url, seconds = serve()
    starts.append(seconds)
    try:
        found = {prior: delays(url, prior) for prior in priors}
    finally:
        process.terminate()
        process.wait()
    print("| what | median | 95th percentile | range |\n|---|---|---|---|")
    print(
        f"| `python app.py` to a page that answers | {statistics.median(starts):.1f} s | | "
        f"{min(starts):.1f}-{max(starts):.1f} s |"
    )
    for prior, waits in found.items():
        for what, some in waits.items():
            late = sorted(some)[math.ceil(0.95 * len(some)) - 1]
            print(
                f"| {prior}, 16 samples: {what} ({len(some)} times) | {statistics.median(some):.0f} ms | "
                f"{late:.0f} ms | {min(some):.0f}-{max(some):.0f} ms |"
            )


if __name__ == "__main__":
    main()
