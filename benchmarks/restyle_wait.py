"""How long a visitor waits for a restyled photograph: from a drop, and from a click on a style, to what is seen.

    python -m benchmarks.restyle_wait
    python -m benchmarks.restyle_wait --photograph mine.jpg

Starts `python app.py`, so that no set was read before, opens the Restyle tab in Debian's Chromium, drops the mirror
image of a photograph, and clicks on each example set of its row: once for the first time since the server started, and
once again. A wait ends when the browser has decoded the restyled photograph. Needs an idle machine.
"""

import argparse
import io
import shutil
import statistics
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from benchmarks.page import ARGUMENTS, ROOT, serve
from transflow_core.recipes import DEFAULT_PRIOR

EXAMPLES = ROOT / "assets" / "examples"
# In the page: milliseconds from a click on a style to a new picture in the slider, decoded.
_CLICK = """
key => new Promise(done => {
  const slider = document.querySelector('#restyle-slider'), start = performance.now();
  const shown = () => [...slider.querySelectorAll('img')].map(image => image.src).join();
  const before = shown();
  const observer = new MutationObserver(async () => {
    if (shown() === before) return;
    observer.disconnect();
    await Promise.all([...slider.querySelectorAll('img')].map(image => image.decode()));
    requestAnimationFrame(() => done(performance.now() - start));
  });
  observer.observe(slider, {subtree: true, childList: true, attributes: true, attributeFilter: ['src']});
  document.querySelector(`#style [data-example=${key}]`).click();
})
"""
# The same from a file that the drop zone takes to the faces that were found.
_DROPPED = """
() => new Promise(done => {
  const given = document.querySelector('#restyle-faces');
  let start = 0, looking = false;
  new MutationObserver((_, observer) => {
    looking ||= given.textContent.includes('Looking');
    if (!looking || !given.querySelector('.faces')) return;
    observer.disconnect();
    done(performance.now() - start);
  }).observe(given, {subtree: true, childList: true});
  document.querySelector('#restyle-files input').addEventListener('change', () => { start = performance.now(); },
    {once: true, capture: true});
})
"""


def waits(url: str, photograph: Path) -> dict[str, list[float]]:
    """Milliseconds of each wait."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page: Any = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(180_000)
        page.goto(f"{url}/?tab=restyle&example=none")
        page.wait_for_selector("#restyle-files input", state="attached")
        page.wait_for_timeout(3000)
        page.evaluate(f"window.dropped = ({_DROPPED})(), 0")
        with Image.open(photograph) as image:  # mirrored: the tab opens with the example, and knows it
            ImageOps.mirror(image.convert("RGB")).save(mirrored := io.BytesIO(), "PNG")
        dropped = {"name": "mirrored.png", "mimeType": "image/png", "buffer": mirrored.getvalue()}
        page.set_input_files("#restyle-files input", dropped)
        seconds = page.evaluate("window.dropped")
        page.wait_for_selector("#restyle-slider img")
        page.wait_for_timeout(2000)
        first, *others = page.locator("#style [data-example]:not([data-example=mine])").evaluate_all(
            "row => row.map(one => one.dataset.example)"
        )
        keys = [*others, first]  # the tab opens with the first, and a click on what is there changes nothing
        found = {"a photograph dropped to its faces found": [seconds]}
        for turn in ("for the first time", "again"):
            some = found[f"a click on a style to the restyled photograph, {turn}"] = []
            for key in keys:
                some.append(page.evaluate(_CLICK, key))
                # Strip and likeness come after it; the next click is another visitor's, say.
                page.wait_for_function("document.querySelector('#restyle-status').innerText.includes('by computer')")
                page.wait_for_timeout(500)
        browser.close()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How long a visitor waits for a restyled photograph.")
    parser.add_argument("--photograph", type=Path, default=EXAMPLES / "photograph.png", help="by default the example")
    options = parser.parse_args()
    process, url, _ = serve()
    try:
        found = waits(url, options.photograph)
    finally:
        process.terminate()
        process.wait()
    print(f"| {DEFAULT_PRIOR} | median | range |\n|---|---|---|")
    for what, some in found.items():
        seconds = [value / 1000 for value in some]
        print(f"| {what} | {statistics.median(seconds):.2f} s | {min(seconds):.2f}-{max(seconds):.2f} s |")


if __name__ == "__main__":
    main()
